"""The objects of one kind, found by name, namespace, label, owner or node.

The registry keeps its objects in these, and a client that follows a kind keeps its copy in one.

Kubernetes: staging/src/k8s.io/client-go/tools/cache/thread_safe_store.go
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

JSON = dict[str, Any]
Objects = list[JSON]
Key = tuple[str, str]
"""(namespace, name); the namespace of what has none is ''."""
Label = tuple[str, str, str]
"""(namespace, key, value)."""
Entry = tuple[dict[Any, dict[Key, None]], list[Any]]
"""An index, and where an object stands in it."""


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
        self._namespaces: dict[str, dict[str, JSON]] = {}
        self._labels: dict[Label, dict[Key, None]] = {}
        self._owners: dict[str, dict[Key, None]] = {}
        self._nodes: dict[str, dict[Key, None]] = {}

    def __len__(self) -> int:
        return len(self.objects)

    def get(self, namespace: str, name: str) -> JSON | None:
        return self.objects.get((namespace, name))

    def list(self, namespace: str | None = None) -> Objects:
        """All objects, or those of one namespace."""
        if namespace is None:
            return list(self.objects.values())
        return list(self._namespaces.get(namespace, {}).values())

    def put(self, obj: JSON) -> None:
        """Take a new object, or a new version of one."""
        key = key_of(obj)
        old = self.objects.get(key)
        self.objects[key] = obj
        self._namespaces.setdefault(key[0], {})[key[1]] = obj
        if old is None or not self._same_entries(obj, old):
            self._enter(key, obj, old)

    def remove(self, key: Key) -> None:
        obj = self.objects.pop(key, None)
        if obj is None:
            return
        names = self._namespaces[key[0]]
        del names[key[1]]
        if not names:
            del self._namespaces[key[0]]
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
        wanted = labels.items()
        found = (self.objects[key] for key in best)
        return [obj for obj in found if wanted <= (obj["metadata"].get("labels") or {}).items()]

    def _same_entries(self, obj: JSON, old: JSON) -> bool:
        """Whether a new version stands where the old one stood: mostly its labels and owners are the same objects."""
        meta, before = obj["metadata"], old["metadata"]
        if meta.get("labels") is not before.get("labels"):
            return False
        if meta.get("ownerReferences") is not before.get("ownerReferences"):
            return False
        return not self._indexed or _node(obj) == _node(old)

    def _enter(self, key: Key, obj: JSON, old: JSON | None) -> None:
        before = self._entries(key, old) if old is not None else None
        for place, (index, entries) in enumerate(self._entries(key, obj)):
            gone: Iterable[Any] = ()
            if before is not None:
                was = before[place][1]
                if was == entries:
                    continue
                gone = [entry for entry in was if entry not in entries]
                entries = [entry for entry in entries if entry not in was]
            for entry in entries:
                index.setdefault(entry, {})[key] = None
            for entry in gone:
                _discard(index, entry, key)

    def _entries(self, key: Key, obj: JSON) -> tuple[Entry, ...]:
        meta = obj["metadata"]
        owners = [owner["uid"] for owner in meta.get("ownerReferences") or ()]
        if not self._indexed:
            return ((self._owners, owners),)
        labels = [(key[0], *item) for item in (meta.get("labels") or {}).items()]
        node = _node(obj)
        return (self._owners, owners), (self._labels, labels), (self._nodes, [node] if node else [])

    def __iter__(self) -> Iterator[JSON]:
        return iter(self.objects.values())


def _node(obj: JSON) -> str:
    """The node that a Pod is on."""
    spec = obj.get("spec")
    return (spec.get("nodeName") or "") if isinstance(spec, dict) else ""


def _discard(index: dict[Any, dict[Key, None]], entry: Any, key: Key) -> None:
    keys = index.get(entry)
    if keys is not None:
        keys.pop(key, None)
        if not keys:
            del index[entry]
