"""The environment that a container starts with."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from k8semu.errors import ContainerConfigError
from k8semu.kube.kubelet.environment import Place, environment, quantity

JSON = dict[str, Any]
OBJECTS: dict[tuple[str, str], JSON] = {
    ("configmaps", "conf"): {"data": {"level": "debug", "game.lives": "3"}},
    ("secrets", "login"): {"data": {"password": base64.b64encode(b"s3cret").decode()}},
}
REDIS = {"metadata": {"name": "redis"}, "spec": {"clusterIP": "10.96.0.20", "ports": [{"port": 6379}]}}
PLACE = Place("172.17.0.2", "10.100.0.2", "web")


def variables(services: tuple[JSON, ...] = (), **container: Any) -> dict[str, str]:
    """All but those that the runtime sets."""
    part = {"name": "c", **container}
    pod = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1",
                     "labels": {"app": "w"}, "annotations": {"a/b": "c"}},
        "spec": {"containers": [part], "nodeName": "host1", "serviceAccountName": "default"},
    }  # fmt: skip
    found = environment(pod, part, services, lambda plural, name: OBJECTS.get((plural, name)), PLACE)
    return {name: value for name, value in found.items() if name not in ("PATH", "HOSTNAME", "HOME")}


def source(**value_from: Any) -> dict[str, str]:
    return variables(env=[{"name": "X", "valueFrom": value_from}])


def test_the_runtime_gives_a_path_a_host_name_and_a_home() -> None:
    pod = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"containers": [{"name": "c"}]}}
    found = environment(pod, {"name": "c"}, (), lambda *_: None, PLACE)
    assert list(found) == ["PATH", "HOSTNAME", "HOME"]
    assert (found["HOSTNAME"], found["HOME"]) == ("web", "/root")


def test_a_container_may_say_otherwise() -> None:
    part = {"name": "c", "env": [{"name": "HOME", "value": "/home/w"}, {"name": "PATH", "value": "/bin"}]}
    pod = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"containers": [part]}}
    found = environment(pod, part, (), lambda *_: None, PLACE)
    assert (found["HOME"], found["PATH"]) == ("/home/w", "/bin")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$(A)-$(B)", "1-$(B)"), ("$$(A)", "$(A)"), ("$A", "$A"), ("$(A", "$(A"),
        ("$(REDIS_SERVICE_HOST)", "10.96.0.20"),
        ("$(A)$(A)", "11"), ("$", "$"), ("$$", "$"), ("$(A(A)", "$(A(A)"), ("$(LATER)", "$(LATER)"),
    ],
)  # fmt: skip
def test_a_value_names_variables_that_come_before_it_and_services(text: str, value: str) -> None:
    env = [{"name": "A", "value": "1"}, {"name": "X", "value": text}, {"name": "LATER", "value": "2"}]
    assert variables((REDIS,), env=env)["X"] == value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"), ("metadata.namespace", "shop"), ("metadata.uid", "u-1"), ("spec.nodeName", "host1"),
        ("spec.serviceAccountName", "default"), ("status.podIP", "172.17.0.2"), ("status.podIPs", "172.17.0.2"),
        ("status.hostIP", "10.100.0.2"), ("metadata.labels['app']", "w"), ("metadata.annotations['a/b']", "c"),
        ("metadata.labels['none']", ""),
    ],
)
def test_a_field_of_the_pod_is_a_value(path: str, value: str) -> None:
    assert source(fieldRef={"fieldPath": path}) == {"X": value}


def test_keys_of_config_maps_and_secrets_are_values() -> None:
    assert source(configMapKeyRef={"name": "conf", "key": "level"}) == {"X": "debug"}
    assert source(secretKeyRef={"name": "login", "key": "password"}) == {"X": "s3cret"}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"configMapKeyRef": {"name": "gone", "key": "k"}}, 'configmap "gone" not found'),
        ({"secretKeyRef": {"name": "gone", "key": "k"}}, 'secret "gone" not found'),
        ({"configMapKeyRef": {"name": "conf", "key": "k"}}, "couldn't find key k in ConfigMap shop/conf"),
        ({"secretKeyRef": {"name": "login", "key": "k"}}, "couldn't find key k in Secret shop/login"),
    ],
)
def test_what_is_not_there_keeps_the_container_from_starting_unless_it_is_optional(said: JSON, why: str) -> None:
    with pytest.raises(ContainerConfigError, match=why):
        source(**said)
    [kind] = said
    assert source(**{kind: {**said[kind], "optional": True}}) == {}


def test_all_keys_are_variables_and_env_has_the_last_word() -> None:
    whole = [{"prefix": "CONF_", "configMapRef": {"name": "conf"}}, {"secretRef": {"name": "login"}}]
    env = [{"name": "password", "value": "$(CONF_level)"}]
    assert variables(envFrom=whole, env=env) == {"CONF_game.lives": "3", "CONF_level": "debug", "password": "debug"}
    assert variables(envFrom=[{"configMapRef": {"name": "gone", "optional": True}}]) == {}
    with pytest.raises(ContainerConfigError, match='secret "gone" not found'):
        variables(envFrom=[{"secretRef": {"name": "gone"}}])


def test_a_service_yields_to_a_variable_of_its_name() -> None:
    found = variables((REDIS,), env=[{"name": "REDIS_PORT", "value": "mine"}])
    assert (found["REDIS_PORT"], found["REDIS_SERVICE_PORT"]) == ("mine", "6379")


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [("limits.cpu", "0", "1"), ("limits.cpu", "1m", "250"), ("limits.memory", "1Mi", "64"),
     ("limits.memory", "", "67108864"), ("requests.memory", "1M", "68"), ("requests.cpu", "1", "0")],
)  # fmt: skip
def test_a_resource_is_a_number_of_its_divisor_rounded_up(resource: str, divisor: str, value: str) -> None:
    said = {"resource": resource, "divisor": divisor}
    limits = {"memory": "64Mi"} | ({"cpu": "250m"} if resource == "limits.cpu" else {})
    env = [{"name": "X", "valueFrom": {"resourceFieldRef": said}}]
    assert variables(env=env, resources={"limits": limits}) == {"X": value}


def test_a_limit_that_only_the_node_could_say_is_an_error() -> None:
    with pytest.raises(ContainerConfigError, match=r"limits\.cpu of container c would be what its node has"):
        source(resourceFieldRef={"resource": "limits.cpu"})


QUANTITIES = [("1", 1), ("0.5", 0.5), ("500m", 0.5), ("1Ki", 1024), ("2k", 2000), ("1e3", 1000), ("1E", 10**18),
              ("1Ei", 2**60), ("100n", 1e-7)]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), QUANTITIES)
def test_a_quantity_has_a_suffix(text: str, value: float) -> None:
    assert float(quantity(text)) == value
    with pytest.raises(ContainerConfigError, match="no quantity"):
        quantity(f"{text}x")
