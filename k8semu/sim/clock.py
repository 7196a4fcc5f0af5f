"""The clock: one heap of things to happen, ordered by (time, sequence).

Time is an integer count of nanoseconds since the start of the run. Two things due at the
same instant happen in the order in which they were asked for, so a run is the same run on
every machine. Nothing here reads the wall clock.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


MANY = 256
"""Cancelled timers that may lie about until they are due: TCP takes most of its timers back."""


class Timer:
    """One thing to happen that can be taken back. Linux: include/linux/timer.h."""

    __slots__ = ("_clock", "args", "fn", "when")

    def __init__(self, clock: Clock, when: int, fn: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._clock = clock
        self.when = when
        self.fn: Callable[..., None] | None = fn
        self.args = args

    def cancel(self) -> None:
        if self.fn is not None:
            self.fn = None
            self.args = ()
            self._clock.cancelled()

    @property
    def pending(self) -> bool:
        return self.fn is not None

    def _fire(self) -> None:
        fn, args = self.fn, self.args
        if fn is not None:
            self.fn = None
            fn(*args)


class Clock:
    """Simulated time and everything that is due."""

    __slots__ = ("_cancelled", "_heap", "_seq", "now")

    def __init__(self) -> None:
        self.now = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._seq = count()
        self._cancelled = 0     # timers since the heap was last cleared of them

    def post(self, delay: int, fn: Callable[..., None], *args: Any) -> None:
        """Have `fn(*args)` happen `delay` ns from now. Cannot be taken back; the cheap form."""
        heappush(self._heap, (self.now + delay, next(self._seq), fn, args))

    def timer(self, delay: int, fn: Callable[..., None], *args: Any) -> Timer:
        """Like `post`, but returns a `Timer` that can be cancelled."""
        timer = Timer(self, self.now + delay, fn, args)
        heappush(self._heap, (timer.when, next(self._seq), timer._fire, ()))
        return timer

    def cancelled(self) -> None:
        """A timer was taken back: clear the heap of such, once they may be more than half of it."""
        self._cancelled += 1
        if self._cancelled > MANY and self._cancelled * 2 > len(self._heap):
            self._heap[:] = [entry for entry in self._heap if not _is_cancelled(entry[2])]
            heapify(self._heap)
            self._cancelled = 0

    def next_due(self) -> int | None:
        """When the next thing is due, or None when nothing is left; drops cancelled timers."""
        heap = self._heap
        while heap:
            if _is_cancelled(heap[0][2]):
                heappop(heap)
                continue
            return heap[0][0]
        return None

    def step(self) -> bool:
        """Let the next thing happen; False when nothing is left."""
        heap = self._heap
        if not heap:
            return False
        when, _, fn, args = heappop(heap)
        if when != self.now:
            assert when > self.now, "time runs forward"
            self.now = when
        fn(*args)
        return True

    def run_until(self, deadline: int) -> None:
        """Let everything happen that is due up to `deadline` ns, then set the time to it."""
        heap = self._heap
        while heap and heap[0][0] <= deadline:
            self.step()
        self.now = max(self.now, deadline)


def _is_cancelled(fn: Callable[..., None]) -> bool:
    owner = getattr(fn, "__self__", None)
    return type(owner) is Timer and owner.fn is None
