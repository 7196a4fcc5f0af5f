"""What the API server refuses of a container's environment, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.kube.api.strategies.container_env import NAME_SAID, validate_aliases, validate_env

JSON = dict[str, Any]
ONE = {"name": "conf", "key": "level"}


def said(**container: Any) -> list[tuple[str, str]]:
    return [(error.field, error.body) for error in validate_env("c", container)]


@pytest.mark.parametrize("name", ["A", "a.b-c", "0", "with blank", "~"])
def test_any_printable_name_is_one(name: str) -> None:
    assert said(env=[{"name": name, "value": "1"}]) == []


@pytest.mark.parametrize(
    ("name", "what"),
    [("", "Required value"), ("A=B", f'Invalid value: "A=B": {NAME_SAID}'), ("ä", f'Invalid value: "ä": {NAME_SAID}')],
)
def test_a_name_that_is_none_is_refused(name: str, what: str) -> None:
    assert said(env=[{"name": name}]) == [("c.env[0].name", what)]


SOURCES: list[tuple[JSON, str, str]] = [
    ({"configMapKeyRef": ONE}, "", ""), ({"secretKeyRef": {**ONE, "optional": True}}, "", ""),
    ({"fieldRef": {"fieldPath": "metadata.labels['app.kubernetes.io/name']"}}, "", ""),
    ({"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}, "", ""),
    ({"fieldRef": {}}, ".fieldRef.fieldPath", "Required value"),
    ({"fieldRef": {"fieldPath": "metadata.labels"}}, ".fieldRef.fieldPath", 'Unsupported value: "metadata.labels": '),
    ({"fieldRef": {"fieldPath": "name"}}, ".fieldRef.fieldPath", "field label not supported: name"),
    ({"resourceFieldRef": {}}, ".resourceFieldRef.resource", "Required value"),
    ({"configMapKeyRef": {"key": "k"}}, ".configMapKeyRef.name", "Required value"),
    ({"secretKeyRef": {"name": "x", "key": "../k"}}, ".secretKeyRef.key", "a valid config key must consist of"),
    ({"secretKeyRef": "x"}, "", "cannot unmarshal string into Go struct field EnvSource.secretKeyRef of type object"),
    ({"secretKeyRef": ONE, "configMapKeyRef": ONE}, "", "may not have more than one field specified at a time"),
]


@pytest.mark.parametrize(("source", "path", "what"), SOURCES)
def test_a_value_comes_from_one_source_that_is_whole(source: JSON, path: str, what: str) -> None:
    found = said(env=[{"name": "A", "valueFrom": source}])
    assert [field for field, _ in found] == ([f"c.env[0].valueFrom{path}"] if what else [])
    assert all(what in message for _, message in found)


def test_a_value_and_a_source_exclude_each_other() -> None:
    both = {"name": "A", "value": "1", "valueFrom": {"secretKeyRef": ONE}}
    assert "may not be specified when `value` is not empty" in said(env=[both])[0][1]


@pytest.mark.parametrize(
    ("alias", "path", "what"),
    [
        ({}, ".ip", "must be a valid IP address"), ({"ip": "10.1.2"}, ".ip", "must be a valid IP address"),
        ({"ip": "10.1.2.3", "hostnames": ["A b"]}, ".hostnames", "a lowercase RFC 1123 subdomain"),
        ({"ip": 5}, "", "cannot unmarshal number"), ("foo", "", "cannot unmarshal string"),
    ],
)
def test_an_alias_has_an_address_and_names(alias: Any, path: str, what: str) -> None:
    [error] = validate_aliases("a", [{"ip": "10.1.2.3", "hostnames": ["foo.remote"]}, alias])
    assert error.field == f"a[1]{path}"
    assert what in error.body


@pytest.mark.parametrize(
    ("source", "path", "what"),
    [
        ({}, "", "must specify one of: `configMapRef` or `secretRef`"),
        ({"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}, "", "more than one field"),
        ({"secretRef": {}}, ".secretRef.name", "Required value"),
        ({"prefix": "A=", "secretRef": {"name": "b"}}, ".prefix", NAME_SAID),
        ({"prefix": 5}, "", "cannot unmarshal number"),
    ],
)
def test_all_keys_come_from_one_object_that_has_a_name(source: JSON, path: str, what: str) -> None:
    [(field, message)] = said(envFrom=[source])
    assert field == f"c.envFrom[0]{path}"
    assert what in message
