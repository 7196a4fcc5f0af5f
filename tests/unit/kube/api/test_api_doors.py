"""Which request leads through the API server, and where to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.kube.api.doors import find_door
from k8semu.kube.api.locate import Location, locate_kubelet, locate_node, locate_pod, locate_service, split_id
from k8semu.kube.api.mirror import Mirror
from k8semu.kube.api.status import ApiError
from k8semu.sim.clock import Clock
from k8semu.sim.streams import Streams

BASE = "/api/v1/namespaces/default"


def told(kind: str, name: str, api: str = "v1", **parts: Any) -> dict[str, Any]:
    namespace = {} if kind == "Node" else {"namespace": "default"}
    meta = {"name": name, **namespace, "uid": name, "resourceVersion": "7", **parts.pop("meta", {})}
    return {"type": "ADDED", "object": {"apiVersion": api, "kind": kind, "metadata": meta, **parts}}


def pod(name: str, ip: str, port: int | None = 80) -> dict[str, Any]:
    ports = [{"containerPort": port}] if port else []
    spec = {"nodeName": "host1", "containers": [{"name": "side"}, {"name": "c", "ports": ports}]}
    return told("Pod", name, spec=spec, status={"podIP": ip, "podIPs": [{"ip": ip}]})


def endpoint(name: str, ip: str, ready: bool | None = True) -> dict[str, Any]:
    target = {"kind": "Pod", "namespace": "default", "name": name}
    return {"addresses": [ip], "conditions": {"ready": ready}, "targetRef": target}


@pytest.fixture
def registry() -> Mirror:
    mirror = Mirror(Clock(), Streams(1))
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "tls", "port": 443, "targetPort": 8443}]
    slice_ports = [{"name": "http", "port": 8080}, {"name": "tls", "port": 8443}]
    addresses = [{"type": "Hostname", "address": "host1"}, {"type": "InternalIP", "address": "10.100.0.2"}]
    for message in (
        pod("a", "172.17.0.2"), pod("b", "172.17.0.3"), pod("dead", "172.17.0.4"), pod("bare", "172.17.0.5", None),
        pod("lo", "127.0.0.1"), pod("young", ""),
        told("Service", "web", spec={"ports": ports}), told("Service", "empty", spec={"ports": [{"port": 80}]}),
        told("EndpointSlice", "web-1", "discovery.k8s.io/v1", ports=slice_ports,
             meta={"labels": {"kubernetes.io/service-name": "web"}},
             endpoints=[endpoint("a", "172.17.0.2"), endpoint("b", "172.17.0.3", None),
                        endpoint("dead", "172.17.0.4", False), endpoint("gone", "172.17.0.9"),
                        {"addresses": ["192.0.2.1"]}]),
        told("Node", "host1", status={"addresses": addresses}), told("Node", "new", status={}),
    ):  # fmt: skip
        mirror.take(message)
    return mirror


def refused(*args: Any) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        args[0](*args[1:])
    return caught.value.code, caught.value.message


def test_a_service_leads_to_any_ready_pod_at_its_target_port_and_to_nothing_else(registry: Mirror) -> None:
    draw = Streams(1)["service-proxy"]
    found = {locate_service(registry, "default", "web:80", draw) for _ in range(100)}
    assert found == {Location("172.17.0.2", 8080), Location("172.17.0.3", 8080)}
    by_name = {locate_service(registry, "default", "https:web:tls", draw) for _ in range(100)}
    assert by_name == {Location("172.17.0.2", 8443, True), Location("172.17.0.3", 8443, True)}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("web:81", (503, 'no service port 81 found for service "web"')),
        ("web", (503, 'no endpoints available for service "web"')),      # its ports have names, and none was said
        ("web:nope", (503, 'no endpoints available for service "web:nope"')),
        ("empty", (503, 'no endpoints available for service "empty"')),
        ("nix", (404, 'services "nix" not found')),
        ("ftp:web:80", (400, 'invalid service request "ftp:web:80"')),
        (":80", (400, 'invalid service request ":80"')),
    ],
)
def test_a_service_that_leads_nowhere_says_why(registry: Mirror, asked: str, said: tuple[int, str]) -> None:
    assert refused(locate_service, registry, "default", asked, Streams(1)["service-proxy"]) == said


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("a", Location("172.17.0.2", 80)), ("a:8080", Location("172.17.0.2", 8080)),
        ("https:a:8443", Location("172.17.0.2", 8443, True)), ("bare", Location("172.17.0.5", 80)),
    ],
)  # fmt: skip
def test_a_pod_leads_to_its_own_address(registry: Mirror, asked: str, location: Location) -> None:
    assert locate_pod(registry, "default", asked) == location


@pytest.mark.parametrize("asked", ["lo", "young"])
def test_the_api_server_is_never_led_to_itself(registry: Mirror, asked: str) -> None:
    assert refused(locate_pod, registry, "default", asked) == (400, "address not allowed")


def test_a_node_leads_to_its_kubelet_or_another_port(registry: Mirror) -> None:
    assert locate_node(registry, "host1") == Location("10.100.0.2", 10250)
    assert locate_node(registry, "host1:9100") == Location("10.100.0.2", 9100)
    assert refused(locate_node, registry, "host1:x") == (400, 'invalid port "x"')
    assert refused(locate_node, registry, "new")[0] == 500
    assert locate_kubelet(registry, registry.get("pods", "default", "a")) == Location("10.100.0.2", 10250)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (f"{BASE}/services/web/proxy", ("services", "default", "web", "proxy", "")),
        (f"{BASE}/services/https:web:443/proxy/", ("services", "default", "https:web:443", "proxy", "/")),
        (f"{BASE}/services/https%3Aweb%3A443/proxy/a/b", ("services", "default", "https:web:443", "proxy", "/a/b")),
        (f"{BASE}/pods/a/proxy/a%2Fb//c", ("pods", "default", "a", "proxy", "/a%2Fb//c")),
        ("/api/v1/nodes/host1/proxy/pods", ("nodes", "", "host1", "proxy", "/pods")),
        (f"{BASE}/pods/a/exec?command=id", ("pods", "default", "a", "exec", "")),
        (f"{BASE}/pods/a/portforward", ("pods", "default", "a", "portforward", "")),
    ],
)
def test_these_paths_lead_through_the_api_server(path: str, found: tuple[str, ...]) -> None:
    door = find_door(path)
    assert door is not None
    assert (door.plural, door.namespace, door.name, door.kind, door.rest) == found


@pytest.mark.parametrize(
    "path",
    [
        f"{BASE}/services/web", f"{BASE}/services/web/status", f"{BASE}/services/web/exec", f"{BASE}/pods/a/exec/x",
        f"{BASE}/pods//proxy/", f"{BASE}/nodes/host1/proxy", "/api/v1/services/web/proxy", "/apis/apps/v1/x/y/proxy",
        "/", "", "/api/v1",
    ],
)  # fmt: skip
def test_other_paths_do_not_lead_through_the_api_server(path: str) -> None:
    assert find_door(path) is None


WORDS = st.sampled_from(["api", "v1", "pods", "services", "nodes", "namespaces", "proxy", "exec", "%", ""])


@given(st.text(max_size=40) | st.lists(WORDS).map("/".join))
def test_any_path_is_read_without_a_crash(path: str) -> None:
    find_door(path)
    split_id(path)


def test_a_mirror_takes_no_writes_and_forgets_what_is_gone(registry: Mirror) -> None:
    assert refused(registry.delete, "pods", "default", "a")[0] == 405
    gone = pod("a", "172.17.0.2")
    registry.take({**gone, "type": "DELETED"})
    assert refused(registry.get, "pods", "default", "a") == (404, 'pods "a" not found')
