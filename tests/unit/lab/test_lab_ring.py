"""Checksums that the loopback leaves to nobody are filled in."""

from __future__ import annotations

import pytest

from k8semu.lab.ring import fill_checksum
from k8semu.wire.checksum import transport_checksum

SADDR, DADDR = b"\x7f\0\0\1", b"\x7f\0\0\1"


def frame(protocol: int, segment: bytes, padding: bytes = b"") -> bytes:
    header = bytes([0x45, 0]) + (20 + len(segment)).to_bytes(2, "big") + bytes(5) + bytes([protocol]) + bytes(2)
    return bytes(12) + b"\x08\0" + header + SADDR + DADDR + segment + padding


@pytest.mark.parametrize(("protocol", "field", "size"), [(6, 16, 25), (17, 6, 9)])
def test_a_half_made_checksum_becomes_a_whole_one(protocol: int, field: int, size: int) -> None:
    segment = bytearray(range(1, size + 1))
    data = fill_checksum(frame(protocol, bytes(segment), b"\xaa\xbb"))
    got = int.from_bytes(data[34 + field : 36 + field], "big")
    segment[field : field + 2] = b"\0\0"
    assert got == transport_checksum(SADDR, DADDR, protocol, segment)
    assert data.endswith(b"\xaa\xbb")


@pytest.mark.parametrize("data", [b"", bytes(40), frame(1, bytes(8)), frame(6, bytes(10))])
def test_what_carries_no_such_checksum_stays_as_it_is(data: bytes) -> None:
    assert fill_checksum(data) == data
