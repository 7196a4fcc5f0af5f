"""Which backend, and which of its endpoints, is asked: what the choice remembers from request to request.

    affinity: cookie   upstream-hash-by   load-balance: ewma   load-balance: round_robin
    the cookie's       what is hashed     the faster of two    one after another
    (`balanced`: a key's place on the ring, which moves when endpoints come; `persistent`: the endpoint itself)

Of a Service's ClusterIP there is one endpoint only, and kube-proxy's rules choose the Pod: `service-upstream: "false"`
has the controller choose.

Kubernetes: ingress-nginx rootfs/etc/nginx/lua/balancer.lua, rootfs/etc/nginx/lua/balancer/ewma.lua
Differs: `ewma` counts the time of the last try of a request, and not of its first.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from random import Random

from k8semu.kube.ingress.choosing import Asked, Ring, backend_key, endpoint_key, set_cookie, takes_canary
from k8semu.kube.ingress.config import Backend, Location, Upstream
from k8semu.kube.ingress.settings import Settings

DECAY = 10.0
"""Seconds in which what was slow is forgotten, mostly."""
KEYS_TRIED = 20
RINGS_KEPT = 1000


class Latencies:
    """How slow each endpoint is: a moving average that decays (peak EWMA)."""

    def __init__(self) -> None:
        self._known: dict[Upstream, tuple[float, float]] = {}

    def of(self, upstream: Upstream, now: float, others: Collection[Upstream]) -> float:
        """Its average; of one that has not been asked, that of the `others`."""
        if upstream in self._known:
            return self._decayed(upstream, now, 0.0)
        known = [self._known[other][0] for other in others if other in self._known]
        return sum(known) / len(others) if known else 0.0

    def _decayed(self, upstream: Upstream, now: float, seconds: float) -> float:
        average, touched = self._known.get(upstream, (0.0, 0.0))
        weight = math.exp(-max(0.0, now - touched) / DECAY)
        return average * weight + seconds * (1.0 - weight)

    def took(self, upstream: Upstream, now: float, seconds: float) -> None:
        """It has answered in so many seconds."""
        self._known[upstream] = self._decayed(upstream, now, seconds), now


class Balancer:
    """The choice, and what it remembers. `random` draws."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._next: dict[tuple[object, str], int] = {}
        self._rings: dict[tuple[Upstream, ...], Ring] = {}
        self.latencies = Latencies()

    def backend(self, location: Location, asked: Asked) -> Backend:
        """The location's own backend, or its canary."""
        canary, mine = location.canary, location.settings
        if canary is None or not canary.backend.upstreams or _bound_to(location.backend, mine, asked):
            return location.backend
        if _bound_to(canary.backend, mine, asked):
            return canary.backend
        taken = takes_canary(canary.settings, asked, lambda most: self._random.randint(1, most))
        return canary.backend if taken else location.backend

    def pick(
        self, backend: Backend, location: Location, asked: Asked, now: float, failed: Collection[Upstream] = ()
    ) -> tuple[Upstream, str]:
        """An endpoint, and the cookie that its client is given ('': none). `failed`: what this request has tried."""
        mine, upstreams = location.settings, backend.upstreams
        if mine.affinity == "cookie":
            return self._sticky(backend, location, asked, failed)
        if mine.upstream_hash_by:
            return upstreams[self._ring(upstreams).find(asked.filled(mine.upstream_hash_by))], ""
        if mine.load_balance == "ewma" and len(upstreams) > 1:
            two = self._random.sample(upstreams, 2)
            return min(two, key=lambda one: self.latencies.of(one, now, upstreams)), ""
        key = (backend.service, backend.port)
        number = self._next.get(key, 0)
        self._next[key] = number + 1
        return upstreams[number % len(upstreams)], ""

    def _sticky(
        self, backend: Backend, location: Location, asked: Asked, failed: Collection[Upstream]
    ) -> tuple[Upstream, str]:
        mine = location.settings
        known = (asked.cookie(mine.session_cookie_name) or "").partition("|")[0]
        found = self._bound(backend, mine, known) if known else None
        if found is not None and not (failed and mine.session_cookie_change_on_failure):
            return found, ""
        for _ in range(KEYS_TRIED):
            upstream, key = self._drawn(backend, mine)
            if upstream not in failed:
                break
        value = f"{key}|{backend_key(backend.name)}"
        return upstream, set_cookie(mine, value, location.path, asked.scheme == "https")

    def _bound(self, backend: Backend, mine: Settings, key: str) -> Upstream | None:
        """The endpoint that a cookie's key is for; None where it has gone."""
        if mine.affinity_mode == "balanced":
            return backend.upstreams[self._ring(backend.upstreams).find(key)]
        keys = {endpoint_key(backend.name, one.host, one.port): one for one in backend.upstreams}
        return keys.get(key)

    def _drawn(self, backend: Backend, mine: Settings) -> tuple[Upstream, str]:
        """Any endpoint, and a key that is for it."""
        if mine.affinity_mode == "persistent":
            one = self._random.choice(backend.upstreams)
            return one, endpoint_key(backend.name, one.host, one.port)
        key = f"{self._random.getrandbits(40) / 1000:.3f}.1.{self._random.randint(1, 999_999)}"
        return backend.upstreams[self._ring(backend.upstreams).find(key)], key

    def _ring(self, upstreams: tuple[Upstream, ...]) -> Ring:
        ring = self._rings.get(upstreams)
        if ring is None:
            if len(self._rings) >= RINGS_KEPT:
                self._rings.clear()
            ring = self._rings[upstreams] = Ring([(one.host, one.port) for one in upstreams])
        return ring


def _bound_to(backend: Backend, mine: Settings, asked: Asked) -> bool:
    """Whether a client's cookie is for this backend."""
    if mine.affinity != "cookie":
        return False
    said = (asked.cookie(mine.session_cookie_name) or "").partition("|")[2]
    return said == backend_key(backend.name)
