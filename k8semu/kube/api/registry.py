"""The API server without a network: what is asked for, checked, kept, and told to who watches.

    create, update, patch, delete ─▶ strategy ─▶ a new version ─▶ watchers, in the order of the changes

One counter numbers all changes (`resourceVersion`). Writes are whole or not at all: what was allocated
for an object that is refused is given back.

Kubernetes: staging/src/k8s.io/apiserver/pkg/registry/generic/registry/store.go
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from k8semu.kube.api import meta as metadata
from k8semu.kube.api import status
from k8semu.kube.api.cache import JSON, Cache, Key, Objects, key_of
from k8semu.kube.api.conditions import set_condition
from k8semu.kube.api.field import Errors
from k8semu.kube.api.resources import RESOURCES, TABLE, Resource
from k8semu.kube.api.shapes import without_nulls
from k8semu.kube.api.status import ApiError
from k8semu.kube.api.strategies.base import Strategy, Transaction
from k8semu.kube.api.strategies.table import Ranges, strategies

if TYPE_CHECKING:
    from k8semu.kube.api.surroundings import Now, Streams

REMEMBERED = 1000
"""Changes of one kind that a watch can still ask for."""
NOT_SAID = ("deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink", "generation")
"""What nobody says of a new object."""
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


class Event(msgspec.Struct):
    """A change: ADDED, MODIFIED or DELETED, the object as it is (or last was), and as it was before."""

    type: str
    object: JSON
    old: JSON | None
    version: int


Events = list[Event]
Listener = Callable[[Event], None]


class Deleted(msgspec.Struct):
    """What a delete did: the object's last state, and whether it is gone or has only begun to go."""

    object: JSON
    gone: bool


