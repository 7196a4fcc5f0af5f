"""What is owned goes with its owner, and what is in a namespace goes with it.

Kubernetes: pkg/controller/garbagecollector, pkg/controller/namespace
"""

from __future__ import annotations

from collections.abc import Iterable

from k8semu.kube.api.resources import TABLE
from k8semu.kube.controllers.controller import JSON, Change, Concerns, Controller, Delete, Key, Update, Write

OWNERS = ("daemonsets", "deployments", "endpoints", "ingresses", "nodes", "pods", "replicasets", "services",
          "statefulsets")  # fmt: skip
OWNED = ("configmaps", "endpointslices", "leases", "pods", "replicasets", "secrets", "services", "endpoints")


class GarbageCollector(Controller):
    """Keys are ('', uid) of owners that are gone."""

    name = "garbage-collector"

    def watches(self) -> dict[str, Concerns]:
        return {}

    def deletions(self) -> dict[str, Concerns]:
        return dict.fromkeys(OWNERS, self._gone)

    def _gone(self, event: Change) -> Iterable[Key]:
        return (("", event.object["metadata"]["uid"]),)

    def sync(self, key: Key) -> Iterable[Write]:
        uid = key[1]
        for plural in OWNED:
            for obj in self.caches[plural].owned_by(uid):
                yield from self._dependent(plural, obj, uid)

    def _dependent(self, plural: str, obj: JSON, uid: str) -> Iterable[Write]:
        """Goes, unless it has another owner."""
        meta = obj["metadata"]
        owners = [owner for owner in meta["ownerReferences"] if owner["uid"] != uid]
        if owners:
            yield Update(plural, {**obj, "metadata": {**meta, "ownerReferences": owners}})
        elif not meta.get("deletionTimestamp"):
            yield Delete(plural, meta.get("namespace", ""), meta["name"], meta["uid"])


class NamespaceController(Controller):
    """A namespace that is to go takes its objects with it, and goes once they are gone."""

    name = "namespace-controller"
    plural = "namespaces"

    def watches(self) -> dict[str, Concerns]:
        return {"namespaces": self.itself}

    def deletions(self) -> dict[str, Concerns]:
        return {r.plural: self._emptied for r in TABLE if r.namespaced}

    def _emptied(self, event: Change) -> Iterable[Key]:
        """An object left a namespace that is to go."""
        name = event.object["metadata"]["namespace"]
        space = self.caches["namespaces"].get("", name)
        return (("", name),) if space is not None and space["metadata"].get("deletionTimestamp") else ()

    def sync(self, key: Key) -> Iterable[Write]:
        space = self.caches["namespaces"].get(*key)
        if space is None or not space["metadata"].get("deletionTimestamp"):
            return
        left = 0
        for resource in TABLE:
            if not resource.namespaced:
                continue
            for obj in self.caches[resource.plural].list(key[1]):
                left += 1
                if not obj["metadata"].get("deletionTimestamp"):
                    yield Delete(resource.plural, key[1], obj["metadata"]["name"])
        if not left:
            yield Update("namespaces", {**space, "spec": {"finalizers": []}}, "finalize")
