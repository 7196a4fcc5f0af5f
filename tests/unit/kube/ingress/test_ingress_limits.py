"""Leaky buckets, and numbers as Prometheus reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.kube.ingress.limits import Buckets, Counts, Rate
from k8semu.kube.ingress.metrics import number

ONE_A_SECOND = Rate(1000, 2)


def passed(buckets: Buckets, now: int, key: str = "a") -> bool:
    return buckets.take([((key,), ONE_A_SECOND)], now)


def test_a_burst_passes_and_then_one_for_each_that_has_leaked_out() -> None:
    buckets = Buckets()
    assert [passed(buckets, 0) for _ in range(5)] == [True, True, True, False, False]
    assert [passed(buckets, 999), passed(buckets, 1000), passed(buckets, 1000)] == [False, True, False]
    assert passed(buckets, 1000, "b")
    assert [passed(buckets, 9000) for _ in range(4)] == [True, True, True, False]


def test_a_request_that_one_limit_refuses_counts_for_no_other() -> None:
    buckets = Buckets()
    narrow, wide = (("n",), Rate(1000, 0)), (("w",), Rate(1000, 1))
    assert buckets.take([narrow, wide], 0)
    assert not buckets.take([wide, narrow], 0)
    assert buckets.take([wide], 0)
    assert not buckets.take([wide], 0)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=60), st.integers(0, 5))
def test_never_more_than_the_rate_and_the_burst(steps: list[int], burst: int) -> None:
    buckets, now, times = Buckets(), 0, []
    for step in steps:
        now += step
        if buckets.take([(("a",), Rate(2000, burst))], now):
            times.append(now)
    for i, first in enumerate(times):
        for j in range(i, len(times)):
            assert j - i + 1 <= (times[j] - first) * 2 / 1000 + burst + 1.001


def test_only_so_many_at_once() -> None:
    counts = Counts()
    assert [counts.enter(("a",), 2) for _ in range(3)] == [True, True, False]
    counts.leave(("a",))
    assert counts.enter(("a",), 2)
    assert counts.enter(("b",), 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (3, "3"), (0.25, "0.25"), (100000, "100000"), (1_000_000, "1e+06"), (1234567, "1.234567e+06"),
     (0.00001, "1e-05"), (0.0001, "0.0001"), (12.5, "12.5"), (0.005, "0.005"), (-2, "-2"), (100, "100")],
)  # fmt: skip
def test_a_number_reads_as_go_writes_it(value: float, text: str) -> None:
    assert number(value) == text
