"""What the API server asks of its surroundings: a clock, and chance."""

from __future__ import annotations

from typing import Protocol


class Now(Protocol):
    """Time: `now` counts nanoseconds."""

    @property
    def now(self) -> int: ...


class Draw(Protocol):
    """A stream of random numbers. `k8semu.sim.streams.Stream` is one."""

    def below(self, n: int) -> int: ...
    def bits(self, n: int) -> int: ...


class Streams(Protocol):
    """Named streams. `k8semu.sim.streams.Streams` is one."""

    def __getitem__(self, name: str) -> Draw: ...
