"""DNS messages: bytes to values and back.

    parse      any bytes ─▶ a Message, or FormatError (never another exception)
    build      a Message ─▶ bytes, names compressed or not
    truncate   what fits into so many bytes: TC set where something had to go

What is taken for a message, what only for its header, and where names are compressed follows miekg/dns,
on which CoreDNS stands: it writes names out in full unless the message then would not fit.

RFC: 1035, 6891 (OPT), 2782 (SRV)
"""

from __future__ import annotations

import struct
from enum import IntEnum

from msgspec import Struct

from k8semu.kube.dns.names import MAX_NAME, Name


class Type(IntEnum):
    """Record types; a number without a name is one, too."""

    A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV = 1, 2, 5, 6, 12, 15, 16, 28, 33
    OPT, IXFR, AXFR, ANY = 41, 251, 252, 255


class Rcode(IntEnum):
    NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16


IN = 1
QR, OPCODE, AA, TC, RD, RA, AD, CD = 0x8000, 0x7800, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
HEADER = struct.Struct("!HHHHHH")
_RR = struct.Struct("!HHIH")
MIN_SIZE, MAX_SIZE = 512, 65535
MAX_POINTERS = 126
MAX_POINTER_OFFSET = 0x4000
DO = 0x8000

Rdata = tuple[bytes | Name, ...]
"""Raw bytes and names, in their order: an SRV is (6 bytes, target)."""

# Where names stand in a record's data: how many bytes come before, how many names there are.
_NAMES = {
    Type.NS: (0, 1), Type.CNAME: (0, 1), Type.PTR: (0, 1), Type.SOA: (0, 2), Type.MX: (2, 1), Type.SRV: (6, 1),
}  # fmt: skip
_SIZES = {Type.A: 4, Type.AAAA: 16}
_NOT_COMPRESSED = (Type.SRV,)


class FormatError(ValueError):
    """The bytes are no DNS message. `message` is what could be read: at most header and question."""

    def __init__(self, what: str, message: Message | None = None) -> None:
        super().__init__(what)
        self.message = message


class Question(Struct, frozen=True):
    name: Name
    rtype: int
    rclass: int = IN


class Record(Struct, frozen=True):
    name: Name
    rtype: int
    ttl: int
    data: Rdata
    rclass: int = IN


class Edns(Struct, frozen=True):
    """The OPT record. `size` is what the sender can take by UDP."""

    size: int = 4096
    do: bool = False
    version: int = 0
    rcode: int = 0
    """The upper eight bits of the response code."""
    options: tuple[tuple[int, bytes], ...] = ()


class Message(Struct, frozen=True):
    """`flags` are the header's second word whole: QR, opcode, AA, TC, RD, RA, AD, CD, and the lower rcode."""

    id: int
    flags: int = RD
    questions: tuple[Question, ...] = ()
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    edns: Edns | None = None

    @property
    def rcode(self) -> int:
        return (self.flags & 0xF) | (self.edns.rcode << 4 if self.edns is not None else 0)

    @property
    def opcode(self) -> int:
        return self.flags >> 11 & 0xF

    @property
    def truncated(self) -> bool:
        return bool(self.flags & TC)


def rcode_name(rcode: int) -> str:
    """``NXDOMAIN``."""
    try:
        return Rcode(rcode).name
    except ValueError:
        return f"RCODE{rcode}"


def type_name(rtype: int) -> str:
    """``SRV``; ``TYPE65`` for one without a name here (RFC 3597)."""
    try:
        return Type(rtype).name
    except ValueError:
        return f"TYPE{rtype}"


# --- reading ------------------------------------------------------------------------------------


def read_header(data: bytes) -> tuple[int, ...] | None:
    """Id, flags and the four counts; None if the bytes do not even hold a header."""
    return HEADER.unpack_from(data) if len(data) >= HEADER.size else None


