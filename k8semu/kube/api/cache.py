"""The objects of one kind, found by name, namespace, label, owner or node.

The registry keeps its objects in these, and a client that follows a kind keeps its copy in one.

Kubernetes: staging/src/k8s.io/client-go/tools/cache/thread_safe_store.go
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

JSON = dict[str, Any]
Objects = list[JSON]
Key = tuple[str, str]
"""(namespace, name); the namespace of what has none is ''."""
Index = dict[Any, dict[Key, None]]
"""What stands under a namespace, a label (namespace, key, value), an owner's uid, a node."""


def key_of(obj: JSON) -> Key:
    meta = obj["metadata"]
    return meta.get("namespace", ""), meta["name"]


def controller_of(obj: JSON) -> JSON | None:
    """The owner reference of what manages an object."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            found: JSON = owner
            return found
    return None


class Cache:
    """Objects by key, in the order in which they were made. `indexed` says whether labels and nodes are indexed."""

    def __init__(self, indexed: bool = True) -> None:
        self.objects: dict[Key, JSON] = {}
        self._indexed = indexed
        self._namespaces: Index = {}
        self._labels: Index = {}
        self._owners: Index = {}
        self._nodes: Index = {}

    def __len__(self) -> int:
        return len(self.objects)

    def get(self, namespace: str, name: str) -> JSON | None:
        return self.objects.get((namespace, name))

    def list(self, namespace: str | None = None) -> Objects:
        """All objects, or those of one namespace."""
        if namespace is None:
            return list(self.objects.values())
        return [self.objects[key] for key in self._namespaces.get(namespace, ())]

    def put(self, obj: JSON) -> None:
        """Take a new object, or a new version of one: mostly its labels, owners and spec are the same values."""
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        old = self.objects.get(key)
        self.objects[key] = obj
        if old is None:
            _enter(self._namespaces, (key[0],), key)
            for index, entries in self._entries(key, obj):
                _enter(index, entries, key)
            return
        before = old["metadata"]
        if (
            meta.get("ownerReferences") is not before.get("ownerReferences")
            or (self._indexed and meta.get("labels") is not before.get("labels"))
        ):  # fmt: skip
            for (index, entries), (_, was) in zip(self._entries(key, obj), self._entries(key, old), strict=True):
                _move(index, entries, was, key)
        elif self._indexed and obj.get("spec") is not old.get("spec"):
            _move(self._nodes, _node(obj), _node(old), key)

    def remove(self, key: Key) -> None:
        obj = self.objects.pop(key, None)
        if obj is None:
            return
        _discard(self._namespaces, key[0], key)
        for index, entries in self._entries(key, obj):
            for entry in entries:
                _discard(index, entry, key)

    def owned_by(self, uid: str) -> Objects:
        """What names `uid` among its owners."""
        return [self.objects[key] for key in self._owners.get(uid, ())]

    def on_node(self, node: str) -> Objects:
        """Pods that are bound to a node."""
        return [self.objects[key] for key in self._nodes.get(node, ())]

    def with_labels(self, namespace: str, labels: dict[str, str]) -> Objects:
        """What has all of `labels`, which are not empty, in the order of its making."""
        best: dict[Key, None] | None = None
        for item in labels.items():
            keys = self._labels.get((namespace, *item))
            if not keys:
                return []
            if best is None or len(keys) < len(best):
                best = keys
        assert best is not None, "an empty selector selects nothing"
        found = [self.objects[key] for key in best]
        if len(labels) == 1:
            return found
        wanted = labels.items()
        return [obj for obj in found if wanted <= (obj["metadata"].get("labels") or {}).items()]

    def _entries(self, key: Key, obj: JSON) -> tuple[tuple[Index, Sequence[Any]], ...]:
        """Where an object stands in each index."""
        meta = obj["metadata"]
        owners = [owner["uid"] for owner in meta.get("ownerReferences") or ()]
        if not self._indexed:
            return ((self._owners, owners),)
        labels = [(key[0], *item) for item in (meta.get("labels") or {}).items()]
        return (self._owners, owners), (self._labels, labels), (self._nodes, _node(obj))

    def __iter__(self) -> Iterator[JSON]:
        return iter(self.objects.values())


def _node(obj: JSON) -> tuple[str, ...]:
    """The node that a Pod is on, if any."""
    spec = obj.get("spec")
    node = spec.get("nodeName") if isinstance(spec, dict) else ""
    return (node,) if node else ()


def _enter(index: Index, entries: Iterable[Any], key: Key) -> None:
    for entry in entries:
        keys = index.get(entry)
        if keys is None:
            index[entry] = {key: None}
        else:
            keys[key] = None


def _move(index: Index, entries: Sequence[Any], was: Sequence[Any], key: Key) -> None:
    """From where the old version stood to where the new one stands."""
    if entries == was:
        return
    _enter(index, [entry for entry in entries if entry not in was], key)
    for entry in was:
        if entry not in entries:
            _discard(index, entry, key)


def _discard(index: Index, entry: Any, key: Key) -> None:
    keys = index.get(entry)
    if keys is not None:
        keys.pop(key, None)
        if not keys:
            del index[entry]
