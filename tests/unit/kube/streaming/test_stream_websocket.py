"""WebSocket frames: the examples of RFC 6455, and what one end writes the other reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.kube.streaming.websocket import (
    BINARY,
    CLOSE,
    MAX_MESSAGE,
    PING,
    TEXT,
    Frames,
    Message,
    WebSocketError,
    accept_key,
    encode,
    masked,
)

MASK = bytes.fromhex("37fa213d")


def read(data: bytes, from_client: bool = False) -> list[Message]:
    return list(Frames(from_client).feed(data))


def test_the_key_of_the_rfc_is_answered_as_the_rfc_says() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("data", "from_client", "messages"),
    [
        ("810548656c6c6f", False, [(TEXT, b"Hello")]),
        ("818537fa213d7f9f4d5158", True, [(TEXT, b"Hello")]),
        ("010348656c80026c6f", False, [(TEXT, b"Hello")]),
        ("890548656c6c6f", False, [(PING, b"Hello")]),
        ("827e0100" + "ab" * 256, False, [(BINARY, b"\xab" * 256)]),
        ("827f0000000000010000" + "cd" * 65536, False, [(BINARY, b"\xcd" * 65536)]),
        ("010348656c" + "8900" + "80026c6f", False, [(PING, b""), (TEXT, b"Hello")]),
    ],
)
def test_the_frames_of_the_rfc_are_read(data: str, from_client: bool, messages: list[tuple[int, bytes]]) -> None:
    assert read(bytes.fromhex(data), from_client) == messages


def test_a_client_s_frame_is_that_of_the_rfc() -> None:
    assert encode(TEXT, b"Hello", MASK).hex() == "818537fa213d7f9f4d5158"


@given(st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), st.binary(max_size=400)), max_size=5), st.booleans(),
       st.binary(min_size=4, max_size=4), st.lists(st.integers(0, 1500), max_size=6))  # fmt: skip
def test_what_is_written_is_read_however_it_is_cut(
    messages: list[tuple[int, bytes]], from_client: bool, mask: bytes, cuts: list[int]
) -> None:
    data = b"".join(encode(opcode, payload, mask if from_client else None) for opcode, payload in messages)
    frames, at, found = Frames(from_client), 0, []
    for cut in [*sorted(cuts), len(data)]:
        found += list(frames.feed(data[at:cut]))
        at = max(at, min(cut, len(data)))
    assert found == messages


@given(st.binary(max_size=100), st.binary(min_size=4, max_size=4))
def test_a_mask_laid_twice_is_none(data: bytes, mask: bytes) -> None:
    assert masked(masked(data, mask), mask) == data


@pytest.mark.parametrize(
    ("data", "from_client", "code"),
    [
        ("c10548656c6c6f", False, 1002), ("830548656c6c6f", False, 1002), ("8105", True, 1002),
        ("818537fa213d7f9f4d5158", False, 1002), ("80026c6f", False, 1002), ("010348656c010348656c", False, 1002),
        ("0900", False, 1002), ("897e0100" + "00" * 256, False, 1002), ("827f0000000000200000", False, 1009),
        ("827fffffffffffffffff", False, 1009),
    ],
)  # fmt: skip
def test_what_breaks_the_rules_is_refused_with_its_code(data: str, from_client: bool, code: int) -> None:
    with pytest.raises(WebSocketError) as caught:
        read(bytes.fromhex(data), from_client)
    assert caught.value.code == code


def test_a_message_in_many_parts_has_its_limit() -> None:
    frames, part = Frames(False), bytes(MAX_MESSAGE // 2 + 1)
    assert list(frames.feed(b"\x02\x7f" + len(part).to_bytes(8, "big") + part)) == []
    with pytest.raises(WebSocketError, match="too long"):
        list(frames.feed(b"\x80\x7f" + len(part).to_bytes(8, "big") + part))


def test_a_goodbye_is_a_message() -> None:
    assert read(encode(CLOSE, b"\x03\xe8")) == [(CLOSE, b"\x03\xe8")]
