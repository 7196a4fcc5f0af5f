"""How late a timer fires, by the rows that kernel/time/timer.c gives for HZ=1000."""

from __future__ import annotations

import pytest

from k8semu.linux.core.jiffies import INITIAL_JIFFIES, JIFFY, jiffies, timer_delay
from k8semu.sim.clock import NS_PER_MS, NS_PER_S


def test_a_tick_is_a_millisecond_and_the_first_is_five_minutes_before_the_wrap() -> None:
    assert jiffies(0) == INITIAL_JIFFIES == 2**32 - 300_000
    assert jiffies(NS_PER_MS - 1) == jiffies(0)
    assert jiffies(NS_PER_S) == jiffies(0) + 1000


@pytest.mark.parametrize(
    ("ticks", "granularity"),
    [(1, 1), (62, 1), (63, 8), (503, 8), (504, 64), (4031, 64), (4032, 512), (32_255, 512), (32_256, 4096)],
)
@pytest.mark.parametrize("now", [0, 1, 12_345_678, 987 * NS_PER_MS])
def test_a_timer_fires_at_the_end_of_its_slot(ticks: int, granularity: int, now: int) -> None:
    fires = now + timer_delay(now, ticks * JIFFY)
    late = jiffies(fires) - jiffies(now) - ticks
    assert 0 < late <= granularity
    assert fires % JIFFY == 0
    assert jiffies(fires) % granularity == 0


def test_a_part_of_a_tick_is_a_whole_one() -> None:
    assert timer_delay(0, 1) == timer_delay(0, JIFFY)


def test_the_longest_timers_hang_on_the_last_level() -> None:
    late = timer_delay(0, 2**31 * JIFFY) // JIFFY - 2**31
    assert 0 < late <= 8**8
