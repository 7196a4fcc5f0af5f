"""Secrets and ConfigMaps: keys, types, and what is no longer to be changed.

Kubernetes: pkg/apis/core/validation/validation.go ValidateSecret(), ValidateConfigMap(); pkg/registry/core/secret
"""

from __future__ import annotations

import base64
import binascii
import json
import re

from k8semu.kube.api.field import Errors, forbidden, invalid, required, too_long
from k8semu.kube.api.strategies.base import JSON, Strategy

LARGEST = 1 << 20
"""Bytes of all values together."""
KEY_SAID = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
    "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
NEEDED = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"), "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",), "kubernetes.io/dockercfg": (".dockercfg",),
}  # fmt: skip
"""Keys that a Secret of a type has to have."""
BASIC = "kubernetes.io/basic-auth"
_is_key = re.compile(r"[-._a-zA-Z0-9]+").fullmatch


def _keys(field: str, data: JSON) -> Errors:
    errors: Errors = []
    for key in data:
        path = f"{field}[{key}]"
        if len(key) > 253:
            errors.append(invalid(path, key, "must be no more than 253 characters"))
        if not _is_key(key):
            errors.append(invalid(path, key, KEY_SAID))
        elif key in (".", "..") or key.startswith(".."):
            errors.append(invalid(path, key, "must not be '.'" if key == "." else "must not start with '..'"))
    return errors


def _immutable(obj: JSON, old: JSON, keys: tuple[str, ...]) -> Errors:
    if not old.get("immutable"):
        return []
    said = "field is immutable when `immutable` is set"
    errors = [] if obj.get("immutable") else [forbidden("immutable", said)]
    return errors + [forbidden(key, said) for key in keys if (obj.get(key) or {}) != (old.get(key) or {})]


class SecretStrategy(Strategy):
    """`data` in base64; what `stringData` says goes into it."""

    def default(self, obj: JSON) -> JSON:
        plain = {key: value for key, value in obj.items() if key != "stringData"}
        said = {key: base64.b64encode(text.encode()).decode() for key, text in (obj.get("stringData") or {}).items()}
        if said:
            plain["data"] = {**(obj.get("data") or {}), **said}
        return {**plain, "type": obj.get("type") or "Opaque"}

    def wrong_shape(self, obj: JSON) -> str:
        return super().wrong_shape(obj) or _no_base64(obj.get("data") or {})

    def validate(self, obj: JSON) -> Errors:
        data, kind = obj.get("data") or {}, obj["type"]
        errors = _keys("data", data)
        if sum(len(base64.b64decode(value)) for value in data.values()) > LARGEST:
            errors.append(too_long("data", LARGEST))
        errors += [required(f"data[{key}]") for key in NEEDED.get(kind, ()) if key not in data]
        if kind == BASIC and not {"username", "password"} & data.keys():
            errors += [required("data[username]"), required("data[password]")]
        if kind == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" in data:
            try:
                json.loads(base64.b64decode(data[".dockerconfigjson"]))
            except (ValueError, RecursionError) as error:
                errors.append(invalid("data[.dockerconfigjson]", "<secret contents redacted>", str(error)))
        return errors

    def validate_update(self, obj: JSON, old: JSON) -> Errors:
        same = [] if obj["type"] == old["type"] else [invalid("type", obj["type"], "field is immutable")]
        return same + _immutable(obj, old, ("data",)) + self.validate(obj)


def _no_base64(data: JSON) -> str:
    for key, value in data.items():
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return f"Secret.data[{key}]: illegal base64 data"
    return ""


class ConfigMapStrategy(Strategy):
    def validate(self, obj: JSON) -> Errors:
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        errors = _keys("data", data) + _keys("binaryData", binary)
        errors += [
            invalid(f"binaryData[{key}]", key, "duplicate of key present in data") for key in binary if key in data
        ]
        if sum(len(value.encode()) for value in data.values()) + sum(map(len, binary.values())) > LARGEST:
            errors.append(too_long("", LARGEST))
        return errors

    def validate_update(self, obj: JSON, old: JSON) -> Errors:
        return _immutable(obj, old, ("data", "binaryData")) + self.validate(obj)
