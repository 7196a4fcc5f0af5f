"""Schedulers: which real server a new connection gets. None: there is none to be had.

    rr    one after the other                wrr   one after the other, by weight
    lc    who has the fewest connections     wlc   the fewest for its weight
    sed   the shortest expected delay        nq    an idle one, else sed
    sh    by the client's address            dh    by the address that is called

A virtual server keeps its real servers newest first, and so they take turns.

Linux: net/netfilter/ipvs/ip_vs_{rr,wrr,lc,wlc,sed,nq,sh,dh}.c
Not modelled: lblc, lblcr, mh, fo, ovf.
"""

from __future__ import annotations

from math import gcd
from typing import ClassVar

from k8semu.linux.netfilter.ipvs.service import RealServer

_TABLE_BITS = 8
_PLACES = 1 << _TABLE_BITS
_GOLDEN_RATIO = 0x61C88647
"""Linux: include/linux/hash.h GOLDEN_RATIO_32."""


class Scheduler:
    """One virtual server's scheduler, with what it remembers."""

    name: ClassVar[str] = ""
    counts: ClassVar[bool] = False
    """Does it ask how many connections a real server has?"""

    def schedule(self, dests: list[RealServer], saddr: bytes, daddr: bytes) -> RealServer | None:
        raise NotImplementedError

    def changed(self, dests: list[RealServer], gone: RealServer | None = None, at: int = 0) -> None:
        """A real server came, changed, or is gone; it stood at `at`."""


class RoundRobin(Scheduler):
    """Linux: ip_vs_rr.c. `_last` is whose turn it was; None: the list's head."""

    name = "rr"

    def __init__(self) -> None:
        self._last: RealServer | None = None

    def schedule(self, dests: list[RealServer], saddr: bytes, daddr: bytes) -> RealServer | None:
        start = dests.index(self._last) + 1 if self._last in dests else 0
        for dest in dests[start:] + dests[:start]:
            if dest.weight > 0:
                self._last = dest
                return dest
        return None

    def changed(self, dests: list[RealServer], gone: RealServer | None = None, at: int = 0) -> None:
        if gone is not None and gone is self._last:
            self._last = dests[at - 1] if at else None


class WeightedRoundRobin(Scheduler):
    """Linux: ip_vs_wrr.c: rounds for ever smaller weights, by steps of their greatest common divisor."""

    name = "wrr"

    def __init__(self) -> None:
        self._last: RealServer | None = None
        self._current = self._most = 0
        self._step = 1

    def changed(self, dests: list[RealServer], gone: RealServer | None = None, at: int = 0) -> None:
        self._last = None
        self._step = gcd(*(dest.weight for dest in dests)) or 1
        self._most = max((dest.weight for dest in dests), default=0) - (self._step - 1)
        if self._current > self._most or not self._current:
            self._current = self._most
        elif self._step > 1:
            self._current = self._current // self._step * self._step + 1

    def schedule(self, dests: list[RealServer], saddr: bytes, daddr: bytes) -> RealServer | None:
        if self._most <= 0:
            return None
        at = dests.index(self._last) + 1 if self._last is not None else 0
        while True:
            for dest in dests[at:]:
                if dest.weight >= self._current:
                    self._last = dest
                    return dest
            at = 0
            self._current -= self._step
            if self._current <= 0:
                self._current = self._most


class Least(Scheduler):
    """The first of those with the least to do for its weight."""

    counts = True

    def schedule(self, dests: list[RealServer], saddr: bytes, daddr: bytes) -> RealServer | None:
        least = None
        for dest in dests:
            if dest.weight <= 0:
                continue
            if self.takes_at_once(dest):
                return dest
            if least is None or self.load(least) * self.share(dest) > self.load(dest) * self.share(least):
                least = dest
        return least

    def load(self, dest: RealServer) -> int:
        """Linux: ip_vs_dest_conn_overhead()."""
        return (dest.active << 8) + dest.inactive

    def share(self, dest: RealServer) -> int:
        return dest.weight

    def takes_at_once(self, dest: RealServer) -> bool:
        return False


class LeastConnections(Least):
    """Linux: ip_vs_lc.c: all weigh the same."""

    name = "lc"

    def share(self, dest: RealServer) -> int:
        return 1


class WeightedLeastConnections(Least):
    """Linux: ip_vs_wlc.c"""

    name = "wlc"


class ShortestExpectedDelay(Least):
    """Linux: ip_vs_sed.c"""

    name = "sed"

    def load(self, dest: RealServer) -> int:
        return dest.active + 1


class NeverQueue(ShortestExpectedDelay):
    """Linux: ip_vs_nq.c: one that has nothing to do, at once."""

    name = "nq"

    def takes_at_once(self, dest: RealServer) -> bool:
        return not dest.active


class SourceHashing(Scheduler):
    """A table of 256 places, filled by weight. Linux: ip_vs_sh.c ip_vs_sh_reassign(), ip_vs_sh_hashkey()"""

    name = "sh"

    def __init__(self) -> None:
        self._table: list[RealServer] = []

    def changed(self, dests: list[RealServer], gone: RealServer | None = None, at: int = 0) -> None:
        self._table = []
        while dests and len(self._table) < _PLACES:
            for dest in dests:
                self._table += [dest] * min(max(dest.weight, 1), _PLACES)
        del self._table[_PLACES:]

    def schedule(self, dests: list[RealServer], saddr: bytes, daddr: bytes) -> RealServer | None:
        if not self._table:
            return None
        dest = self._table[_hash(self.of(saddr, daddr))]
        return dest if dest.weight > 0 else None

    def of(self, saddr: bytes, daddr: bytes) -> bytes:
        return saddr


class DestinationHashing(SourceHashing):
    """Linux: ip_vs_dh.c: each real server has one place in turn, whatever its weight."""

    name = "dh"

    def changed(self, dests: list[RealServer], gone: RealServer | None = None, at: int = 0) -> None:
        self._table = [dests[at % len(dests)] for at in range(_PLACES)] if dests else []

    def of(self, saddr: bytes, daddr: bytes) -> bytes:
        return daddr


def _hash(address: bytes) -> int:
    """Linux: hash_32()."""
    return (int.from_bytes(address, "big") * _GOLDEN_RATIO & 0xFFFFFFFF) >> (32 - _TABLE_BITS)


SCHEDULERS: dict[str, type[Scheduler]] = {
    cls.name: cls
    for cls in (
        RoundRobin, WeightedRoundRobin, LeastConnections, WeightedLeastConnections, SourceHashing,
        DestinationHashing, ShortestExpectedDelay, NeverQueue,
    )
}  # fmt: skip
