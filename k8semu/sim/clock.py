"""The clock: one heap of things to happen, ordered by (time, sequence).

Time is an integer count of nanoseconds since the start of the run. Two things due at the
same instant happen in the order in which they were asked for, so a run is the same run on
every machine. Nothing here reads the wall clock.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class Timer:
    """One thing to happen that can be taken back. Linux: include/linux/timer.h."""

    __slots__ = ("args", "fn", "when")

    def __init__(self, when: int, fn: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.when = when
        self.fn: Callable[..., None] | None = fn
        self.args = args

    def cancel(self) -> None:
        self.fn = None
        self.args = ()

    @property
    def pending(self) -> bool:
        return self.fn is not None

    def _fire(self) -> None:
        fn, args = self.fn, self.args
        if fn is not None:
            self.fn = None
            fn(*args)


class Clock:
    """Simulated time and everything that is due.

    `before_event` (the capture sets it) is called before each event: what was seen in the last one is final.

    """

    __slots__ = ("_heap", "_seq", "now")

    def __init__(self) -> None:
        self.now = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._seq = count()

    def post(self, delay: int, fn: Callable[..., None], *args: Any) -> None:
        """Have `fn(*args)` happen `delay` ns from now. Cannot be taken back; the cheap form."""
        heappush(self._heap, (self.now + delay, next(self._seq), fn, args))

    def timer(self, delay: int, fn: Callable[..., None], *args: Any) -> Timer:
        """Like `post`, but returns a `Timer` that can be cancelled."""
        timer = Timer(self.now + delay, fn, args)
        heappush(self._heap, (timer.when, next(self._seq), timer._fire, ()))
        return timer

    def next_due(self) -> int | None:
        """When the next thing is due, or None when nothing is left; drops cancelled timers."""
        heap = self._heap
        while heap:
            owner = getattr(heap[0][2], "__self__", None)
            if type(owner) is Timer and owner.fn is None:
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
