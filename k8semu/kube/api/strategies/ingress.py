"""Ingresses and their classes: what is refused, and which class an Ingress gets that names none.

Kubernetes: pkg/apis/networking/validation/validation.go ValidateIngressCreate(), ValidateIngressClass();
            plugin/pkg/admission/network/defaultingressclass/admission.go
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from k8semu.kube.api import names
from k8semu.kube.api.field import Errors, invalid, not_supported, required, too_long
from k8semu.kube.api.strategies.base import JSON, Strategy, Transaction

PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
BAD_PARTS = ("//", "/./", "/../", "%2f", "%2F")
BAD_ENDS = ("/..", "/.")
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"
LONGEST_CONTROLLER = 250
_is_wildcard = re.compile(r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*").fullmatch
WILDCARD_SAID = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', "
    r"regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


class IngressStrategy(Strategy):
    """An Ingress gets the default class, if it names none: `classes` gives those that there are."""

    has_status = True
    has_generation = True

    def __init__(self, classes: Callable[[], Iterable[JSON]]) -> None:
        self.classes = classes

    def initial_status(self) -> JSON:
        return {"loadBalancer": {}}

    def prepare_create(self, obj: JSON) -> JSON:
        return {**obj, "status": self.initial_status()}

    def allocate(self, obj: JSON, old: JSON | None, transaction: Transaction) -> JSON:
        """The default class, for a new Ingress that names none."""
        spec = obj.get("spec") or {}
        named = (obj["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION) is not None
        if old is not None or named or spec.get("ingressClassName") is not None:
            return obj
        default = _default(self.classes())
        return obj if default is None else {**obj, "spec": {**spec, "ingressClassName": default}}

    def validate(self, obj: JSON) -> Errors:
        spec = obj.get("spec") or {}
        errors: Errors = []
        if not spec.get("rules") and not spec.get("defaultBackend"):
            errors.append(invalid("spec", spec.get("rules"), "either `defaultBackend` or `rules` must be specified"))
        if spec.get("defaultBackend"):
            errors += _backend("spec.defaultBackend", spec["defaultBackend"])
        for i, rule in enumerate(spec.get("rules") or []):
            errors += _rule(f"spec.rules[{i}]", rule)
        for i, tls in enumerate(spec.get("tls") or []):
            errors += _tls(f"spec.tls[{i}]", tls)
        name = spec.get("ingressClassName")
        if name is not None:
            errors += [invalid("spec.ingressClassName", name, said) for said in names.dns_subdomain(name)]
        said = (obj["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
        if said is not None and name is not None and said != name:
            what = "must match `ingressClassName` when both are specified"
            errors.append(invalid(f"annotations.{CLASS_ANNOTATION}", said, what))
        return errors

    def validate_update(self, obj: JSON, old: JSON) -> Errors:
        return [error for error in self.validate(obj) if not error.field.startswith("annotations.")]

    def validate_status(self, obj: JSON, old: JSON) -> Errors:
        errors: Errors = []
        ways = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        for i, way in enumerate(ways):
            path, name = f"status.loadBalancer.ingress[{i}]", way.get("hostname")
            if way.get("ip"):
                errors += names.ip_address(f"{path}.ip", way["ip"])
            if name:
                errors += [invalid(f"{path}.hostname", name, said) for said in names.dns_subdomain(name)]
                if names.parse_ip(name):
                    errors.append(invalid(f"{path}.hostname", name, "must be a DNS name, not an IP address"))
        return errors


def _default(classes: Iterable[JSON]) -> str | None:
    """The default class; of several the newest, then the first by name."""
    found = [one["metadata"] for one in classes
             if (one["metadata"].get("annotations") or {}).get(DEFAULT_ANNOTATION) == "true"]  # fmt: skip
    if not found:
        return None
    newest = max(meta["creationTimestamp"] for meta in found)
    return min(str(meta["name"]) for meta in found if meta["creationTimestamp"] == newest)


def _host(path: str, host: str) -> Errors:
    if "*" in host:
        return [] if _is_wildcard(host) and len(host) <= 253 else [invalid(path, host, WILDCARD_SAID)]
    return [invalid(path, host, said) for said in names.dns_subdomain(host)]


def _rule(path: str, rule: JSON) -> Errors:
    errors: Errors = []
    host = rule.get("host") or ""
    if names.parse_ip(host):
        errors.append(invalid(f"{path}.host", host, "must be a DNS name, not an IP address"))
    if host:
        errors += _host(f"{path}.host", host)
    if rule.get("http") is not None:
        paths = rule["http"].get("paths") or []
        if not paths:
            errors.append(required(f"{path}.http.paths"))
        for i, part in enumerate(paths):
            errors += _path(f"{path}.http.paths[{i}]", part)
    return errors


def _path(path: str, part: JSON) -> Errors:
    kind, value = part.get("pathType"), part.get("path") or ""
    if kind is None:
        return [required(f"{path}.pathType", "pathType must be specified")]
    errors: Errors = []
    if kind not in PATH_TYPES:
        errors.append(not_supported(f"{path}.pathType", kind, PATH_TYPES))
    elif not value.startswith("/") and (value or kind != "ImplementationSpecific"):
        errors.append(invalid(f"{path}.path", value, "must be an absolute path"))
    if kind in ("Exact", "Prefix"):
        errors += [invalid(f"{path}.path", value, f"must not contain '{bad}'") for bad in BAD_PARTS if bad in value]
        ends = [bad for bad in BAD_ENDS if value.endswith(bad)]
        errors += [invalid(f"{path}.path", value, f"cannot end with '{bad}'") for bad in ends]
    return errors + _backend(f"{path}.backend", part.get("backend") or {})


def _backend(path: str, backend: JSON) -> Errors:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        return [invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return _resource(f"{path}.resource", resource)
    if service is None:
        return [invalid(path, "", "resource or service backend is required")]
    name, port = service.get("name") or "", service.get("port") or {}
    errors: Errors = []
    if not name:
        errors.append(required(f"{path}.service.name"))
    else:
        errors += [invalid(f"{path}.service.name", name, said) for said in names.dns_1035_label(name)]
    if port.get("name") and port.get("number"):
        errors.append(invalid(path, "", "cannot set both port name & port number"))
    elif port.get("name"):
        errors += [invalid(f"{path}.service.port.name", port["name"], said) for said in names.port_name(port["name"])]
    elif port.get("number"):
        errors += names.port_number(f"{path}.service.port.number", port["number"])
    else:
        errors.append(required(path, "port name or number is required"))
    return errors


def _resource(path: str, resource: JSON) -> Errors:
    """A reference to an object of the same namespace."""
    return [required(f"{path}.{key}", f"{key} is required") for key in ("kind", "name") if not resource.get(key)]


def _tls(path: str, tls: JSON) -> Errors:
    errors: Errors = []
    for i, host in enumerate(tls.get("hosts") or []):
        errors += _host(f"{path}.hosts[{i}]", host)
    name = tls.get("secretName")
    if name:
        errors += [invalid(f"{path}.secretName", name, said) for said in names.dns_subdomain(name)]
    return errors


class IngressClassStrategy(Strategy):
    has_generation = True

    def validate(self, obj: JSON) -> Errors:
        name = (obj.get("spec") or {}).get("controller") or ""
        if not name:
            return [required("spec.controller")]
        if len(name) > LONGEST_CONTROLLER:
            return [too_long("spec.controller", LONGEST_CONTROLLER)]
        domain, slash, rest = name.partition("/")
        if not slash or not domain or not rest:
            said = "must be a domain-prefixed path (such as \"acme.io/foo\")"
            return [invalid("spec.controller", name, said)]
        return [invalid("spec.controller", domain, said) for said in names.dns_subdomain(domain)]

    def validate_update(self, obj: JSON, old: JSON) -> Errors:
        now, then = ((one.get("spec") or {}).get("controller") for one in (obj, old))
        same = [] if now == then else [invalid("spec.controller", now, "field is immutable")]
        return same + self.validate(obj)
