"""Deployments, ReplicaSets, StatefulSets and DaemonSets.

Kubernetes: pkg/apis/apps/v1/defaults.go, pkg/apis/apps/validation/validation.go
"""

from __future__ import annotations

from typing import Any

from k8semu.kube.api import names
from k8semu.kube.api.field import Errors, forbidden, invalid, not_supported, required
from k8semu.kube.api.selectors import matches, validate_selector
from k8semu.kube.api.strategies.base import JSON, Strategy, with_spec
from k8semu.kube.api.strategies.pod_spec import default_spec, validate_spec

QUARTER = "25%"


class WorkloadStrategy(Strategy):
    """`kind` is a Deployment, ReplicaSet, StatefulSet or DaemonSet."""

    has_status = True
    has_generation = True

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def default(self, obj: JSON) -> JSON:
        spec = {key: value for key, value in (obj.get("spec") or {}).items() if value is not None}
        for key, value in DEFAULTS[self.kind].items():
            spec.setdefault(key, value)
        if self.kind != "ReplicaSet":
            key = "strategy" if self.kind == "Deployment" else "updateStrategy"
            spec[key] = _default_strategy(self.kind, spec.get(key) or {})
        template = spec.get("template") or {}
        if "template" in spec and not _is_full(template):
            spec["template"] = {**template, "spec": default_spec(template.get("spec") or {})}
            spec["template"].setdefault("metadata", {})
        same = spec == obj.get("spec")
        return obj if same else with_spec(obj, spec)

    def default_update(self, obj: JSON, old: JSON) -> JSON:
        return obj if obj.get("spec") is old["spec"] else self.default(obj)

    def initial_status(self) -> JSON:
        return dict(STATUS[self.kind])

    def prepare_update(self, obj: JSON, old: JSON) -> JSON:
        obj = super().prepare_update(obj, old)
        was, now = old["spec"].get("template"), obj["spec"].get("template")
        if was is not now and was == now:
            obj = with_spec(obj, {**obj["spec"], "template": was})  # Pods of the same template share it
        return obj

    def validate(self, obj: JSON) -> Errors:
        spec = obj["spec"]
        errors: Errors = []
        if self.kind != "DaemonSet" and spec["replicas"] < 0:
            errors.append(invalid("spec.replicas", spec["replicas"], "must be greater than or equal to 0"))
        for key in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
            if spec.get(key, 0) < 0:
                errors.append(invalid(f"spec.{key}", spec[key], "must be greater than or equal to 0"))
        errors += self._selector(spec)
        template = spec.get("template")
        if not template:
            return [*errors, required("spec.template")]
        errors += names.validate_labels("spec.template.labels", _labels(template))
        errors += validate_spec("spec.template.spec", template["spec"], _claims(spec))
        restart = template["spec"].get("restartPolicy")
        if restart != "Always":
            errors.append(not_supported("spec.template.spec.restartPolicy", restart, ("Always",)))
        return errors + self._strategy(spec)

    def _selector(self, spec: JSON) -> Errors:
        selector = spec.get("selector")
        if selector is None:
            errors = [required("spec.selector")]
            labels = _labels(spec.get("template") or {})
            said = "`selector` does not match template `labels`"
            return [*errors, invalid("spec.template.metadata.labels", labels, said)]
        errors = validate_selector("spec.selector", selector)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            errors.append(invalid("spec.selector", selector, EMPTY_SELECTOR[self.kind]))
        elif not errors and spec.get("template") and not matches(selector, _labels(spec["template"])):
            said = "`selector` does not match template `labels`"
            errors.append(invalid("spec.template.metadata.labels", _labels(spec["template"]), said))
        return errors

    def _strategy(self, spec: JSON) -> Errors:
        if self.kind == "ReplicaSet":
            return []
        key = "strategy" if self.kind == "Deployment" else "updateStrategy"
        strategy, kinds = spec[key], STRATEGIES[self.kind]
        if strategy.get("type") not in kinds:
            return [not_supported(f"spec.{key}.type" if key == "strategy" else f"spec.{key}", strategy["type"], kinds)]
        rolling = strategy.get("rollingUpdate")
        if strategy["type"] != "RollingUpdate":
            said = f"may not be specified when strategy `type` is '{strategy['type']}'"
            return [forbidden(f"spec.{key}.rollingUpdate", said)] if rolling else []
        return _rolling(f"spec.{key}.rollingUpdate", rolling or {}, self.kind)

    def validate_update(self, obj: JSON, old: JSON) -> Errors:
        spec, before = obj["spec"], old["spec"]
        if spec is before or spec == before:
            return []
        errors = self.validate(obj)
        if self.kind == "StatefulSet":
            fixed = [{k: v for k, v in part.items() if k not in MUTABLE} for part in (spec, before)]
            if fixed[0] != fixed[1]:
                errors.append(forbidden("spec", STATEFUL_SAID))
        elif spec.get("selector") != before.get("selector"):
            errors.append(invalid("spec.selector", spec.get("selector"), "field is immutable"))
        return errors


