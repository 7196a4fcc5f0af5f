"""Pods: each is filled up, checked, and stopped before it is gone.

The Pods of a workload are made from one template: what was found right of it once is not looked
at again for each Pod, and all its Pods share it.

Kubernetes: pkg/registry/core/pod/strategy.go, plugin/pkg/admission/{defaulttolerationseconds,serviceaccount}
"""

from __future__ import annotations

from k8semu.kube.api.field import Errors, FieldError, forbidden
from k8semu.kube.api.strategies.base import JSON, Strategy, with_conditions, with_part, with_spec
from k8semu.kube.api.strategies.pod_spec import default_spec, validate_spec

TOLERATED = 300
"""Seconds that a Pod stays on a node that is not ready or not reachable."""
TOLERATIONS = [
    {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATED}
    for what in ("not-ready", "unreachable")
]
MUTABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
    "(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
    "(allow it to be set to 1 if it was previously negative)"
)
KEPT = 256
"""Specs that are known to be right."""


class PodStrategy(Strategy):
    has_status = True
    has_generation = True
    generated = "pod-names"

    def __init__(self) -> None:
        self._full: dict[int, tuple[JSON, JSON]] = {}      # by identity: a spec as given, and filled up
        self._right: dict[int, JSON] = {}                  # by identity: specs that were found right

    def default(self, obj: JSON) -> JSON:
        given = obj.get("spec") or {}
        known = self._full.get(id(given))
        if known is not None:
            return with_spec(obj, known[1])
        if id(given) in self._right:
            return obj
        spec = default_spec(given)
        spec.setdefault("enableServiceLinks", True)
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = spec["serviceAccount"] = "default"
        spec["tolerations"] = _tolerations(spec.get("tolerations") or [])
        if "schedulerName" in given:                      # a template's, that nobody changes any more
            _remember(self._full, id(given), (given, spec))
        return {**obj, "spec": spec}

    def default_update(self, obj: JSON, old: JSON) -> JSON:
        obj = with_conditions(obj)
        return obj if obj.get("spec") is old["spec"] else self.default(obj)

    def prepare_create(self, obj: JSON) -> JSON:
        return {**obj, "status": INITIAL}

    def prepare_status(self, obj: JSON, old: JSON) -> JSON:
        """The kubelet writes the status; the rest stays."""
        meta, before = obj["metadata"], old["metadata"]
        for key in ("deletionTimestamp", "ownerReferences"):
            if key in before and meta.get(key) is not before[key]:
                meta = {**meta, key: before[key]}
        if meta is not obj["metadata"] or "status" not in obj:
            obj = {**obj, "metadata": meta, "status": obj.get("status") or {}}
        return with_part(obj, old, "spec")

    def grace(self, obj: JSON, asked: int | None) -> int:
        """Kubernetes: pkg/registry/core/pod/strategy.go CheckGracefulDelete()."""
        spec, phase = obj["spec"], (obj.get("status") or {}).get("phase")
        if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
            return 0
        if asked is not None:
            return max(asked, 0)
        meta = obj["metadata"]
        if meta.get("deletionTimestamp"):
            return int(meta.get("deletionGracePeriodSeconds", 0))
        return int(spec.get("terminationGracePeriodSeconds", 30))

    def validate(self, obj: JSON) -> Errors:
        spec = obj["spec"]
        if id(spec) in self._right:
            return []
        errors = validate_spec("spec", spec)
        if not errors:
            _remember(self._right, id(spec), spec)
        return errors

    def validate_update(self, obj: JSON, old: JSON) -> Errors:
        spec, before = obj["spec"], old["spec"]
        if spec is before:
            return []
        errors = validate_spec("spec", spec)
        if _fixed(spec) != _fixed(before) or not _only_added(spec, before):
            errors.append(_no_update())
        return errors


INITIAL: JSON = {"phase": "Pending", "qosClass": "BestEffort"}
"""The status of a Pod that nobody has looked at."""


def _no_update() -> FieldError:
    return forbidden("spec", f"pod updates may not change fields other than {MUTABLE}")


def _remember(known: dict[int, object] | dict, key: int, value: object) -> None:  # type: ignore[type-arg]
    """Keep the newest; what is kept is alive, so its identity is its own."""
    if len(known) >= KEPT:
        known.pop(next(iter(known)))
    known[key] = value


def _tolerations(tolerations: list[JSON]) -> list[JSON]:
    missing = [
        tolerance for tolerance in TOLERATIONS
        if not any(held.get("key") in (tolerance["key"], None, "") and held.get("effect") in ("NoExecute", None, "")
                   for held in tolerations)
    ]  # fmt: skip
    return [*tolerations, *missing]


def _fixed(spec: JSON) -> JSON:
    """A spec without what may change."""
    skipped = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
    fixed = {key: value for key, value in spec.items() if key not in skipped}
    for key in ("containers", "initContainers"):
        if fixed.get(key):
            fixed[key] = [{**part, "image": "", "imagePullPolicy": ""} for part in fixed[key]]
    return fixed


def _only_added(spec: JSON, before: JSON) -> bool:
    now, then = spec.get("tolerations") or [], before.get("tolerations") or []
    same_grace = spec.get("terminationGracePeriodSeconds") == before.get("terminationGracePeriodSeconds")
    return same_grace and all(tolerance in now for tolerance in then)
