"""Which backend takes the next connection.

    roundRobin           one after the other
    weightedRoundRobin   in turn, as often as its weight says, spread evenly (a a b a, not a a a b)
    sourceHash           always the same one for a client, as long as it is well

A hash leads to a slot of a table. Each backend has slots according to its weight; where one is down, its slots, and
no others, are shared among the rest: the clients of those that are well stay where they are.

Compare: ip_vs_wrr.c, ip_vs_mh.c (Maglev hashing), nginx's smooth weighted round robin
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

SLOTS = 12
"""Per unit of weight: so that two, three, four or six can share those of one that is down evenly."""


class Turns:
    """Smooth weighted round robin; with equal weights one after the other. With others it begins anew."""

    def __init__(self) -> None:
        self._current: dict[str, int] = {}

    def next(self, weights: Mapping[str, int]) -> str | None:
        """The next of those named; None if there are none."""
        if not weights:
            return None
        before = self._current if self._current.keys() == weights.keys() else {}
        self._current = {name: before.get(name, 0) + weight for name, weight in weights.items()}
        best = max(self._current, key=lambda name: self._current[name])   # of several, the first
        self._current[best] -= sum(weights.values())
        return best


def slots(weights: Mapping[str, int], well: Collection[str]) -> list[str]:
    """Whose each slot of the table is; [] if nobody is well."""
    alive = {name: weight for name, weight in weights.items() if name in well}
    if not alive:
        return []
    table, heirs = [], Turns()
    for name, weight in weights.items():
        shared = [name if name in alive else heirs.next(alive) or "" for _ in range(SLOTS * weight)]
        table += sorted(shared, key=list(alive).index)   # what one gets lies side by side
    return table


def runs(table: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first slot, last slot, whose they are) of each part of a table that is one backend's."""
    found: list[tuple[int, int, str]] = []
    for slot, name in enumerate(table):
        if found and found[-1][2] == name:
            found[-1] = (found[-1][0], slot, name)
        else:
            found.append((slot, slot, name))
    return found


def source_slot(client: str, count: int) -> int:
    """The slot of a client's address, of so many."""
    return int.from_bytes(hashlib.sha256(client.encode()).digest()[:4], "big") * count >> 32
