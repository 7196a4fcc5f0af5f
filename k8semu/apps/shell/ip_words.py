"""The words of an `ip` command line: options before the object, a verb, and what to choose.

Every word is understood, or it is an error in iproute2's words.

Linux: iproute2 ip/ip.c, lib/utils.c
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from k8semu.apps.shell.output import UsageError, choose
from k8semu.linux.core.dev import NetDevice
from k8semu.linux.netns import NetNs

SHOW = ("show", "list", "lst")
CHANGES = ("add", "append", "change", "chg", "replace", "prepend", "delete", "del", "set", "flush", "test")
OPTIONS = {
    "details": "details", "stats": "stats", "statistics": "stats", "brief": "brief", "oneline": "oneline",
    "json": "json", "pretty": "pretty", "4": "4", "6": "6",
    "color": "", "resolve": "", "human-readable": "", "Numeric": "",
}  # fmt: skip
"""The options, each with the attribute of `Options` that it sets; '' for what changes nothing here."""
NOT_MODELLED = ("timestamp", "tshort", "batch", "netns", "all", "loops", "iec", "force", "rcvbuf")


VERSION = "6.1.0"


def usage(what: str) -> str:
    """The page of help of a program, or of one of its objects."""
    from k8semu.apps.shell.ip_usage import USAGES

    return USAGES[what]


class Told(Exception):
    """The program says something about itself, and ends well."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Options:
    """What stands before the object: -d -s -br -o -j -p -4 -6. `stats` counts: the second -s shows more."""

    __slots__ = ("brief", "details", "family", "json", "oneline", "pretty", "stats")

    def __init__(self) -> None:
        self.details = self.brief = self.oneline = self.json = self.pretty = False
        self.stats = 0
        self.family = ""
        """'' is any; ``inet`` and ``inet6`` show only what has such an address."""

    def read(self, program: str, argv: Sequence[str]) -> list[str]:
        """Understand the options that a command line begins with; the words after them."""
        words = list(argv)
        while words and words[0].startswith("-"):
            self._take(program, words.pop(0), words)
        return words

    def _take(self, program: str, word: str, words: list[str]) -> None:
        """Understand one option; `words` are those after it."""
        flag = word.lstrip("-")
        if flag and "Version".startswith(flag):
            raise Told(f"{program} utility, {'iproute2-' if program != 'bridge' else ''}{VERSION}\n")
        if flag and "help".startswith(flag):
            raise UsageError(usage(program))
        if flag in ("f", "family"):
            if not words:
                not_complete()
            self.family = words.pop(0)
            if self.family not in ("inet", "inet6"):
                raise UsageError(f'Error: argument "{self.family}" is wrong: invalid protocol family')
            return
        name = choose(flag, tuple(OPTIONS))
        if name is None:
            if choose(flag, NOT_MODELLED):
                raise UsageError(f"{program}: option -{flag} is not modelled", 1)
            raise UsageError(f'Option "-{flag}" is unknown, try "{program} -help".')
        if name in ("4", "6"):
            self.family = "inet" if name == "4" else "inet6"
        elif OPTIONS[name] == "stats":
            self.stats += 1
        elif OPTIONS[name]:
            setattr(self, OPTIONS[name], True)

    def joined(self, rows: Sequence[str]) -> list[str]:
        """With -o, what belongs together stands on one line, a backslash for each end of a line."""
        if not self.oneline:
            return list(rows)
        joined: list[str] = []
        for row in rows:
            if row.startswith(" ") and joined:
                joined[-1] += "\\" + row
            else:
                joined.append(row)
        return joined


def is_change(words: Sequence[str]) -> bool:
    """Do the words after the object ask for a change: ``add …``, ``del …``? What `show` may abbreviate does not."""
    return bool(words) and not choose(words[0], (*SHOW, "get", "help")) and bool(choose(words[0], CHANGES))


def changes(argv: Sequence[str]) -> bool:
    """Does a command line change the machine: ``ip route add …``, ``iptables -A …``, ``sysctl -w …``?"""
    program, words = argv[0].rpartition("/")[2], argv[1:]
    if program in ("ip", "bridge"):
        return is_change([word for word in words if not word.startswith("-")][1:])
    if program == "iptables":
        return not any(word in ("-L", "-S", "-C", "-V", "--list", "--list-rules", "--check") for word in words)
    if program in ("ipset", "nft"):
        return not {"list", "save", "test", "-L", "-S", "-T"} & set(words)
    if program == "conntrack":
        return any(word in ("-D", "-F", "--delete", "--flush") for word in words)
    return program == "sysctl" and any("=" in word for word in words)


def not_complete() -> NoReturn:
    raise UsageError('Command line is not complete. Try option "help"')


def verb(program: str, thing: str, words: list[str], others: Sequence[str] = ()) -> str:
    """Take the word after the object: ``show`` if there is none; the words that remain are left in `words`."""
    if not words:
        return "show"
    word = words.pop(0)
    if choose(word, SHOW):
        return "show"
    if word == "help":
        raise UsageError(usage(f"{program} {thing}"))
    found = choose(word, others)
    if found is not None:
        return found
    raise UsageError(f'Command "{word}" is unknown, try "{program} {thing} help".')


def selector(
    words: Sequence[str], known: Sequence[str], bare: str = "dev", flags: Sequence[str] = ()
) -> dict[str, str]:
    """The words after `show`: ``dev NAME``, ``table N``; a word that is no key is a `bare` one."""
    left = list(words)
    chosen: dict[str, str] = {}
    while left:
        word = left.pop(0)
        if word in flags:
            chosen[word] = word
        elif word in known:
            if not left:
                not_complete()
            chosen[word] = left.pop(0)
        elif bare and bare not in chosen:
            chosen[bare] = word
        else:
            raise UsageError(f'Error: either "{bare or known[0]}" is duplicate, or "{word}" is a garbage.')
    return chosen


def device(net: NetNs, name: str, error: str = 'Cannot find device "{}"', code: int = 1) -> NetDevice:
    """The device `name`, or `error`."""
    if name not in net.devs:
        raise UsageError(error.format(name), code)
    return net.devs[name]


def devices(net: NetNs, chosen: Mapping[str, str]) -> list[NetDevice]:
    """Those that `dev`, `master`, `type` and `up` choose, by index."""
    found = [net.by_index[index] for index in sorted(net.by_index)]
    if "dev" in chosen:
        found = [device(net, chosen["dev"], 'Device "{}" does not exist.')]
    if "master" in chosen:
        master = device(net, chosen["master"], 'Error: argument "{}" is wrong: Device does not exist\n', 255)
        found = [dev for dev in found if dev.master is master]
    if "type" in chosen:
        found = [dev for dev in found if dev.kind == chosen["type"]]
    return [dev for dev in found if dev.up] if "up" in chosen else found
