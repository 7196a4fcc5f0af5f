"""Nodes, Namespaces: the few rules that they have.

Kubernetes: pkg/registry/core/{node,namespace}/strategy.go
"""

from __future__ import annotations

from k8semu.kube.api import names
from k8semu.kube.api.field import Errors, forbidden, invalid, not_supported, required
from k8semu.kube.api.strategies.base import JSON, Strategy, with_conditions

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


class NodeStrategy(Strategy):
    """A Node's status is the kubelet's, but it may register with one."""

    has_status = True

    def default(self, obj: JSON) -> JSON:
        spec = obj.get("spec") or {}
        if spec.get("podCIDR") and not spec.get("podCIDRs"):
            spec = {**spec, "podCIDRs": [spec["podCIDR"]]}
        obj = obj if spec is obj.get("spec") else {**obj, "spec": spec}
        return with_conditions(obj)

    def prepare_create(self, obj: JSON) -> JSON:
        return obj

    def validate_update(self, obj: JSON, old: JSON) -> Errors:
        now, then = obj["spec"].get("podCIDR"), (old.get("spec") or {}).get("podCIDR")
        if then and now != then:
            said = "node updates may not change podCIDR except from \"\" to valid"
            return [forbidden("spec.podCIDRs", said)]
        return self.validate(obj)

    def validate(self, obj: JSON) -> Errors:
        errors: Errors = []
        for i, cidr in enumerate(obj["spec"].get("podCIDRs") or []):
            errors += names.cidr(f"spec.podCIDRs[{i}]", cidr)
        for i, taint in enumerate(obj["spec"].get("taints") or []):
            errors += _taint(f"spec.taints[{i}]", taint)
        return errors


def _taint(path: str, taint: JSON) -> Errors:
    key, effect = taint.get("key") or "", taint.get("effect") or ""
    errors = [invalid(f"{path}.key", key, said) for said in names.qualified_name(key)]
    if not effect:
        return [*errors, required(f"{path}.effect")]
    return errors if effect in EFFECTS else [*errors, not_supported(f"{path}.effect", effect, EFFECTS)]


class NamespaceStrategy(Strategy):
    has_status = True

    def default(self, obj: JSON) -> JSON:
        meta = obj["metadata"]
        labels = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": meta.get("name", "")}
        spec = obj.get("spec") or {"finalizers": ["kubernetes"]}
        return {**obj, "metadata": {**meta, "labels": labels}, "spec": spec}

    def initial_status(self) -> JSON:
        return {"phase": "Active"}

    def prepare_create(self, obj: JSON) -> JSON:
        return {**obj, "status": self.initial_status()}

    def prepare_update(self, obj: JSON, old: JSON) -> JSON:
        spec = obj["spec"] if old["metadata"].get("deletionTimestamp") else old["spec"]
        return super().prepare_update({**obj, "spec": spec}, old)

    def held(self, obj: JSON) -> bool:
        return super().held(obj) or bool((obj.get("spec") or {}).get("finalizers"))

    def deleting(self, obj: JSON) -> JSON:
        return {**obj, "status": {**(obj.get("status") or {}), "phase": "Terminating"}}

    def name_errors(self, name: str) -> list[str]:
        return names.dns_label(name)
