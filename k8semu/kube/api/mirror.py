"""An API server that follows a control plane which is instant: it is told of every change, and serves what it knows.

    Master ─ feed: watch events ─▶ Mirror ─▶ the same API, the same doors

The kernel twin runs the same program, told the same.

Differs: it takes no writes: the objects of such a scenario are changed by its steps.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from k8semu.apps.feed import next_message
from k8semu.kube.api.cache import JSON, key_of
from k8semu.kube.api.registry import Event, Registry
from k8semu.kube.api.requests import Api
from k8semu.kube.api.resources import BY_KIND, TABLE
from k8semu.kube.api.server import PORT, Server
from k8semu.kube.api.status import ApiError
from k8semu.sim.clock import NS_PER_S
from k8semu.sim.streams import Streams

KINDS = tuple(resource.kind for resource in TABLE)
"""What it is told of."""
WRITES = "this API server takes no writes: change objects by the scenario's steps (apply, scale, delete), "
HINT = "or have `controlPlane: wire`"


class Now:
    """The control plane's time, as it was last told, and what has passed since."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ahead = 0

    @property
    def now(self) -> int:
        return round(self._loop.time() * NS_PER_S) + self._ahead

    def told(self, now: int) -> None:
        self._ahead += now - self.now


class Mirror(Registry):
    """A registry whose objects come from another one."""

    def _begin(self) -> None:
        """It begins empty."""

    def take(self, message: dict[str, Any]) -> None:
        """Hear of a change."""
        obj = message["object"]
        plural = BY_KIND[obj["apiVersion"], obj["kind"]].plural
        cache = self.caches[plural]
        old = cache.get(*key_of(obj))
        if message["type"] == "DELETED":
            cache.remove(key_of(obj))
        else:
            cache.put(obj)
        version = int(obj["metadata"]["resourceVersion"])
        self.version = max(self.version, version)
        self._tell(plural, Event(message["type"], obj, old, version))

    def create(self, plural: str, obj: JSON, *, dry_run: bool = False, trusted: bool = False) -> NoReturn:
        _refuse()

    def update(
        self, plural: str, obj: JSON, subresource: str = "", *, dry_run: bool = False, trusted: bool = False
    ) -> NoReturn:
        _refuse()

    def bind(self, namespace: str, name: str, node: str) -> NoReturn:
        _refuse()

    def delete(
        self, plural: str, namespace: str, name: str, *, grace: int | None = None, uid: str = "", version: str = "",
        dry_run: bool = False, orphan: bool = False,
    ) -> NoReturn:  # fmt: skip
        _refuse()


def _refuse() -> NoReturn:
    raise ApiError(405, "MethodNotAllowed", WRITES + HINT)


async def apiserver(host: str = "0.0.0.0", port: int = PORT, seed: int = 1) -> None:
    """Serve what the feed tells, until cancelled."""
    now = Now()
    mirror = Mirror(now, Streams(seed))
    server = Server(Api(mirror, now))
    await server.start(host, port)
    try:
        while True:
            message = await next_message()
            if "now" in message:
                now.told(message["now"])
            if "object" in message:
                mirror.take(message)
    finally:
        await server.close()
