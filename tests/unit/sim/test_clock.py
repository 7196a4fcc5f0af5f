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


def test_what_is_due_at_one_instant_happens_in_the_order_in_which_it_was_asked_for() -> None:
    clock = Clock()
    happened: list[str] = []
    clock.post(5, happened.append, "first")
    clock.post(2, clock.post, 3, happened.append, "asked for while time ran")
    clock.timer(5, happened.append, "second")
    clock.post(5, clock.post, 0, happened.append, "asked for at that instant")
    clock.timer(5, happened.append, "taken back").cancel()
    clock.post(5, happened.append, "third")
    clock.run_until(5)
    assert happened == ["first", "second", "third", "asked for while time ran", "asked for at that instant"]
    assert clock.next_due() is None


def test_the_next_thing_due_is_not_a_timer_that_was_taken_back() -> None:
    clock = Clock()
    clock.timer(0, print).cancel()
    clock.timer(3, print).cancel()
    clock.post(7, print)
    clock.timer(7, print).cancel()
    assert clock.next_due() == 7
    clock.post(0, print)
    assert clock.next_due() == 0
