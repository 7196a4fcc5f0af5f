"""The PROXY protocol: what is said is read, and what is no header is refused."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from k8semu.apps.balancer.proxy_protocol import SIGNATURE, ProxyProtocolError, header, read_header

PEER = st.tuples(st.ip_addresses(v=4).map(str), st.integers(0, 65535))


def read(data: bytes) -> tuple[tuple[str, int] | None, bytes]:
    """Who the client is, and what follows the header."""

    async def main() -> tuple[tuple[str, int] | None, bytes]:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await read_header(reader), await reader.read()

    return asyncio.run(main())


@given(st.sampled_from(["v1", "v2"]), PEER, PEER, st.binary(max_size=20))
def test_the_client_is_read_and_not_a_byte_of_what_it_says(
    version: str, client: tuple[str, int], server: tuple[str, int], said: bytes
) -> None:
    assert read(header(version, client, server) + said) == (client, said)


def test_the_headers_are_those_of_the_specification() -> None:
    ends = ("203.0.113.10", 51234), ("203.0.113.100", 80)
    assert header("v1", *ends) == b"PROXY TCP4 203.0.113.10 203.0.113.100 51234 80\r\n"
    assert header("v2", *ends) == bytes.fromhex("0d0a0d0a000d0a515549540a 21 11 000c cb00710a cb007164 c822 0050")


@pytest.mark.parametrize(("data", "client"), [
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ::2 1 2\r\n", None),
    (b"PROXY TCP6 2001:db8::1 ::1 7 8\r\n", ("2001:db8::1", 7)),
    (SIGNATURE + b"\x20\x00\x00\x00", None),
    (SIGNATURE + b"\x21\x11\x00\x10\x01\x02\x03\x04\x05\x06\x07\x08\x00\x09\x00\x0aTLV!", ("1.2.3.4", 9)),
    (SIGNATURE + b"\x21\x12\x00\x00", None),
])  # fmt: skip
def test_other_forms_are_read(data: bytes, client: tuple[str, int] | None) -> None:
    assert read(data + b"GET")[0] == client


@given(st.binary(max_size=150))
@example(b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n")
@example(b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n")
@example(b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n")
@example(b"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n")
@example(b"PROXY TCP4 " + b"1" * 200)
@example(SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12))
@example(SIGNATURE + b"\x21\x11\x00\x04" + bytes(4))
@example(SIGNATURE + b"\x21\x11\xff\xff")
def test_any_other_bytes_are_refused(data: bytes) -> None:
    try:
        read(data)
    except ProxyProtocolError:
        return
    assert data.startswith((b"PROXY UNKNOWN", SIGNATURE)), "only these say nothing of a client and are headers"


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n\n", SIGNATURE[:9]])
def test_a_connection_without_a_header_is_refused(data: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        read(data)
