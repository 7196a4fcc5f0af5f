"""Aligned lists: every item once, equal ones against each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.capture import align as module
from k8semu.capture.align import align

ITEMS = st.lists(st.integers(0, 9), max_size=14)


@given(ITEMS, ITEMS, st.sampled_from([0, 20, 1_000_000]))
def test_blocks_cover_both_lists_in_order_and_equal_blocks_are_equal(a: list[int], b: list[int], limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEARCHABLE", limit)
        at_a = at_b = 0
        for same, first, last, start, stop in align(a, b):
            assert (first, start) == (at_a, at_b)
            assert last > first or stop > start
            if same:
                assert a[first:last] == b[start:stop]
            at_a, at_b = last, stop
        assert (at_a, at_b) == (len(a), len(b))


@given(ITEMS)
def test_a_list_is_equal_to_itself(a: list[int]) -> None:
    assert all(same for same, *_ in align(a, a))


def test_what_is_missing_is_found_in_long_lists_too() -> None:
    whole = list(range(20_000))
    blocks = list(align(whole, whole[::2]))
    assert sum(last - first for same, first, last, _, _ in blocks if same) == 10_000
    assert sum(last - first for same, first, last, _, _ in blocks if not same) == 10_000


def test_an_item_in_another_place_costs_one_block_on_either_side() -> None:
    blocks = list(align([1, 2, 3, 4, 5], [1, 4, 2, 3, 5]))
    assert sum(last - first for same, first, last, _, _ in blocks if same) == 4
