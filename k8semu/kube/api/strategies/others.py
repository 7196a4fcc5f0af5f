"""Nodes, Namespaces, Ingresses, Leases, Secrets, ConfigMaps: the few rules that they have.

Kubernetes: pkg/registry/core/{node,namespace}/strategy.go, pkg/apis/networking/validation/validation.go
"""

from __future__ import annotations

from k8semu.kube.api import names
from k8semu.kube.api.field import Errors, forbidden, invalid, not_supported, required
from k8semu.kube.api.strategies.base import JSON, Strategy, with_conditions

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")


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


class IngressStrategy(Strategy):
    has_status = True
    has_generation = True

    def prepare_create(self, obj: JSON) -> JSON:
        return {**obj, "status": {"loadBalancer": {}}}

    def validate(self, obj: JSON) -> Errors:
        spec = obj.get("spec") or {}
        errors: Errors = []
        if not spec.get("rules") and not spec.get("defaultBackend"):
            errors.append(invalid("spec", {}, "either `defaultBackend` or `rules` must be specified"))
        if spec.get("defaultBackend"):
            errors += _backend("spec.defaultBackend", spec["defaultBackend"])
        for i, rule in enumerate(spec.get("rules") or []):
            host = rule.get("host") or ""
            if host:
                errors += _host(f"spec.rules[{i}].host", host)
            for j, path in enumerate((rule.get("http") or {}).get("paths") or []):
                errors += _path(f"spec.rules[{i}].http.paths[{j}]", path)
        return errors


def _host(path: str, host: str) -> Errors:
    if names.parse_ip(host):
        return [invalid(path, host, "must be a DNS name, not an IP address")]
    return [invalid(path, host, said) for said in names.dns_subdomain(host.removeprefix("*."))]


def _path(path: str, part: JSON) -> Errors:
    errors: Errors = []
    kind, value = part.get("pathType"), part.get("path") or ""
    if kind is None:
        errors.append(required(f"{path}.pathType", "pathType must be specified"))
    elif kind not in PATH_TYPES:
        errors.append(not_supported(f"{path}.pathType", kind, PATH_TYPES))
    elif not value.startswith("/") and (value or kind != "ImplementationSpecific"):
        errors.append(invalid(f"{path}.path", value, "must be an absolute path"))
    return errors + _backend(f"{path}.backend", part.get("backend") or {})


def _backend(path: str, backend: JSON) -> Errors:
    service = backend.get("service")
    if service is None:
        if backend.get("resource") is not None:
            return []
        return [required(path, "must specify `service` or `resource`") if not backend else required(f"{path}.service")]
    errors: Errors = []
    name, port = service.get("name") or "", service.get("port") or {}
    if not name:
        errors.append(required(f"{path}.service.name"))
    else:
        errors += [invalid(f"{path}.service.name", name, said) for said in names.dns_1035_label(name)]
    if port.get("name") and port.get("number"):
        said = "cannot set both port name & port number"
        errors.append(invalid(f"{path}.service.port", port["name"], said))
    elif port.get("name"):
        errors += [invalid(f"{path}.service.port.name", port["name"], said) for said in names.port_name(port["name"])]
    elif port.get("number"):
        errors += names.port_number(f"{path}.service.port.number", port["number"])
    else:
        errors.append(required(f"{path}.service.port", "port name or number is required"))
    return errors


class PolicyStrategy(Strategy):
    """NetworkPolicies: kept, and counted."""

    has_generation = True
