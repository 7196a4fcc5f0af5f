"""Hops and traces: what one packet went through, in order.

A `Hop` is one pass through one network namespace. Its constructor holds the invariant that a
trace stands on: it starts with `Receive` or `Originate` and ends in exactly one named place.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from k8semu.trace.steps import Consume, Deliver, DropStep, Originate, Receive, Step, Transmit

FIRST = (Receive, Originate)
LAST = (Transmit, Deliver, DropStep, Consume)


class Hop:
    """One pass of packet `packet_id` through netns `netns`, from `start` to `end` (ns)."""

    __slots__ = ("end", "netns", "packet_id", "start", "steps")

    def __init__(self, packet_id: int, netns: str, start: int, end: int, steps: Iterable[Step]) -> None:
        self.packet_id, self.netns, self.start, self.end = packet_id, netns, start, end
        self.steps: tuple[Step, ...] = tuple(steps)
        assert self.steps, "a hop has steps"
        assert isinstance(self.steps[0], FIRST), f"a hop starts with {self.steps[0].text!r}"
        assert isinstance(self.steps[-1], LAST), f"a hop ends with {self.steps[-1].text!r}"
        middle = [step for step in self.steps[:-1] if isinstance(step, LAST)]
        assert not middle, f"a hop ends once, not also with {middle[0].text!r}"

    @property
    def last(self) -> Step:
        return self.steps[-1]


class TraceSink(Protocol):
    """Who listens to what happens; a net without one pays nothing."""

    def hop(self, hop: Hop) -> None:
        """A packet left a namespace, or ended in it."""

    def change(self, time: int, netns: str, step: Step) -> None:
        """State changed without a packet: an entry expired, a timer gave up."""


class Recorder:
    """Keeps everything: for `explain`, for tests, and to rebuild state at any moment."""

    def __init__(self) -> None:
        self.hops: list[Hop] = []
        self.changes: list[tuple[int, str, Step]] = []

    def hop(self, hop: Hop) -> None:
        self.hops.append(hop)

    def change(self, time: int, netns: str, step: Step) -> None:
        self.changes.append((time, netns, step))

    def of(self, packet_id: int) -> list[Hop]:
        """The hops of one packet, in order of time."""
        return sorted((hop for hop in self.hops if hop.packet_id == packet_id), key=lambda hop: (hop.start, hop.end))

    def packet_ids(self) -> list[int]:
        """All packets, in order of their first appearance."""
        return list(dict.fromkeys(hop.packet_id for hop in self.hops))
