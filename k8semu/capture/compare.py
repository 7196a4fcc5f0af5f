"""Are two captures the same conversation? Compared per interface and per flow, frame by frame.

    frames ─▶ normal (what Linux chooses freely is left out) ─▶ by interface ─▶ by flow ─▶ aligned

The order of frames counts within a flow of an interface, and nowhere else. `k8semu diff`, the
goldens and the kernel twin all compare with this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

import msgspec

from k8semu.capture.align import align
from k8semu.capture.difference import Difference, diff_exact, differing_rows
from k8semu.capture.frame import DIRECTION_NAMES, Frame
from k8semu.capture.normal import Flows, normalise
from k8semu.capture.normal_frame import NormalFrame, Normalise
from k8semu.capture.reader import read_frames

__all__ = ["Comparison", "Difference", "Normalise", "compare", "compare_files", "diff_exact"]


class Comparison(msgspec.Struct, frozen=True):
    """The outcome: `frames` = `equal` + `different`; a pair that differs counts once, pure ACKs not at all."""

    frames: int
    equal: int
    different: int
    differences: tuple[Difference, ...]
    only_a: tuple[tuple[str, int], ...] = ()
    """Interfaces that only A has frames on, and how many."""
    only_b: tuple[tuple[str, int], ...] = ()

    @property
    def same(self) -> bool:
        return self.different == 0

    def text(self, a: str = "A", b: str = "B", limit: int = 10) -> str:
        """For people: the counts, then the first `limit` differences field by field."""
        lines = [f"{self.frames} frames compared, {self.equal} equal, {self.different} different"]
        for name, missing in ((a, self.only_a), (b, self.only_b)):
            lines += [f"{interface}: only in {name} ({count} frames)" for interface, count in missing]
        lines += [difference.text(a, b) for difference in self.differences[:limit]]
        if len(self.differences) > limit:
            lines.append(f"and {len(self.differences) - limit} more differences")
        return "\n".join(lines)


def compare_files(a: Path, b: Path, options: Normalise | None = None) -> Comparison:
    """`compare` of two capture files; CaptureError where one is cut off or none."""
    return compare(read_frames(a), read_frames(b), options)


def compare(
    a: Iterable[Frame], b: Iterable[Frame], options: Normalise | None = None, later: Sequence[Frame] = ()
) -> Comparison:
    """Compare two captures, each in order of time.

    `later` is how A would have gone on. Where B has more frames of a flow than A, because it lasted longer,
    they are held to these.
    """
    options = options or Normalise()
    frames = list(a)
    one = normalise(frames, options)
    other = _called_alike(normalise(b, options), one)
    if later and _has_more(other, one):
        _go_on(one, normalise([*frames, *later], options), other)
    shared = [interface for interface in one if interface in other]
    pairs = [pair for interface in shared for pair in _pairs(interface, one[interface], other[interface])]
    differences = tuple(difference for _, difference in pairs if difference is not None)
    equal = sum(count for count, difference in pairs if difference is None)
    only_a, only_b = _missing(one, other), _missing(other, one)
    different = len(differences) + sum(count for _, count in only_a + only_b)
    return Comparison(equal + different, equal, different, differences, only_a, only_b)


def _has_more(those: dict[str, Flows], others: dict[str, Flows]) -> bool:
    return any(
        len(flow) > len(others.get(interface, {}).get(name, ()))
        for interface, flows in those.items() for name, flow in flows.items()
    )  # fmt: skip


def _go_on(one: dict[str, Flows], longer: dict[str, Flows], other: dict[str, Flows]) -> None:
    """Let flows of `one` go on, as they do in `longer`, for as far as they do in `other`.

    What is compared as a stream has no further frames: it stays as it is.
    """
    for interface, flows in other.items():
        for name, flow in flows.items():
            whole = longer.get(interface, {}).get(name, [])[: len(flow)]
            known = one.get(interface, {}).get(name, ())
            if len(whole) > len(known) and all(normal.frame is not None for normal in whole):
                one.setdefault(interface, {})[name] = whole


def _called_alike(those: dict[str, Flows], others: dict[str, Flows]) -> dict[str, Flows]:
    """A classic pcap has its interface in its file's name: ``host1.docker0.pcap`` is of ``host1/docker0``."""
    known = {name.replace("/", "."): name for name in others}
    return {name if name in others else known.get(name.replace("/", "."), name): flows for name, flows in those.items()}


def _missing(those: dict[str, Flows], others: dict[str, Flows]) -> tuple[tuple[str, int], ...]:
    missing = ((name, sum(map(len, flows.values()))) for name, flows in those.items() if name not in others)
    return tuple((name, count) for name, count in missing if count)


_Pair = tuple[int, Difference | None]
"""(how many frames, how they differ or None)."""


def _pairs(interface: str, one: Flows, other: Flows) -> list[_Pair]:
    directed = _directed(one) and _directed(other)
    pairs: list[_Pair] = []
    for flow in dict.fromkeys([*one, *other]):
        pairs += _compare_flow(interface, flow, one.get(flow, []), other.get(flow, []), directed)
    return pairs


def _directed(flows: Flows) -> bool:
    """Does the capture know which way each frame went? tcpdump's does not."""
    return all(normal.frame.direction for flow in flows.values() for normal in flow if normal.frame is not None)


def _rows(normal: NormalFrame, directed: bool) -> tuple[tuple[str, str, str | bytes], ...]:
    if directed and normal.frame is not None:
        return (("frame", "direction", DIRECTION_NAMES[normal.frame.direction]), *normal.rows)
    return normal.rows


def _compare_flow(
    interface: str, flow: str, a: list[NormalFrame], b: list[NormalFrame], directed: bool
) -> list[_Pair]:
    one, other = [_rows(normal, directed) for normal in a], [_rows(normal, directed) for normal in b]
    pairs: list[_Pair] = []
    for same, first, last, start, stop in align(one, other):
        if same:
            pairs.append((last - first, None))
            continue
        for i, j in zip_longest(range(first, last), range(start, stop)):
            left, right = a[i] if i is not None else None, b[j] if j is not None else None
            number = (i if i is not None else j) + 1
            pairs.append((1, _difference(interface, flow, number, left, right, directed)))
    return pairs


def _difference(
    interface: str, flow: str, number: int, a: NormalFrame | None, b: NormalFrame | None, directed: bool
) -> Difference:
    rows_a = _rows(a, directed) if a is not None else ()
    rows_b = _rows(b, directed) if b is not None else ()
    streams = any(normal is not None and normal.frame is None for normal in (a, b))
    found = differing_rows(rows_a, rows_b) if (a is not None and b is not None) or streams else ()
    frame_a, frame_b = a.frame if a is not None else None, b.frame if b is not None else None
    return Difference(interface, number, frame_a, frame_b, found, flow)
