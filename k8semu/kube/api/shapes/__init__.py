"""Which JSON types the fields of an object have: what is read of a request before its rules are looked at.

Only fields that are read are named; others are kept as they are. `null` is a field that is not there.

Kubernetes: staging/src/k8s.io/api/*/v1/types.go; the words of errors are encoding/json's
Differs: an error names the kind, not the inner Go type, before the field's path.
"""

# Annotations are types here, not their text (no `from __future__`): msgspec would compile each text by itself.
import re
from importlib import import_module
from typing import Any

from msgspec import Struct, ValidationError, convert

Text = str | None
Number = int | None
Flag = bool | None
Map = dict[str, str] | None
Strings = list[str] | None
NumberOrText = int | str | None


class Shape(Struct, rename="camel"):
    pass


class Owner(Shape):
    api_version: Text = None
    kind: Text = None
    name: Text = None
    uid: Text = None
    controller: Flag = None
    block_owner_deletion: Flag = None


class Meta(Shape):
    name: Text = None
    generate_name: Text = None
    namespace: Text = None
    labels: Map = None
    annotations: Map = None
    uid: Text = None
    resource_version: Text = None
    finalizers: Strings = None
    owner_references: list[Owner] | None = None
    deletion_grace_period_seconds: Number = None


class AnyShape(Shape):
    metadata: Meta | None = None


class SpecShape(AnyShape):
    spec: dict[str, Any] | None = None
    status: dict[str, Any] | None = None


class Condition(Shape):
    type: Text = None
    status: Text = None


class Expression(Shape):
    key: Text = None
    operator: Text = None
    values: Strings = None


class Target(Shape):
    kind: Text = None
    name: Text = None
    namespace: Text = None
    uid: Text = None


PLACES = {
    "pods": "pods:PodShape", "nodes": "pods:NodeShape",
    "services": "services:ServiceShape", "endpointslices": "services:EndpointSliceShape",
    "endpoints": "services:EndpointsShape",
    **dict.fromkeys(("deployments", "replicasets", "statefulsets", "daemonsets"), "workloads:WorkloadShape"),
    "ingresses": "ingresses:IngressShape", "ingressclasses": "ingresses:IngressClassShape",
    "networkpolicies": "policies:PolicyShape",
    "leases": "others:LeaseShape", "events": "others:EventShape", "configmaps": "others:DataShape",
    "secrets": "others:SecretShape",
}  # fmt: skip
"""By plural name, ``module:class`` of this package; any other kind has a SpecShape."""
_GO = {"array": "array", "object": "object", "str": "string", "int": "number", "float": "number", "bool": "bool"}


def shape_of(plural: str) -> type[AnyShape]:
    """The types of a kind's fields; imported with its first object."""
    if plural not in PLACES:
        return SpecShape
    module, _, name = PLACES[plural].partition(":")
    shape: type[AnyShape] = getattr(import_module(f"{__name__}.{module}"), name)
    return shape


def wrong_shape(shape: type[Shape], kind: str, obj: Any) -> str:
    """Which field has a wrong type, as Go's JSON decoder says it; '' when all are right."""
    try:
        convert(obj, shape)
    except ValidationError as error:
        return _said(kind, str(error))
    return ""


def _said(kind: str, text: str) -> str:
    """``Expected `int | null`, got `str` - at `$.spec.ports[0].port` `` in Go's words."""
    got = re.search(r"got `(\w+)`", text)
    wanted = re.search(r"Expected `([^`]*)`", text)
    path = re.search(r"at `\$\.?([^`]*)`", text)
    what = _GO.get(got[1], got[1]) if got else "value"
    types = wanted[1].replace(" | null", "") if wanted else "object"
    where = re.sub(r"\[[^]]*\]", "", path[1]) if path else ""
    return f"json: cannot unmarshal {what} into Go struct field {kind}.{where} of type {_GO.get(types, types)}"


def without_nulls(value: Any) -> Any:
    """`value` without the keys that are `null`; the same object where there are none."""
    if isinstance(value, (dict, list)) and not _has_null(value):
        return value
    if isinstance(value, dict):
        plain = {key: without_nulls(part) for key, part in value.items() if part is not None}
        if len(plain) == len(value) and all(part is value[key] for key, part in plain.items()):
            return value
        return plain
    if isinstance(value, list):
        parts = [without_nulls(part) for part in value]
        return value if all(a is b for a, b in zip(parts, value, strict=True)) else parts
    return value


def _has_null(value: dict[str, Any] | list[Any]) -> bool:
    """Is there a `null` anywhere in it?"""
    for part in value.values() if isinstance(value, dict) else value:
        if part is None or (isinstance(part, (dict, list)) and _has_null(part)):
            return True
    return False
