"""MARK and CONNMARK; NOTRACK and CT.

Linux: net/netfilter/xt_mark.c, xt_connmark.c, xt_CT.c
"""

from __future__ import annotations

from typing import ClassVar

from k8semu.linux.core.skb import CtInfo
from k8semu.linux.netfilter.matches.meta import parse_mark, parse_u32
from k8semu.linux.netfilter.rule import Action, Given, Pkt, Target, UsageError, Verdict

_SETTERS = ("--set-mark", "--set-xmark", "--and-mark", "--or-mark", "--xor-mark")
_ALL = 0xFFFFFFFF


def _set_option(given: Given, name: str) -> tuple[int, int]:
    """(value, mask) such that mark = mark & ~mask ^ value, for whichever option was given."""
    option = next(o for o in _SETTERS if o in given)
    if option in ("--set-mark", "--set-xmark"):
        value, mask = parse_mark(given.get(option), name, option)
        return value, mask | value if option == "--set-mark" else mask
    bits = parse_u32(given.get(option))
    if bits is None:
        raise UsageError(f'{name}: bad integer value for option "{option}", or out of range.\n')
    if option == "--and-mark":
        return 0, ~bits & _ALL
    return bits, bits if option == "--or-mark" else 0


def _listed(value: int, mask: int) -> str:
    if mask == 0:
        return f"xor 0x{value:x}"
    if value == 0:
        return f"and 0x{~mask & _ALL:x}"
    if value == mask:
        return f"or 0x{value:x}"
    return f"set 0x{value:x}" if mask == _ALL else f"xset 0x{value:x}/0x{mask:x}"


class MarkTarget(Target, frozen=True):
    """`-j MARK`: mark = (mark & ~mask) ^ value."""

    name: ClassVar[str] = "MARK"
    by_flow: ClassVar[bool] = True
    options: ClassVar[dict[str, tuple[str, int]]] = {option: (option, 1) for option in _SETTERS}

    value: int
    mask: int

    @classmethod
    def build(cls, given: Given) -> MarkTarget:
        if not given.opts:
            raise UsageError("MARK: One of the --set-xmark, --{and,or,xor,set}-mark options is required")
        return cls(*_set_option(given, "MARK"))

    def text(self) -> str:
        return f"-j MARK --set-xmark {self.value:#x}/{self.mask:#x}"

    def listing(self) -> str:
        return f"MARK {_listed(self.value, self.mask)}"

    def compile(self) -> Action:
        value, keep = self.value, ~self.mask & _ALL

        def act(p: Pkt) -> Verdict | None:
            p.skb.mark = p.skb.mark & keep ^ value
            return None

        return act


class ConnmarkTarget(Target, frozen=True):
    """`-j CONNMARK`: set the connection's mark, or carry it from (save) and to (restore) the packet."""

    name: ClassVar[str] = "CONNMARK"
    options: ClassVar[dict[str, tuple[str, int]]] = {
        **{option: (option, 1) for option in _SETTERS},
        "--save-mark": ("--save-mark", 0), "--restore-mark": ("--restore-mark", 0),
        "--nfmask": ("--nfmask", 1), "--ctmask": ("--ctmask", 1), "--mask": ("--mask", 1),
    }  # fmt: skip
    needs_ct: ClassVar[bool] = True

    mode: str
    value: int = 0
    ctmask: int = _ALL
    nfmask: int = _ALL

    @classmethod
    def build(cls, given: Given) -> ConnmarkTarget:
        masks = []
        for option in ("--ctmask", "--nfmask"):
            text = given.get(option, given.get("--mask", str(_ALL)))
            bits = parse_u32(text)
            if bits is None:
                raise UsageError(f'CONNMARK: bad integer value for option "{option}", or out of range.\n')
            masks.append(bits)
        for mode in ("save", "restore"):
            if f"--{mode}-mark" in given:
                return cls(mode, 0, masks[0], masks[1])
        if not any(o in given for o in _SETTERS):
            raise UsageError("CONNMARK target: No operation specified")
        value, mask = _set_option(given, "CONNMARK")
        return cls("set", value, mask)

    def text(self) -> str:
        if self.mode == "set":
            return f"-j CONNMARK --set-xmark {self.value:#x}/{self.ctmask:#x}"
        return f"-j CONNMARK --{self.mode}-mark --nfmask {self.nfmask:#x} --ctmask {self.ctmask:#x}"

    def listing(self) -> str:
        if self.mode == "set":
            return f"CONNMARK {_listed(self.value, self.ctmask)}"
        if self.nfmask == self.ctmask == _ALL:
            return f"CONNMARK {self.mode}"
        if self.nfmask == self.ctmask:
            return f"CONNMARK {self.mode} mask 0x{self.ctmask:x}"
        if self.mode == "save":
            return f"CONNMARK save nfmask 0x{self.nfmask:x} ctmask ~0x{self.ctmask:x}"
        return f"CONNMARK restore ctmask 0x{self.ctmask:x} nfmask ~0x{self.nfmask:x}"

    def compile(self) -> Action:
        """Linux: connmark_tg_shift()."""
        mode, value, ctmask, nfmask = self.mode, self.value, self.ctmask, self.nfmask

        def act(p: Pkt) -> Verdict | None:
            skb = p.skb
            ct = skb.ct
            if ct is None:
                return None
            if mode == "set":
                ct.mark = ct.mark & ~ctmask & _ALL ^ value
            elif mode == "save":
                ct.mark = ct.mark & ~ctmask & _ALL ^ skb.mark & nfmask
            else:
                skb.mark = skb.mark & ~nfmask & _ALL ^ ct.mark & ctmask
                return None
            p.nf.conntrack.told(ct)
            return None

        return act


def _untrack(p: Pkt) -> Verdict | None:
    if p.skb.ct is None:
        p.skb.ctinfo = CtInfo.UNTRACKED
    return None


class NotrackTarget(Target, frozen=True):
    """`-j NOTRACK`: this packet is not tracked."""

    name: ClassVar[str] = "NOTRACK"
    tables: ClassVar[tuple[str, ...]] = ("raw",)
    needs_ct: ClassVar[bool] = True

    @classmethod
    def build(cls, given: Given) -> NotrackTarget:
        return cls()

    def text(self) -> str:
        return "-j NOTRACK"

    @property
    def label(self) -> str:
        return "CT"

    def listing(self) -> str:
        return "NOTRACK"

    def compile(self) -> Action:
        return _untrack


class CtTarget(Target, frozen=True):
    """`-j CT --notrack`. Not modelled: zones, helpers, events."""

    name: ClassVar[str] = "CT"
    options: ClassVar[dict[str, tuple[str, int]]] = {"--notrack": ("--notrack", 0)}
    tables: ClassVar[tuple[str, ...]] = ("raw",)
    needs_ct: ClassVar[bool] = True

    notrack: bool = False

    @classmethod
    def build(cls, given: Given) -> CtTarget:
        return cls("--notrack" in given)

    def text(self) -> str:
        return "-j CT --notrack" if self.notrack else "-j CT"

    def listing(self) -> str:
        return "CT notrack" if self.notrack else "CT"

    def compile(self) -> Action:
        return _untrack if self.notrack else (lambda p: None)
