"""What a registry takes for the time of day, which it writes into its answers.

The event loop's clock has no date: `epoch` is the date at which the registry starts. With a coarse
`tick` the stamps of two runs are the same, although one machine is slower than the other.
"""

from __future__ import annotations

import asyncio

EPOCH = 1_712_650_512_000
"""9 April 2024, 08:15:12 UTC, in ms."""


class Clock:
    """Seconds since the registry started (`now`), and that as a date in ms (`stamp`)."""

    __slots__ = ("_loop", "_start", "epoch", "tick")

    def __init__(self, epoch: int = EPOCH, tick: float = 0.001) -> None:
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self.epoch, self.tick = epoch, tick

    def now(self) -> float:
        return self._loop.time() - self._start

    def stamp(self) -> int:
        return self.epoch + round(self.now() // self.tick * self.tick * 1000)
