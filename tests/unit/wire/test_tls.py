"""TLS records in segments: which begin where, how they are called, and what of them is chance."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.wire.tls import TlsStreams, mask, server_name, starts_tls


def client_hello(name: str | None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def record(kind: int, body: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(body).to_bytes(2, "big") + body


SERVER_HELLO = record(22, b"\x02\0\0\x04abcd")


def texts(streams: TlsStreams, seq: int, payload: bytes) -> list[str]:
    return [piece.text for piece in streams.pieces("a > b", seq, payload)]


def test_openssl_s_own_client_hello_is_named_with_the_host_that_it_asks_for() -> None:
    hello = client_hello("shop.example")
    assert texts(TlsStreams(), 1, hello) == [f"Client Hello (shop.example) {len(hello) - 5}"]
    assert server_name(client_hello(None)[5:]) == ""


def test_one_segment_holds_several_records() -> None:
    flight = SERVER_HELLO + record(20, b"\1") + record(23, b"x" * 30)
    assert texts(TlsStreams(), 1, flight) == ["Server Hello 8", "Change Cipher Spec 1", "Application Data 30"]


def test_a_record_goes_on_in_later_segments_and_the_next_one_is_found_behind_it() -> None:
    streams = TlsStreams()
    stream = SERVER_HELLO + record(23, b"x" * 100) + record(21, b"\1\0")
    assert texts(streams, 7, stream[:50]) == ["Server Hello 8", "Application Data 100"]
    assert texts(streams, 57, stream[50:90]) == [""]
    assert texts(streams, 97, stream[90:]) == ["", "Alert (warning, close notify) 2"]


def test_a_header_may_be_cut_in_two() -> None:
    streams = TlsStreams()
    stream = SERVER_HELLO + record(23, b"secret")
    cut = len(SERVER_HELLO) + 3
    first = streams.pieces("a > b", 0, stream[:cut])
    second = streams.pieces("a > b", cut, stream[cut:])
    assert mask(stream[:cut], first) + mask(stream[cut:], second) == (
        SERVER_HELLO[:5] + bytes(8) + b"\x17\3\3\0\6" + bytes(6)
    )
    assert second[0].text == "Application Data 6"


def test_a_repeated_segment_is_the_same_records_again() -> None:
    streams = TlsStreams()
    stream = SERVER_HELLO + record(23, b"x" * 100)
    texts(streams, 0, stream[:40])
    texts(streams, 40, stream[40:])
    assert texts(streams, 0, stream[:40]) == ["Server Hello 8", "Application Data 100"]
    assert texts(streams, 40, stream[40:]) == [""]


def test_a_segment_whose_place_is_not_known_is_chance_from_end_to_end() -> None:
    streams = TlsStreams()
    texts(streams, 0, SERVER_HELLO)
    pieces = streams.pieces("a > b", 5000, b"anything")
    assert mask(b"anything", pieces) == bytes(8)


def test_a_connection_that_is_upgraded_speaks_tls_from_its_hello_on() -> None:
    streams = TlsStreams()
    assert streams.pieces("a > b", 0, b"STARTTLS\r\n") == []
    assert texts(streams, 10, client_hello("mail.example"))[0].startswith("Client Hello (mail.example)")
    streams.forget("a > b")
    assert streams.pieces("a > b", 0, b"GET / HTTP/1.1\r\n") == []


def test_an_old_server_s_handshake_has_names_until_it_is_encrypted() -> None:
    streams = TlsStreams()
    flight = SERVER_HELLO + record(22, b"\x0b\0\0\1c") + record(22, b"\x0e\0\0\0")
    assert texts(streams, 0, flight) == ["Server Hello 8", "Certificate 5", "Server Hello Done 4"]
    last = record(20, b"\1") + record(22, b"\x0b" * 40) + record(21, b"x" * 26)
    assert texts(streams, len(flight), last) == [
        "Change Cipher Spec 1", "Encrypted Handshake Message 40", "Alert 26",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "payload",
    [b"", b"GET / HTTP/1.1\r\n\r\n", record(23, b"x" * 20), b"\x16\3\1", b"\x16\5\5\0\5\1\0\0\0\0"],
)
def test_what_is_no_hello_starts_no_tls(payload: bytes) -> None:
    assert not starts_tls(payload)


def test_a_server_may_answer_with_an_alert_alone() -> None:
    alert = record(21, b"\2\x28")
    streams = TlsStreams()
    pieces = streams.pieces("a > b", 0, alert)
    assert pieces[0].text == "Alert (fatal, handshake failure) 2"
    assert mask(alert, pieces) == alert


CUTS = st.lists(st.integers(1, 60), min_size=1, max_size=30)


@given(CUTS, st.lists(st.binary(min_size=3, max_size=80), max_size=8))
def test_masking_does_not_hang_on_how_a_stream_is_cut(cuts: list[int], bodies: list[bytes]) -> None:
    stream = SERVER_HELLO + b"".join(record(23, body) for body in bodies)
    wanted = SERVER_HELLO[:5] + bytes(8) + b"".join(record(23, bytes(len(body))) for body in bodies)
    streams, at, found = TlsStreams(), 0, b""
    for cut in [len(SERVER_HELLO), *cuts, len(stream)]:
        piece = stream[at : at + cut]
        found += mask(piece, streams.pieces("a > b", at, piece)) if piece else b""
        at += cut
    assert found == wanted


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_can_follow_a_hello(first: bytes, second: bytes) -> None:
    streams = TlsStreams()
    for seq, payload in ((0, SERVER_HELLO + first), (13 + len(first), second)):
        pieces = streams.pieces("a > b", seq, payload)
        assert len(mask(payload, pieces)) == len(payload)
        assert all(0 <= piece.start <= piece.body <= piece.end <= len(payload) for piece in pieces)


@given(st.binary(max_size=300))
def test_any_bytes_can_be_asked_for_a_name(hello: bytes) -> None:
    assert isinstance(server_name(hello), str)
