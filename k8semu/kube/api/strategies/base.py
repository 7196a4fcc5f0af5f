"""What all kinds have in common.

Objects are values: each step gives the object it was given, or a changed copy that shares the rest.

Kubernetes: staging/src/k8s.io/apiserver/pkg/registry/rest/create.go, update.go
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from k8semu.kube.api.field import Errors
from k8semu.kube.api.names import dns_subdomain
from k8semu.kube.api.shapes import AnyShape, wrong_shape

JSON = dict[str, Any]
Undo = Callable[[], None]


class Transaction:
    """What was allocated for an object that is not kept yet: kept or given back with it."""

    __slots__ = ("on_commit", "on_revert")

    def __init__(self) -> None:
        self.on_commit: list[Undo] = []
        self.on_revert: list[Undo] = []

    def commit(self) -> None:
        for act in self.on_commit:
            act()

    def revert(self) -> None:
        for act in reversed(self.on_revert):
            act()


class Strategy:
    """The rules of a kind that has none of its own."""

    has_status = False
    """Whether `status` is written by a subresource of its own, and not with the rest."""
    has_generation = False
    """Whether `metadata.generation` counts the changes of what is asked for."""
    shape: type[AnyShape] = AnyShape
    """Which JSON types its fields have."""
    generated: str = "names"
    """The stream that suffixes of generated names are drawn from."""

    def default(self, obj: JSON) -> JSON:
        """Fill in what is not said."""
        return obj

    def default_update(self, obj: JSON, old: JSON) -> JSON:
        """Fill in a new version of `old`."""
        return self.default(obj)

    def prepare_create(self, obj: JSON) -> JSON:
        """Drop what a user may not say. Kubernetes: PrepareForCreate()."""
        if self.has_status and "status" in obj:
            obj = {**obj, "status": self.initial_status()}
        return obj

    def initial_status(self) -> JSON:
        return {}

    def prepare_update(self, obj: JSON, old: JSON) -> JSON:
        """Put back what this request may not change. Kubernetes: PrepareForUpdate()."""
        return with_part(obj, old, "status") if self.has_status else obj

    def prepare_status(self, obj: JSON, old: JSON) -> JSON:
        """A write of `status` changes nothing else, but metadata that people set."""
        return with_part(obj, old, "spec")

    def allocate(self, obj: JSON, old: JSON | None, transaction: Transaction) -> JSON:
        """Give the object what it needs of shared ranges. Raises ApiError."""
        return obj

    def release(self, obj: JSON) -> None:
        """The object is gone: what was allocated for it is free again."""

    def grace(self, obj: JSON, asked: int | None) -> int:
        """Seconds between the begin of an object's deletion and its end; 0 is at once."""
        return 0

    def held(self, obj: JSON) -> bool:
        """Whether an object that is to go waits for finalizers."""
        return bool(obj["metadata"].get("finalizers"))

    def deleting(self, obj: JSON) -> JSON:
        """What else changes when the deletion of an object begins."""
        return obj

    def name_errors(self, name: str) -> list[str]:
        """What is wrong with an object's name."""
        return dns_subdomain(name)

    def validate(self, obj: JSON) -> Errors:
        return []

    def validate_update(self, obj: JSON, old: JSON) -> Errors:
        return self.validate(obj)

    def validate_status(self, obj: JSON, old: JSON) -> Errors:
        return []

    def wrong_shape(self, obj: JSON) -> str:
        """Which field has a wrong JSON type, or ''."""
        return wrong_shape(self.shape, obj["kind"], obj)


def with_part(obj: JSON, old: JSON, part: str) -> JSON:
    """`obj` with `part` as it is in `old`."""
    if obj.get(part) is old.get(part):
        return obj
    changed = dict(obj)
    if part in old:
        changed[part] = old[part]
    else:
        changed.pop(part, None)
    return changed


def with_conditions(obj: JSON) -> JSON:
    """`obj` whose conditions, if it has some, all have a type and a status, be they empty."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    for held in conditions:
        if "type" not in held or "status" not in held:
            break
    else:
        return obj
    full = [{"type": "", "status": "", **held} for held in conditions]
    return {**obj, "status": {**obj["status"], "conditions": full}}


def with_spec(obj: JSON, spec: JSON) -> JSON:
    return obj if obj.get("spec") is spec else {**obj, "spec": spec}
