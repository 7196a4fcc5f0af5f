"""The types of sets: what an element is, how it is written, and what of a packet is looked up.

    hash:ip            1.2.3.4
    hash:ip,port       1.2.3.4,tcp:80
    hash:ip,port,ip    1.2.3.4,tcp:80,5.6.7.8
    hash:ip,port,net   1.2.3.4,tcp:80,5.6.7.0/24
    hash:net           1.2.3.0/24
    bitmap:port        80

An element is a tuple of its parts, so that asking a set is one look into a dictionary.

Linux: net/netfilter/ipset/ip_set_hash_*.c, ip_set_bitmap_port.c, ip_set_getport.c
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from k8semu.linux.netfilter.rule import PROTOCOL_NAMES, PROTOCOLS, Pkt
from k8semu.wire.addr import ip_aton, ip_ntoa, prefix_mask
from k8semu.wire.header import IPPROTO_ICMP

Element = tuple[Any, ...]

_WITH_PORTS = frozenset({6, 17, 132, 136})
_FRAGMENTS_HIDE = _WITH_PORTS | {IPPROTO_ICMP}
MAX_RANGE = 65536
"""More elements than a set holds cannot be meant."""


class SyntaxFault(Exception):
    """An element cannot be understood; the message is ipset's own."""


class Refusal(Exception):
    """The kernel does not take an element; the message is ipset's own."""


class TooMany(Exception):
    """A range of more elements than a set holds."""


class SetType:
    """One type. `dimension`: how many of a rule's ``src`` and ``dst`` it takes."""

    __slots__ = ("dimension", "name", "parts", "revision")

    def __init__(self, name: str, revision: int) -> None:
        self.name, self.revision = name, revision
        self.parts = tuple(name.partition(":")[2].split(","))
        self.dimension = len(self.parts)

    @property
    def hash(self) -> bool:
        return self.name.startswith("hash:")

    # --- text -----------------------------------------------------------------------------------

    def parse(self, text: str) -> Iterator[Element]:
        """The elements that a person writes: one, or those of a range. SyntaxFault in ipset's words."""
        if not self.hash:
            return ((port,) for port in _ports(text)[1])
        words = text.split(",")
        if len(words) == 1 and self.parts == ("net",):
            return iter(((_network(text, least=0),),))
        if len(words) < self.dimension:
            ordinal = ("Second", "Third")[len(words) - 1]
            raise SyntaxFault(f"{ordinal} element is missing from {text}.")
        if len(words) > self.dimension:
            raise SyntaxFault(f"Elem separator in {text}, but settype {self.name} supports none.")
        addresses = _addresses(words[0])
        protocol, ports = _ports(words[1]) if self.dimension > 1 else (0, range(1))
        network = self.dimension > 2 and self.parts[2] == "net"
        last = _addresses(words[2]) if self.dimension > 2 and not network else range(1)
        if len(addresses) * len(ports) * len(last) > MAX_RANGE:
            raise TooMany
        net = _network(words[2]) if network else None
        return (
            ((a.to_bytes(4, "big"), protocol, port)[: 3 if self.dimension > 1 else 1])
            + ((net or b.to_bytes(4, "big"),) if self.dimension > 2 else ())
            for a in addresses for port in ports for b in last
        )  # fmt: skip

    def text(self, element: Element) -> str:
        """As `ipset list` prints it."""
        if not self.hash:
            return str(element[0])
        if self.parts == ("net",):
            return _network_text(element[0])
        words = [ip_ntoa(element[0])]
        if self.dimension > 1:
            words.append(f"{PROTOCOL_NAMES.get(element[1], element[1])}:{_port_text(element[1], element[2])}")
        if self.dimension > 2:
            last = element[3]
            words.append(_network_text(last) if self.parts[2] == "net" else ip_ntoa(last))
        return ",".join(words)

    # --- packets --------------------------------------------------------------------------------

    def of(self, p: Pkt, dirs: Sequence[str]) -> Element | None:
        """What is looked up for a packet; None where it has no such parts. `dirs`: ``src`` or ``dst`` each."""
        if len(dirs) < self.dimension:
            return None
        if not self.hash:
            return (p.sport if dirs[0] == "src" else p.dport,) if p.proto in _WITH_PORTS and p.dport >= 0 else None
        address = p.saddr if dirs[0] == "src" else p.daddr
        if self.dimension == 1:
            return (address,)
        port = _port_of(p, dirs[1])
        if port is None:
            return None
        if self.dimension == 2:
            return address, p.proto, port
        return address, p.proto, port, p.saddr if dirs[2] == "src" else p.daddr


