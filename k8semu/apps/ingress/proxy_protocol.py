"""The PROXY protocol: a load balancer in front says first who its client is.

    PROXY TCP4 203.0.113.10 198.51.100.1 54321 80\r\n        version 1, a line of text
    \r\n\r\n\0\r\nQUIT\n  \x21 \x11 length  saddr daddr …      version 2, bytes

Shown: ConfigMap `use-proxy-protocol: "true"`
nginx: src/core/ngx_proxy_protocol.c
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import NamedTuple

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST_LINE = 107
_LINE = re.compile(rb"PROXY (?:(UNKNOWN)[^\r\n]*|TCP[46] ([0-9a-fA-F.:]+) [0-9a-fA-F.:]+ \d{1,5} \d{1,5})\r\n")


class Said(NamedTuple):
    """The client's address ('' if it is not said), and how long the header was."""

    address: str
    length: int


class BrokenHeader(Exception):
    """No such header: nginx hangs up."""


def read(data: bytes) -> Said | None:
    """The header at the start of `data`; None while it is not whole. BrokenHeader if it is none."""
    if data.startswith(SIGNATURE[: len(data)]):
        return _binary(data) if len(data) >= 16 else None
    if not data.startswith(b"PROXY "[: len(data)]):
        raise BrokenHeader
    if b"\n" not in data[:LONGEST_LINE]:
        if len(data) >= LONGEST_LINE:
            raise BrokenHeader
        return None
    match = _LINE.match(data)
    if match is None:
        raise BrokenHeader
    return Said(_address((match[2] or b"").decode()) if match[2] else "", match.end())


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise BrokenHeader from None


def _binary(data: bytes) -> Said | None:
    command, family, size = struct.unpack("!BBH", data[12:16])
    if command >> 4 != 2:
        raise BrokenHeader
    whole = 16 + size
    if len(data) < whole:
        return None
    if command & 15 == 0 or family not in (0x11, 0x21):  # LOCAL, or an unknown family: the connection's own addresses
        return Said("", whole)
    length = 4 if family == 0x11 else 16
    if size < 2 * length + 4:
        raise BrokenHeader
    return Said(str(ipaddress.ip_address(data[16 : 16 + length])), whole)
