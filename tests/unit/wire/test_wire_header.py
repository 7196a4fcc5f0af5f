"""A frame patched in place is what Scapy would have built."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from k8semu.wire.addr import ip_ntoa
from k8semu.wire.header import (
    IP_DADDR,
    IP_SADDR,
    IP_TTL,
    ip_decrease_ttl,
    ip_hlen,
    ip_send_check,
    patch_addr,
    patch_port,
    read_addrs,
    read_ports,
    transport,
)
from k8semu.wire.scapy_layers import ICMP, IP, TCP, UDP, Ether, Packet

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


@given(ADDRESS, ADDRESS, ADDRESS, TRANSPORTS, PORT, PORT, st.binary(max_size=33), OPTIONS)
def test_a_rewritten_address_gives_the_frame_that_scapy_builds(
    saddr: bytes, daddr: bytes, new: bytes, layer: type[Packet], sport: int, dport: int, data: bytes, options: object
) -> None:
    frame = laid_out(saddr, daddr, layer, sport, dport, data, 64, options)
    patch_addr(frame, IP_SADDR, new)
    assert frame == laid_out(new, daddr, layer, sport, dport, data, 64, options)
    patch_addr(frame, IP_DADDR, saddr)
    assert frame == laid_out(new, saddr, layer, sport, dport, data, 64, options)
    assert read_addrs(frame, IP_SADDR) == (new, saddr)


@given(ADDRESS, ADDRESS, TRANSPORTS, PORT, PORT, PORT, st.binary(max_size=33), OPTIONS)
def test_a_rewritten_port_gives_the_frame_that_scapy_builds(
    saddr: bytes, daddr: bytes, layer: type[Packet], sport: int, dport: int, new: int, data: bytes, options: object
) -> None:
    frame = laid_out(saddr, daddr, layer, sport, dport, data, 64, options)
    patch_port(frame, transport(frame), new)
    assert frame == laid_out(saddr, daddr, layer, new, dport, data, 64, options)
    patch_port(frame, transport(frame) + 2, sport)
    assert frame == laid_out(saddr, daddr, layer, new, sport, data, 64, options)
    assert read_ports(frame, transport(frame)) == (new, sport)


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


def test_a_udp_datagram_without_checksum_stays_without() -> None:
    frame = bytearray(bytes(Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
                            / IP(src="1.1.1.1", dst="2.2.2.2") / UDP(chksum=0)))  # fmt: skip
    patch_addr(frame, IP_SADDR, b"\x09\x09\x09\x09")
    assert frame[40:42] == b"\0\0"


def test_a_later_fragment_keeps_its_payload_when_an_address_changes() -> None:
    ether = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
    later = (IP(src="1.1.1.1", dst="2.2.2.2", id=7) / UDP() / (b"x" * 3000)).fragment(1400)[1]
    frame = bytearray(bytes(ether / later))
    patch_addr(frame, IP_SADDR, b"\x09\x09\x09\x09")
    assert frame[34:] == bytes(ether / later)[34:]
    expected = IP(src="9.9.9.9", dst="2.2.2.2", id=7, proto=17, flags="MF", frag=175, len=1420)
    assert frame[24:26] == bytes(expected)[10:12]


def test_an_icmp_message_has_no_checksum_over_addresses() -> None:
    ether = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
    frame = bytearray(bytes(ether / IP(src="1.1.1.1", dst="2.2.2.2") / ICMP()))
    patch_addr(frame, IP_SADDR, b"\x09\x09\x09\x09")
    assert frame == bytes(ether / IP(src="9.9.9.9", dst="2.2.2.2") / ICMP())


def test_a_header_that_is_cut_off_before_its_checksum_is_patched_without_error() -> None:
    frame = laid_out(b"\1\1\1\1", b"\2\2\2\2", TCP, 1, 2, b"", 64)[:40]
    patch_port(frame, transport(frame), 99)
    assert read_ports(frame, 34) == (99, 2)
