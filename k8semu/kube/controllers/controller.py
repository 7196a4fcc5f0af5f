"""What all controllers have in common.

Kubernetes: pkg/controller/controller_utils.go
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from k8semu.kube.api.cache import Cache, controller_of
from k8semu.kube.api.resources import RESOURCES

JSON = dict[str, Any]
Caches = Mapping[str, Cache]
Key = tuple[str, str]
"""(namespace, name) of what a controller looks after."""


class Change(Protocol):
    """What a controller is told. `k8semu.kube.api.registry.Event` is one."""

    @property
    def type(self) -> str: ...
    @property
    def object(self) -> JSON: ...
    @property
    def old(self) -> JSON | None: ...


Concerns = Callable[[Change], Iterable[Key]]
"""Which keys an event is news for."""


class Create(msgspec.Struct):
    plural: str
    object: JSON


class Update(msgspec.Struct):
    """`subresource`: '' or ``status``."""

    plural: str
    object: JSON
    subresource: str = ""


class Delete(msgspec.Struct):
    plural: str
    namespace: str
    name: str
    uid: str = ""
    grace: int | None = None


class Bind(msgspec.Struct):
    namespace: str
    name: str
    node: str


class After(msgspec.Struct):
    """Look at the key again in `delay` ns."""

    delay: int


Write = Create | Update | Delete | Bind | After


class Time(Protocol):
    """The time, and as objects write it."""

    @property
    def now(self) -> int: ...


class Controller:
    """Looks after the objects of `plural`. `watches` says, per kind, which keys an event concerns."""

    name = ""
    plural = ""
    rank = 0
    """Keys of a lower rank are looked at first."""

    def __init__(self, caches: Caches, clock: Time) -> None:
        self.caches, self.clock = caches, clock

    def watches(self) -> dict[str, Concerns]:
        raise NotImplementedError

    def deletions(self) -> dict[str, Concerns]:
        """As `watches`, for kinds of which only deletions are news."""
        return {}

    def sync(self, key: Key) -> Iterable[Write]:
        """What is to be written so that the world is as the object of this key asks."""
        raise NotImplementedError

    # --- usual concerns -------------------------------------------------------------------------

    def itself(self, event: Change) -> Iterable[Key]:
        """The object that changed."""
        meta = event.object["metadata"]
        return ((meta.get("namespace", ""), meta["name"]),)

    def what_it_asks(self, event: Change) -> Iterable[Key]:
        """The object that changed, unless only its status or annotations did: those controllers write."""
        obj, old = event.object, event.old
        if old is not None and event.type == "MODIFIED":
            meta, before = obj["metadata"], old["metadata"]
            same = obj.get("spec") is old.get("spec") or obj.get("spec") == old.get("spec")
            if same and all(meta.get(key) == before.get(key) for key in ("labels", "deletionTimestamp")):
                return ()
        return self.itself(event)

    def its_controller(self, event: Change) -> Iterable[Key]:
        """What controls the object that changed, if that is of this controller's kind."""
        kind = RESOURCES[self.plural].kind
        for obj in (event.object, event.old):
            owner = controller_of(obj) if obj is not None else None
            if owner is not None and owner["kind"] == kind:
                yield event.object["metadata"].get("namespace", ""), owner["name"]


def owned(caches: Caches, plural: str, owner: JSON) -> list[JSON]:
    """The objects of a kind that `owner` controls."""
    uid = owner["metadata"]["uid"]
    return [obj for obj in caches[plural].owned_by(uid) if (controller_of(obj) or {}).get("uid") == uid]


def owner_reference(obj: JSON) -> JSON:
    """How what it controls names `obj`."""
    meta = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": meta["name"], "uid": meta["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def pod_from_template(template: JSON, owner: JSON, name: str = "", labels: dict[str, str] | None = None) -> JSON:
    """A Pod of a workload; it shares the template's spec. Without a name it gets a generated one."""
    meta = template.get("metadata") or {}
    made: JSON = {"name": name} if name else {"generateName": f"{owner['metadata']['name']}-"}
    made["namespace"] = owner["metadata"]["namespace"]
    made["labels"] = {**(meta.get("labels") or {}), **labels} if labels else meta.get("labels") or {}
    if meta.get("annotations"):
        made["annotations"] = meta["annotations"]
    made["ownerReferences"] = [owner_reference(owner)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": template["spec"]}


def with_status(plural: str, obj: JSON, status: JSON) -> list[Write]:
    """A write of `status`, if it is new."""
    if status == obj.get("status"):
        return []
    return [Update(plural, {**obj, "status": status}, "status")]
