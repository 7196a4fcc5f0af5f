"""How many requests a client may make: a leaky bucket for the rate, a count for those at once.

    limit-rps: 5, limit-burst-multiplier: 5    5 a second on average, 25 more at once, and then none (no delay)
    limit-connections: 2                       2 requests in progress

A client is an address, and has one bucket for each Ingress, however many paths that has.

nginx: src/http/modules/ngx_http_limit_req_module.c ngx_http_limit_req_lookup(), ngx_http_limit_conn_module.c
Differs: a bucket is forgotten once it is empty, and not when its zone is full. Times are whole milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

Key = tuple[str, ...]
PRUNE_AT = 10_000


class Rate(NamedTuple):
    """A thousandth of a request a second, and how many requests may come at once on top."""

    per_second: int
    burst: int


class Buckets:
    """How full each client's bucket is, in thousandths of a request, and when that was."""

    def __init__(self) -> None:
        self._full: dict[Key, tuple[int, int]] = {}

    def take(self, asked: Iterable[tuple[Key, Rate]], now: int) -> bool:
        """Whether a request passes all of its limits at `now` (ms); only then it counts."""
        filled: dict[Key, tuple[int, int]] = {}
        for key, rate in asked:
            known = self._full.get(key)
            level = 0
            if known is not None:
                level = max(0, known[0] - rate.per_second * max(0, now - known[1]) // 1000 + 1000)
                if level > rate.burst * 1000:
                    return False
            filled[key] = (level, now)
        self._full.update(filled)
        if len(self._full) > PRUNE_AT:
            self._full = {key: value for key, value in self._full.items() if now - value[1] < 60_000}
        return True


class Counts:
    """Requests in progress."""

    def __init__(self) -> None:
        self._now: dict[Key, int] = {}

    def enter(self, key: Key, most: int) -> bool:
        """Whether one more may begin; if so, `leave` has to follow."""
        now = self._now.get(key, 0)
        if now >= most:
            return False
        self._now[key] = now + 1
        return True

    def leave(self, key: Key) -> None:
        left = self._now[key] - 1
        if left:
            self._now[key] = left
        else:
            del self._now[key]