def parse(data: bytes) -> Message:
    """The message; FormatError. Counts that promise more than there is are no error at a record's border."""
    header = read_header(data)
    if header is None:
        raise FormatError(f"{len(data)} bytes are less than a header")
    number, flags, qd, an, ns, ar = header
    message = Message(number, flags)
    offset = HEADER.size
    if offset == len(data):
        return message
    try:
        questions, offset = _read_questions(data, offset, qd)
        message = Message(number, flags, questions)
        answers, offset = _read_records(data, offset, an)
        authority, offset = _read_records(data, offset, ns)
        additional, offset = _read_records(data, offset, ar)
    except FormatError as error:
        raise FormatError(str(error), message) from None
    except (struct.error, IndexError):
        raise FormatError("cut off", message) from None
    edns = next((record for record in reversed(additional) if record.rtype == Type.OPT), None)
    rest = tuple(record for record in additional if record is not edns)
    try:
        return Message(number, flags, questions, answers, authority, rest, _edns(edns) if edns else None)
    except FormatError as error:
        raise FormatError(str(error), message) from None


def _read_name(data: bytes, offset: int) -> tuple[Name, int]:
    labels: list[bytes] = []
    end, pointers, length = -1, 0, 1
    while True:
        size = data[offset]
        if size >= 0xC0:
            if end < 0:
                end = offset + 2
            offset = (size & 0x3F) << 8 | data[offset + 1]
            pointers += 1
            if pointers > MAX_POINTERS:
                raise FormatError("too many compression pointers")
        elif size >= 0x40:
            raise FormatError(f"label type {size >> 6}")
        elif size == 0:
            return tuple(labels), offset + 1 if end < 0 else end
        else:
            offset += 1
            if offset + size > len(data):
                raise FormatError("a label is cut off")
            length += size + 1
            if length > MAX_NAME:
                raise FormatError("a name of more than 255 bytes")
            labels.append(data[offset : offset + size])
            offset += size


def _read_questions(data: bytes, offset: int, count: int) -> tuple[tuple[Question, ...], int]:
    found = []
    for _ in range(count):
        name, offset = _read_name(data, offset)
        words = []
        for _ in range(2):
            if offset == len(data):     # as miekg/dns: what is missing at the very end is zero
                words.append(0)
                continue
            words.append(struct.unpack_from("!H", data, offset)[0])
            offset += 2
        found.append(Question(name, words[0], words[1]))
        if offset == len(data):
            break
    return tuple(found), offset


def _read_records(data: bytes, offset: int, count: int) -> tuple[tuple[Record, ...], int]:
    found = []
    for _ in range(count):
        if offset == len(data):
            break
        name, offset = _read_name(data, offset)
        rtype, rclass, ttl, size = _RR.unpack_from(data, offset)
        offset += _RR.size
        if offset + size > len(data):
            raise FormatError("a record is cut off")
        found.append(Record(name, rtype, ttl, _read_rdata(data, offset, size, rtype), rclass))
        offset += size
    return tuple(found), offset


def _read_rdata(data: bytes, offset: int, size: int, rtype: int) -> Rdata:
    """The names in it are read out, since they can point into the rest of the message."""
    end = offset + size
    if size == 0:
        return (b"",)
    if size != _SIZES.get(rtype, size):  # type: ignore[call-overload]
        raise FormatError(f"{size} bytes of data in a record of type {type_name(rtype)}")
    if rtype not in _NAMES:
        return (data[offset:end],)
    before, count = _NAMES[rtype]  # type: ignore[index]
    parts: list[bytes | Name] = [data[offset : offset + before]] if before else []
    offset += before
    for _ in range(count):
        name, offset = _read_name(data, offset)
        parts.append(name)
    if rtype == Type.SOA:
        parts.append(data[offset : offset + 20])
        offset += 20
    if offset != end:
        raise FormatError(f"the data of a record of type {type_name(rtype)} does not end where it says")
    return tuple(parts)