TYPES = {
    kind.name: kind
    for kind in (
        SetType("hash:ip", 6), SetType("hash:ip,port", 7), SetType("hash:ip,port,ip", 6),
        SetType("hash:ip,port,net", 8), SetType("hash:net", 7), SetType("bitmap:port", 3),
    )
}  # fmt: skip


def _port_of(p: Pkt, direction: str) -> int | None:
    """Linux: ip_set_getport.c ip_set_get_ip4_port()."""
    if p.frag and p.proto in _FRAGMENTS_HIDE:
        return None
    if p.proto in _WITH_PORTS:
        port = p.sport if direction == "src" else p.dport
        return port if port >= 0 else None
    if p.proto == IPPROTO_ICMP:
        return p.data[p.th] << 8 | p.data[p.th + 1] if len(p.data) >= p.th + 2 else None
    return 0


def network_of(address: bytes, plen: int) -> tuple[bytes, int]:
    """The network of `plen` bits that an address lies in."""
    return (int.from_bytes(address, "big") & prefix_mask(plen)).to_bytes(4, "big"), plen


# --- words ------------------------------------------------------------------------------------------


def _address(text: str) -> bytes:
    try:
        return ip_aton(text)
    except ValueError:
        raise SyntaxFault(f"cannot parse {text}: resolving to IPv4 address failed") from None


def _addresses(text: str) -> range:
    """``1.2.3.4``, ``1.2.3.0/30``, ``1.2.3.4-1.2.3.9``."""
    if "/" in text:
        base, plen = _network(text)
        first = int.from_bytes(base, "big")
        return range(first, first + (1 << (32 - plen)))
    low, _, high = text.partition("-")
    first = int.from_bytes(_address(low), "big")
    last = int.from_bytes(_address(high), "big") if high else first
    return range(min(first, last), max(first, last) + 1)


def digits(text: str) -> bool:
    """A number that one may have typed."""
    return text.isascii() and text.isdecimal() and len(text) <= 10


def _network(text: str, least: int = 1) -> tuple[bytes, int]:
    address, slash, plen = text.partition("/")
    if not slash and "-" in text:
        raise Refusal(f"a range of networks ({text}) is not modelled")
    if not slash:
        return _address(address), 32
    if not digits(plen) or not least <= int(plen) <= 32:
        raise SyntaxFault(f"'{plen}' is out of range {least}-32" if digits(plen) else f"'{plen}' is invalid as number")
    if plen.strip("0") == "":
        raise Refusal("The value of the CIDR parameter of the IP address is invalid")
    return network_of(_address(address), int(plen))


def _network_text(network: tuple[bytes, int]) -> str:
    return ip_ntoa(network[0]) + (f"/{network[1]}" if network[1] != 32 else "")


def _ports(text: str) -> tuple[int, range]:
    """``80``, ``tcp:80``, ``udp:53-55``: (protocol, ports)."""
    word, colon, rest = text.partition(":")
    protocol, numbers = (word, rest) if colon else ("tcp", text)
    if protocol not in PROTOCOLS and not (digits(protocol) and int(protocol) < 256):
        raise SyntaxFault(f"cannot parse '{protocol}' as a protocol")
    number = PROTOCOLS[protocol] if protocol in PROTOCOLS else int(protocol)
    low, _, high = numbers.partition("-")
    first = _port(low, protocol)
    last = _port(high, protocol) if high else first
    return number, range(min(first, last), max(first, last) + 1)


def _port(text: str, protocol: str) -> int:
    if digits(text) and int(text) <= 65535:
        return int(text)
    why = f"'{text}' is out of range 0-65535" if digits(text) else f"'{text}' is invalid as number"
    raise SyntaxFault(
        f"{why}\nSyntax error: '{protocol}' is invalid as number\ncannot parse '{text}' as a {protocol} port"
    )


def _port_text(protocol: int, port: int) -> str:
    return f"{port >> 8}/{port & 255}" if protocol == IPPROTO_ICMP else str(port)
