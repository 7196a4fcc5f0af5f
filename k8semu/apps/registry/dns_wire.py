"""As much of DNS on the wire as Consul's interface and its clients speak: questions, A, SRV and SOA.

RFC:     1035, 2782
Not modelled: EDNS (its record is passed over), other classes than IN.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

import msgspec

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, ANY = 1, 2, 5, 6, 12, 16, 28, 33, 255
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
IN = 1
MAX_UDP = 512
_QR, _AA, _TC, _RD = 0x8000, 0x0400, 0x0200, 0x0100


class DnsError(ValueError):
    """These bytes are no DNS message that makes sense here."""


class Query(msgspec.Struct, frozen=True):
    """One question. `name` is as it was asked, without the last dot."""

    id: int
    name: str
    type: int
    recurse: bool = True
    opcode: int = 0


class Record(msgspec.Struct, frozen=True):
    """One resource record; `data` as on the wire, with names in full."""

    name: str
    type: int
    ttl: int
    data: bytes


class Response(msgspec.Struct, frozen=True):
    """What came back: `answers` and `additional` records, whether it was cut short."""

    id: int
    rcode: int
    answers: list[Record]
    additional: list[Record]
    truncated: bool = False


# --- names ----------------------------------------------------------------------------------------


def encode_name(name: str) -> bytes:
    """``account.service.consul``, each label behind its length."""
    out = b""
    for label in name.rstrip(".").split(".") if name.rstrip(".") else []:
        raw = label.encode("ascii", "replace")
        if not 0 < len(raw) < 64:
            raise DnsError(f"{label!r} is no label")
        out += bytes([len(raw)]) + raw
    if len(out) > 254:
        raise DnsError("a name of more than 255 bytes")
    return out + b"\0"


def decode_name(data: bytes, at: int) -> tuple[str, int]:
    """The name at `at`, and where what follows it begins. Pointers lead only backwards."""
    labels: list[str] = []
    end, size = -1, 0
    while True:
        length = _byte(data, at)
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | _byte(data, at + 1)
            if target >= at:
                raise DnsError("a name that points ahead")
            end, at = (at + 2 if end < 0 else end), target
            continue
        if length > 63:
            raise DnsError("a label of an unknown kind")
        if not length:
            return ".".join(labels), at + 1 if end < 0 else end
        label = data[at + 1 : at + 1 + length]
        size += length + 1
        if len(label) < length or size > 254:
            raise DnsError("a name that is cut off")
        labels.append(label.decode("ascii", "replace").replace(".", "?"))  # a dot in a label is part of no name of ours
        at += 1 + length


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise DnsError("the message is cut off")
    return data[at]


def _u16(data: bytes, at: int) -> int:
    return _byte(data, at) << 8 | _byte(data, at + 1)


# --- messages -------------------------------------------------------------------------------------


def encode_query(query: Query) -> bytes:
    head = [query.id, query.opcode << 11 | (_RD if query.recurse else 0), 1, 0, 0, 0]
    return _u16s(*head) + encode_name(query.name) + _u16s(query.type, IN)


def decode_query(data: bytes) -> Query:
    """One question; DnsError if it is none, or has several."""
    if len(data) < 12:
        raise DnsError("the message is cut off")
    flags = _u16(data, 2)
    if flags & _QR or _u16(data, 4) != 1:
        raise DnsError("no question")
    name, at = decode_name(data, 12)
    if _u16(data, at + 2) not in (IN, ANY):
        raise DnsError("no class that is known")
    return Query(_u16(data, 0), name, _u16(data, at), bool(flags & _RD), flags >> 11 & 15)


def encode_response(
    query: Query, rcode: int, answers: Sequence[Record] = (), authority: Sequence[Record] = (),
    additional: Sequence[Record] = (), limit: int = 65_535,
) -> bytes:  # fmt: skip
    """An answer with authority; cut short, and marked so, where it is longer than `limit`."""
    question = encode_name(query.name) + _u16s(query.type, IN)
    flags = _QR | _AA | query.opcode << 11 | (_RD if query.recurse else 0) | rcode
    sections = [[_record(one, query.name) for one in part] for part in (answers, authority, additional)]
    while 12 + len(question) + sum(len(one) for part in sections for one in part) > limit:
        last = next(part for part in reversed(sections) if part)
        last.pop()
        if last is sections[0]:
            flags |= _TC
    counts = [len(part) for part in sections]
    return _u16s(query.id, flags, 1, *counts) + question + b"".join(one for part in sections for one in part)


def _record(record: Record, asked: str) -> bytes:
    name = b"\xc0\x0c" if record.name == asked else encode_name(record.name)
    head = _u16s(record.type, IN) + record.ttl.to_bytes(4, "big") + _u16s(len(record.data))
    return name + head + record.data


def decode_response(data: bytes) -> Response:
    """DnsError if it is none."""
    if len(data) < 12 or not _u16(data, 2) & _QR:
        raise DnsError("no answer")
    questions, *counts = (_u16(data, at) for at in (4, 6, 8, 10))
    at = 12
    for _ in range(questions):
        at = decode_name(data, at)[1] + 4
    sections: list[list[Record]] = []
    for count in counts:
        part = []
        for _ in range(count):
            name, at = decode_name(data, at)
            size = _u16(data, at + 8)
            ttl = _u16(data, at + 4) << 16 | _u16(data, at + 6)
            inner = data[at + 10 : at + 10 + size]
            if len(inner) < size:
                raise DnsError("the message is cut off")
            part.append(Record(name, _u16(data, at), ttl, inner))
            at += 10 + size
        sections.append(part)
    flags = _u16(data, 2)
    return Response(_u16(data, 0), flags & 15, sections[0], sections[2], bool(flags & _TC))


def _u16s(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)


# --- records --------------------------------------------------------------------------------------


def a_record(name: str, ttl: int, address: str) -> Record:
    return Record(name, A, ttl, socket.inet_aton(address))


def srv_record(name: str, ttl: int, priority: int, weight: int, port: int, target: str) -> Record:
    return Record(name, SRV, ttl, _u16s(priority, weight, port) + encode_name(target))


def soa_record(name: str, ttl: int, primary: str, mail: str, numbers: Sequence[int]) -> Record:
    """`numbers`: serial, refresh, retry, expire, minimum."""
    data = encode_name(primary) + encode_name(mail) + b"".join(number.to_bytes(4, "big") for number in numbers)
    return Record(name, SOA, ttl, data)
