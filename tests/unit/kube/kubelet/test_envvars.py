"""What the kubelet tells containers of Services. The first example is that of the Kubernetes documentation."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.kube.kubelet.envvars import from_services, variable_name

JSON = dict[str, Any]


def service(name: str, address: str, *ports: JSON) -> JSON:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"clusterIP": address, "ports": list(ports)}}


def test_a_service_is_told_as_the_documentation_says() -> None:
    assert from_services([service("redis-primary", "10.0.0.11", {"port": 6379, "protocol": "TCP"})]) == {
        "REDIS_PRIMARY_SERVICE_HOST": "10.0.0.11",
        "REDIS_PRIMARY_SERVICE_PORT": "6379",
        "REDIS_PRIMARY_PORT": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO": "tcp",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT": "6379",
        "REDIS_PRIMARY_PORT_6379_TCP_ADDR": "10.0.0.11",
    }


def test_every_named_port_has_a_variable_and_the_first_stands_for_the_service() -> None:
    dns = service("kube-dns", "10.96.0.10", {"name": "dns", "port": 53, "protocol": "UDP"},
                  {"name": "dns-tcp", "port": 53, "protocol": "TCP"})  # fmt: skip
    found = from_services([dns])
    assert found["KUBE_DNS_SERVICE_PORT"] == found["KUBE_DNS_SERVICE_PORT_DNS"] == "53"
    assert found["KUBE_DNS_SERVICE_PORT_DNS_TCP"] == "53"
    assert found["KUBE_DNS_PORT"] == found["KUBE_DNS_PORT_53_UDP"] == "udp://10.96.0.10:53"
    assert found["KUBE_DNS_PORT_53_TCP"] == "tcp://10.96.0.10:53"


@pytest.mark.parametrize("spec", [{"clusterIP": "None", "ports": [{"port": 80}]}, {"type": "ExternalName"}])
def test_a_service_without_a_cluster_ip_is_not_told(spec: JSON) -> None:
    assert from_services([{"metadata": {"name": "db"}, "spec": spec}]) == {}


LABEL = st.from_regex(r"[a-z]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
PORTS = st.lists(
    st.tuples(st.integers(1, 65535), st.sampled_from(["TCP", "UDP", "SCTP"])), min_size=1, max_size=4, unique=True
)


@given(LABEL, PORTS)
def test_a_shell_can_name_every_variable_and_each_port_is_told_once(name: str, ports: list[tuple[int, str]]) -> None:
    said = [{"name": f"p{i}", "port": port, "protocol": protocol} for i, (port, protocol) in enumerate(ports)]
    found = from_services([service(name, "10.96.0.20", *said)])
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", variable) for variable in found)
    assert len(found) == 3 + 5 * len(ports)
    for port, protocol in ports:
        link = found[f"{variable_name(name)}_PORT_{port}_{protocol}"]
        assert link == f"{protocol.lower()}://10.96.0.20:{port}"


@given(LABEL, LABEL)
def test_two_services_never_share_a_name(one: str, other: str) -> None:
    if one != other:
        assert variable_name(one) != variable_name(other)
        assert variable_name(one).lower().replace("_", "-") == one
