"""What is refused of a container's environment, and of a Pod's host aliases.

Kubernetes: pkg/apis/core/validation/validation.go ValidateEnv(), validateEnvVarValueFrom(), ValidateEnvFrom(),
            pkg/apis/core/pods/helpers.go ConvertDownwardAPIFieldLabel()
"""

from __future__ import annotations

import re
from typing import Any

from k8semu.kube.api import names
from k8semu.kube.api.field import Errors, invalid, not_supported, required
from k8semu.kube.api.shapes import Shape, wrong_shape
from k8semu.kube.api.shapes.environment import EnvFrom, EnvSource, HostAlias
from k8semu.kube.api.strategies.base import JSON

FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
RESOURCES = tuple(
    f"{sort}.{what}" for sort in ("limits", "requests") for what in ("cpu", "ephemeral-storage", "memory")
)  # fmt: skip
SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")
WHOLE = ("configMapRef", "secretRef")
NAME_SAID = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_is_name = re.compile(r"[ -<>-~]+").fullmatch
_is_subscript = re.compile(r"metadata\.(labels|annotations)\['[^']+'\]").fullmatch
_is_key = re.compile(r"[-._a-zA-Z0-9]{1,253}").fullmatch
KEY_SAID = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
    "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


def validate_env(path: str, container: JSON) -> Errors:
    """`path`: the container's."""
    errors: Errors = []
    for i, variable in enumerate(container.get("env") or []):
        here, name = f"{path}.env[{i}]", variable.get("name") or ""
        if not name:
            errors.append(required(f"{here}.name"))
        elif not _is_name(name):
            errors.append(invalid(f"{here}.name", name, NAME_SAID))
        if variable.get("valueFrom") is not None:
            here = f"{here}.valueFrom"
            errors += _typed(here, EnvSource, variable["valueFrom"]) or _value_from(here, variable)
    for i, source in enumerate(container.get("envFrom") or []):
        here = f"{path}.envFrom[{i}]"
        errors += _typed(here, EnvFrom, source) or _env_from(here, source)
    return errors


def validate_aliases(path: str, aliases: list[JSON]) -> Errors:
    """Of a Pod's `hostAliases`. Kubernetes: ValidateHostAliases()"""
    errors: Errors = []
    for i, alias in enumerate(aliases):
        here = f"{path}[{i}]"
        wrong = _typed(here, HostAlias, alias)
        errors += wrong or names.ip_address(f"{here}.ip", alias.get("ip") or "")
        for name in () if wrong else alias.get("hostnames") or ():
            errors += [invalid(f"{here}.hostnames", name, said) for said in names.dns_subdomain(name)]
    return errors


def _typed(path: str, shape: type[Shape], source: Any) -> Errors:
    said = wrong_shape(shape, shape.__name__, source)
    return [invalid(path, "", said)] if said else []


def _value_from(path: str, variable: JSON) -> Errors:
    source = variable["valueFrom"]
    chosen = [kind for kind in SOURCES if source.get(kind) is not None]
    if not chosen:
        return [invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or "
                                  "`secretKeyRef`")]  # fmt: skip
    if variable.get("value"):
        return [invalid(path, "", "may not be specified when `value` is not empty")]
    if len(chosen) > 1:
        return [invalid(path, "", "may not have more than one field specified at a time")]
    kind, here = chosen[0], f"{path}.{chosen[0]}"
    if kind == "fieldRef":
        return _field(f"{here}.fieldPath", source[kind].get("fieldPath") or "")
    if kind == "resourceFieldRef":
        resource = source[kind].get("resource") or ""
        if not resource:
            return [required(f"{here}.resource")]
        return [] if resource in RESOURCES else [not_supported(f"{here}.resource", resource, RESOURCES)]
    return _key(here, source[kind])


def _field(path: str, said: str) -> Errors:
    if not said:
        return [required(path)]
    if said in FIELDS or _is_subscript(said):
        return []
    if re.fullmatch(r"(metadata|spec|status)\..*", said):
        return [not_supported(path, said, FIELDS)]
    return [invalid(path, said, f"error converting fieldPath: field label not supported: {said}")]


def _key(path: str, chosen: dict[str, Any]) -> Errors:
    errors = [] if chosen.get("name") else [required(f"{path}.name")]
    key = chosen.get("key") or ""
    if not key:
        errors.append(required(f"{path}.key"))
    elif not _is_key(key):
        errors.append(invalid(f"{path}.key", key, KEY_SAID))
    return errors


def _env_from(path: str, source: JSON) -> Errors:
    errors: Errors = []
    prefix, chosen = source.get("prefix") or "", [kind for kind in WHOLE if source.get(kind) is not None]
    if prefix and not _is_name(prefix):
        errors.append(invalid(f"{path}.prefix", prefix, NAME_SAID))
    if not chosen:
        errors.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
    elif len(chosen) > 1:
        errors.append(invalid(path, "", "may not have more than one field specified at a time"))
    elif not source[chosen[0]].get("name"):
        errors.append(required(f"{path}.{chosen[0]}.name"))
    return errors
