from __future__ import annotations

import tracemalloc

from k8semu.sim.clock import NS_PER_S, Clock


def test_timers_that_were_taken_back_are_not_kept_until_they_would_have_been_due() -> None:
    clock = Clock()
    tracemalloc.start()
    try:
        for _ in range(20_000):
            clock.timer(NS_PER_S, print).cancel()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 20_000 * 10


def test_what_remains_happens_in_order_however_many_timers_were_taken_back() -> None:
    clock = Clock()
    happened: list[int] = []
    for number in range(2_000):
        clock.timer(number * 7919 % 2_000, happened.append, number * 7919 % 2_000)
        clock.timer(NS_PER_S, happened.append, -1).cancel()
        clock.timer(NS_PER_S, happened.append, -1).cancel()
    clock.run_until(2 * NS_PER_S)
    assert happened == list(range(2_000))


def test_a_timer_taken_back_twice_or_after_it_fired_changes_nothing() -> None:
    clock = Clock()
    happened: list[str] = []
    timer = clock.timer(1, happened.append, "fired")
    clock.run_until(2)
    for _ in range(1_000):
        timer.cancel()
    clock.post(1, happened.append, "after")
    clock.run_until(4)
    assert happened == ["fired", "after"]
