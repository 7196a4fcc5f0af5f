r"""The PROXY protocol: a few bytes ahead of a connection that say who the client is.

    v1   PROXY TCP4 203.0.113.10 203.0.113.100 51234 80\r\n
    v2   \r\n\r\n\0\r\nQUIT\n  0x21 (version 2, PROXY)  0x11 (TCP over IPv4)  12  addresses and ports, as bytes

Rule 1  A server that expects a header takes no connection without one: else a client could say who it is.
Rule 2  What is no header is a `ProxyProtocolError`, whatever the bytes.

Spec: haproxy.org, The PROXY protocol, versions 1 & 2
Not modelled: TLVs are passed over; UNIX sockets and UDP count as unknown clients.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct

Peer = tuple[str, int]
"""Address and port."""
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1_LONGEST = 107
"""Bytes of the longest first line, with its end."""
TCP4, TCP6 = 0x11, 0x21


class ProxyProtocolError(ValueError):
    """A connection that does not begin with a header."""


def header(version: str, source: Peer, target: Peer) -> bytes:
    """What is sent ahead of an IPv4 connection; `version`: v1 or v2."""
    if version == "v1":
        return f"PROXY TCP4 {source[0]} {target[0]} {source[1]} {target[1]}\r\n".encode()
    addresses = ipaddress.IPv4Address(source[0]).packed + ipaddress.IPv4Address(target[0]).packed
    body = addresses + struct.pack("!HH", source[1], target[1])
    return SIGNATURE + struct.pack("!BBH", 0x21, TCP4, len(body)) + body


async def read_header(reader: asyncio.StreamReader) -> Peer | None:
    """Who the client is, read off the beginning of a connection; None where the proxy does not say."""
    try:
        start = await reader.readexactly(6)
        if start == b"PROXY ":
            return _line(await _rest_of_line(reader))
        start += await reader.readexactly(len(SIGNATURE) - len(start))
        if start != SIGNATURE:
            raise ProxyProtocolError("neither PROXY nor the signature of version 2")
        command, family, length = struct.unpack("!BBH", await reader.readexactly(4))
        return _block(command, family, await reader.readexactly(length))
    except asyncio.IncompleteReadError as error:
        raise ProxyProtocolError("the connection ends within the header") from error


async def _rest_of_line(reader: asyncio.StreamReader) -> bytes:
    """Byte by byte: what follows is the client's."""
    line = bytearray()
    while not line.endswith(b"\r\n"):
        if len(line) >= V1_LONGEST - 6:
            raise ProxyProtocolError("a first line of more than 107 bytes")
        line += await reader.readexactly(1)
    return bytes(line[:-2])


def _line(line: bytes) -> Peer | None:
    words = line.decode("latin-1").split(" ")
    if words[0] == "UNKNOWN":
        return None
    if len(words) != 5 or words[0] not in ("TCP4", "TCP6"):
        raise ProxyProtocolError(f"no addresses in {line[:40]!r}")
    kind = ipaddress.IPv4Address if words[0] == "TCP4" else ipaddress.IPv6Address
    try:
        source, _ = kind(words[1]), kind(words[2])
    except ValueError as error:
        raise ProxyProtocolError(str(error)) from None
    source_port, _ = _port(words[3]), _port(words[4])
    return str(source), source_port


def _port(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 5 and int(word) < 65536) or str(int(word)) != word:
        raise ProxyProtocolError(f"{word!r} is no port")
    return int(word)


def _block(command: int, family: int, body: bytes) -> Peer | None:
    if command >> 4 != 2 or command & 0xF > 1:
        raise ProxyProtocolError(f"version and command {command:#04x}")
    size = {TCP4: 4, TCP6: 16}.get(family)
    if command & 0xF == 0 or size is None:   # LOCAL: the proxy's own connection, such as a check
        return None
    if len(body) < 2 * size + 4:
        raise ProxyProtocolError(f"{len(body)} bytes of addresses")
    (port,) = struct.unpack_from("!H", body, 2 * size)
    return str(ipaddress.ip_address(body[:size])), port
