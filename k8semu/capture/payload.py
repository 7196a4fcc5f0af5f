"""What programs write into their data that depends on ports, or on how long a run takes.

    PROXY TCP4 203.0.113.10 10.100.0.2 42390 80     the caller's port
    web.default.svc.cluster.local. 29 IN A …        what is left of a TTL in a cache, here up to 30
"""

from __future__ import annotations

import re

_PROXY_V1 = re.compile(rb"\A(PROXY TCP4 [\d.]+ [\d.]+ )\d+( \d+\r\n)")
_PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
"""Version 2, TCP over IPv4, no more than the addresses; those follow, then the caller's port and the other."""
TTL_STEP = 5
"""Seconds that a run may lag behind, as a TTL counts down."""
_OPT = 41


def without_proxied_port(data: bytes) -> bytes:
    """The beginning of a connection, without the port in a PROXY header."""
    if data.startswith(_PROXY_V2):
        at = len(_PROXY_V2) + 8
        return data[:at] + bytes(2) + data[at + 2 :]
    return _PROXY_V1.sub(rb"\1#\2", data)


def steady_ttls(message: bytes) -> bytes:
    """A DNS message with each TTL rounded up to the next five seconds; what is no whole message, as it is. RFC 1035"""
    data = bytearray(message)
    questions, *records = (int.from_bytes(message[at : at + 2], "big") for at in (4, 6, 8, 10))
    at = 12
    try:
        for _ in range(questions):
            at = _after_name(message, at) + 4
        for _ in range(sum(records)):
            at = _after_name(message, at)
            rtype, size = message[at : at + 2], int.from_bytes(message[at + 8 : at + 10], "big")
            if int.from_bytes(rtype, "big") != _OPT:
                ttl = int.from_bytes(message[at + 4 : at + 8], "big")
                data[at + 4 : at + 8] = (-(-ttl // TTL_STEP) * TTL_STEP & 0xFFFFFFFF).to_bytes(4, "big")
            at += 10 + size
    except IndexError:
        return message
    return bytes(data) if at == len(message) == len(data) else message


def _after_name(message: bytes, at: int) -> int:
    """Where a name ends. IndexError beyond the message."""
    while message[at]:
        if message[at] >= 0xC0:
            return at + 2
        at += 1 + message[at]
    return at + 1
