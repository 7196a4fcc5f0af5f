"""Matches on a packet's headers: what dumps of real nodes name besides kube-proxy's.

    iprange, mac, length, ttl, tos, dscp, tcpmss

Linux: net/netfilter/xt_iprange.c, xt_mac.c, xt_length.c, xt_hl.c, xt_dscp.c, xt_tcpmss.c
"""

from __future__ import annotations

from typing import ClassVar

from k8semu.linux.netfilter.matches.meta import parse_u32
from k8semu.linux.netfilter.rule import Check, Given, Match, Pkt, UsageError, parse_ip
from k8semu.wire.addr import ip_ntoa, mac_aton, mac_ntoa
from k8semu.wire.header import IP, IP_TTL

TOS = IP + 1
DSCP_CLASSES = {
    "CS0": 0, "CS1": 8, "CS2": 16, "CS3": 24, "CS4": 32, "CS5": 40, "CS6": 48, "CS7": 56, "BE": 0, "EF": 46,
    **{f"AF{c}{d}": c * 8 + d * 2 for c in range(1, 5) for d in range(1, 4)},
}  # fmt: skip


def negation(invert: bool) -> str:
    """What stands before an option that is inverted."""
    return "! " if invert else ""


class IprangeMatch(Match, frozen=True):
    """`-m iprange --src-range A-B`. Each side is (first, last, inverted), or None.

    Differs: no warning where a range is reversed, and so holds nothing.
    """

    name: ClassVar[str] = "iprange"
    same_for_flow: ClassVar[bool] = True
    options: ClassVar[dict[str, tuple[str, int]]] = {f"--{end}-range": (f"--{end}-range", 1) for end in ("src", "dst")}
    invertible: ClassVar[frozenset[str]] = frozenset({"--src-range", "--dst-range"})

    src: tuple[bytes, bytes, bool] | None = None
    dst: tuple[bytes, bytes, bool] | None = None

    @classmethod
    def build(cls, given: Given) -> IprangeMatch:
        sides: list[tuple[bytes, bytes, bool] | None] = []
        for option in ("--src-range", "--dst-range"):
            if option not in given:
                sides.append(None)
                continue
            first, _, last = given.get(option).partition("-")
            ends = parse_ip(first), parse_ip(last or first)
            if ends[0] is None or ends[1] is None:
                bad = first if ends[0] is None else last
                raise UsageError(f'iprange: Bad value for "{option}" option: "{bad}"')
            sides.append((ends[0], ends[1], given.inverted(option)))
        if sides == [None, None]:
            raise UsageError("iprange match: You must specify `--src-range' or `--dst-range'")
        return cls(*sides)

    def text(self) -> str:
        words = ["-m iprange"]
        for option, side in (("--src-range", self.src), ("--dst-range", self.dst)):
            if side is not None:
                words.append(f"{negation(side[2])}{option} {ip_ntoa(side[0])}-{ip_ntoa(side[1])}")
        return " ".join(words)

    def listing(self) -> str:
        words = []
        for name, side in (("source", self.src), ("destination", self.dst)):
            if side is not None:
                words.append(f"{name} IP range {negation(side[2])}{ip_ntoa(side[0])}-{ip_ntoa(side[1])}")
        return " ".join(words)

    def compile(self) -> Check | None:
        src, dst = self.src, self.dst

        def check(p: Pkt) -> bool:
            if src is not None and (src[0] <= p.saddr <= src[1]) is src[2]:
                return False
            return dst is None or (dst[0] <= p.daddr <= dst[1]) is not dst[2]

        return check


class MacMatch(Match, frozen=True):
    """`-m mac`: the MAC address of the neighbour that a packet came from; nothing that this machine sends has one."""

    name: ClassVar[str] = "mac"
    options: ClassVar[dict[str, tuple[str, int]]] = {"--mac-source": ("--mac-source", 1)}
    invertible: ClassVar[frozenset[str]] = frozenset({"--mac-source"})

    addr: bytes
    invert: bool = False

    @classmethod
    def build(cls, given: Given) -> MacMatch:
        if "--mac-source" not in given:
            raise UsageError('mac: option "--mac-source" must be specified\n')
        try:
            return cls(mac_aton(given.get("--mac-source")), given.inverted("--mac-source"))
        except ValueError:
            raise UsageError("Invalid MAC address specified.") from None

    def text(self) -> str:
        return f"-m mac {negation(self.invert)}--mac-source {mac_ntoa(self.addr)}"

    def listing(self) -> str:
        return f"MAC {negation(self.invert)}{mac_ntoa(self.addr)}"

    def compile(self) -> Check | None:
        """Linux: mac_mt()."""
        addr, invert = self.addr, self.invert
        return lambda p: (
            p.indev is not None and p.indev.hard_header_len == 14 and (bytes(p.data[6:12]) == addr) is not invert
        )


