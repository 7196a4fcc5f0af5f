"""How two frames differ, field by field; and the first place where two captures do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest

import msgspec

from k8semu.capture.frame import LINKTYPE_RAW, Frame, seconds
from k8semu.capture.listing import frame_line
from k8semu.wire.dissect import fields

ABSENT = "-"
ROW = 16

FieldDifference = tuple[str, str, str, str]
"""(layer, field, value in A, value in B)."""


class Difference(msgspec.Struct, frozen=True):
    """One frame that differs, or that one side does not have (`a` or `b` is None).

    `number` counts from 1: in the capture, or in the flow where `flow` is named.
    """

    interface: str
    number: int
    a: Frame | None
    b: Frame | None
    fields: tuple[FieldDifference, ...]
    flow: str = ""

    def text(self, a: str = "A", b: str = "B") -> str:
        """For people: both frames' lines, then the fields that differ."""
        where = f"{self.interface}: {self.flow}, frame {self.number}" if self.flow else f"frame {self.number}"
        lines = [where]
        for name, frame in ((a, self.a), (b, self.b)):
            if frame is not None:
                lines.append(f"  {name}: {frame_line(frame)}")
            elif not self.fields:
                lines.append(f"  {name}: no such frame")
        lines += [f"    {layer} {field}: {a} {one}, {b} {other}" for layer, field, one, other in self.fields]
        return "\n".join(lines)


def differing_rows(
    a: Sequence[tuple[str, str, str | bytes]], b: Sequence[tuple[str, str, str | bytes]]
) -> tuple[FieldDifference, ...]:
    """Where two frames' rows differ, by layer and field; long bytes only where they do."""
    one, other = _by_place(a), _by_place(b)
    found: list[FieldDifference] = []
    for (layer, field, _), value in one.items():
        second = other.get((layer, field, _), ABSENT)
        if value != second:
            found += _in_short(layer, field, value, second)
    for (layer, field, _), value in other.items():
        if (layer, field, _) not in one:
            found += _in_short(layer, field, ABSENT, value)
    return tuple(found)


def _by_place(rows: Sequence[tuple[str, str, str | bytes]]) -> dict[tuple[str, str, int], str | bytes]:
    seen: Counter[tuple[str, str]] = Counter()
    result = {}
    for layer, field, value in rows:
        result[layer, field, seen[layer, field]] = value
        seen[layer, field] += 1
    return result


def _in_short(layer: str, field: str, a: str | bytes, b: str | bytes) -> list[FieldDifference]:
    if isinstance(a, str) and isinstance(b, str):
        return [(layer, field, a, b)]
    one, other = (value if isinstance(value, bytes) else b"" for value in (a, b))
    found = []
    if len(one) != len(other):
        found.append((layer, field, f"{len(one)} bytes", f"{len(other)} bytes"))
    for at in range(0, max(len(one), len(other)), ROW):
        left, right = one[at : at + ROW], other[at : at + ROW]
        if left != right:  # the first row that differs tells enough
            found.append((layer, f"{field} 0x{at:04x}", left.hex(" ") or ABSENT, right.hex(" ") or ABSENT))
            break
    return found


def diff_exact(a: Iterable[Frame], b: Iterable[Frame]) -> Difference | None:
    """The first frame that is not the same in every respect, or None. Reads both only that far."""
    for number, (one, other) in enumerate(zip_longest(a, b), start=1):
        if one != other:
            known = one or other
            assert known is not None
            found = _frame_fields(one, other) if one is not None and other is not None else ()
            return Difference(known.interface, number, one, other, found)
    return None


def _frame_fields(a: Frame, b: Frame) -> tuple[FieldDifference, ...]:
    found = list(differing_rows(_about(a), _about(b)))
    if a.data != b.data:
        bytes_differ = differing_rows(
            fields(a.data, a.linktype == LINKTYPE_RAW), fields(b.data, b.linktype == LINKTYPE_RAW)
        )
        found += bytes_differ or _in_short("frame", "bytes", a.data, b.data)
    return tuple(found)


def _about(frame: Frame) -> list[tuple[str, str, str]]:
    """What a capture says of a frame besides its bytes."""
    return [
        ("frame", "time", seconds(frame.time)),
        ("frame", "interface", frame.interface),
        ("frame", "direction", str(frame.direction)),
        ("frame", "packet id", str(frame.packet_id)),
        ("frame", "linktype", str(frame.linktype)),
        *(("frame", "comment", comment) for comment in frame.comments),
    ]
