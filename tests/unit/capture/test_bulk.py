"""A transfer larger than an initial window is compared as a stream of bytes."""

from __future__ import annotations

from k8semu.capture.compare import compare
from k8semu.capture.frame import Frame
from k8semu.wire.scapy_layers import IP, TCP, Ether, Raw


def transfer(sizes: list[int], push: str, total: int = 30_000, last: int = 0) -> list[Frame]:
    """A connection that carries `total` bytes in segments of `sizes`, over and over."""
    def frame(flags: str, seq: int, data: bytes) -> Frame:
        packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="10.0.0.1", dst="10.0.0.2")
        return Frame(0, "n/eth0", 1, bytes(packet / TCP(sport=40_000, dport=80, flags=flags, seq=seq) / Raw(data)))

    frames, at, i = [frame("S", 0, b"")], 0, 0
    while at < total:
        size = min(sizes[i % len(sizes)], total - at)
        flags = "A" if at + size < total else push
        frames.append(frame(flags, 1 + at, bytes((at + k) & 0xFF for k in range(size))))
        at, i = at + size, i + 1
    if "F" not in push:
        frames.append(frame("FA", 1 + at, b""))
    return frames


def test_where_a_large_transfer_is_cut_does_not_matter() -> None:
    assert compare(transfer([1448], "PA"), transfer([1000, 1448], "FPA")).same


def test_what_a_large_transfer_carries_does_matter() -> None:
    assert not compare(transfer([1448], "PA"), transfer([1448], "PA", total=29_999)).same


def test_a_short_exchange_is_compared_segment_by_segment() -> None:
    assert not compare(transfer([1448], "PA", total=3_000), transfer([1000], "PA", total=3_000)).same
