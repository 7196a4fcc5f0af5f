"""Programs that hear of objects as the API server's watchers do, without an API server on the wire.

    begin    ADDED for every object of the kinds asked for, then BOOKMARK
    update   ADDED, MODIFIED, DELETED for what has changed

Kubernetes: staging/src/k8s.io/apimachinery/pkg/watch/watch.go
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from k8semu.cluster.cluster import Cluster

JSON = dict[str, Any]
Key = tuple[str, str]
"""Kind, and namespace/name."""


class Watchers:
    """Who watches what, and the objects as they were told last."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._objects: dict[Key, JSON] = {}
        self._kinds: dict[str, tuple[str, ...]] = {}
        cluster.on_watch = self.begin

    def begin(self, pid: str, kinds: tuple[str, ...]) -> None:
        """A program starts to watch."""
        self._kinds[pid] = kinds
        for (kind, _), obj in self._objects.items():
            if kind in kinds:
                self.cluster.feed(pid, {"type": "ADDED", "object": obj})
        self.cluster.feed(pid, {"type": "BOOKMARK"})

    def update(self, objects: dict[Key, JSON]) -> None:
        """These are all objects now."""
        old, self._objects = self._objects, objects
        if not self._kinds:
            return
        for key, obj in old.items():
            if key not in objects:
                self._tell("DELETED", key[0], obj)
        for key, obj in objects.items():
            if key not in old:
                self._tell("ADDED", key[0], obj)
            elif old[key] != obj:
                self._tell("MODIFIED", key[0], obj)

    def _tell(self, what: str, kind: str, obj: JSON) -> None:
        for pid in [pid for pid in self._kinds if pid not in self.cluster.processes]:
            del self._kinds[pid]
        for pid, kinds in self._kinds.items():
            if kind in kinds:
                self.cluster.feed(pid, {"type": what, "object": obj})
