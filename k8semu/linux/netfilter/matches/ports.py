"""Transport matches: tcp, udp, sctp, multiport, icmp.

Linux: net/netfilter/xt_tcpudp.c, net/netfilter/xt_multiport.c
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from k8semu.linux.netfilter.rule import Check, Given, Match, Pkt, UsageError

SERVICES = {
    "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "bootps": 67, "bootpc": 68, "http": 80,
    "ntp": 123, "snmp": 161, "bgp": 179, "https": 443, "nfs": 2049,
}  # fmt: skip


def parse_port(text: str) -> int:
    """A port by number or by service name."""
    if text in SERVICES:
        return SERVICES[text]
    if not text.isdecimal() or int(text) > 65535:
        raise UsageError(f"invalid port/service `{text}' specified")
    return int(text)


class Ports(msgspec.Struct, frozen=True, gc=False):
    """`[!] FIRST[:LAST]`."""

    first: int
    last: int
    invert: bool = False

    @classmethod
    def parse(cls, text: str, invert: bool) -> Ports:
        low, colon, high = text.partition(":")
        first = parse_port(low) if low else 0
        last = (parse_port(high) if high else 65535) if colon else first
        if first > last:
            raise UsageError("invalid portrange (min > max)")
        return cls(first, last, invert)

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}:{self.last}"

    def holds(self, port: int) -> bool:
        return port >= 0 and (self.first <= port <= self.last) is not self.invert

    @property
    def one(self) -> int | None:
        """The port, if it is a single one."""
        return self.first if self.first == self.last and not self.invert else None


def _listed(label: str, ports: Ports) -> str:
    return f"{label}{'' if ports.first == ports.last else 's'}:{'!' if ports.invert else ''}{ports}"


_PORT_OPTIONS = {
    "--sport": ("--source-port", 1), "--source-port": ("--source-port", 1),
    "--dport": ("--destination-port", 1), "--destination-port": ("--destination-port", 1),
}  # fmt: skip


class PortMatch(Match, frozen=True):
    """Ports of one protocol."""

    options: ClassVar[dict[str, tuple[str, int]]] = _PORT_OPTIONS
    invertible: ClassVar[frozenset[str]] = frozenset({"--source-port", "--destination-port"})
    proto: ClassVar[int] = 0
    same_for_flow: ClassVar[bool] = True

    sport: Ports | None = None
    dport: Ports | None = None

    @staticmethod
    def ports(given: Given) -> tuple[Ports | None, Ports | None]:
        both = []
        for option in ("--source-port", "--destination-port"):
            found = option in given
            both.append(Ports.parse(given.get(option), given.inverted(option)) if found else None)
        return both[0], both[1]

    @classmethod
    def build(cls, given: Given) -> PortMatch:
        return cls(*cls.ports(given))

    def check_proto(self, proto: int, inverted: bool) -> None:
        if proto != self.proto or inverted:
            raise UsageError(f"{self.name.upper()} match requires '-p {self.name}'")

    def words(self) -> list[str]:
        words = [f"-m {self.name}"]
        for option, ports in (("--sport", self.sport), ("--dport", self.dport)):
            if ports is not None:
                words.append(f"{'! ' if ports.invert else ''}{option} {ports}")
        return words

    def text(self) -> str:
        return " ".join(self.words())

    def listing(self) -> str:
        parts = [self.name]
        if self.sport is not None:
            parts.append(_listed("spt", self.sport))
        if self.dport is not None:
            parts.append(_listed("dpt", self.dport))
        return " ".join(parts)

    def compile(self) -> Check | None:
        """A fragment without ports never matches."""
        sport, dport, proto = self.sport, self.dport, self.proto
        if sport is None and dport is None:
            return lambda p: p.dport >= 0 and p.proto == proto
        if sport is None and dport is not None and dport.one is not None:
            port = dport.one
            return lambda p: p.dport == port and p.proto == proto

        def check(p: Pkt) -> bool:
            return (
                p.proto == proto
                and p.dport >= 0
                and (sport is None or sport.holds(p.sport))
                and (dport is None or dport.holds(p.dport))
            )

        return check


class UdpMatch(PortMatch, frozen=True):
    """`-m udp`."""

    name: ClassVar[str] = "udp"
    proto: ClassVar[int] = 17


class SctpMatch(PortMatch, frozen=True):
    """`-m sctp`. Not modelled: --chunk-types."""

    name: ClassVar[str] = "sctp"
    proto: ClassVar[int] = 132

    def check_proto(self, proto: int, inverted: bool) -> None:
        if proto != self.proto or inverted:
            raise UsageError("sctp match requires '-p sctp'")


FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32}


def _parse_flags(text: str) -> int:
    if text == "ALL":
        return 0x3F
    if text == "NONE":
        return 0
    total = 0
    for name in text.split(","):
        if name not in FLAGS:
            raise UsageError(f"Unknown TCP flag `{name}'")
        total |= FLAGS[name]
    return total


def _flags_text(flags: int) -> str:
    return ",".join(name for name, bit in FLAGS.items() if flags & bit) or "NONE"


class TcpMatch(PortMatch, frozen=True):
    """`-m tcp`: ports and flags. `flags` is (mask, those that must be set). Not modelled: --tcp-option."""

    name: ClassVar[str] = "tcp"
    proto: ClassVar[int] = 6
    options: ClassVar[dict[str, tuple[str, int]]] = {
        **_PORT_OPTIONS, "--tcp-flags": ("--tcp-flags", 2), "--syn": ("--syn", 0),
    }  # fmt: skip
    invertible: ClassVar[frozenset[str]] = frozenset({*PortMatch.invertible, "--tcp-flags", "--syn"})

    flags: tuple[int, int] | None = None
    flags_invert: bool = False

    @property
    def by_flow(self) -> bool:
        """Segments of a flow differ in PSH (and ECN bits)."""
        return self.flags is None or not self.flags[0] & 0xC8

    @classmethod
    def build(cls, given: Given) -> TcpMatch:
        sport, dport = cls.ports(given)
        flags, invert = None, False
        if "--syn" in given and "--tcp-flags" in given:
            raise UsageError("Only one of `--syn' or `--tcp-flags'  allowed")
        if "--syn" in given:
            flags, invert = (0x17, 0x02), given.inverted("--syn")
        elif "--tcp-flags" in given:
            invert, (mask, comp) = given.opts["--tcp-flags"]
            flags = (_parse_flags(mask), _parse_flags(comp))
        return cls(sport, dport, flags, invert)

    def words(self) -> list[str]:
        words = super().words()
        if self.flags is not None:
            mask, comp = self.flags
            words.append(f"{'! ' if self.flags_invert else ''}--tcp-flags {_flags_text(mask)} {_flags_text(comp)}")
        return words

    def listing(self) -> str:
        text = super().listing()
        if self.flags is None:
            return text
        return f"{text} flags:{'!' if self.flags_invert else ''}0x{self.flags[0]:02X}/0x{self.flags[1]:02X}"

    def compile(self) -> Check | None:
        ports = super().compile()
        if self.flags is None:
            return ports
        (mask, comp), invert = self.flags, self.flags_invert

        def check(p: Pkt) -> bool:
            if ports is not None and not ports(p):
                return False
            return len(p.data) > p.th + 13 and (p.data[p.th + 13] & mask == comp) is not invert

        return check


class MultiportMatch(Match, frozen=True):
    """`-m multiport`: up to 15 ports, a range counts as two. `side` is sports, dports or ports."""

    name: ClassVar[str] = "multiport"
    same_for_flow: ClassVar[bool] = True
    options: ClassVar[dict[str, tuple[str, int]]] = {
        "--sports": ("--sports", 1), "--source-ports": ("--sports", 1), "--dports": ("--dports", 1),
        "--destination-ports": ("--dports", 1), "--ports": ("--ports", 1),
    }  # fmt: skip
    invertible: ClassVar[frozenset[str]] = frozenset({"--sports", "--dports", "--ports"})

    side: str
    ports: tuple[Ports, ...]
    invert: bool = False

    @classmethod
    def build(cls, given: Given) -> MultiportMatch:
        if not given.opts:
            raise UsageError("multiport expection an option")
        if len(given.opts) > 1:
            raise UsageError("multiport match: only one ports option allowed")
        option = next(iter(given.opts))
        ports = tuple(Ports.parse(word, False) for word in given.get(option).split(","))
        if sum(1 if p.first == p.last else 2 for p in ports) > 15:
            raise UsageError("too many ports specified")
        return cls(option[2:], ports, given.inverted(option))

    def check_proto(self, proto: int, inverted: bool) -> None:
        if proto not in (6, 17, 33, 132, 136) or inverted:
            raise UsageError("multiport needs `-p tcp', `-p udp', `-p udplite', `-p sctp' or `-p dccp'")

    def text(self) -> str:
        return f"-m multiport {'! ' if self.invert else ''}--{self.side} {','.join(map(str, self.ports))}"

    def listing(self) -> str:
        return f"multiport {self.side} {' !' if self.invert else ''}{','.join(map(str, self.ports))}"

    def compile(self) -> Check | None:
        ports, invert, side = self.ports, self.invert, self.side

        def check(p: Pkt) -> bool:
            if p.dport < 0:
                return False
            found = any(
                (side != "dports" and r.first <= p.sport <= r.last)
                or (side != "sports" and r.first <= p.dport <= r.last)
                for r in ports
            )
            return found is not invert

        return check


ICMP_TYPES = {
    "any": (255, -1), "echo-reply": (0, -1), "pong": (0, -1), "destination-unreachable": (3, -1),
    "network-unreachable": (3, 0), "host-unreachable": (3, 1), "protocol-unreachable": (3, 2),
    "port-unreachable": (3, 3), "fragmentation-needed": (3, 4), "source-quench": (4, -1), "redirect": (5, -1),
    "echo-request": (8, -1), "ping": (8, -1), "router-advertisement": (9, -1), "router-solicitation": (10, -1),
    "time-exceeded": (11, -1), "ttl-exceeded": (11, -1), "parameter-problem": (12, -1),
    "timestamp-request": (13, -1), "timestamp-reply": (14, -1),
}  # fmt: skip


class IcmpMatch(Match, frozen=True):
    """`-m icmp --icmp-type TYPE[/CODE]`; `code` -1 is any, type 255 is any."""

    name: ClassVar[str] = "icmp"
    options: ClassVar[dict[str, tuple[str, int]]] = {"--icmp-type": ("--icmp-type", 1)}
    invertible: ClassVar[frozenset[str]] = frozenset({"--icmp-type"})

    type: int = 255
    code: int = -1
    invert: bool = False

    @classmethod
    def build(cls, given: Given) -> IcmpMatch:
        text = given.get("--icmp-type", "any")
        found = ICMP_TYPES.get(text)
        if found is None:
            kind, slash, code = text.partition("/")
            if not kind.isdecimal() or (slash and not code.isdecimal()):
                raise UsageError(f"Unknown ICMP type `{text}'")
            found = (int(kind), int(code) if slash else -1)
            if found[0] > 255 or found[1] > 255:
                raise UsageError(f"Invalid ICMP type `{text}'\n")
        return cls(found[0], found[1], given.inverted("--icmp-type"))

    def check_proto(self, proto: int, inverted: bool) -> None:
        if proto != 1 or inverted:
            raise UsageError("icmp match requires '-p icmp'")

    def _value(self) -> str:
        if self.type == 255:
            return "any"
        return str(self.type) if self.code < 0 else f"{self.type}/{self.code}"

    def text(self) -> str:
        return f"-m icmp {'! ' if self.invert else ''}--icmp-type {self._value()}"

    def listing(self) -> str:
        bang = "!" if self.invert else ""
        if self.type == 255:
            return f"{bang}icmptype 255"
        return f"{bang}icmptype {self.type}" + (f" code {self.code}" if self.code >= 0 else "")

    def compile(self) -> Check | None:
        kind, code, invert = self.type, self.code, self.invert

        def check(p: Pkt) -> bool:
            if p.frag or len(p.data) < p.th + 4:
                return False
            same = kind == 255 or (p.data[p.th] == kind and (code < 0 or p.data[p.th + 1] == code))
            return same is not invert

        return check
