"""ACCEPT, DROP, RETURN, and LOG and NFLOG (which decide nothing).

Linux: net/ipv4/netfilter/ip_tables.c ipt_do_table(), net/netfilter/xt_LOG.c, xt_NFLOG.c
"""

from __future__ import annotations

from typing import ClassVar

from k8semu.linux.netfilter.matches.meta import quote
from k8semu.linux.netfilter.rule import Action, Given, Target, UsageError, Verdict

_VERDICT_ACTIONS: dict[Verdict, Action] = {
    Verdict.ACCEPT: lambda p: Verdict.ACCEPT,
    Verdict.DROP: lambda p: Verdict.DROP,
    Verdict.RETURN: lambda p: Verdict.RETURN,
}


class VerdictTarget(Target, frozen=True):
    """A bare verdict."""

    verdict: ClassVar[Verdict] = Verdict.ACCEPT

    @classmethod
    def build(cls, given: Given) -> VerdictTarget:
        return cls()

    def text(self) -> str:
        return f"-j {self.name}"

    def compile(self) -> Action:
        return _VERDICT_ACTIONS[self.verdict]


class Accept(VerdictTarget, frozen=True):
    """The packet may go on past this table."""

    name: ClassVar[str] = "ACCEPT"
    by_flow: ClassVar[bool] = True


class DropTarget(VerdictTarget, frozen=True):
    """The packet ends here, unheard."""

    name: ClassVar[str] = "DROP"
    verdict: ClassVar[Verdict] = Verdict.DROP


class Return(VerdictTarget, frozen=True):
    """Back to the calling chain; in a built-in chain, its policy."""

    name: ClassVar[str] = "RETURN"
    by_flow: ClassVar[bool] = True
    verdict: ClassVar[Verdict] = Verdict.RETURN


LEVELS = ("emerg", "alert", "crit", "error", "warning", "notice", "info", "debug")
_LEVEL_ALIASES = {"panic": 0, "err": 3, "warn": 4}
_LOG_FLAGS = ("--log-tcp-sequence", "--log-tcp-options", "--log-ip-options", "--log-uid", "--log-macdecode")


class LogTarget(Target, frozen=True):
    """Says so in the kernel log; here the rule's step is the record."""

    name: ClassVar[str] = "LOG"
    options: ClassVar[dict[str, tuple[str, int]]] = {
        "--log-level": ("--log-level", 1), "--log-prefix": ("--log-prefix", 1), **{o: (o, 0) for o in _LOG_FLAGS},
    }  # fmt: skip

    level: int = 4
    prefix: str = ""
    flags: tuple[str, ...] = ()

    @classmethod
    def build(cls, given: Given) -> LogTarget:
        text = given.get("--log-level", "4")
        if text.isdecimal() and int(text) < 8:
            level = int(text)
        elif text in _LEVEL_ALIASES:
            level = _LEVEL_ALIASES[text]
        elif text in LEVELS:
            level = LEVELS.index(text)
        else:
            raise UsageError(f'log-level "{text}" unknown')
        prefix = given.get("--log-prefix")
        if len(prefix) > 29:
            raise UsageError('LOG: Maximum prefix length 29 for --log-prefix')
        return cls(level, prefix, tuple(o for o in _LOG_FLAGS if o in given))

    def text(self) -> str:
        words = ["-j LOG"]
        if self.prefix:
            words.append(f"--log-prefix {quote(self.prefix)}")
        if self.level != 4:
            words.append(f"--log-level {self.level}")
        return " ".join([*words, *self.flags])

    def listing(self) -> str:
        bits = sum(1 << _LOG_FLAGS.index(flag) for flag in self.flags)
        prefix = f' prefix "{self.prefix}"' if self.prefix else ""
        return f"LOG flags {bits} level {self.level}{prefix}"

    def compile(self) -> Action:
        return lambda p: None


class NflogTarget(Target, frozen=True):
    """Hands a copy to whoever listens at a netlink group; nobody does, and the rule's step is the record."""

    name: ClassVar[str] = "NFLOG"
    options: ClassVar[dict[str, tuple[str, int]]] = {
        f"--nflog-{word}": (f"--nflog-{word}", 1) for word in ("group", "prefix", "size", "threshold")
    }

    group: int = 0
    prefix: str = ""
    size: int = -1
    threshold: int = 1

    @classmethod
    def build(cls, given: Given) -> NflogTarget:
        prefix = given.get("--nflog-prefix")
        if len(prefix) > 63:
            raise UsageError('NFLOG: Maximum prefix length 63 for --nflog-prefix')
        group = _number(given, "group", 0, 65535)
        return cls(group, prefix, _number(given, "size", -1, 0xFFFFFFFF), _number(given, "threshold", 1, 65535))

    def text(self) -> str:
        return f"-j NFLOG{self._options('--')}"

    def listing(self) -> str:
        return self._options("").strip()

    def _options(self, dashes: str) -> str:
        """In the order in which iptables prints them. Linux: libxt_NFLOG.c nflog_print()"""
        said = {
            "prefix": quote(self.prefix) if self.prefix else "", "group": self.group or "",
            "size": self.size if self.size >= 0 else "", "threshold": self.threshold if self.threshold != 1 else "",
        }  # fmt: skip
        return "".join(f" {dashes}nflog-{word} {value}" for word, value in said.items() if value != "")

    def compile(self) -> Action:
        return lambda p: None


def _number(given: Given, word: str, default: int, most: int) -> int:
    option = f"--nflog-{word}"
    text = given.get(option, str(default))
    if option in given and not (text.isdecimal() and int(text) <= most):
        raise UsageError(f'NFLOG: bad value for option "{option}", or out of range (0-{most}).\n')
    return int(text)
