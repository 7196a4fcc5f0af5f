"""Programs that hear of objects as the API server's watchers do, without an API server on the wire.

    begin    ADDED for every object of the kinds asked for, then BOOKMARK (with the time)
    tell     ADDED, MODIFIED, DELETED since the last time, in their order

Kubernetes: staging/src/k8s.io/apimachinery/pkg/watch/watch.go
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from k8semu.kube.api.resources import TABLE

if TYPE_CHECKING:
    from k8semu.cluster.cluster import Cluster
    from k8semu.kube.api.registry import Event, Registry

PLURAL = {resource.kind: resource.plural for resource in TABLE}
WATCHED = ("namespaces", "services", "endpointslices", "ingresses", "ingressclasses", "secrets", "configmaps")


class Watchers:
    """Who watches what."""

    def __init__(self, cluster: Cluster, registry: Registry) -> None:
        self.cluster, self.registry = cluster, registry
        self._plurals: dict[str, tuple[str, ...]] = {}
        self._events: list[tuple[str, Event]] = []
        self._heard: set[str] = set()
        cluster.on_watch = self.begin
        self._hear(WATCHED)

    def _hear(self, plurals: Iterable[str]) -> None:
        for plural in plurals:
            if plural not in self._heard:
                self._heard.add(plural)
                self.registry.subscribe(plural, lambda event, plural=plural: self._events.append((plural, event)))  # type: ignore[misc]

    def begin(self, pid: str, kinds: tuple[str, ...]) -> None:
        """A program starts to watch; it is told what there is."""
        self.tell()
        plurals = self._plurals[pid] = tuple(PLURAL[kind] for kind in kinds)
        self._hear(plurals)
        for plural in plurals:
            for obj in self.registry.list(plural):
                self.cluster.feed(pid, {"type": "ADDED", "object": obj})
        self.cluster.feed(pid, {"type": "BOOKMARK", "now": self.cluster.clock.now})

    def tell(self) -> None:
        """Tell everybody what has happened since the last time."""
        if not self._events:
            return
        events, self._events = self._events, []
        if not events:
            return
        for pid in [pid for pid in self._plurals if pid not in self.cluster.processes]:
            del self._plurals[pid]
        for pid, plurals in self._plurals.items():
            for plural, event in events:
                if plural in plurals:
                    self.cluster.feed(pid, {"type": event.type, "object": event.object})