class LengthMatch(Match, frozen=True):
    """`-m length --length MIN[:MAX]`: bytes from the IP header on."""

    name: ClassVar[str] = "length"
    options: ClassVar[dict[str, tuple[str, int]]] = {"--length": ("--length", 1)}
    invertible: ClassVar[frozenset[str]] = frozenset({"--length"})

    least: int
    most: int
    invert: bool = False

    @classmethod
    def build(cls, given: Given) -> LengthMatch:
        if "--length" not in given:
            raise UsageError('length: option "--length" must be specified\n')
        least, most = _range(given.get("--length"), "length", "--length")
        return cls(least, most, given.inverted("--length"))

    @property
    def _shown(self) -> str:
        return f"{self.least}" if self.least == self.most else f"{self.least}:{self.most}"

    def text(self) -> str:
        return f"-m length {negation(self.invert)}--length {self._shown}"

    def listing(self) -> str:
        return f"length {'!' if self.invert else ''}{self._shown}"

    def compile(self) -> Check | None:
        least, most, invert = self.least, self.most, self.invert
        return lambda p: (least <= (p.data[IP + 2] << 8 | p.data[IP + 3]) <= most) is not invert


def _range(text: str, name: str, option: str) -> tuple[int, int]:
    """``N``, ``N:M``, ``:M``, ``N:``, each at most 65535."""
    first, colon, last = text.partition(":")
    least = parse_u32(first or "0") if first or colon else None
    most = (parse_u32(last) if last else 65535) if colon else least
    if least is None or most is None or max(least, most) > 65535:
        near = first if not colon or least is None or least > 65535 else last
        raise UsageError(f'{name}: bad value for option "{option}" near "{near}", or out of range (0-65535).\n')
    return least, most


class TtlMatch(Match, frozen=True):
    """`-m ttl --ttl-eq|--ttl-lt|--ttl-gt N`. `how`: ==, !=, < or >."""

    name: ClassVar[str] = "ttl"
    options: ClassVar[dict[str, tuple[str, int]]] = {f"--ttl-{how}": (f"--ttl-{how}", 1) for how in ("eq", "lt", "gt")}
    invertible: ClassVar[frozenset[str]] = frozenset({"--ttl-eq"})

    how: str
    value: int

    @classmethod
    def build(cls, given: Given) -> TtlMatch:
        for option, how in (("--ttl-eq", "=="), ("--ttl-lt", "<"), ("--ttl-gt", ">")):
            if option in given:
                value = parse_u32(given.get(option))
                if value is None or value > 255:
                    raise UsageError(f'ttl: bad value for option "{option}", or out of range (0-255).\n')
                return cls("!=" if given.inverted(option) else how, value)
        raise UsageError("TTL match: You must specify one of `--ttl-eq', `--ttl-lt', `--ttl-gt")

    def text(self) -> str:
        option = {"==": "--ttl-eq", "!=": "! --ttl-eq", "<": "--ttl-lt", ">": "--ttl-gt"}[self.how]
        return f"-m ttl {option} {self.value}"

    def listing(self) -> str:
        return f"TTL match TTL {self.how} {self.value}"

    def compile(self) -> Check | None:
        value = self.value
        checks: dict[str, Check] = {
            "==": lambda p: p.data[IP_TTL] == value, "!=": lambda p: p.data[IP_TTL] != value,
            "<": lambda p: p.data[IP_TTL] < value, ">": lambda p: p.data[IP_TTL] > value,
        }  # fmt: skip
        return checks[self.how]


class TosMatch(Match, frozen=True):
    """`-m tos --tos VALUE[/MASK]`. Not modelled: names of values."""

    name: ClassVar[str] = "tos"
    options: ClassVar[dict[str, tuple[str, int]]] = {"--tos": ("--tos", 1)}
    invertible: ClassVar[frozenset[str]] = frozenset({"--tos"})

    value: int
    mask: int
    invert: bool = False

    @classmethod
    def build(cls, given: Given) -> TosMatch:
        if "--tos" not in given:
            raise UsageError('tos: option "--tos" must be specified\n')
        return cls(*parse_tos(given.get("--tos")), given.inverted("--tos"))

    def text(self) -> str:
        return f"-m tos {negation(self.invert)}--tos {self.value:#04x}/{self.mask:#04x}"

    def listing(self) -> str:
        return f"tos match{'!' if self.invert else ''}{self.value:#04x}/{self.mask:#04x}"

    def compile(self) -> Check | None:
        value, mask, invert = self.value, self.mask, self.invert
        return lambda p: (p.data[TOS] & mask == value) is not invert


