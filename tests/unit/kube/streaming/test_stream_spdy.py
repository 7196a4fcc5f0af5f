"""SPDY frames: what one end writes the other reads, however it is cut; what is no SPDY is told apart."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.kube.streaming.spdy import (
    DICTIONARY,
    MAX_FRAME,
    Data,
    Frame,
    Framer,
    GoAway,
    Ping,
    RstStream,
    SpdyError,
    SynReply,
    SynStream,
)

IDS = st.integers(1, 2**31 - 1)
TEXT = st.text(st.characters(codec="latin-1"), max_size=30)
HEADERS = st.dictionaries(st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12), TEXT, max_size=5)
FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(SynStream, IDS, HEADERS, st.booleans()), st.builds(SynReply, IDS, HEADERS, st.booleans()),
    st.builds(RstStream, IDS, st.integers(0, 12)), st.builds(Ping, number=st.integers(0, 2**32 - 1)),
    st.builds(GoAway, st.integers(0, 2**31 - 1), st.integers(0, 2)),
    st.builds(Data, IDS, st.binary(max_size=300), st.booleans()),
)  # fmt: skip


def test_the_dictionary_is_that_of_spdy_3() -> None:
    """Both ends name it by its checksum: RFC 1950 DICTID."""
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(0, 2000), max_size=6))
def test_what_is_written_is_read_however_it_is_cut(frames: list[Frame], cuts: list[int]) -> None:
    ours, theirs = Framer(), Framer()
    data = b"".join(ours.encode(frame) for frame in frames)
    at, read = 0, []
    for cut in [*sorted(cuts), len(data)]:
        read += list(theirs.feed(data[at:cut]))
        at = max(at, min(cut, len(data)))
    assert read == frames


def test_header_blocks_of_a_compressing_writer_are_read() -> None:
    """As Go's zlib.NewWriterLevelDict writes them: one stream for all blocks of a direction."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    framer = Framer()
    for number in (1, 3):
        pairs = b"".join(struct.pack(">I", len(text)) + text for text in (b"streamtype", b"data", b"port", b"80"))
        block = deflate.compress(struct.pack(">I", 2) + pairs) + deflate.flush(zlib.Z_SYNC_FLUSH)
        body = struct.pack(">IIH", number, 0, 0) + block
        (read,) = framer.feed(struct.pack(">HHI", 0x8003, 1, len(body)) + body)
        assert read == SynStream(number, {"streamtype": "data", "port": "80"})


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (struct.pack(">HHI", 0x8002, 1, 0), "version 2"),
        (struct.pack(">HHI", 0x8003, 77, 0), "unknown frame type 77"),
        (struct.pack(">II", 0, 3) + b"abc", "stream id zero"),
        (struct.pack(">II", 1, MAX_FRAME + 1), "a frame of"),
        (struct.pack(">HHI", 0x8003, 3, 4) + bytes(3) + b"\1", "too short"),
        (struct.pack(">HHI", 0x8003, 1, 14) + bytes(3) + b"\1" + bytes(10), "headers"),
    ],
)
def test_what_is_no_spdy_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(SpdyError, match=why):
        list(Framer().feed(data))


def test_headers_that_unpack_to_more_than_anybody_sends_are_refused() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    block = deflate.compress(struct.pack(">II", 1, 1 << 26) + bytes(1 << 24)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    body = struct.pack(">IIH", 1, 0, 0) + block
    with pytest.raises(SpdyError, match="headers too long"):
        list(Framer().feed(struct.pack(">HHI", 0x8003, 1, len(body)) + body))
