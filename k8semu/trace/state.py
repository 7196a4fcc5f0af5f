"""What a machine knew at any moment, from the trace alone: every change of state is a step of it.

    recorder.changes ─▶ states(changes, until=…) ─▶ {"host1": State(fdb, neighbours, connections, virtual)}

Shown: `bridge fdb`, `ip neigh`, `conntrack -L`, `ipvsadm -Lnc`, as they would have answered then
Differs: what has expired or aged stands until the kernel has noticed, as in the kernel itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from k8semu.trace.steps import CtChange, FdbChange, IpvsChange, NeighChange, Step


class State(msgspec.Struct):
    """The tables of one machine."""

    fdb: dict[tuple[str, str], str] = {}
    """(device, MAC) to port or remote."""
    neighbours: dict[tuple[str, str], tuple[str, str]] = {}
    """(device, address) to MAC and state."""
    connections: dict[str, str] = {}
    """Original tuple to the line of `conntrack -L`, without its time."""

    virtual: dict[str, str] = {}
    """Connections of virtual servers: source and virtual address to the line of `ipvsadm -Lnc`, without its time."""

    def apply(self, step: Step) -> None:
        """Know what `step` says; other steps change nothing."""
        if isinstance(step, FdbChange):
            _put(self.fdb, (step.dev, step.mac), step.where)
        elif isinstance(step, NeighChange):
            _put(self.neighbours, (step.dev, step.addr), (step.lladdr, step.state) if step.state else None)
        elif isinstance(step, CtChange):
            _put(self.connections, step.key, step.entry)
        elif isinstance(step, IpvsChange):
            _put(self.virtual, step.key, step.entry)


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _put(table: dict[_Key, _Value], key: _Key, value: _Value | None) -> None:
    if value:
        table[key] = value
    else:
        table.pop(key, None)


def states(changes: Iterable[tuple[int, str, Step]], until: int | None = None) -> dict[str, State]:
    """Every machine as it was at the end of nanosecond `until`, or at the end of the trace."""
    found: dict[str, State] = {}
    for time, netns, step in changes:
        if until is not None and time > until:
            break
        found.setdefault(netns, State()).apply(step)
    return found
