"""Label selectors and field selectors: as objects have them, and as requests write them.

    app=web,tier!=db,zone in (a,b),!canary        matchLabels and matchExpressions
    metadata.name=web,spec.nodeName!=host1

Kubernetes: staging/src/k8s.io/apimachinery/pkg/labels/selector.go, pkg/fields/selector.go,
            pkg/apis/meta/v1/helpers.go LabelSelectorAsSelector()
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from k8semu.kube.api import names
from k8semu.kube.api.field import Errors, forbidden, invalid, required
from k8semu.kube.api.status import ApiError, bad_request

JSON = dict[str, Any]
Labels = dict[str, str]
Test = Callable[[JSON], bool]
OPERATORS = ("DoesNotExist", "Exists", "In", "NotIn")


def matches(selector: JSON, labels: Labels) -> bool:
    """Whether a `LabelSelector` object selects these labels. An empty one selects all."""
    wanted = selector.get("matchLabels") or {}
    if not wanted.items() <= labels.items():
        return False
    return all(_expression(part, labels) for part in selector.get("matchExpressions") or ())


def _expression(part: JSON, labels: Labels) -> bool:
    key, operator, values = part.get("key", ""), part.get("operator"), part.get("values") or ()
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return key not in labels or labels[key] not in values
    return (key in labels) == (operator == "Exists")


def validate_selector(path: str, selector: JSON) -> Errors:
    errors = names.validate_labels(f"{path}.matchLabels", selector.get("matchLabels") or {})
    for i, part in enumerate(selector.get("matchExpressions") or []):
        here, operator, values = f"{path}.matchExpressions[{i}]", part.get("operator"), part.get("values")
        if operator not in OPERATORS:
            errors.append(invalid(f"{here}.operator", operator, "not a valid selector operator"))
        elif operator in ("In", "NotIn") and not values:
            errors.append(required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in ("Exists", "DoesNotExist") and values:
            said = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden(f"{here}.values", said))
        key = part.get("key", "")
        errors += [invalid(f"{here}.key", key, said) for said in names.qualified_name(key)]
    return errors


_TERM = re.compile(
    r"\s*(?:(?P<not>!)\s*(?P<absent>[^\s=!,()]+)"
    r"|(?P<key>[^\s=!,()]+)\s*(?:(?P<op>==|=|!=)\s*(?P<value>[^\s=!,()]*)"
    r"|\s(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)


def parse_labels(text: str) -> Test:
    """A label selector as a request writes it; ApiError 400 for what is none."""
    terms: list[JSON] = []
    at = 0
    while at < len(text):
        found = _TERM.match(text, at)
        if found is None or found.end() == at:
            raise bad_request(f"unable to parse requirement: found '{text[at:]}', expected: identifier, '!', 'in'")
        at = found.end()
        terms.append(_term(found))
    return lambda obj: all(_expression(term, obj["metadata"].get("labels") or {}) for term in terms)


def _term(found: re.Match[str]) -> JSON:
    if found["not"]:
        term: JSON = {"key": found["absent"], "operator": "DoesNotExist"}
    elif found["op"]:
        term = {"key": found["key"], "operator": "NotIn" if found["op"] == "!=" else "In", "values": [found["value"]]}
    elif found["set"]:
        values = [value.strip() for value in found["values"].split(",")]
        term = {"key": found["key"], "operator": "In" if found["set"] == "in" else "NotIn", "values": values}
    else:
        term = {"key": found["key"], "operator": "Exists"}
    values = term.get("values", ())
    said = names.qualified_name(term["key"]) or [said for value in values for said in names.label_value(value)]
    if said:
        raise bad_request(f'unable to parse requirement: "{term["key"]}": {said[0]}')
    return term


FIELDS: dict[str, tuple[str, ...]] = {
    "pods": ("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
             "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"),
    "events": ("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
               "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
               "reason", "reportingComponent", "source", "type"),
    "nodes": ("spec.unschedulable",), "secrets": ("type",), "namespaces": ("status.phase",),
    "services": ("spec.clusterIP", "spec.type"), "replicasets": ("status.replicas",),
}  # fmt: skip
"""What each kind can be selected by, beside its name and namespace."""


def parse_fields(plural: str, text: str) -> Test:
    """A field selector as a request writes it; ApiError 400 for what is none, or what the kind has not."""
    known = ("metadata.name", "metadata.namespace", *FIELDS.get(plural, ()))
    terms: list[tuple[tuple[str, ...], bool, str]] = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"([^=!]+?)(==|!=|=)(.*)", part)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        field, operator, value = found.groups()
        if field not in known:
            raise ApiError(400, "BadRequest", f'field label not supported: {field}')
        terms.append((tuple(field.split(".")), operator != "!=", value))
    return lambda obj: all((_field(obj, path) == value) == wanted for path, wanted, value in terms)


def _field(obj: JSON, path: tuple[str, ...]) -> str:
    part: Any = obj
    for key in path:
        part = part.get(key) if isinstance(part, dict) else None
    if part is None:
        return "false" if path in (("spec", "unschedulable"), ("spec", "hostNetwork")) else ""
    return ("true" if part else "false") if isinstance(part, bool) else str(part)


