"""The clock: one heap of times, and what happens at each, in the order in which it was asked for.

Time is an integer count of nanoseconds since the start of the run. Two things due at the
same instant happen in the order in which they were asked for, so a run is the same run on
every machine. Nothing here reads the wall clock.

A burst of frames is at the same place at the same instant, so there are far fewer times than things
that happen, and only the times are kept sorted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

MANY = 256
"""Cancelled timers that may lie about until they are due: TCP takes most of its timers back."""

_Entry = tuple[Callable[..., None], tuple[Any, ...]]


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

    __slots__ = ("_cancelled", "_due", "_most", "_queue", "_times", "now")

    def __init__(self) -> None:
        self.now = 0
        self._queue: deque[_Entry] = deque()             # what is due now
        self._due: dict[int, list[_Entry]] = {}          # … and later
        self._times: list[int] = []                      # a heap of the keys of `_due`
        self._cancelled = 0     # timers since what is due was last cleared of them
        self._most = MANY       # … and how many of them there may be

    def post(self, delay: int, fn: Callable[..., None], *args: Any) -> None:
        """Have `fn(*args)` happen `delay` ns from now. Cannot be taken back; the cheap form."""
        if not delay:
            self._queue.append((fn, args))
            return
        when = self.now + delay
        due = self._due.get(when)
        if due is None:
            self._due[when] = [(fn, args)]
            heappush(self._times, when)
        else:
            due.append((fn, args))

    def gather(self, delay: int, fn: Callable[[Any, list[Any]], None], to: object) -> list[Any]:
        """Have `fn(to, things)` happen like `post`; the list, to be added to, which `fn` will be called with.

        It is the list of the last call, with what is in it, if nothing else was asked for that instant since.
        """
        due = self._due.get(self.now + delay) if delay else self._queue
        if due:
            last, args = due[-1]
            if last is fn and args[0] is to:
                things: list[Any] = args[1]
                return things
        things = []
        self.post(delay, fn, to, things)
        return things

    def timer(self, delay: int, fn: Callable[..., None], *args: Any) -> Timer:
        """Like `post`, but returns a `Timer` that can be cancelled."""
        timer = Timer(self, self.now + delay, fn, args)
        self.post(delay, timer._fire)
        return timer

    def cancelled(self) -> None:
        """A timer was taken back: forget such, once they may be more than all else."""
        self._cancelled += 1
        if self._cancelled > self._most:
            left = {when: _not_cancelled(due) for when, due in self._due.items()}
            self._due = {when: due for when, due in left.items() if due}
            self._times[:] = self._due
            heapify(self._times)
            self._cancelled = 0
            self._most = max(MANY, sum(map(len, self._due.values())))

    def next_due(self) -> int | None:
        """When the next thing is due, or None when nothing is left; drops cancelled timers."""
        queue, times = self._queue, self._times
        while queue:
            if not _is_cancelled(queue[0][0]):
                return self.now
            queue.popleft()
        while times:
            due = self._due[times[0]] = _not_cancelled(self._due[times[0]])
            if due:
                return times[0]
            del self._due[heappop(times)]
        return None

    def step(self) -> bool:
        """Let the next thing happen; False when nothing is left."""
        queue = self._queue
        if not queue:
            if not self._times:
                return False
            when = heappop(self._times)
            assert when >= self.now, "time runs forward"
            self.now = when
            queue.extend(self._due.pop(when))
        fn, args = queue.popleft()
        fn(*args)
        return True

    def run_until(self, deadline: int) -> None:
        """Let everything happen that is due up to `deadline` ns, then set the time to it."""
        queue, times = self._queue, self._times
        while (queue and self.now <= deadline) or (not queue and times and times[0] <= deadline):
            self.step()
        self.now = max(self.now, deadline)


def _not_cancelled(due: list[_Entry]) -> list[_Entry]:
    return [entry for entry in due if not _is_cancelled(entry[0])]


def _is_cancelled(fn: Callable[..., None]) -> bool:
    owner = getattr(fn, "__self__", None)
    return type(owner) is Timer and owner.fn is None
