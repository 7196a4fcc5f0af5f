"""Runs controllers over HTTP: the same controllers, with a copy of the API server's objects.

    Reflectors ─▶ caches ─▶ queue ─▶ sync(key) ─▶ requests ─▶ API server ─▶ watches ─▶ Reflectors

A key is looked at again only when the caches have seen what was written for it, so that no controller
makes a Pod twice because it has not yet heard of the first.

Kubernetes: cmd/kube-controller-manager; client-go's work queues; pkg/controller ControllerExpectations
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from k8semu.kube.api.cache import Cache
from k8semu.kube.api.client import Client, Reflector
from k8semu.kube.api.registry import Event
from k8semu.kube.api.server import PORT, LoopClock
from k8semu.kube.api.status import ApiError
from k8semu.kube.controllers.controller import After, Bind, Controller, Create, Delete, Key, Time, Update, Write
from k8semu.kube.controllers.plane import ALWAYS, BY_FIRST, imported
from k8semu.kube.controllers.scheduler import SchedulerController
from k8semu.sim.clock import NS_PER_S

AGAIN = 1.0
"""Seconds before a key is tried again whose writes were refused."""
KINDS = (
    "daemonsets", "deployments", "endpoints", "endpointslices", "leases", "namespaces", "nodes", "pods", "replicasets",
    "services", "statefulsets", "configmaps", "secrets", "ingresses", "ingressclasses", "networkpolicies", "events",
    "serviceaccounts",
)  # fmt: skip
"""All kinds: what all controllers together read."""
PATIENCE = 5.0
"""Seconds to wait for news of one's own writes; then they were none, or the watch is late."""


class RemotePlane:
    """Controllers over a `Client`. `run` it as a task; `kinds`: what all of them read."""

    def __init__(self, client: Client, clock: Time, controllers: tuple[type[Controller], ...], kinds: tuple[str, ...]):
        self.client, self.clock = client, clock
        self.refused: list[tuple[str, Key, ApiError]] = []
        self._queue: deque[tuple[Controller, Key]] = deque()
        self._queued: set[tuple[str, Key]] = set()
        self._news = asyncio.Event()
        self._concerns: dict[str, list[tuple[Controller, bool, Callable[[Event], Any]]]] = {}
        self.reflectors = {plural: Reflector(client, plural, self._listener(plural)) for plural in kinds}
        caches: Mapping[str, Cache] = {plural: each.cache for plural, each in self.reflectors.items()}
        for make in controllers:
            controller = make(caches, clock)
            for plural, concerns in controller.watches().items():
                self._concerns.setdefault(plural, []).append((controller, False, concerns))
            for plural, concerns in controller.deletions().items():
                self._concerns.setdefault(plural, []).append((controller, True, concerns))

    def _listener(self, plural: str) -> Callable[[Event], None]:
        def listen(event: Event) -> None:
            self._news.set()
            for controller, deletions, concerns in self._concerns.get(plural, ()):
                if not deletions or event.type == "DELETED":
                    for key in concerns(event):
                        self._add(controller, key)

        return listen

    def _add(self, controller: Controller, key: Key) -> None:
        mark = (controller.name, key)
        if mark not in self._queued:
            self._queued.add(mark)
            self._queue.append((controller, key))
            self._news.set()

    async def run(self) -> None:
        """Follow all kinds, and work; never ends by itself."""
        tasks = [asyncio.ensure_future(each.run()) for each in self.reflectors.values()]
        try:
            for each in self.reflectors.values():
                await each.synced.wait()
            while True:
                while self._queue:
                    controller, key = self._queue.popleft()
                    self._queued.discard((controller.name, key))
                    await self._sync(controller, key)
                self._news.clear()
                await self._news.wait()
        finally:
            for task in tasks:
                task.cancel()

    async def _sync(self, controller: Controller, key: Key) -> None:
        loop = asyncio.get_running_loop()
        try:
            # As in-process, each write is seen before the next is thought of.
            for write in controller.sync(key):
                if isinstance(write, After):
                    loop.call_later(write.delay / NS_PER_S, self._add, controller, key)
                    continue
                await self._seen(write, await self._write(write))
        except ApiError as error:
            if error.code in (400, 403, 422):
                self.refused.append((controller.name, key, error))
            elif error.code != 404:
                loop.call_later(AGAIN, self._add, controller, key)
        except OSError:
            loop.call_later(AGAIN, self._add, controller, key)

    async def _write(self, write: Write) -> Any:
        client = self.client
        match write:
            case Create():
                return await client.create(write.plural, write.object)
            case Update():
                return await client.update(write.plural, write.object, write.subresource)
            case Delete():
                return await client.delete(write.plural, write.namespace, write.name, write.grace, write.uid)
            case Bind():
                await client.bind(write.namespace, write.name, write.node)
        return None

    async def _seen(self, write: Write, answer: Any) -> None:
        """Wait until the cache knows of a write."""
        if isinstance(write, (Bind, After)) or not isinstance(answer, dict):
            return
        version = (answer.get("metadata") or {}).get("resourceVersion")
        reflector = self.reflectors.get(write.plural)
        if version is None or reflector is None:
            return
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while reflector.version < int(version):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                return


async def kube_controller_manager(server: str, port: int = PORT) -> None:
    """All controllers but the scheduler, as one program. Runs until cancelled."""
    controllers = (*map(imported, BY_FIRST.values()), *(each for each in ALWAYS if each is not SchedulerController))
    await _run(server, port, "kube-controller-manager", controllers, KINDS)


async def kube_scheduler(server: str, port: int = PORT) -> None:
    """The scheduler as a program. Runs until cancelled."""
    await _run(server, port, "kube-scheduler", (SchedulerController,), ("nodes", "pods"))


async def _run(
    server: str, port: int, agent: str, controllers: tuple[type[Controller], ...], kinds: tuple[str, ...]
) -> None:
    client = Client(server, port, agent)
    try:
        await RemotePlane(client, LoopClock(), controllers, kinds).run()
    finally:
        client.close()
