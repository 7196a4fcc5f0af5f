"""`metadata`: what the API server fills in, and what it refuses.

Kubernetes: staging/src/k8s.io/apiserver/pkg/registry/rest/meta.go, create.go,
            staging/src/k8s.io/apimachinery/pkg/api/validation/objectmeta.go
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from k8semu.kube.api import names
from k8semu.kube.api.field import Errors, forbidden, invalid, required
from k8semu.kube.api.resources import Resource
from k8semu.kube.api.strategies.base import Strategy
from k8semu.sim.clock import NS_PER_S

if TYPE_CHECKING:
    from k8semu.kube.api.surroundings import Draw, Now

JSON = dict[str, Any]
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""The day on which every run begins: a cluster's objects want a date, and the same one each time."""
SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""Letters and digits of generated names: no vowels, so no words. Kubernetes: apimachinery pkg/util/rand"""
VARIANT = {f"{bits:x}": f"{8 | bits & 3:x}" for bits in range(16)}
"""The digit of a UUID whose first two bits say by which rules it is made. RFC 9562 section 4.1"""
GENERATED = 63 - 5
"""How much of `generateName` is kept: a name has its suffix within 63 characters."""
KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
"""What an update cannot change."""
CHECKED = ("labels", "annotations", "ownerReferences", "finalizers")
"""What is checked again when it changes."""
LIKE = ("generateName", "namespace", *CHECKED)
"""What objects that are made from one template have in common."""


@lru_cache(maxsize=64)
def timestamp(seconds: int) -> str:
    """Simulated time as objects have it: ``2026-01-01T00:00:07Z``."""
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time(ns: int) -> str:
    """As Leases have it: ``2026-01-01T00:00:07.250000Z``."""
    return (EPOCH + timedelta(microseconds=ns // 1000)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: Any) -> int:
    """Nanoseconds of simulated time; what is no RFC 3339 time is the beginning."""
    try:
        since = datetime.fromisoformat(text) - EPOCH
    except (TypeError, ValueError):
        return 0
    return (since // timedelta(microseconds=1)) * 1000


class Stamps:
    """The clock as text; the text of a second is made once."""

    def __init__(self, clock: Now) -> None:
        self._clock = clock
        self._second, self._text = -1, ""

    def now(self, later: int = 0) -> str:
        """The time, or that in `later` seconds."""
        second = self._clock.now // NS_PER_S
        if later:
            return timestamp(second + later)
        if second != self._second:
            self._second, self._text = second, timestamp(second)
        return self._text


def new_uid(stream: Draw) -> str:
    """A random UUID, version 4."""
    digits = f"{stream.bits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def generate_name(prefix: str, stream: Draw) -> str:
    """Kubernetes: staging/src/k8s.io/apiserver/pkg/storage/names SimpleNameGenerator."""
    below, letters = stream.below, len(SAFE)
    return prefix[:GENERATED] + "".join([SAFE[below(letters)] for _ in range(5)])


def alike(a: JSON, b: JSON, keys: tuple[str, ...]) -> bool:
    """Whether two objects share, not only equal, what they say under `keys`."""
    for key in keys:  # noqa: SIM110  (a generator would cost as much as what it asks)
        if a.get(key) is not b.get(key):
            return False
    return True


def validate_meta(resource: Resource, strategy: Strategy, meta: JSON) -> Errors:
    """What is wrong with the metadata of an object."""
    errors: Errors = []
    prefix = meta.get("generateName")
    if prefix:
        sample = f"{prefix.rstrip('-')}a"
        errors += [invalid("metadata.generateName", prefix, said) for said in strategy.name_errors(sample)]
    errors += validate_name(strategy, meta)
    if resource.namespaced and not meta.get("namespace"):
        errors.append(required("metadata.namespace"))
    elif resource.namespaced:
        space = meta["namespace"]
        errors += [invalid("metadata.namespace", space, said) for said in names.dns_label(space)]
    elif meta.get("namespace"):
        errors.append(forbidden("metadata.namespace", "not allowed on this type"))
    errors += names.validate_labels("metadata.labels", meta.get("labels") or {})
    errors += names.validate_annotations("metadata.annotations", meta.get("annotations") or {})
    errors += _owners(meta.get("ownerReferences") or [])
    for i, word in enumerate(meta.get("finalizers") or []):
        errors += [invalid(f"metadata.finalizers[{i}]", word, said) for said in names.qualified_name(word)]
    return errors


def validate_name(strategy: Strategy, meta: JSON) -> Errors:
    """What is wrong with the name of an object."""
    name = meta.get("name")
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    return [invalid("metadata.name", name, said) for said in strategy.name_errors(name)]


def _owners(owners: list[JSON]) -> Errors:
    errors: Errors = []
    for i, owner in enumerate(owners):
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                said = "must not be empty" if key != "apiVersion" else "version must not be empty"
                errors.append(invalid(f"metadata.ownerReferences[{i}].{key}", owner.get(key, ""), said))
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        first, second = controllers[:2]
        said = (
            "Only one reference can have Controller set to true. Found \"true\" in references for "
            f"{first['kind']}/{first['name']} and {second['kind']}/{second['name']}"
        )
        errors.append(invalid("metadata.ownerReferences", owners, said))
    return errors


def validate_meta_update(meta: JSON, old: JSON) -> Errors:
    """What an update may not change, and what a deletion that has begun no longer allows."""
    errors: Errors = []
    if old.get("deletionTimestamp"):
        new = [word for word in meta.get("finalizers") or [] if word not in (old.get("finalizers") or [])]
        if new:
            said = f"no new finalizers can be added if the object is being deleted, found new finalizers {new!r}"
            errors.append(forbidden("metadata.finalizers", said.replace("'", '"').replace(",", "")))
    return errors
