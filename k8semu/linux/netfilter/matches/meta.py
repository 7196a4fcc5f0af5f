"""Matches on what the kernel knows about a packet: comment, mark, addrtype, physdev.

Linux: net/netfilter/xt_comment.c, xt_mark.c, xt_addrtype.c, xt_physdev.c
"""

from __future__ import annotations

from typing import ClassVar

from k8semu.linux.core.hooks import Hook
from k8semu.linux.netfilter.rule import Check, Given, IfName, Match, Pkt, UsageError

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def quote(text: str) -> str:
    """A word as `iptables-save` prints it. Linux: libxtables xtables_save_string()."""
    if text and all(c in _PLAIN for c in text):
        return text
    escaped = "".join("\\" + c if c in "\"\\'" else c for c in text)
    return f'"{escaped}"'


def parse_u32(text: str) -> int | None:
    """A 32-bit number in any of C's bases, or None."""
    try:
        value = int(text, 8) if text.isdecimal() and text.startswith("0") and text != "0" else int(text, 0)
    except ValueError:
        return None
    return value if 0 <= value <= 0xFFFFFFFF else None


def parse_mark(text: str, name: str, option: str) -> tuple[int, int]:
    """``VALUE[/MASK]``."""
    value, slash, mask = text.partition("/")
    number, bits = parse_u32(value), parse_u32(mask) if slash else 0xFFFFFFFF
    if number is None or bits is None:
        raise UsageError(f'{name}: bad integer value for option "{option}", or out of range.\n')
    return number, bits


def mark_text(value: int, mask: int) -> str:
    return f"{value:#x}" if mask == 0xFFFFFFFF else f"{value:#x}/{mask:#x}"


class CommentMatch(Match, frozen=True):
    """`-m comment`: says something, matches everything."""

    name: ClassVar[str] = "comment"
    same_for_flow: ClassVar[bool] = True
    options: ClassVar[dict[str, tuple[str, int]]] = {"--comment": ("--comment", 1)}

    comment: str

    @classmethod
    def build(cls, given: Given) -> CommentMatch:
        if "--comment" not in given:
            raise UsageError('comment: option "--comment" must be specified\n')
        text = given.get("--comment")
        if len(text.encode()) > 255:
            raise UsageError(f'comment: --comment cannot exceed 255 characters, got "{text}"')
        return cls(text)

    def text(self) -> str:
        return f"-m comment --comment {quote(self.comment)}"

    def listing(self) -> str:
        return f"/* {self.comment} */"

    def compile(self) -> Check | None:
        return None


class MarkMatch(Match, frozen=True):
    """`-m mark --mark VALUE[/MASK]`."""

    name: ClassVar[str] = "mark"
    same_for_flow: ClassVar[bool] = True
    options: ClassVar[dict[str, tuple[str, int]]] = {"--mark": ("--mark", 1)}
    invertible: ClassVar[frozenset[str]] = frozenset({"--mark"})

    value: int
    mask: int = 0xFFFFFFFF
    invert: bool = False

    @classmethod
    def build(cls, given: Given) -> MarkMatch:
        if "--mark" not in given:
            raise UsageError(f'{cls.name}: option "--mark" must be specified\n')
        return cls(*parse_mark(given.get("--mark"), cls.name, "--mark"), given.inverted("--mark"))

    def text(self) -> str:
        return f"-m {self.name} {'! ' if self.invert else ''}--mark {mark_text(self.value, self.mask)}"

    def listing(self) -> str:
        return f"mark match {'! ' if self.invert else ''}{mark_text(self.value, self.mask)}"

    def compile(self) -> Check | None:
        value, mask, invert = self.value, self.mask, self.invert
        return lambda p: (p.skb.mark & mask == value) is not invert


ADDRESS_TYPES = (
    "UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT",
    "THROW", "NAT", "XRESOLVE",
)  # fmt: skip