DEFAULTS: dict[str, JSON] = {
    "Deployment": {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600},
    "ReplicaSet": {"replicas": 1},
    "StatefulSet": {"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady",
                    "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"}},
    "DaemonSet": {"revisionHistoryLimit": 10},
}  # fmt: skip
STATUS: dict[str, JSON] = {
    "Deployment": {}, "ReplicaSet": {"replicas": 0}, "StatefulSet": {"replicas": 0, "availableReplicas": 0},
    "DaemonSet": {"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0},
}  # fmt: skip
EMPTY_SELECTOR = {
    "Deployment": "empty selector is invalid for deployment",
    "ReplicaSet": "empty selector is invalid for deployment",
    "StatefulSet": "empty selector is invalid for statefulset",
    "DaemonSet": "empty selector is invalid for daemonset",
}
STRATEGIES = {
    "Deployment": ("Recreate", "RollingUpdate"), "StatefulSet": ("OnDelete", "RollingUpdate"),
    "DaemonSet": ("OnDelete", "RollingUpdate"),
}  # fmt: skip
MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip
STATEFUL_SAID = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _labels(template: JSON) -> dict[str, str]:
    return (template.get("metadata") or {}).get("labels") or {}


def _claims(spec: JSON) -> set[str]:
    """The names under which a StatefulSet's Pods mount its claims."""
    return {(claim.get("metadata") or {}).get("name") or "" for claim in spec.get("volumeClaimTemplates") or []}


def _is_full(template: JSON) -> bool:
    """Whether a template has been filled up already: schedulerName stands only in such."""
    spec = template.get("spec") or {}
    containers = spec.get("containers") or []
    return "schedulerName" in spec and "securityContext" in spec and all("resources" in part for part in containers)


def _default_strategy(kind: str, strategy: JSON) -> JSON:
    strategy = {**strategy, "type": strategy.get("type") or "RollingUpdate"}
    if strategy["type"] != "RollingUpdate":
        return strategy
    rolling = {key: value for key, value in (strategy.get("rollingUpdate") or {}).items() if value is not None}
    if kind == "Deployment":
        rolling = {"maxUnavailable": QUARTER, "maxSurge": QUARTER, **rolling}
    elif kind == "DaemonSet":
        rolling = {"maxUnavailable": 1, "maxSurge": 0, **rolling}
    else:
        rolling = {"partition": 0, **rolling}
    return {**strategy, "rollingUpdate": rolling}


def _rolling(path: str, rolling: JSON, kind: str) -> Errors:
    if kind == "StatefulSet":
        partition = rolling.get("partition", 0)
        said = "must be greater than or equal to 0"
        return [invalid(f"{path}.partition", partition, said)] if partition < 0 else []
    errors: Errors = []
    for key in ("maxUnavailable", "maxSurge"):
        errors += _count_or_percent(f"{path}.{key}", rolling[key])
    if not errors and all(rolling[key] in (0, "0%") for key in ("maxUnavailable", "maxSurge")):
        said = "may not be 0 when `maxSurge` is 0" if kind == "Deployment" else "cannot be 0 when maxSurge is 0"
        errors.append(invalid(f"{path}.maxUnavailable", rolling["maxUnavailable"], said))
    return errors


def _count_or_percent(path: str, value: Any) -> Errors:
    if isinstance(value, int):
        return [] if value >= 0 else [invalid(path, value, "must be greater than or equal to 0")]
    if value.endswith("%") and value[:-1].isdecimal():
        return []
    said = (
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
        "regex used for validation is '[0-9]+%')"
    )
    return [invalid(path, value, said)]
