"""What the API server refuses of Ingresses, their classes, Secrets and ConfigMaps, in its own words."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.kube.api.registry import Registry
from k8semu.kube.api.status import ApiError
from k8semu.sim.clock import NS_PER_S, Clock
from k8semu.sim.streams import Streams

JSON = dict[str, Any]
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
PATH = {"path": "/", "pathType": "Prefix", "backend": BACKEND}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> Registry:
    return Registry(clock, Streams(1))


def ingress(spec: JSON, name: str = "i", **annotations: str) -> JSON:
    said = {key.replace("_", "/"): value for key, value in annotations.items()}
    meta = {"name": name, "annotations": said}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": spec}


def with_path(**path: Any) -> JSON:
    one = {key: value for key, value in {**PATH, **path}.items() if value is not None}
    return {"rules": [{"host": "a.example", "http": {"paths": [one]}}]}


def with_host(host: str) -> JSON:
    return {"rules": [{"host": host, "http": {"paths": [PATH]}}]}


def refused(registry: Registry, plural: str, obj: JSON) -> str:
    with pytest.raises(ApiError) as caught:
        registry.create(plural, obj)
    return str(caught.value.message)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"),
        (with_path(pathType=None), "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"),
        (with_path(pathType="Regex"), "Unsupported value: \"Regex\": supported values: \"Exact\""),
        (with_path(path="foo"), "spec.rules[0].http.paths[0].path: Invalid value: \"foo\": must be an absolute path"),
        (with_path(path="/a//b"), "must not contain '//'"), (with_path(path="/a/.."), "cannot end with '/..'"),
        (with_path(path="/a%2fb", pathType="Exact"), "must not contain '%2f'"),
        ({"rules": [{"host": "a.example", "http": {"paths": []}}]}, "spec.rules[0].http.paths: Required value"),
        (with_path(backend={}),
         "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend"),
        (with_path(backend={**BACKEND, "resource": {"kind": "A", "name": "b"}}),
         "cannot set both resource and service"),
        (with_path(backend={"resource": {"kind": "A"}}), "backend.resource.name: Required value: name is required"),
        (with_path(backend={"service": {"name": "web"}}), "backend: Required value: port name or number is required"),
        (with_path(backend={"service": {"name": "web", "port": {"name": "a", "number": 1}}}),
         "cannot set both port name"),
        (with_path(backend={"service": {"name": "web", "port": {"number": 70_000}}}),
         "port.number: Invalid value: 70000"),
        (with_path(backend={"service": {"name": "Web", "port": {"number": 80}}}),
         "service.name: Invalid value: \"Web\""),
        (with_host("10.0.0.1"),
         "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address"),
        (with_host("a.*.example"), "a wildcard DNS-1123 subdomain must start with '*.'"),
        (with_host("A.example"), "spec.rules[0].host: Invalid value: \"A.example\""),
        ({"defaultBackend": {"service": {"name": "", "port": {"number": 80}}}},
         "spec.defaultBackend.service.name: Required"),
        ({**with_path(), "tls": [{"hosts": ["*"], "secretName": "s"}]}, "spec.tls[0].hosts[0]: Invalid value: \"*\""),
        ({**with_path(), "tls": [{"secretName": "S"}]}, "spec.tls[0].secretName: Invalid value: \"S\""),
        ({**with_path(), "ingressClassName": "A"}, "spec.ingressClassName: Invalid value: \"A\""),
    ],
)  # fmt: skip
def test_an_ingress_is_refused_in_the_words_of_the_api_server(registry: Registry, spec: JSON, said: str) -> None:
    assert said in refused(registry, "ingresses", ingress(spec))


@pytest.mark.parametrize("host", ["a.example", "*.example.com", "x"])
def test_hosts_are_names_or_begin_with_one_star(registry: Registry, host: str) -> None:
    assert registry.create("ingresses", ingress(with_host(host)))["status"] == {"loadBalancer": {}}


def test_an_implementation_specific_path_may_be_empty_or_an_expression(registry: Registry) -> None:
    for name, path in (("a", ""), ("b", "/shop(/|$)(.*)")):
        registry.create("ingresses", ingress(with_path(path=path, pathType="ImplementationSpecific"), name))


def test_the_old_annotation_may_not_contradict_the_class(registry: Registry) -> None:
    spec = {**with_path(), "ingressClassName": "nginx"}
    said = refused(registry, "ingresses", ingress(spec, **{"kubernetes.io_ingress.class": "other"}))
    assert "must match `ingressClassName` when both are specified" in said


def cls(name: str, default: bool = False, controller: str = "k8s.io/ingress-nginx") -> JSON:
    said = {"ingressclass.kubernetes.io/is-default-class": "true"} if default else {}
    meta = {"name": name, "annotations": said}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": meta,
        "spec": {"controller": controller},
    }


def test_an_ingress_that_names_no_class_gets_the_default_one(clock: Clock, registry: Registry) -> None:
    registry.create("ingressclasses", cls("plain"))
    assert "ingressClassName" not in registry.create("ingresses", ingress(with_path(), "before"))["spec"]
    registry.create("ingressclasses", cls("old", default=True))
    clock.run_until(5 * NS_PER_S)
    registry.create("ingressclasses", cls("new", default=True))
    assert registry.create("ingresses", ingress(with_path(), "after"))["spec"]["ingressClassName"] == "new"
    own = registry.create("ingresses", ingress({**with_path(), "ingressClassName": "plain"}, "own"))
    assert own["spec"]["ingressClassName"] == "plain"
    noted = registry.create("ingresses", ingress(with_path(), "noted", **{"kubernetes.io_ingress.class": "x"}))
    assert "ingressClassName" not in noted["spec"]


def test_a_class_names_its_controller_once_and_for_all(registry: Registry) -> None:
    assert "spec.controller: Required value" in refused(registry, "ingressclasses", cls("a", controller=""))
    assert "domain-prefixed path" in refused(registry, "ingressclasses", cls("a", controller="nginx"))
    kept = registry.create("ingressclasses", cls("a"))
    with pytest.raises(ApiError, match="field is immutable"):
        registry.update("ingressclasses", {**kept, "spec": {"controller": "x.y/z"}})


def secret(**fields: Any) -> JSON:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, **fields}


def test_what_is_said_in_plain_text_is_kept_in_base64(registry: Registry) -> None:
    kept = registry.create("secrets", secret(stringData={"auth": "foo:{PLAIN}bar"}, data={"b": "YQ=="}))
    assert kept["data"] == {"b": "YQ==", "auth": "Zm9vOntQTEFJTn1iYXI="}
    assert "stringData" not in kept
    assert kept["type"] == "Opaque"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"data": {"a": "*"}}, "illegal base64 data"),
        ({"data": {"a/b": ""}}, "data[a/b]: Invalid value: \"a/b\": a valid config key"),
        ({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}, "data[tls.key]: Required value"),
        ({"type": "kubernetes.io/basic-auth"}, "data[username]: Required value"),
        ({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30x"}},
         "<secret contents redacted>"),
    ],
)  # fmt: skip
def test_a_secret_is_refused_where_its_type_misses_something(registry: Registry, fields: JSON, said: str) -> None:
    assert said in refused(registry, "secrets", secret(**fields))


def test_what_is_immutable_stays(registry: Registry) -> None:
    kept = registry.create("secrets", secret(immutable=True, data={"a": "YQ=="}))
    with pytest.raises(ApiError, match="field is immutable when `immutable` is set"):
        registry.update("secrets", {**kept, "data": {"a": "Yg=="}})
    with pytest.raises(ApiError, match="field is immutable"):
        registry.update("secrets", {**kept, "type": "other"})


def test_a_key_of_a_config_map_stands_in_one_place(registry: Registry) -> None:
    both = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "data": {"a": "b"},
        "binaryData": {"a": ""},
    }
    assert "duplicate of key present in data" in refused(registry, "configmaps", both)
