"""Which frame of one list stands against which of the other: quick also for long flows.

What both lists hold exactly once, in the same order in both, are the anchors (most frames differ in
their sequence numbers, so there are many); between two anchors little is left to search.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher

SEARCHABLE = 1_000_000
"""Pairs between two anchors that are looked at; beyond it item n stands against item n."""

Block = tuple[bool, int, int, int, int]
"""(equal?, from a, to a, from b, to b)."""


def align(a: Sequence[Hashable], b: Sequence[Hashable]) -> Iterator[Block]:
    """The blocks of `a` and `b`, in order, that are equal or take each other's place."""
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    tail = 0
    while tail < min(len(a), len(b)) - start and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    if start:
        yield True, 0, start, 0, start
    i, k = start, start
    for j, m in [*_anchors(a, b, start, tail), (len(a) - tail, len(b) - tail)]:
        yield from _between(a, b, i, j, k, m)
        i, k = j, m
    if tail:
        yield True, len(a) - tail, len(a), len(b) - tail, len(b)


def _anchors(a: Sequence[Hashable], b: Sequence[Hashable], start: int, tail: int) -> list[tuple[int, int]]:
    """Pairs of positions of what is there once in both, as many as are in the same order."""
    count_a, count_b = Counter(a[start : len(a) - tail]), Counter(b[start : len(b) - tail])
    at_b = {b[at]: at for at in range(start, len(b) - tail) if count_b[b[at]] == 1}
    pairs = [(at, at_b[a[at]]) for at in range(start, len(a) - tail) if count_a[a[at]] == 1 and a[at] in at_b]
    ends: list[int] = []                # the smallest end of an ascending run of each length,
    last: list[int] = []                # which pair that is,
    before: list[int] = []              # and the pair in front of each pair
    for number, (_, at) in enumerate(pairs):
        length = bisect_left(ends, at)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [at]
        last[length : length + 1] = [number]
    run = []
    number = last[-1] if last else -1
    while number >= 0:
        run.append(pairs[number])
        number = before[number]
    return run[::-1]


def _between(a: Sequence[Hashable], b: Sequence[Hashable], i: int, j: int, k: int, m: int) -> Iterator[Block]:
    if i == j or k == m:
        if i < j or k < m:
            yield False, i, j, k, m
    elif (j - i) * (m - k) <= SEARCHABLE:
        for tag, first, last, start, stop in SequenceMatcher(None, a[i:j], b[k:m], autojunk=False).get_opcodes():
            yield tag == "equal", i + first, i + last, k + start, k + stop
    else:
        for offset in range(max(j - i, m - k)):
            first, last = min(i + offset, j), min(i + offset + 1, j)
            start, stop = min(k + offset, m), min(k + offset + 1, m)
            yield last > first and stop > start and a[first] == b[start], first, last, start, stop
