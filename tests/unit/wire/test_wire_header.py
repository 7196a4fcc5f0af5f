"""A frame patched in place is what Scapy would have built."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from k8semu.wire.addr import ip_ntoa
from k8semu.wire.header import (
    IP_TTL,
    ip_decrease_ttl,
    ip_hlen,
    ip_send_check,
)
from k8semu.wire.scapy_layers import IP, TCP, UDP, Ether, Packet

ADDRESS = st.binary(min_size=4, max_size=4)
PORT = st.integers(0, 65535)
TRANSPORTS = st.sampled_from([TCP, UDP])
OPTIONS = st.sampled_from([[], [b"\x01\x01\x01\x00"]])


def laid_out(
    saddr: bytes, daddr: bytes, layer: type[Packet], sport: int, dport: int, data: bytes, ttl: int, options: object = ()
) -> bytearray:
    from scapy.layers.inet import IPOption

    ip = IP(src=ip_ntoa(saddr), dst=ip_ntoa(daddr), ttl=ttl, options=[IPOption(option) for option in options])
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    return bytearray(bytes(ether / ip / layer(sport=sport, dport=dport) / data))


@given(ADDRESS, ADDRESS, st.integers(1, 255))
def test_one_hop_takes_one_off_the_ttl_and_keeps_the_checksum(saddr: bytes, daddr: bytes, ttl: int) -> None:
    assume(any(saddr + daddr))
    frame = laid_out(saddr, daddr, UDP, 1, 2, b"", ttl)
    ip_decrease_ttl(frame)
    assert frame == laid_out(saddr, daddr, UDP, 1, 2, b"", ttl - 1)


@given(ADDRESS, ADDRESS, OPTIONS, st.integers(0, 255))
def test_a_checksum_computed_afresh_is_scapys(saddr: bytes, daddr: bytes, options: list[bytes], ttl: int) -> None:
    frame = laid_out(saddr, daddr, UDP, 1, 2, b"", 64, options)
    frame[IP_TTL] = ttl
    ip_send_check(frame)
    assert frame == laid_out(saddr, daddr, UDP, 1, 2, b"", ttl, options)
    assert ip_hlen(frame) == 20 + 4 * len(options)