class AddrtypeMatch(Match, frozen=True):
    """`-m addrtype`: what kind of address it is to this machine. Differs: --limit-iface-* only prints."""

    name: ClassVar[str] = "addrtype"
    same_for_flow: ClassVar[bool] = True
    options: ClassVar[dict[str, tuple[str, int]]] = {
        "--src-type": ("--src-type", 1), "--dst-type": ("--dst-type", 1),
        "--limit-iface-in": ("--limit-iface-in", 0), "--limit-iface-out": ("--limit-iface-out", 0),
    }  # fmt: skip
    invertible: ClassVar[frozenset[str]] = frozenset({"--src-type", "--dst-type"})

    src: tuple[str, ...] = ()
    src_invert: bool = False
    dst: tuple[str, ...] = ()
    dst_invert: bool = False
    limit: str = ""

    @classmethod
    def build(cls, given: Given) -> AddrtypeMatch:
        if "--src-type" not in given and "--dst-type" not in given:
            raise UsageError("addrtype: you must specify --src-type or --dst-type")
        limit = [o for o in ("--limit-iface-in", "--limit-iface-out") if o in given]
        if len(limit) > 1:
            raise UsageError("addrtype: you can't specify both --limit-iface-in and --limit-iface-out")
        sides = []
        for option in ("--src-type", "--dst-type"):
            names = given.get(option).upper().split(",") if option in given else []
            for name in names:
                if name not in ADDRESS_TYPES:
                    raise UsageError(f'addrtype: bad type "{name}"')
            sides.append(tuple(t for t in ADDRESS_TYPES if t in names))
        return cls(
            sides[0], given.inverted("--src-type"), sides[1], given.inverted("--dst-type"), limit[0] if limit else ""
        )

    def text(self) -> str:
        words = ["-m addrtype"]
        if self.src:
            words.append(f"{'! ' if self.src_invert else ''}--src-type {','.join(self.src)}")
        if self.dst:
            words.append(f"{'! ' if self.dst_invert else ''}--dst-type {','.join(self.dst)}")
        if self.limit:
            words.append(self.limit)
        return " ".join(words)

    def listing(self) -> str:
        words = ["ADDRTYPE match"]
        if self.src:
            words.append(f"src-type {'!' if self.src_invert else ''}{','.join(self.src)}")
        if self.dst:
            words.append(f"dst-type {'!' if self.dst_invert else ''}{','.join(self.dst)}")
        if self.limit:
            words.append("limit-in" if self.limit.endswith("in") else "limit-out")
        return " ".join(words)

    def compile(self) -> Check | None:
        src, src_inv, dst, dst_inv = self.src, self.src_invert, self.dst, self.dst_invert

        def check(p: Pkt) -> bool:
            addr_type = p.nf.net.ipv4.addr_type
            if src and (addr_type(p.saddr).upper() in src) is src_inv:
                return False
            return not dst or (addr_type(p.daddr).upper() in dst) is not dst_inv

        return check


class PhysdevMatch(Match, frozen=True):
    """`-m physdev`: the bridge port a bridged frame came in by, or will leave by."""

    name: ClassVar[str] = "physdev"
    same_for_flow: ClassVar[bool] = True
    options: ClassVar[dict[str, tuple[str, int]]] = {
        "--physdev-in": ("--physdev-in", 1), "--physdev-out": ("--physdev-out", 1),
        "--physdev-is-in": ("--physdev-is-in", 0), "--physdev-is-out": ("--physdev-is-out", 0),
        "--physdev-is-bridged": ("--physdev-is-bridged", 0),
    }  # fmt: skip
    invertible: ClassVar[frozenset[str]] = frozenset(options)

    iif: IfName | None = None
    is_in: bool | None = None
    oif: IfName | None = None
    is_out: bool | None = None
    is_bridged: bool | None = None

    @classmethod
    def build(cls, given: Given) -> PhysdevMatch:
        if not given.opts:
            raise UsageError("PHYSDEV: no physdev option specified")

        def name(option: str) -> IfName | None:
            return IfName(given.get(option), given.inverted(option)) if option in given else None

        def flag(option: str) -> bool | None:
            return not given.inverted(option) if option in given else None

        return cls(
            name("--physdev-in"), flag("--physdev-is-in"), name("--physdev-out"), flag("--physdev-is-out"),
            flag("--physdev-is-bridged"),
        )  # fmt: skip

    def _words(self) -> list[str]:
        words = []
        for is_dev, dev, word in ((self.is_in, self.iif, "in"), (self.is_out, self.oif, "out")):
            if is_dev is not None:
                words.append(f"{'' if is_dev else '! '}--physdev-is-{word}")
            if dev is not None:
                words.append(f"{'! ' if dev.invert else ''}--physdev-{word} {dev.name}")
        if self.is_bridged is not None:
            words.append(f"{'' if self.is_bridged else '! '}--physdev-is-bridged")
        return words

    def text(self) -> str:
        return " ".join(["-m physdev", *self._words()])

    def listing(self) -> str:
        return " ".join(["PHYSDEV match", *self._words()])

    def compile(self) -> Check | None:
        """Linux: xt_physdev.c physdev_mt()."""
        m = self

        def check(p: Pkt) -> bool:
            port = p.skb.bridge_port
            out = p.nf.br.out_port if p.hook in (Hook.FORWARD, Hook.POSTROUTING) else None
            if m.is_in is not None and (port is not None) is not m.is_in:
                return False
            if m.is_out is not None and (out is not None) is not m.is_out:
                return False
            if m.is_bridged is not None and (port is not None and out is not None) is not m.is_bridged:
                return False
            if m.iif is not None and not m.iif.matches(port):
                return False
            return m.oif is None or m.oif.matches(out)

        return check
