"""The cloud of a scenario: when there is one, what is filled in, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.errors import ScenarioError
from k8semu.scenario.load import Loaded, parse
from k8semu.scenario.run import Run

HEAD = "apiVersion: k8semu/v1\nkind: Scenario\nmetadata: {name: t}\nspec:\n"
HOSTS = "  hosts: [{name: user, address: 203.0.113.10/24}]\n"


def loaded(spec: str, *services: str) -> Loaded:
    return parse(HEAD + spec + "".join(f"---\n{service}" for service in services), "t.yaml", "t")


def service(name: str = "web", more: str = "", ports: str = "[{port: 80}]", meta: str = "") -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}{meta}}}\n"
        f"spec: {{type: LoadBalancer, selector: {{app: web}}, ports: {ports}{more}}}\n"
    )


def machine(spec: str, *services: str) -> tuple[str, str, str] | None:
    balancer = loaded(spec, *services).scenario.spec.load_balancer
    return (balancer.name, balancer.address, balancer.inside) if balancer is not None else None


def test_a_service_of_type_load_balancer_brings_a_cloud_with_it() -> None:
    assert machine(HOSTS, service()) == ("slb", "203.0.113.2/24", "10.100.0.254/24")
    assert machine("  {}\n", service()) == ("slb", "203.0.113.2/24", "10.100.0.254/24")
    assert machine(HOSTS) is None
    assert machine(HOSTS, service(more=", loadBalancerClass: example.com/x")) is None
    given = service().rstrip() + "\nstatus: {loadBalancer: {ingress: [{ip: 198.51.100.1}]}}\n"
    assert machine(HOSTS, given) is None
    assert machine("  loadBalancer: {name: cloud}\n") == ("cloud", "203.0.113.2/24", "10.100.0.254/24")


def test_its_machine_takes_addresses_that_are_free() -> None:
    hosts = "  hosts: [{name: a, address: 203.0.113.2/24}, {name: b, address: 10.100.0.254/24}]\n"
    assert machine(hosts, service()) == ("slb", "203.0.113.3/24", "10.100.0.253/24")
    pool = "  loadBalancer: {pool: 198.51.100.16/28}\n"
    assert machine(pool) == ("slb", "198.51.100.2/24", "10.100.0.254/24")
    one_network = "  loadBalancer: {pool: 10.100.0.100-10.100.0.110}\n"
    assert machine(one_network) == ("slb", "10.100.0.4/24", "")


@pytest.mark.parametrize(("balancer", "where", "what"), [
    ("pool: x", "spec.loadBalancer.pool", "'x' is no range of addresses"),
    ("pool: 203.0.113.9-203.0.113.11", "spec.loadBalancer.pool", "203.0.113.10 is the address of user"),
    ("pool: 203.0.113.0/30", "spec.loadBalancer.pool", "203.0.113.1 is the address of the router"),
    ("pool: [203.0.113.100, 8.8.8.8]", "spec.loadBalancer.pool", "8.8.8.8 is not in the load balancer's network"),
    ("address: 203.0.113.7", "spec.loadBalancer.address", "it has no network"),
    ("address: 203.0.113.100/24", "spec.loadBalancer.pool", "203.0.113.100 is the address of slb"),
    ("inside: 10.9.0.1/24", "spec.loadBalancer.inside", "is no free address of 10.100.0.0/24"),
    ("inside: 10.100.0.2/24", "spec.loadBalancer.inside", "is no free address of 10.100.0.0/24"),
    ("name: user", "spec.hosts[1].name", "'user' is there already"),
    ("polcy: roundRobin", "spec.loadBalancer.polcy", "unknown key 'polcy'"),
    ("policy: random", "spec.loadBalancer.policy", "'random' is not known"),
    ("weights: {host9: 2}", "spec.loadBalancer.weights", "no node 'host9'"),
    ("healthCheck: {interval: soon}", "spec.loadBalancer.healthCheck.interval", "a text where a number belongs"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_with_its_place(balancer: str, where: str, what: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        loaded(HOSTS + f"  loadBalancer: {{{balancer}}}\n", service())
    assert caught.value.path == where
    assert what in str(caught.value)
    assert caught.value.file == "t.yaml"
    assert caught.value.line


def test_durations_have_units() -> None:
    spec = "  loadBalancer: {connectTimeout: 250ms, healthCheck: {interval: 2m, timeout: 1s}}\n"
    balancer = loaded(spec).scenario.spec.load_balancer
    assert balancer is not None
    check = balancer.health_check
    assert (balancer.connect_timeout, check.interval, check.timeout) == (0.25, 120.0, 1.0)


def test_an_annotation_is_read_before_anything_is_built() -> None:
    meta = """, annotations: {k8semu/load-balancer: '{"policy": "fair"}'}"""
    with pytest.raises(ScenarioError) as caught:
        loaded(HOSTS, service(meta=meta))
    assert "metadata.annotations.k8semu/load-balancer" in str(caught.value.path)
    assert "Invalid enum value 'fair'" in str(caught.value)


def test_direct_server_return_needs_all_nodes_in_one_network() -> None:
    nodes = "  nodes: [{name: a, address: 10.1.0.2/24}, {name: b, address: 10.2.0.2/24}]\n"
    with pytest.raises(ScenarioError, match=r"dsr needs all nodes in one network, and they are in 10.1.0.0/24 and"):
        loaded(nodes + "  loadBalancer: {forwarding: dsr}\n", service())
    meta = """, annotations: {k8semu/load-balancer: '{"forwarding": "dsr"}'}"""
    with pytest.raises(ScenarioError, match="dsr needs all nodes in one network"):
        loaded(nodes, service(meta=meta))
    assert machine(nodes, service()) == ("slb", "203.0.113.2/24", "10.1.0.254/24")


def build_error(*services: str) -> ScenarioError:
    this = Run(loaded(HOSTS, *services))
    try:
        with pytest.raises(ScenarioError) as caught:
            this.build()
    finally:
        this.close()
    return caught.value


@pytest.mark.parametrize(("ports", "said"), [
    ("[{port: 80, nodePort: 80}]", "provided port is not in the valid range. The range of valid ports is 30000-32767"),
    ("[{port: 80, nodePort: 32768}]", "provided port is not in the valid range"),
])  # fmt: skip
def test_a_node_port_outside_the_range_is_refused_as_the_api_server_does(ports: str, said: str) -> None:
    error = build_error(service(ports=ports))
    assert said in str(error)
    assert error.path == "documents[1].spec.ports[0].nodePort"
    assert error.line == 10


def test_a_node_port_that_is_taken_is_refused_as_the_api_server_does() -> None:
    one, other = (service(name, ports="[{port: 80, nodePort: 30080}]") for name in ("one", "other"))
    error = build_error(one, other)
    assert "provided port is already allocated" in str(error)
    assert error.path == "documents[2].spec.ports[0].nodePort"


def test_without_a_free_address_a_service_stays_pending_and_says_why() -> None:
    this = Run(loaded(HOSTS + "  loadBalancer: {pool: ''}\n", service()))
    try:
        this.build()
        found: Any = this.built.master.registry.get("services", "default", "web")["status"]
        why = this.built.master.last_warning("default", "web")
    finally:
        this.close()
    assert found == {"loadBalancer": {}}
    assert why.endswith("failed to ensure load balancer: no address is left in the pool (it is empty)")
