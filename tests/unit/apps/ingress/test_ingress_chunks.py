"""A chunked body is followed as it comes, in whatever pieces."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.apps.ingress.chunks import Chunks

BODY = b"5;e=1\r\nhello\r\n3\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n"


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=5), st.lists(st.integers(1, 9), min_size=1), st.booleans())
def test_what_goes_in_in_pieces_comes_out_whole(parts: list[bytes], cuts: list[int], bare: bool) -> None:
    end = b"\n" if bare else b"\r\n"
    body = b"".join(b"%x%s%s%s" % (len(part), end, part, end) for part in parts) + b"0" + end + end
    clean = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    raw, rest, out, chunks = body + b"GET / HTTP/1.1\n\n", b"", b"", Chunks()
    for i in range(len(raw)):
        size = cuts[i % len(cuts)]
        rest, raw = raw[:size], raw[size:]
        out += chunks.feed(rest)
    assert out == clean + b"GET / HTTP/1.1\n\n"
    assert chunks.total == sum(map(len, parts))


def test_a_promise_is_known_before_it_is_kept() -> None:
    chunks = Chunks()
    chunks.feed(b"5\r\nhello\r\nfff")
    assert chunks.total == 5
    chunks.feed(b"\r\n")
    assert chunks.total == 5 + 0xFFF
    assert Chunks().feed(BODY) == BODY


@pytest.mark.parametrize(
    "data", [b"z", b"-1\r\n", b" 5\r\n", b"\r\n", b"5\r\nhelloX", b"5 x\r\n", b"1" * 16, b"5\r\nhello\r\r",
    b"1;" + b"x" * 5000]
)
def test_what_are_no_chunks_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(h11.RemoteProtocolError):
        Chunks().feed(data)
