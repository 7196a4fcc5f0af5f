"""Runs controllers over a registry: one queue, one order, until nothing is left to do.

    Pods made ─▶ bound (rank 0) ─▶ nodes act ─▶ counted (rank 1) ─▶ rollouts (rank 2) ─▶ endpoints (rank 3)

All work that events bring about is done at the instant of the event; only what a controller asks
for `After` a while waits on the clock. What acts on the nodes acts as soon as every Pod has its node,
so that those who count Pods count them once.

Kubernetes: cmd/kube-controller-manager, cmd/kube-scheduler
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from k8semu.kube.api.cache import controller_of
from k8semu.kube.api.registry import Event, Registry
from k8semu.kube.api.resources import RESOURCES
from k8semu.kube.api.status import ApiError
from k8semu.kube.controllers.controller import After, Bind, Controller, Create, Delete, Key, Time, Update, Write
from k8semu.kube.controllers.garbage import GarbageCollector, NamespaceController
from k8semu.kube.controllers.node import NodeLifecycleController
from k8semu.kube.controllers.scheduler import SchedulerController

ALWAYS: tuple[type[Controller], ...] = (
    SchedulerController, NodeLifecycleController, GarbageCollector, NamespaceController,
)  # fmt: skip
"""Those that every cluster has work for."""
BY_FIRST = {
    "deployments": "deployment:DeploymentController", "replicasets": "replicaset:ReplicaSetController",
    "statefulsets": "statefulset:StatefulSetController", "daemonsets": "daemonset:DaemonSetController",
    "services": "endpointslice:EndpointSliceController", "endpoints": "mirroring:MirroringController",
}  # fmt: skip
"""The others: without an object of this kind they have none. ``module:class``, imported with the first one."""
OWNERS = "ownerReferences"
RETRIES = 15
"""How often a refused write is tried again before its key waits for news."""


class Clock(Time, Protocol):
    def post(self, delay: int, fn: Callable[..., None], *args: Any) -> None: ...


def imported(place: str) -> type[Controller]:
    """The controller of ``module:class``."""
    module, _, name = place.partition(":")
    found: type[Controller] = getattr(import_module(f"k8semu.kube.controllers.{module}"), name)
    return found


class ControlPlane:
    """The controllers of a cluster. Call `settle` after a change from outside; timers settle by themselves."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self.registry, self.clock = registry, clock
        self.refused: list[tuple[str, Key, ApiError]] = []
        self.on_settled: list[Callable[[], None]] = []
        self.agents: list[Callable[[], bool]] = []
        """What acts on the nodes, as soon as every Pod has its node; says whether there was anything to do."""
        self._queues: tuple[deque[tuple[Controller, Key]], ...] = tuple(deque() for _ in range(4))   # by rank
        self._queued: set[tuple[str, Key]] = set()
        self._tries: dict[tuple[str, Key], int] = {}
        self._settling = False
        self._by_owner: dict[str, dict[str, Controller]] = {}
        self.controllers: list[Controller] = []
        for plural, place in BY_FIRST.items():
            self._add_with_first(plural, place)
        for make in ALWAYS:
            self.add(make(registry.caches, clock))

    def _add_with_first(self, plural: str, place: str) -> None:
        """Add a controller when there is an object of a kind."""

        def first(event: Event | None = None) -> None:
            stop()
            self.add(imported(place)(self.registry.caches, self.clock))

        stop = self.registry.subscribe(plural, first)
        if any(True for _ in self.registry.list(plural)):
            first()

    def add(self, controller: Controller) -> None:
        """One more; what is there already is news for it."""
        self.controllers.append(controller)
        for plural, concerns in controller.watches().items():
            self._subscribe(controller, plural, concerns)
        for plural, concerns in controller.deletions().items():
            self.registry.subscribe(plural, self._listener(controller, concerns), deletions=True)

    def _subscribe(self, controller: Controller, plural: str, concerns: Callable[[Event], Any]) -> None:
        for obj in self.registry.list(plural):            # what is there already is news
            self._listener(controller, concerns)(Event("ADDED", obj, None, 0))
        if getattr(concerns, "__func__", None) is not Controller.its_controller:
            self.registry.subscribe(plural, self._listener(controller, concerns))
            return
        if plural not in self._by_owner:                  # one listener finds the owner for all
            self.registry.subscribe(plural, self._owner_listener(plural))
        self._by_owner[plural][RESOURCES[controller.plural].kind] = controller

    def _owner_listener(self, plural: str) -> Callable[[Event], None]:
        by_kind = self._by_owner.setdefault(plural, {})

        def listen(event: Event) -> None:
            owner = before = controller_of(event.object)
            old = event.old
            if old is not None and old["metadata"].get(OWNERS) is not event.object["metadata"].get(OWNERS):
                before = controller_of(old)
            for each in (owner,) if owner is before else (owner, before):
                controller = by_kind.get(each["kind"]) if each is not None else None
                if each is not None and controller is not None:
                    self._add(controller, (event.object["metadata"].get("namespace", ""), each["name"]))

        return listen

    def _listener(self, controller: Controller, concerns: Callable[[Event], Any]) -> Callable[[Event], None]:
        def listen(event: Event) -> None:
            for key in concerns(event):
                self._add(controller, key)

        return listen

    def _add(self, controller: Controller, key: Key) -> None:
        mark = (controller.name, key)
        if mark not in self._queued:
            self._queued.add(mark)
            self._queues[controller.rank].append((controller, key))

    def settle(self) -> None:
        """Work until nothing is left to do. What a listener of `on_settled` brings is done, too."""
        if self._settling:
            return
        self._settling = True
        try:
            while True:
                queue = self._queues[0]
                if not queue:
                    if any(act() for act in self.agents):
                        continue
                    if not (queue := next(filter(None, self._queues), queue)):
                        break
                controller, key = queue.popleft()
                self._queued.discard((controller.name, key))
                self._sync(controller, key)
        finally:
            self._settling = False
        for listener in self.on_settled:
            listener()
        if any(self._queues):
            self.settle()

    def _sync(self, controller: Controller, key: Key) -> None:
        mark = (controller.name, key)
        try:
            for write in controller.sync(key):
                self._write(controller, key, write)
        except ApiError as error:
            tries = self._tries[mark] = self._tries.get(mark, 0) + 1
            if tries > RETRIES or error.code in (400, 403, 422):
                self.refused.append((controller.name, key, error))
                self._tries.pop(mark, None)
            else:
                self._add(controller, key)
            return
        self._tries.pop(mark, None)

    def _write(self, controller: Controller, key: Key, write: Write) -> None:
        registry = self.registry
        match write:
            case Create():
                registry.create(write.plural, write.object, trusted=True)
            case Update():
                registry.update(write.plural, write.object, write.subresource, trusted=True)
            case Bind():
                registry.bind(write.namespace, write.name, write.node)
            case Delete():
                try:
                    registry.delete(write.plural, write.namespace, write.name, grace=write.grace, uid=write.uid)
                except ApiError as error:
                    if error.code != 404:
                        raise
            case After():
                self.clock.post(write.delay, self._due, controller, key)

    def _due(self, controller: Controller, key: Key) -> None:
        self._add(controller, key)
        self.settle()