def _edns(record: Record) -> Edns:
    [raw] = record.data
    assert isinstance(raw, bytes)
    options, offset = [], 0
    while offset < len(raw):
        if offset + 4 > len(raw):
            raise FormatError("an option is cut off")
        code, size = struct.unpack_from("!HH", raw, offset)
        offset += 4
        if offset + size > len(raw):
            raise FormatError("an option is cut off")
        options.append((code, raw[offset : offset + size]))
        offset += size
    return Edns(
        record.rclass, bool(record.ttl & DO), record.ttl >> 16 & 0xFF, record.ttl >> 24 & 0xFF, tuple(options)
    )


# --- writing ------------------------------------------------------------------------------------


class _Writer:
    """Bytes of a message so far, and where names in it can be pointed to."""

    def __init__(self, compress: bool) -> None:
        self.out = bytearray(HEADER.size)
        self.compress = compress
        self.seen: dict[Name, int] = {}

    def name(self, name: Name, compress: bool) -> None:
        out = self.out
        for i, label in enumerate(name):
            if self.compress:
                known = self.seen.get(name[i:])
                if known is None:
                    if len(out) < MAX_POINTER_OFFSET:
                        self.seen[name[i:]] = len(out)
                elif compress:
                    out += struct.pack("!H", 0xC000 | known)
                    return
            out.append(len(label))
            out += label
        out.append(0)

    def question(self, question: Question) -> None:
        self.name(question.name, True)
        self.out += struct.pack("!HH", question.rtype, question.rclass)

    def record(self, record: Record) -> None:
        self.name(record.name, True)
        self.out += _RR.pack(record.rtype, record.rclass, record.ttl, 0)
        start = len(self.out)
        for part in record.data:
            if isinstance(part, bytes):
                self.out += part
            else:
                self.name(part, record.rtype not in _NOT_COMPRESSED)
        struct.pack_into("!H", self.out, start - 2, len(self.out) - start)


def _opt(edns: Edns) -> Record:
    raw = b"".join(struct.pack("!HH", code, len(value)) + value for code, value in edns.options)
    ttl = edns.rcode << 24 | edns.version << 16 | (DO if edns.do else 0)
    return Record((), Type.OPT, ttl, (raw,), edns.size)


def build(message: Message, compress: bool = False) -> bytes:
    """The bytes; names that stand there already are pointed to, if `compress`."""
    writer = _Writer(compress)
    for question in message.questions:
        writer.question(question)
    additional = message.additional + ((_opt(message.edns),) if message.edns is not None else ())
    for record in (*message.answers, *message.authority, *additional):
        writer.record(record)
    HEADER.pack_into(
        writer.out, 0, message.id, message.flags, len(message.questions), len(message.answers),
        len(message.authority), len(additional),
    )  # fmt: skip
    return bytes(writer.out)


def fit(message: Message, size: int) -> bytes:
    """The message in at most `size` bytes (never less than 512): in full, else compressed, else without its end and TC.

    Kubernetes: github.com/miekg/dns msg_truncate.go Truncate()
    """
    size = max(size, MIN_SIZE)
    plain = build(message)
    if len(plain) <= size:
        return plain
    packed = build(message, compress=True)
    if len(packed) <= size:
        return packed
    return build(_cut(message, size), compress=True)


def _cut(message: Message, size: int) -> Message:
    from msgspec.structs import replace

    writer = _Writer(compress=True)
    if message.edns is not None:        # it stays, at the end
        size -= 11 + sum(4 + len(value) for _, value in message.edns.options)
    for question in message.questions:
        writer.question(question)
    kept = []
    full = False
    for section in (message.answers, message.authority, message.additional):
        count = 0
        for record in section:
            if not full:
                writer.record(record)
                full = len(writer.out) > size
            if full:
                break
            count += 1
        kept.append(section[:count])
    cut = kept != [message.answers, message.authority, message.additional]
    return replace(
        message, flags=message.flags | (TC if cut else 0), answers=kept[0], authority=kept[1], additional=kept[2]
    )
