"""The Internet checksum is the one that Scapy computes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from k8semu.wire.checksum import (
    KNOWN_SUMS,
    checksum,
    csum_replace,
    fold,
    known_sum,
    ones_sum,
    sum_and_remember,
    transport_checksum,
)
from k8semu.wire.scapy_layers import ICMP, IP, TCP, UDP

ADDRESS = st.binary(min_size=4, max_size=4)


def dotted(addr: bytes) -> str:
    return ".".join(map(str, addr))


@given(st.binary(max_size=64))
def test_an_icmp_checksum_is_scapys(data: bytes) -> None:
    message = bytes(ICMP(type=8, id=1, seq=2) / data)
    assert checksum(message[:2] + b"\0\0" + message[4:]) == int.from_bytes(message[2:4], "big")


@given(st.binary(max_size=64), ADDRESS, ADDRESS, st.integers(0, 65535), st.integers(1, 65535))
def test_tcp_and_udp_checksums_are_scapys(
    data: bytes, saddr: bytes, daddr: bytes, sport: int, dport: int
) -> None:
    for layer, protocol, at in ((TCP, 6, 16), (UDP, 17, 6)):
        whole = bytes(IP(src=dotted(saddr), dst=dotted(daddr)) / layer(sport=sport, dport=dport) / data)
        segment = bytearray(whole[20:])
        expected = int.from_bytes(segment[at : at + 2], "big")
        segment[at : at + 2] = b"\0\0"
        computed = transport_checksum(saddr, daddr, protocol, segment)
        assert computed == expected or (protocol == 17 and computed == 0 and expected == 0xFFFF)


@given(st.binary(min_size=2, max_size=64).filter(lambda data: len(data) % 2 == 0))
def test_data_with_its_own_checksum_sums_to_all_ones(data: bytes) -> None:
    assert ones_sum(data + checksum(data).to_bytes(2, "big")) == 0xFFFF


@given(st.binary(min_size=20, max_size=40).filter(lambda data: len(data) % 4 == 0 and any(data[4:])), ADDRESS)
def test_an_incremental_update_equals_a_whole_computation(data: bytes, new: bytes) -> None:
    changed = new + data[4:]
    updated = csum_replace(checksum(data), int.from_bytes(data[:4], "big"), int.from_bytes(new, "big"))
    assert updated == checksum(changed)


@given(st.integers(0, 70_000), st.integers(0, 2**64))
def test_a_folded_number_leaves_the_same_remainder(octets: int, seed: int) -> None:
    total = seed * (1 << 8 * octets) // 0xFFFB
    folded = fold(total)
    assert folded % 0xFFFF == total % 0xFFFF
    assert (folded == 0) == (total == 0)
    assert folded.bit_length() < 600


@given(st.binary(max_size=64))
def test_bytes_bytearray_and_view_have_one_sum(data: bytes) -> None:
    assert ones_sum(data) == ones_sum(bytearray(data)) == ones_sum(memoryview(data))


@given(payloads=st.lists(st.binary(max_size=1500), max_size=20))
def test_a_remembered_sum_is_the_sum_of_those_very_bytes(payloads: list[bytes]) -> None:
    for payload in payloads:
        assert sum_and_remember(payload) == ones_sum(payload)
    for payload in payloads:
        assert known_sum(bytes(bytearray(payload))) == ones_sum(payload)
        assert known_sum(payload + b"\x01") == ones_sum(payload + b"\x01")


def test_sums_are_right_also_of_payloads_that_were_forgotten_for_others() -> None:
    payloads = [number.to_bytes(2, "big") for number in range(1, 3 * KNOWN_SUMS)]
    for payload in payloads:
        sum_and_remember(payload)
    assert [known_sum(payload) for payload in payloads] == list(range(1, 3 * KNOWN_SUMS))
