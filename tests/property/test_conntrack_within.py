"""The quick way to see that a segment is within the window is the slow one's, and leaves the same behind."""

from __future__ import annotations

import struct
from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from k8semu.linux.netfilter.conntrack.entry import CtEntry
from k8semu.linux.netfilter.conntrack.window import ACCEPT, Segment, Side, Window, within

TCP_AT = 34
OPTIONS = b"\1\1\x08\x0a" + bytes(8)
NEAR = st.sampled_from([0, 1, 2, 100, 1400, 65_534, 65_535, 65_536, 66_000, 66_001, 70_000, -1, -100, -66_000, -66_002])
START = st.sampled_from([1000, 5_000_000, 0xFFFFFF00, 3])


def segment(seq: int, ack: int, win: int, length: int, options: bytes = OPTIONS) -> bytearray:
    numbers = seq & 0xFFFFFFFF, ack & 0xFFFFFFFF
    head = struct.pack("!HHIIBBHHH", 1, 2, *numbers, (20 + len(options)) << 2, 0x10, win, 0, 0)
    total = 20 + len(head) + len(options) + length
    return bytearray(16) + total.to_bytes(2, "big") + bytes(16) + head + options + bytes(length)


def connection(starts: tuple[int, int], wins: tuple[int, int], scale: int) -> CtEntry:
    ct = CtEntry(bytes(12) + b"\x06", bytes(12) + b"\x06")
    ct.window = window = Window(Segment(segment(starts[0], 0, wins[0], 0), TCP_AT), loose=False)
    for side, start, win, room in zip(window.seen, starts, wins, wins[::-1], strict=True):
        side.end, side.maxwin, side.scale = start, win << scale or 1, scale
        side.maxend = start + (room << scale) & 0xFFFFFFFF
    return ct


def told(ct: CtEntry) -> list[tuple[int, ...]]:
    window = ct.window
    assert window is not None
    names = ("last_seq", "last_ack", "last_end", "last_win", "retrans")
    sides = [tuple(getattr(side, name) for name in Side.__slots__) for side in window.seen]
    return [*sides, tuple(getattr(window, name) for name in names)]


@given(
    st.tuples(START, START), st.tuples(st.sampled_from([0, 1, 500, 65_535]), st.sampled_from([1, 500, 65_535])),
    st.sampled_from([0, 2, 7]),
    st.lists(st.tuples(st.integers(0, 1), NEAR, NEAR, st.sampled_from([0, 1, 500, 65_535]),
                       st.sampled_from([0, 0, 1, 1400])), max_size=12),
)  # fmt: skip
def test_what_is_quickly_seen_to_be_within_is_within_and_moves_the_window_alike(
    starts: tuple[int, int], wins: tuple[int, int], scale: int, segments: list[tuple[int, int, int, int, int]]
) -> None:
    ct = connection(starts, wins, scale)
    for direction, off, behind, win, length in segments:
        assert ct.window is not None
        mine, theirs = ct.window.from_[direction]
        data = segment(mine.end + off, theirs.end - behind, win, length)
        slow = deepcopy(ct)
        assert slow.window is not None
        before = told(ct)
        judged = slow.window.judge(direction, Segment(data, TCP_AT), 3, True, ct.last_dir == direction, False)
        if within(data, TCP_AT, ct, direction):
            assert judged == ACCEPT
            assert told(ct) == told(slow)
        else:
            assert told(ct) == before, "nothing has changed"
            ct.window = slow.window
        ct.last_dir = direction


def test_most_of_what_programs_send_is_seen_quickly() -> None:
    ct = connection((1000, 5000), (65_535, 65_535), 7)
    at = [1000, 5000]
    for direction, length in ((0, 100), (1, 0), (1, 1400), (1, 1400), (0, 0), (0, 1), (1, 0)):
        data = segment(at[direction], at[1 - direction], 500, length)
        assert within(data, TCP_AT, ct, direction)
        at[direction] += length