class Registry:
    """All objects of a cluster. `provision` makes a namespace with the first object that is put there."""

    def __init__(
        self, clock: Now, random: Streams, ranges: Ranges | None = None, *, provision: bool = False
    ) -> None:
        self.stamps = metadata.Stamps(clock)
        self.version = 0
        self.caches = {r.plural: Cache(indexed=r.plural in ("pods", "endpointslices")) for r in TABLE}
        self.strategies = strategies(ranges or Ranges(), random, self.list)
        self.random, self._provision = random, provision
        self._uids = random["uids"]
        self._listeners: dict[str, tuple[Listener, ...]] = dict.fromkeys(RESOURCES, ())
        self._on_deletion: dict[str, tuple[Listener, ...]] = dict.fromkeys(RESOURCES, ())
        # with the last change that is forgotten, for its version
        self._history: dict[str, deque[Event]] = {r.plural: deque(maxlen=REMEMBERED + 1) for r in TABLE}
        self._right_meta: dict[str, JSON] = {}
        self._begin()

    def _begin(self) -> None:
        """What is there from the start."""
        for name in NAMESPACES:
            self.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    # --- reading --------------------------------------------------------------------------------

    def get(self, plural: str, namespace: str, name: str) -> JSON:
        """The object; ApiError if there is none."""
        found = self.caches[plural].get(namespace, name)
        if found is None:
            raise status.not_found(RESOURCES[plural], name)
        return found

    def list(self, plural: str, namespace: str | None = None) -> Objects:
        return self.caches[plural].list(namespace)

    # --- watching -------------------------------------------------------------------------------

    def subscribe(self, plural: str, listener: Listener, deletions: bool = False) -> Callable[[], None]:
        """Have every change of a kind told, or every deletion; returns how to stop it. A listener writes nothing."""
        told = self._on_deletion if deletions else self._listeners
        told[plural] += (listener,)

        def stop() -> None:
            left = list(told[plural])
            left.remove(listener)
            told[plural] = tuple(left)

        return stop

    def since(self, plural: str, version: int) -> Events:
        """The changes of a kind after `version`; ApiError 410 if they are no longer remembered."""
        history = self._history[plural]
        if len(history) > REMEMBERED and version < history[0].version:
            raise status.expired(version, history[0].version)
        return [event for event in history if event.version > version]

    def _tell(self, plural: str, event: Event) -> None:
        self._history[plural].append(event)
        for listener in self._listeners[plural]:
            listener(event)
        if event.type == "DELETED":
            for listener in self._on_deletion[plural]:
                listener(event)

    def record(self, event: JSON) -> None:
        """Keep an Event of which nothing follows: it has the version that all has by now."""
        kept = {**event, "metadata": {**event["metadata"], "resourceVersion": str(self.version)}}
        self.caches["events"].put(kept)
        self._tell("events", Event("ADDED", kept, None, self.version))

    # --- writing --------------------------------------------------------------------------------

    def create(self, plural: str, obj: JSON, *, dry_run: bool = False, trusted: bool = False) -> JSON:
        """Keep a new object; ApiError says what is wrong with it. `trusted`: its fields surely have the right types."""
        resource, strategy = RESOURCES[plural], self.strategies[plural]
        if not trusted:
            obj = _decoded(resource, strategy, obj)
        said = obj.get("metadata") or {}
        named = bool(said.get("name")) or not said.get("generateName")
        meta = self._new_meta(resource, strategy, obj)
        if meta.get("resourceVersion"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        self._check_namespace(resource, meta, dry_run)
        obj = strategy.prepare_create(strategy.default({**obj, "metadata": meta}))
        transaction = Transaction()
        try:
            obj = strategy.allocate(obj, None, transaction)
            _refuse(resource, meta, self._meta_errors(plural, meta, named) + strategy.validate(obj))
            if self.caches[plural].get(*key_of(obj)) is not None:
                raise status.already_exists(resource, meta["name"])
        except ApiError:
            transaction.revert()
            raise
        if dry_run:
            transaction.revert()
            return obj
        transaction.commit()
        return self._keep(plural, obj, None)

    def _meta_errors(self, plural: str, meta: JSON, named: bool) -> Errors:
        """What is wrong with the metadata of a new object, `named` (or not) by who makes it. Most are made like the one
        before, but for the name; and a name that was generated is right where another was."""
        resource, strategy = RESOURCES[plural], self.strategies[plural]
        before = self._right_meta.get(plural)
        if before is not None and metadata.alike(meta, before, metadata.LIKE):
            return metadata.validate_name(strategy, meta) if named else []
        errors = metadata.validate_meta(resource, strategy, meta)
        if not errors:
            self._right_meta[plural] = meta
        return errors

    def update(
        self, plural: str, obj: JSON, subresource: str = "", *, dry_run: bool = False, trusted: bool = False
    ) -> JSON:
        """Keep a new version. `subresource` '' changes what is asked for, ``status`` what is so."""
        resource, strategy = RESOURCES[plural], self.strategies[plural]
        if not trusted:
            obj = _decoded(resource, strategy, obj)
        said = obj["metadata"]
        namespace = (said.get("namespace") or "default") if resource.namespaced else ""
        old = self.get(plural, namespace, said.get("name", ""))
        _check_versions(resource, said, old)
        obj = {**obj, "metadata": _kept_meta(said, old["metadata"])}
        prepare = strategy.prepare_status if subresource == "status" else strategy.prepare_update
        obj = prepare(strategy.default_update(obj, old), old)
        transaction = Transaction()
        try:
            if not subresource:
                obj = strategy.allocate(obj, old, transaction)
            _refuse(resource, said, self._update_errors(plural, obj, old, subresource))
        except ApiError:
            transaction.revert()
            raise
        if dry_run or obj == old:
            transaction.revert()
            return obj if dry_run else old
        transaction.commit()
        if strategy.has_generation and obj.get("spec") is not old.get("spec") and obj.get("spec") != old.get("spec"):
            generation = old["metadata"].get("generation", 0) + 1
            obj = {**obj, "metadata": {**obj["metadata"], "generation": generation}}
        if _may_go(obj["metadata"]) and not strategy.held(obj):
            return self._remove(plural, obj)
        return self._keep(plural, obj, old)

    def _update_errors(self, plural: str, obj: JSON, old: JSON, subresource: str) -> Errors:
        resource, strategy = RESOURCES[plural], self.strategies[plural]
        meta, before = obj["metadata"], old["metadata"]
        same = metadata.alike(meta, before, metadata.CHECKED)
        errors = [] if same else metadata.validate_meta(resource, strategy, meta)
        errors += metadata.validate_meta_update(meta, before)
        check = strategy.validate_status if subresource == "status" else strategy.validate_update
        return errors + check(obj, old)

    def bind(self, namespace: str, name: str, node: str) -> JSON:
        """A Pod gets its node. Kubernetes: pkg/registry/core/pod/storage/storage.go assignPod()."""
        old = self.get("pods", namespace, name)
        said = ""
        if old["metadata"].get("deletionTimestamp"):
            said = f"pod {name} is being deleted, cannot be assigned to a host"
        elif old["spec"].get("nodeName"):
            said = f'pod {name} is already assigned to node "{old["spec"]["nodeName"]}"'
        if said:
            raise status.conflict(RESOURCES["pods"], name, said)
        conditions = set_condition(old["status"].get("conditions") or [], "PodScheduled", "True", self.stamps.now())
        new = {**old, "metadata": dict(old["metadata"]), "spec": {**old["spec"], "nodeName": node},
               "status": {**old["status"], "conditions": conditions}}  # fmt: skip
        return self._keep("pods", new, old)

    def delete(
        self, plural: str, namespace: str, name: str, *, grace: int | None = None, uid: str = "", version: str = "",
        dry_run: bool = False, orphan: bool = False,
    ) -> Deleted:  # fmt: skip
        """Delete an object, or begin to: a Pod is first stopped by its kubelet, finalizers hold any object."""
        resource, strategy = RESOURCES[plural], self.strategies[plural]
        old = self.get(plural, namespace, name)
        _check_preconditions(resource, old, uid, version)
        seconds = strategy.grace(old, grace)
        held = strategy.held(old)
        if dry_run:
            return Deleted(old, gone=not seconds and not held)
        if orphan:
            self._orphan(old["metadata"]["uid"])
        if not seconds and not held:
            return Deleted(self._remove(plural, old), gone=True)
        return Deleted(self._begin_deletion(plural, old, seconds), gone=False)

    def _orphan(self, uid: str) -> None:
        """What an object owns stays, and forgets it. Kubernetes: pkg/controller/garbagecollector orphanDependents()."""
        for plural, cache in self.caches.items():
            for obj in cache.owned_by(uid):
                meta = obj["metadata"]
                owners = [owner for owner in meta["ownerReferences"] if owner["uid"] != uid]
                self._keep(plural, {**obj, "metadata": {**meta, "ownerReferences": owners}}, obj)

    def _begin_deletion(self, plural: str, old: JSON, seconds: int) -> JSON:
        meta = old["metadata"]
        if meta.get("deletionTimestamp") and seconds >= meta.get("deletionGracePeriodSeconds", 0):
            return old
        changed = {**meta, "deletionTimestamp": self.stamps.now(seconds), "deletionGracePeriodSeconds": seconds}
        if "generation" in meta and not meta.get("deletionTimestamp"):
            changed["generation"] = meta["generation"] + 1
        return self._keep(plural, self.strategies[plural].deleting({**old, "metadata": changed}), old)

    # --- the store ------------------------------------------------------------------------------

    def _keep(self, plural: str, obj: JSON, old: JSON | None) -> JSON:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.caches[plural].put(obj)
        self._tell(plural, Event("ADDED" if old is None else "MODIFIED", obj, old, self.version))
        return obj

    def _remove(self, plural: str, obj: JSON) -> JSON:
        self.version += 1
        gone = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self.caches[plural].remove(key_of(obj))
        self.strategies[plural].release(obj)
        self._tell(plural, Event("DELETED", gone, obj, self.version))
        return gone

    def _new_meta(self, resource: Resource, strategy: Strategy, obj: JSON) -> JSON:
        meta = dict(obj.get("metadata") or {})
        for key in NOT_SAID:
            meta.pop(key, None)
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = metadata.generate_name(meta["generateName"], self.random[strategy.generated])
        if resource.namespaced and not meta.get("namespace"):
            meta["namespace"] = "default"
        meta["uid"] = metadata.new_uid(self._uids)
        meta["creationTimestamp"] = self.stamps.now()
        if strategy.has_generation:
            meta["generation"] = 1
        return meta

    def _check_namespace(self, resource: Resource, meta: JSON, dry_run: bool) -> None:
        """Kubernetes: the admission plugins NamespaceLifecycle and NamespaceAutoProvision."""
        if not resource.namespaced:
            return
        name = meta["namespace"]
        found = self.caches["namespaces"].get("", name)
        if found is None and self._provision and not dry_run:
            self.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        elif found is None:
            raise status.not_found(RESOURCES["namespaces"], name)
        elif found["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {name} because it is being terminated"
            raise status.forbidden(resource, meta.get("name", ""), why)


def _decoded(resource: Resource, strategy: Strategy, obj: JSON) -> JSON:
    """The object as Go's decoder leaves it: what is `null` is not there. ApiError 400 unless it has its kind's form."""
    version, kind = obj.get("apiVersion"), obj.get("kind")
    if kind != resource.kind or version != resource.api_version:
        raise status.bad_request(
            f'{kind} in version "{version}" cannot be handled as a {resource.kind}: '
            f"no kind {kind!r} is registered for version {version!r}".replace("'", '"')
        )
    wrong = strategy.wrong_shape(obj)
    if wrong:
        raise status.bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {wrong}')
    plain = without_nulls(obj)
    return plain if "metadata" in plain else {**plain, "metadata": {}}


def _refuse(resource: Resource, meta: JSON, errors: Errors) -> None:
    if errors:
        raise status.invalid(resource, meta.get("name") or meta.get("generateName", ""), errors)


def _check_versions(resource: Resource, said: JSON, old: JSON) -> None:
    """Optimistic concurrency: a write that names a version is for that version only."""
    meta = old["metadata"]
    if said.get("uid") and said["uid"] != meta["uid"]:
        why = f"Precondition failed: UID in precondition: {said['uid']}, UID in object meta: {meta['uid']}"
        raise status.conflict(resource, meta["name"], why)
    if said.get("resourceVersion") and said["resourceVersion"] != meta["resourceVersion"]:
        raise status.conflict(resource, meta["name"])


def _check_preconditions(resource: Resource, old: JSON, uid: str, version: str) -> None:
    meta = old["metadata"]
    for what, wanted, have in (("UID", uid, meta["uid"]), ("ResourceVersion", version, meta["resourceVersion"])):
        if wanted and wanted != have:
            why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {have}"
            raise status.conflict(resource, meta["name"], why)


def _kept_meta(said: JSON, old: JSON) -> JSON:
    """New metadata with what only the API server changes."""
    if said is old:
        return dict(old)
    meta = {**said, **{key: old[key] for key in metadata.KEPT if key in old}, "resourceVersion": old["resourceVersion"]}
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
        if key not in old:
            meta.pop(key, None)
    if "namespace" in old:
        meta["namespace"] = old["namespace"]
    return meta


def _may_go(meta: JSON) -> bool:
    """Whether nothing but finalizers has held an object that is being deleted."""
    return bool(meta.get("deletionTimestamp")) and not meta.get("deletionGracePeriodSeconds")


__all__ = ["ApiError", "Deleted", "Event", "Key", "Registry"]
