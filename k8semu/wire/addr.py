"""Addresses: packed bytes in the datapath, text at the edges.

A packed address is `bytes` in network order: 4 for IPv4 (16 for an IPv6 yet to come), 6 for a
MAC. Packed, it is a slice of the frame, a dictionary key, and it sorts as the address does.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from socket import AF_INET, inet_pton

import msgspec

MAC_BROADCAST = b"\xff" * 6
MAC_ZERO = bytes(6)
IP_ANY = bytes(4)
IP_BROADCAST = b"\xff" * 4
IP_LOOPBACK = b"\x7f\x00\x00\x01"


@lru_cache(maxsize=65536)
def ip_aton(text: str) -> bytes:
    """Pack an IPv4 address; ValueError says what is wrong with it."""
    try:
        return inet_pton(AF_INET, text)
    except OSError:
        return ipaddress.IPv4Address(text).packed  # it says so


@lru_cache(maxsize=65536)
def ip_ntoa(packed: bytes) -> str:
    """The dotted form of a packed IPv4 address."""
    return ".".join(map(str, packed))


@lru_cache(maxsize=65536)
def mac_aton(text: str) -> bytes:
    """Pack a MAC address such as ``02:42:ac:11:00:02``; ValueError if it is none."""
    parts = text.split(":")
    if len(parts) != 6 or any(len(part) > 2 for part in parts):
        raise ValueError(f"{text!r} is not a MAC address")
    return bytes(int(part, 16) for part in parts)


def mac_ntoa(packed: bytes) -> str:
    """The colon form of a packed MAC address."""
    return packed.hex(":")


def ip_is_multicast(packed: bytes) -> bool:
    """224.0.0.0/4 (RFC 5771)."""
    return packed[0] & 0xF0 == 0xE0


def ip_is_loopback(packed: bytes) -> bool:
    """127.0.0.0/8."""
    return packed[0] == 127


class Prefix(msgspec.Struct, frozen=True, order=True):
    """A network: `addr` packed with its host bits cleared, and a prefix length `plen`."""

    addr: bytes
    plen: int

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """Read ``172.17.0.0/16`` (host bits must be zero), ``10.1.2.3`` (a /32) or ``default``."""
        if text == "default":
            return DEFAULT
        found = plain(text)
        if found is not None and not int.from_bytes(found[0], "big") & ~prefix_mask(found[1]):
            return cls(*found)
        net = ipaddress.IPv4Network(text)
        return cls(net.network_address.packed, net.prefixlen)

    @classmethod
    def of(cls, addr: bytes, plen: int) -> Prefix:
        """The network of size `plen` that holds `addr`."""
        mask = prefix_mask(plen)
        return cls((int.from_bytes(addr, "big") & mask).to_bytes(4, "big"), plen)

    def __contains__(self, addr: object) -> bool:
        assert isinstance(addr, (bytes, bytearray))
        return (int.from_bytes(addr, "big") & prefix_mask(self.plen)) == int.from_bytes(self.addr, "big")

    def subnet_of(self, other: Prefix) -> bool:
        """Is all of it in `other`?"""
        return self.plen >= other.plen and self.addr in other

    def overlaps(self, other: Prefix) -> bool:
        """Have the two an address in common?"""
        return self.addr in other or other.addr in self

    @property
    def broadcast(self) -> bytes:
        """The last address of the network."""
        return (int.from_bytes(self.addr, "big") | (~prefix_mask(self.plen) & 0xFFFFFFFF)).to_bytes(4, "big")

    def __str__(self) -> str:
        return f"{ip_ntoa(self.addr)}/{self.plen}"


def prefix_mask(plen: int) -> int:
    """The netmask of an IPv4 prefix length, as an integer."""
    return (0xFFFFFFFF << (32 - plen)) & 0xFFFFFFFF


@lru_cache(maxsize=65536)
def plain(text: str) -> tuple[bytes, int] | None:
    """Address and length of ``1.2.3.4/24`` or ``1.2.3.4``; None: `ipaddress` knows what it is, or what is wrong."""
    host, slash, length = text.partition("/")
    if slash and not (len(length) <= 2 and length.isascii() and length.isdecimal() and int(length) <= 32):
        return None
    try:
        return inet_pton(AF_INET, host), int(length) if slash else 32
    except OSError:
        return None


DEFAULT = Prefix(IP_ANY, 0)


class Interface(msgspec.Struct, frozen=True):
    """An address on a device with its network's prefix length: ``172.17.0.1/24``."""

    addr: bytes
    plen: int

    @classmethod
    def parse(cls, text: str) -> Interface:
        """Read ``172.17.0.1/24``; without a length it is a /32."""
        found = plain(text)
        if found is not None:
            return cls(*found)
        iface = ipaddress.IPv4Interface(text)
        return cls(iface.ip.packed, iface.network.prefixlen)

    @property
    def network(self) -> Prefix:
        return Prefix.of(self.addr, self.plen)

    def __str__(self) -> str:
        return f"{ip_ntoa(self.addr)}/{self.plen}"
