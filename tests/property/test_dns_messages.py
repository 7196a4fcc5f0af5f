"""Our DNS messages and dnspython's are the same, and no bytes are too much for ours."""

from __future__ import annotations

import dns.exception
import dns.message
import dns.rdatatype
from hypothesis import example, given
from hypothesis import strategies as st

from k8semu.kube.dns import rdata
from k8semu.kube.dns.message import (
    QR,
    RD,
    TC,
    Edns,
    FormatError,
    Message,
    Question,
    Record,
    Type,
    build,
    fit,
    parse,
)  # fmt: skip
from k8semu.kube.dns.names import Name, lower, name_text, parse_name
from k8semu.kube.dns.rdata import rdata_text

LABELS = st.binary(min_size=1, max_size=12) | st.sampled_from([b"svc", b"default", b"cluster", b"local", b"Web"])
NAMES = st.lists(LABELS, max_size=6).map(tuple)
U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0x7FFFFFFF)


def _record(name: Name, ttl: int, data: tuple[int, rdata.Rdata]) -> Record:
    return Record(name, data[0], ttl, data[1])


DATA = st.one_of(
    st.binary(min_size=4, max_size=4).map(lambda raw: (Type.A, (raw,))),
    st.binary(min_size=16, max_size=16).map(lambda raw: (Type.AAAA, (raw,))),
    st.tuples(st.sampled_from([Type.CNAME, Type.PTR, Type.NS]), NAMES).map(lambda t: (t[0], (t[1],))),
    st.tuples(U16, U16, U16, NAMES).map(lambda t: (Type.SRV, rdata.srv(*t))),
    st.tuples(NAMES, NAMES, U32).map(lambda t: (Type.SOA, rdata.soa(t[0], t[1], t[2], 1, 2, 3, 4))),
    st.text(st.characters(codec="ascii"), max_size=300).map(lambda text: (Type.TXT, rdata.txt(text))),
)
RECORDS = st.builds(_record, NAMES, U32, DATA)
SECTIONS = st.lists(RECORDS, max_size=5).map(tuple)
EDNS = st.builds(Edns, st.integers(512, 4096), st.booleans(), options=st.just(()))
MESSAGES = st.builds(
    Message, U16, st.sampled_from([RD, QR | RD, QR | 3]), st.builds(Question, NAMES, st.just(1)).map(lambda q: (q,)),
    SECTIONS, SECTIONS, SECTIONS, st.none() | EDNS,
)  # fmt: skip


@given(MESSAGES, st.booleans())
def test_what_was_built_is_read_again(message: Message, compress: bool) -> None:
    assert parse(build(message, compress)) == message


@given(MESSAGES, st.booleans())
def test_dnspython_reads_what_we_build(message: Message, compress: bool) -> None:
    theirs = dns.message.from_wire(build(message, compress), one_rr_per_rrset=True)
    assert theirs.id == message.id
    for ours, section in (
        (message.answers, theirs.answer), (message.authority, theirs.authority),
        (message.additional, theirs.additional),
    ):  # fmt: skip
        assert len(ours) == len(section)
        for record, rrset in zip(ours, section, strict=True):
            assert (rrset.rdtype, rrset.ttl) == (record.rtype, record.ttl)
            assert lower(rrset.name.labels[:-1]) == lower(record.name)
            if record.rtype not in (Type.TXT,):
                assert rrset[0].to_text().lower() == rdata_text(record).lower()


@given(MESSAGES)
def test_we_read_what_dnspython_writes(message: Message) -> None:
    raw = dns.message.from_wire(build(message), one_rr_per_rrset=True).to_wire()
    again = parse(raw)
    assert (again.id, again.questions) == (message.id, message.questions)
    assert [(r.rtype, r.ttl) for r in again.answers] == [(r.rtype, r.ttl) for r in message.answers]


@given(MESSAGES, st.integers(0, 2000))
def test_a_reply_fits_and_says_what_it_left_out(message: Message, size: int) -> None:
    raw = fit(message, size)
    kept = parse(raw)
    assert len(raw) <= max(size, 512) or len(build(Message(1, RD, message.questions, edns=message.edns))) > 512
    whole = (message.answers, message.authority, message.additional)
    cut = (kept.answers, kept.authority, kept.additional) != whole
    assert bool(kept.flags & TC) == cut
    assert kept.answers == message.answers[: len(kept.answers)]
    assert kept.edns == message.edns


@given(st.binary(max_size=300))
@example(b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1")          # a name that points at itself
@example(b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"\x3f" + b"a" * 63)
@example(b"\0\1\1\0\xff\xff\0\0\0\0\0\0\0\0\1\0\1")
def test_any_bytes_are_a_message_or_a_format_error(raw: bytes) -> None:
    try:
        message = parse(raw)
    except FormatError:
        return
    build(message)
    build(message, compress=True)


@given(MESSAGES, st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6), st.integers(0, 10_000))
def test_damaged_messages_are_read_or_refused(message: Message, changes: list[tuple[int, int]], length: int) -> None:
    raw = bytearray(build(message, compress=True))
    for at, value in changes:
        raw[at % len(raw)] = value
    try:
        for record in parse(bytes(raw[: length % (len(raw) + 1) or None])).answers:
            rdata_text(record)
    except FormatError:
        pass


@given(NAMES)
def test_the_text_of_a_name_is_the_name_again(name: Name) -> None:
    assert parse_name(name_text(name)) == name


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_a_value_error(text: str) -> None:
    try:
        name = parse_name(text)
    except ValueError:
        return
    assert parse_name(name_text(name)) == name
