"""A transfer larger than an initial window is compared as a stream of bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8semu.capture import normal
from k8semu.capture.compare import compare
from k8semu.capture.flows import View
from k8semu.capture.frame import Frame
from k8semu.capture.normal import normalise
from k8semu.capture.normal_frame import NormalFrame, Normalise
from k8semu.capture.reader import read_frames
from k8semu.wire.scapy_layers import IP, TCP, Ether, Raw
from k8semu.wire.walk import Layer


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


def test_one_byte_in_the_midst_of_a_large_transfer_does_matter() -> None:
    one, other = transfer([1448], "PA"), transfer([1448], "PA")
    spoilt = bytearray(other[-3].data)
    spoilt[-1] ^= 1
    other[-3] = Frame(0, "n/eth0", 1, bytes(spoilt))
    result = compare(one, other)
    assert (result.different, [row[1] for row in result.differences[0].fields]) == (1, ["sent by 10.0.0.1:#1 0x7110"])


def test_a_second_large_transfer_between_the_same_ports_is_a_flow_of_its_own() -> None:
    once, twice = transfer([1448], "PA"), transfer([1448], "PA")
    again = [frame_of_another_connection(frame) for frame in transfer([1000, 1448], "FPA")]
    flows = normalise(once + again, Normalise())["n/eth0"]
    assert [len(flow) for flow in flows.values()] == [3, 3]     # SYN, FIN and the bytes, for each
    assert compare(once + again, twice + again).same


def frame_of_another_connection(frame: Frame) -> Frame:
    packet = Ether(frame.data)
    packet[TCP].seq = (packet[TCP].seq + 1_000_000) & 0xFFFFFFFF
    del packet[TCP].chksum
    return Frame(0, "n/eth0", 1, bytes(packet))


GOLDENS = Path(__file__).parents[3] / "pcaps"


@pytest.mark.parametrize("name", ["overlay-cost", "ingress-tls", "pod-cross-node-weave"])
def test_the_quick_way_through_a_stream_reads_what_the_long_one_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large transfers, routed and through tunnels, and TLS."""
    frames = list(read_frames(GOLDENS / f"{name}.pcapng"))
    quick = normalise(frames, Normalise())
    monkeypatch.setattr(normal, "_in_known_stream", lambda *_: None)
    assert normalise(frames, Normalise()) == quick


def test_most_of_a_large_transfer_goes_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[bool] = []
    really = normal._in_known_stream

    def watched(view: View, frame: Frame, layers: list[Layer]) -> NormalFrame | None:
        found = really(view, frame, layers)
        ways.append(found is not None)
        return found

    monkeypatch.setattr(normal, "_in_known_stream", watched)
    normalise(transfer([1448], "PA", total=200_000), Normalise())
    assert sum(ways) > 0.9 * len(ways)
