"""Types of values: how each is written, how it sorts, how many of it nft prints on a line.

A packed address is `bytes`, an interface name is `str`, all else is an `int`.

Linux: nftables src/datatype.c, src/proto.c, src/ct.c, src/fib.c
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from k8semu.wire.addr import ip_ntoa

Value = bytes | int | str


class DataType(msgspec.Struct, frozen=True):
    """One type. `per_line`: how many elements of a set nft prints on one line."""

    name: str
    about: str
    octets: int
    per_line: int = 1
    names: tuple[tuple[str, int], ...] = ()
    unknown: str = ""
    """What nft says of a name that it does not know."""
    bitmask: bool = False
    big: bool = False
    """In network byte order."""

    def parse(self, kind: str, text: str) -> Value:
        """The value of a word of that kind; ValueError with nft's words."""
        if self.name == "ipv4_addr":
            return _parse_ip(kind, text)
        if self.name == "ifname":
            return text
        if kind == "num":
            value = int(text, 0)
            if self.bitmask and value not in dict(self.names).values():
                raise ValueError(self.unknown)
            return self._number(value)
        found = _names(self).get(text) if self.name != "inet_service" else _SERVICES.get(text)
        if found is None:
            raise ValueError(self.unknown or "Could not parse " + self.about)
        return found

    def _number(self, value: int) -> int:
        if value >= 1 << 8 * self.octets:
            raise ValueError("Service out of range" if self.name == "inet_service" else
                             f"Value {value} exceeds valid range 0-{(1 << 8 * self.octets) - 1}")
        return value

    def text(self, value: Value) -> str:
        """As nft prints it."""
        if isinstance(value, bytes):
            return ip_ntoa(value)
        if isinstance(value, str):
            return f'"{value}"'
        if self.name in ("mark", "ct_mark"):
            return f"0x{value:08x}"
        found = _texts(self).get(value)
        if found is not None:
            return found
        if self.bitmask:
            bits = [name for name, bit in self.names if value & bit]
            return ",".join(bits) if bits else f"{value:#x}"
        return str(value)

    def sort_bytes(self, value: Value) -> bytes:
        """The value as it lies in a register."""
        if isinstance(value, bytes):
            return value
        if isinstance(value, str):
            return value.encode().ljust(16, b"\0")
        return value.to_bytes(self.octets, "big" if self.big else "little")


_SERVICES = {"ftp": 21, "ssh": 22, "smtp": 25, "domain": 53, "http": 80, "ntp": 123, "https": 443, "mysql": 3306}
"""Of /etc/services, the few that people write."""


@lru_cache
def _names(dtype: DataType) -> dict[str, int]:
    return dict(reversed(dtype.names))


@lru_cache
def _texts(dtype: DataType) -> dict[int, str]:
    return {value: name for name, value in reversed(dtype.names)}


def _parse_ip(kind: str, text: str) -> bytes:
    if kind == "num":
        value = int(text, 0)
        if value >= 1 << 32:
            raise ValueError("Could not resolve hostname: Name or service not known")
        return value.to_bytes(4, "big")
    parts = text.split(".")
    if len(parts) != 4 or not all(p.isascii() and p.isdecimal() and int(p) < 256 for p in parts):
        raise ValueError("Could not resolve hostname: Name or service not known")
    return bytes(map(int, parts))


IPV4 = DataType("ipv4_addr", "IPv4 address", 4, 2, big=True)
PROTO = DataType(
    "inet_proto", "Internet protocol", 1, 5,
    (("icmp", 1), ("tcp", 6), ("udp", 17), ("dccp", 33), ("esp", 50), ("ah", 51), ("ipv6-icmp", 58), ("comp", 108),
     ("sctp", 132), ("udplite", 136), ("icmpv6", 58)),
    "Could not resolve protocol name",
)  # fmt: skip
SERVICE = DataType(
    "inet_service", "internet network service", 2, 5,
    unknown="Could not resolve service: Servname not found in nss_database", big=True,
)  # fmt: skip
MARK = DataType("mark", "packet mark", 4, 5)
IFNAME = DataType("ifname", "network interface name", 16)
IFINDEX = DataType("iface_index", "network interface index", 4)
INTEGER = DataType("integer", "integer", 4, 5)
CT_STATE = DataType(
    "ct_state", "conntrack state", 4,
    names=(("invalid", 1), ("established", 2), ("related", 4), ("new", 8), ("untracked", 64)),
    unknown="Could not parse conntrack state", bitmask=True,
)  # fmt: skip
CT_STATUS = DataType(
    "ct_status", "conntrack status", 4,
    names=(("expected", 1), ("seen-reply", 2), ("assured", 4), ("confirmed", 8), ("snat", 16), ("dnat", 32),
           ("dying", 512)),
    unknown="Could not parse conntrack status", bitmask=True,
)  # fmt: skip
CT_DIR = DataType("ct_dir", "conntrack direction", 1, names=(("original", 0), ("reply", 1)),
                  unknown="Could not parse conntrack direction")  # fmt: skip
FIB_TYPE = DataType(
    "fib_addrtype", "fib address type", 4,
    names=(("unspec", 0), ("unicast", 1), ("local", 2), ("broadcast", 3), ("anycast", 4), ("multicast", 5),
           ("blackhole", 6), ("unreachable", 7), ("prohibit", 8)),
    unknown="Could not parse fib address type",
)  # fmt: skip
ICMP_TYPE = DataType(
    "icmp_type", "ICMP type", 1, 5,
    (("echo-reply", 0), ("destination-unreachable", 3), ("source-quench", 4), ("redirect", 5), ("echo-request", 8),
     ("router-advertisement", 9), ("router-solicitation", 10), ("time-exceeded", 11), ("parameter-problem", 12),
     ("timestamp-request", 13), ("timestamp-reply", 14), ("info-request", 15), ("info-reply", 16),
     ("address-mask-request", 17), ("address-mask-reply", 18)),
    "Could not parse ICMP type",
)  # fmt: skip

TYPES = {t.name: t for t in (IPV4, PROTO, SERVICE, MARK, IFNAME, CT_STATE, CT_STATUS, CT_DIR, FIB_TYPE, ICMP_TYPE)}
"""Those that a set may be declared with."""

DataTypes = tuple[DataType, ...]


def about(dtypes: DataTypes) -> str:
    """How nft names a type in its errors."""
    if len(dtypes) == 1:
        return dtypes[0].about
    return f"concatenation of ({', '.join(t.about for t in dtypes)})"


def as_int(dtype: DataType, value: Value) -> int:
    """The value as a number, in which neighbours are neighbours."""
    if isinstance(value, int):
        return value
    if isinstance(value, bytes):
        return int.from_bytes(value, "big")
    return int.from_bytes(dtype.sort_bytes(value), "little")


def from_int(dtype: DataType, number: int) -> Value:
    """The other way round (of a type that has ranges)."""
    return number.to_bytes(4, "big") if dtype is IPV4 else number
