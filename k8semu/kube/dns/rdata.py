"""What stands in a record: made from values, and written as zone files have it.

RFC: 1035, 2782, 3596
"""

from __future__ import annotations

import socket
import struct

from k8semu.kube.dns.message import Rdata, Record, Type
from k8semu.kube.dns.names import Name, name_text


def address(text: str) -> tuple[int, Rdata]:
    """A and its four bytes, or AAAA and its sixteen; ValueError if it is no address."""
    try:
        if ":" in text:
            return Type.AAAA, (socket.inet_pton(socket.AF_INET6, text),)
        return Type.A, (socket.inet_pton(socket.AF_INET, text),)
    except OSError:
        raise ValueError(f"{text!r} is no address") from None


def srv(priority: int, weight: int, port: int, target: Name) -> Rdata:
    return struct.pack("!HHH", priority, weight, port), target


def soa(mname: Name, rname: Name, serial: int, refresh: int, retry: int, expire: int, minimum: int) -> Rdata:
    return mname, rname, struct.pack("!IIIII", serial & 0xFFFFFFFF, refresh, retry, expire, minimum)


def txt(text: str) -> Rdata:
    """Strings of at most 255 bytes each."""
    raw = text.encode()
    chunks = [raw[i : i + 255] for i in range(0, len(raw), 255)] or [b""]
    return (b"".join(bytes([len(chunk)]) + chunk for chunk in chunks),)


def rdata_text(record: Record) -> str:
    """``10.96.0.20``, ``0 50 80 web.default.svc.cluster.local.``; of an unknown type ``\\# 2 abcd`` (RFC 3597)."""
    data = record.data
    first = data[0]
    if record.rtype in (Type.NS, Type.CNAME, Type.PTR) and isinstance(first, tuple):
        return name_text(first)
    if record.rtype == Type.SOA and len(data) == 3 and isinstance(first, tuple):
        rname, numbers = data[1:]
        assert isinstance(rname, tuple)
        assert isinstance(numbers, bytes)
        return f"{name_text(first)} {name_text(rname)} " + " ".join(map(str, struct.unpack("!IIIII", numbers)))
    if record.rtype in (Type.SRV, Type.MX) and len(data) == 2 and isinstance(first, bytes):
        target = data[1]
        assert isinstance(target, tuple)
        return " ".join(map(str, struct.unpack(f"!{len(first) // 2}H", first))) + f" {name_text(target)}"
    assert isinstance(first, bytes)
    if record.rtype == Type.A and len(first) == 4:
        return socket.inet_ntop(socket.AF_INET, first)
    if record.rtype == Type.AAAA and len(first) == 16:
        return socket.inet_ntop(socket.AF_INET6, first)
    if record.rtype == Type.TXT and first:
        return _txt_text(first)
    return f"\\# {len(first)} {first.hex().upper()}".rstrip()


def _txt_text(raw: bytes) -> str:
    parts, offset = [], 0
    while offset < len(raw):
        text = raw[offset + 1 : offset + 1 + raw[offset]]
        offset += 1 + raw[offset]
        shown = "".join(
            f"\\{chr(b)}" if b in b'"\\' else chr(b) if 0x20 <= b < 0x7F else f"\\{b:03d}" for b in text
        )  # fmt: skip
        parts.append(f'"{shown}"')
    return " ".join(parts)
