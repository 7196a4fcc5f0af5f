"""Ticks, in which Linux counts time, and how late a timer fires that hangs on the wheel.

A timer waits in a slot with others that are due at about the same time, and fires at the slot's end: never
early, and up to an eighth of its delay late. A neighbour that is asked again "after five seconds" is asked
after 5.001 to 5.512.

    delay in ticks   below 63   504   4032   32256   …
    slots of            1        8     64     512    …   ticks

Linux: kernel/time/timer.c calc_wheel_index(), include/linux/jiffies.h
"""

from __future__ import annotations

from k8semu.sim.clock import NS_PER_S

HZ = 1000
JIFFY = NS_PER_S // HZ
"""A tick in ns."""
INITIAL_JIFFIES = 2**32 - 300 * HZ
"""Five minutes before they wrap at 32 bits. Linux: include/linux/jiffies.h."""
_LEVELS = 9
_SLOTS = 63
"""A level's slots but one: delays from this on, in slots of the level, are the next level's. Linux: LVL_START()."""
_SHIFT = 3
"""Slots of a level are eight times as long as those of the one below. Linux: LVL_CLK_SHIFT."""


def jiffies(now: int) -> int:
    """The tick that it is, `now` ns after the start."""
    return INITIAL_JIFFIES + now // JIFFY


def timer_delay(now: int, delay: int) -> int:
    """In how many ns a timer fires that is set now, to fire in `delay` ns. Linux: mod_timer(jiffies + delay)."""
    ticks = -(-delay // JIFFY)
    shift = 0
    while ticks >= _SLOTS << shift and shift < _SHIFT * (_LEVELS - 1):
        shift += _SHIFT
    slot = (jiffies(now) + ticks >> shift) + 1
    return (slot << shift) * JIFFY - INITIAL_JIFFIES * JIFFY - now
