"""What a rule compares with, and what sets hold: values, ranges, and elements made of several.

    10.0.0.0/8                 one Range
    10.96.0.20 . tcp . 80      a Key: one Range for each part

Linux: nftables src/expression.c, src/segtree.c, src/intervals.c
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from k8semu.linux.netfilter.nft.datatypes import IPV4, MARK, DataType, DataTypes, Value, as_int, from_int


class Range(msgspec.Struct, frozen=True, gc=False):
    """From `low` to `high`, both included; one value where they are the same."""

    low: Value
    high: Value
    wildcard: bool = False
    """An interface name that ends with `*`."""
    dash: bool = False
    """Written as a range, and printed so even where it is a prefix (alone in a rule; in sets it becomes one)."""

    @property
    def single(self) -> bool:
        return self.low == self.high and not self.wildcard

    def text(self, dtype: DataType) -> str:
        """As nft prints it: a value, a prefix where it is one, or a range."""
        if self.wildcard:
            return f'"{self.low!s}*"'
        if self.low == self.high:
            return dtype.text(self.low)
        plen = self._prefix(dtype)
        if plen is not None:
            return f"{dtype.text(self.low)}/{plen}"
        return f"{dtype.text(self.low)}-{dtype.text(self.high)}"

    def _prefix(self, dtype: DataType) -> int | None:
        if self.dash or (dtype is not IPV4 and dtype is not MARK):
            return None
        low, size = as_int(dtype, self.low), as_int(dtype, self.high) - as_int(dtype, self.low) + 1
        if size & (size - 1) or low & (size - 1):
            return None
        return 8 * dtype.octets - (size.bit_length() - 1)

    def holds(self, value: Value) -> bool:
        if self.wildcard:
            assert isinstance(value, str)
            assert isinstance(self.low, str)
            return value.startswith(self.low)
        return self.low <= value <= self.high  # type: ignore[operator]


Key = tuple[Range, ...]


def single(value: Value) -> Range:
    return Range(value, value)


def key_text(key: Key, dtypes: DataTypes) -> str:
    return " . ".join(part.text(dtype) for part, dtype in zip(key, dtypes, strict=True))


def lookup_key(key: Key) -> Value | tuple[Value, ...]:
    """What a dictionary finds it by (all parts are single values)."""
    return key[0].low if len(key) == 1 else tuple(part.low for part in key)


def sort_value(key: Key, dtypes: DataTypes) -> int:
    """nft prints elements in this order. Linux: nftables src/mergesort.c expr_msort_value()."""
    if len(key) == 1:
        return as_int(dtypes[0], key[0].low)
    data = b"".join(dtype.sort_bytes(part.low) for part, dtype in zip(key, dtypes, strict=True))
    return int.from_bytes(data, "little")


def merge(ranges: Iterable[Range], dtype: DataType) -> list[Range]:
    """Sorted, overlapping and adjacent ones made one. Linux: src/intervals.c set_automerge()."""
    found: list[list[int]] = []
    for low, high in sorted((as_int(dtype, r.low), as_int(dtype, r.high)) for r in ranges):
        if found and low <= found[-1][1] + 1:
            found[-1][1] = max(found[-1][1], high)
        else:
            found.append([low, high])
    return [Range(from_int(dtype, low), from_int(dtype, high)) for low, high in found]


def layout(items: Sequence[str], dtypes: DataTypes) -> str:
    """Elements of a named set, a few on a line. Linux: src/expression.c calculate_delim()."""
    per_line = dtypes[0].per_line if len(dtypes) == 1 else 1
    lines = [", ".join(items[at : at + per_line]) for at in range(0, len(items), per_line)]
    return ",\n\t\t\t     ".join(lines)


def wildcard(text: str) -> Range:
    """An interface name, or with `*` at its end all that begin so."""
    return Range(text[:-1], text[:-1], True) if text.endswith("*") else single(text)