def parse_tos(text: str) -> tuple[int, int]:
    value, slash, mask = text.partition("/")
    number, bits = parse_u32(value), parse_u32(mask) if slash else 0xFF
    if number is None or bits is None or max(number, bits) > 0xFF:
        raise UsageError(f'Symbolic name "{text}" is unknown')
    return number, bits


class DscpMatch(Match, frozen=True):
    """`-m dscp --dscp N`, or `--dscp-class EF`."""

    name: ClassVar[str] = "dscp"
    options: ClassVar[dict[str, tuple[str, int]]] = {"--dscp": ("--dscp", 1), "--dscp-class": ("--dscp-class", 1)}
    invertible: ClassVar[frozenset[str]] = frozenset({"--dscp", "--dscp-class"})

    value: int
    invert: bool = False

    @classmethod
    def build(cls, given: Given) -> DscpMatch:
        value = parse_dscp(given, "dscp", "--dscp", "--dscp-class")
        return cls(value, given.inverted("--dscp") or given.inverted("--dscp-class"))

    def text(self) -> str:
        return f"-m dscp {negation(self.invert)}--dscp {self.value:#04x}"

    def listing(self) -> str:
        return f"DSCP match {'!' if self.invert else ''}{self.value:#04x}"

    def compile(self) -> Check | None:
        value, invert = self.value, self.invert
        return lambda p: (p.data[TOS] >> 2 == value) is not invert


def parse_dscp(given: Given, name: str, by_value: str, by_class: str) -> int:
    if by_class in given:
        if given.get(by_class).upper() not in DSCP_CLASSES:
            raise UsageError(f'Invalid DSCP value `{given.get(by_class)}\'')
        return DSCP_CLASSES[given.get(by_class).upper()]
    if by_value not in given:
        raise UsageError("DSCP match: Parameter --dscp is required")
    value = parse_u32(given.get(by_value))
    if value is None or value > 63:
        raise UsageError(f'{name}: bad value for option "{by_value}", or out of range (0-63).\n')
    return value


def mss_option(p: Pkt) -> int:
    """Where in the frame the value of a TCP header's MSS option stands; 0 if it has none."""
    data, at = p.data, p.th + 20
    end = min(p.th + (data[p.th + 12] >> 4) * 4, len(data)) if len(data) >= at else 0
    while at < end and data[at] != 0:
        if data[at] == 1:
            at += 1
            continue
        if at + 1 >= end or data[at + 1] < 2:
            return 0
        if data[at] == 2 and data[at + 1] == 4 and at + 4 <= end:
            return at + 2
        at += data[at + 1]
    return 0


class TcpmssMatch(Match, frozen=True):
    """`-m tcpmss --mss MIN[:MAX]`: what the MSS option of a segment says."""

    name: ClassVar[str] = "tcpmss"
    options: ClassVar[dict[str, tuple[str, int]]] = {"--mss": ("--mss", 1)}
    invertible: ClassVar[frozenset[str]] = frozenset({"--mss"})

    least: int
    most: int
    invert: bool = False

    @classmethod
    def build(cls, given: Given) -> TcpmssMatch:
        if "--mss" not in given:
            raise UsageError('tcpmss: option "--mss" must be specified\n')
        return cls(*_range(given.get("--mss"), "tcpmss", "--mss"), given.inverted("--mss"))

    @property
    def _shown(self) -> str:
        return f"{self.least}" if self.least == self.most else f"{self.least}:{self.most}"

    def text(self) -> str:
        return f"-m tcpmss {negation(self.invert)}--mss {self._shown}"

    def listing(self) -> str:
        return f"tcpmss match {'!' if self.invert else ''}{self._shown}"

    def compile(self) -> Check | None:
        """A segment without the option does not match, and matches where that is inverted. Linux: tcpmss_mt()."""
        least, most, invert = self.least, self.most, self.invert

        def check(p: Pkt) -> bool:
            at = mss_option(p)
            if not at:
                return invert
            return (least <= (p.data[at] << 8 | p.data[at + 1]) <= most) is not invert

        return check
