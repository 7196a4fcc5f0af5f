"""Fragments: sizes and offsets when cutting, completeness when joining."""

from __future__ import annotations

import pytest
from netlab import Emulated, framed, icmp_echo, mac_bytes, two_pods

from k8semu.linux.core.commands import LinkSet
from k8semu.linux.core.drop import Drop
from k8semu.wire.build import ip_build
from k8semu.wire.checksum import checksum

NODE, POD = b"\xac\x11\0\1", b"\xac\x11\0\2"
PAYLOAD = bytes(icmp_echo("172.17.0.2", "172.17.0.1", size=1000)[34:])
FIRST, SECOND, THIRD = (0, 400, True), (400, 400, True), (800, 208, False)
Part = tuple[int, int, bool]


def world() -> Emulated:
    lab = two_pods()
    lab.send("px", icmp_echo("172.17.0.2", "172.17.0.1"))
    lab.tap("px", "eth0")
    made = Emulated(lab.netns)
    made.play(lab.steps)
    return made


def send(to: Emulated, *parts: Part, df: bool = False) -> None:
    for offset, size, more in parts:
        piece = ip_build(POD, NODE, 1, size, ident=9, df=df)
        piece[20:22] = ((0x4000 if df else 0) | (0x2000 if more else 0) | offset // 8).to_bytes(2, "big")
        piece[24:26] = b"\0\0"
        piece[24:26] = checksum(piece[14:34]).to_bytes(2, "big")
        piece += PAYLOAD[offset : offset + size]
        to._inject("px", "eth0", framed(piece, mac_bytes("px", "eth0"), mac_bytes("h1", "docker0")))


def replies(of: Emulated) -> int:
    return sum(d == "in" and f[12:14] == b"\x08\x00" and f[34] == 0 for d, f in of.seen.taps["px/eth0"])


@pytest.mark.parametrize(
    "parts",
    [
        (FIRST, SECOND, THIRD),
        (THIRD, SECOND, FIRST),
        (SECOND, THIRD, FIRST),
        (FIRST, FIRST, SECOND, THIRD),
        (FIRST, SECOND, (400, 200, True), THIRD),
        ((0, 404, True), SECOND, THIRD),
    ],
)
def test_fragments_join_in_any_order_also_when_some_come_twice(parts: tuple[Part, ...]) -> None:
    node = world()
    send(node, *parts)
    assert replies(node) == 1


@pytest.mark.parametrize(
    "parts",
    [(FIRST, SECOND), (FIRST, (200, 400, True), SECOND, THIRD)],
)
def test_what_overlaps_or_is_missing_does_not_join(parts: tuple[Part, ...]) -> None:
    node = world()
    send(node, *parts)
    assert replies(node) == 0


def test_incomplete_packets_are_given_up_after_thirty_seconds_and_the_sender_is_told() -> None:
    node = world()
    send(node, FIRST)
    node._wait(29)
    assert node.nets["h1"].drops == {}
    node._wait(2)
    assert node.nets["h1"].drops == {Drop.FRAG_REASM_TIMEOUT: 1}
    (error,) = [f for d, f in node.seen.taps["px/eth0"] if d == "in" and f[12:14] == b"\x08\x00" and f[23] == 1]
    assert error[34:36] == b"\x0b\x01"


def test_nobody_is_told_when_the_first_fragment_never_came() -> None:
    node = world()
    send(node, SECOND)
    node._wait(31)
    assert [d for d, f in node.seen.taps["px/eth0"] if d == "in" and f[12:14] == b"\x08\x00"] == []


def test_cutting_keeps_offsets_at_multiples_of_eight_and_all_bytes() -> None:
    node = world()
    node._tell("h1", LinkSet(name="docker0", mtu=500))
    send(node, FIRST, SECOND, THIRD)
    pieces = [f for d, f in node.seen.taps["px/eth0"] if d == "in" and f[12:14] == b"\x08\x00"]
    offsets = [(f[20] << 8 | f[21]) & 0x1FFF for f in pieces]
    assert [offset * 8 for offset in offsets] == [0, 480, 960]
    assert b"".join(f[34:] for f in pieces)[8:] == PAYLOAD[8:]
    assert [bool(f[20] & 0x20) for f in pieces] == [True, True, False]
