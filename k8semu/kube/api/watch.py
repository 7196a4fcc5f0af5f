"""A watch: the changes of a kind, as one client sees them.

    old matched  new matches     event
    no           yes             ADDED
    yes          yes             MODIFIED
    yes          no              DELETED

Kubernetes: staging/src/k8s.io/apiserver/pkg/storage/cacher/cache_watcher.go convertToWatchEvent()
"""

from __future__ import annotations

import asyncio
from typing import Any

from k8semu.kube.api.cache import JSON, key_of
from k8semu.kube.api.registry import Event, Registry
from k8semu.kube.api.requests import Watching
from k8semu.kube.api.status import ApiError
from k8semu.kube.api.surroundings import Now
from k8semu.kube.api.table import as_table

BOOKMARK_EVERY = 60
"""Seconds without news after which a bookmark says how far the client has seen."""
INITIAL_END = {"k8s.io/initial-events-end": "true"}


class Stream:
    """The events of one watch, to be taken as they come; `news` is set while there are some."""

    def __init__(self, registry: Registry, clock: Now, watching: Watching) -> None:
        self.registry, self.clock, self.watching = registry, clock, watching
        self.news = asyncio.Event()
        self.ended = False
        self._events: list[JSON] = []
        self._first = True
        plural = watching.resource.plural
        try:
            self._begin(plural)
        except ApiError as error:
            self._put({"type": "ERROR", "object": error.status()})
            self.ended = True
        self._stop = registry.subscribe(plural, self._event)

    def _begin(self, plural: str) -> None:
        """What the client does not know yet: all objects, or the changes since a version."""
        watching = self.watching
        if watching.since is not None:
            for event in self.registry.since(plural, watching.since):
                self._event(event)
            return
        for obj in sorted(self.registry.list(plural, watching.namespace), key=key_of):
            if watching.test(obj):
                self._put({"type": "ADDED", "object": self._shown(obj)})
        if watching.initial_end:
            self.bookmark(INITIAL_END)

    def _event(self, event: Event) -> None:
        if self.ended:
            return
        obj, watching = event.object, self.watching
        if watching.namespace is not None and obj["metadata"].get("namespace") != watching.namespace:
            return
        old = event.old
        before = old is not None and watching.test(old)
        after = event.type != "DELETED" and watching.test(obj)
        if after:
            self._put({"type": "MODIFIED" if before else "ADDED", "object": self._shown(obj)})
        elif before:
            gone = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(event.version)}}
            self._put({"type": "DELETED", "object": self._shown(gone)})

    def _shown(self, obj: JSON) -> Any:
        watching = self.watching
        if not watching.table:
            return obj
        version = int(obj["metadata"]["resourceVersion"])
        first, self._first = self._first, False
        return as_table(watching.resource.plural, [obj], version, self.clock.now, watching.table, header=first)

    def bookmark(self, annotations: dict[str, str] | None = None) -> None:
        """Say how far the client has seen."""
        meta: JSON = {"resourceVersion": str(self.registry.version), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        resource = self.watching.resource
        obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
        self._put({"type": "BOOKMARK", "object": obj})

    def _put(self, event: JSON) -> None:
        self._events.append(event)
        self.news.set()

    def take(self) -> list[JSON]:
        events, self._events = self._events, []
        self.news.clear()
        return events

    def close(self) -> None:
        self._stop()
