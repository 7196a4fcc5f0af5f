"""A translated packet is what Scapy would have built with the other address and port."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.linux.netfilter.manip import DST, SRC, Manip
from k8semu.wire.addr import ip_ntoa
from k8semu.wire.scapy_layers import ICMP, IP, TCP, UDP, Ether, Packet

ADDRESS = st.binary(min_size=4, max_size=4)
PORT = st.integers(0, 65535)
OPTIONS = st.sampled_from([(), (b"\x01\x01\x01\x00",)])
PROTO = {TCP: 6, UDP: 17, ICMP: 1}
End = tuple[bytes, int]


def laid_out(layer: type[Packet], source: End, target: End, data: bytes, options: tuple[bytes, ...] = ()) -> bytearray:
    from scapy.layers.inet import IPOption

    ip = IP(src=ip_ntoa(source[0]), dst=ip_ntoa(target[0]), options=[IPOption(option) for option in options])
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    inner = ICMP(id=source[1]) if layer is ICMP else layer(sport=source[1], dport=target[1])
    return bytearray(bytes(ether / ip / inner / data))


def key(layer: type[Packet], source: End, target: End) -> bytes:
    ports = source[1].to_bytes(2, "big") + target[1].to_bytes(2, "big")
    return source[0] + target[0] + ports + bytes([PROTO[layer]])


def translated(frame: bytearray, side: int, was: bytes, shall: bytes) -> bytearray:
    skb = SimpleNamespace(data=frame, rec=None, steps=[])
    Manip(shall, side, was, "").apply(skb)  # type: ignore[arg-type]
    Manip(shall, side, was, "").apply(skb)  # type: ignore[arg-type]  # under a bridge it may come by twice
    return frame


@given(st.sampled_from([TCP, UDP]), st.tuples(ADDRESS, PORT), st.tuples(ADDRESS, PORT), st.tuples(ADDRESS, PORT),
       st.binary(max_size=33), OPTIONS, st.booleans())  # fmt: skip
def test_a_translated_packet_is_the_one_that_scapy_builds(
    layer: type[Packet], source: End, target: End, new: End, data: bytes, options: tuple[bytes, ...], dnat: bool
) -> None:
    after = (source, new) if dnat else (new, target)
    frame = laid_out(layer, source, target, data, options)
    side = DST if dnat else SRC
    done = translated(frame, side, key(layer, source, target), key(layer, *after))
    assert done == laid_out(layer, *after, data, options)


@given(st.tuples(ADDRESS, PORT), ADDRESS, st.tuples(ADDRESS, PORT), st.binary(max_size=33))
def test_of_an_echo_the_identifier_is_translated_and_its_checksum_knows_no_addresses(
    source: End, target: bytes, new: End, data: bytes
) -> None:
    frame = laid_out(ICMP, source, (target, 0), data)
    done = translated(frame, SRC, key(ICMP, source, (target, 0)), key(ICMP, new, (target, 0)))
    assert done == laid_out(ICMP, new, (target, 0), data)


@pytest.mark.parametrize("options", [(), (b"\x01\x01\x01\x00",)], ids=["quickly", "with options"])
def test_a_udp_datagram_without_checksum_stays_without(options: tuple[bytes, ...]) -> None:
    source, target, new = (b"\1\1\1\1", 1000), (b"\2\2\2\2", 53), (b"\x09\x09\x09\x09", 2000)
    frame = laid_out(UDP, source, target, b"x", options)
    at = 14 + (frame[14] & 15) * 4
    frame[at + 6 : at + 8] = b"\0\0"
    done = translated(frame, SRC, key(UDP, source, target), key(UDP, new, target))
    assert (done[26:30], done[at : at + 2]) == (new[0], b"\x07\xd0")
    assert done[at + 6 : at + 8] == b"\0\0"


@pytest.mark.parametrize("options", [(), (b"\x01\x01\x01\x00",)], ids=["quickly", "with options"])
def test_a_udp_checksum_that_comes_to_zero_is_written_as_all_ones(options: tuple[bytes, ...]) -> None:
    """Zero would say that there is none (RFC 768)."""
    source, target, new = (b"\1\1\1\1", 1000), (b"\2\2\2\2", 53), (b"\x09\x09\x09\x09", 2000)
    at = len(laid_out(UDP, new, target, b"", options)) - 2
    rest = bytes(laid_out(UDP, new, target, b"\0\0", options)[at : at + 2])     # what makes the sum all ones
    frame = laid_out(UDP, source, target, rest, options)
    done = translated(frame, SRC, key(UDP, source, target), key(UDP, new, target))
    assert done[at : at + 2] == b"\xff\xff"
    assert done == laid_out(UDP, new, target, rest, options)
