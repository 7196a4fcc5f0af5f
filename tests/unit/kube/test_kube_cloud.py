"""What a Service asks of the cloud: addresses, listeners, backends, checks."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.apps.balancer.model import Backend, Check, Listener, LoadBalancer
from k8semu.errors import InputError
from k8semu.kube.cloud import ANNOTATION, CloudError, CloudSpec, HealthCheck, Options, Pool, options_of, plan

CLOUD = CloudSpec(pool=("203.0.113.100",), machine="slb", address="203.0.113.2/24", inside="10.100.0.254/24")


def service(**spec: Any) -> dict[str, Any]:
    annotations = spec.pop("annotations", {})
    ports = [{"port": 80, "protocol": "TCP", "nodePort": 30080}]
    return {"metadata": {"namespace": "default", "name": "web", "annotations": annotations},
            "spec": {"type": "LoadBalancer", "ports": ports, **spec}}  # fmt: skip


def node(name: str, address: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": address}]}}


NODES = [node("host1", "10.100.0.2"), node("host2", "10.100.0.3")]


@pytest.mark.parametrize(("parts", "count"), [
    (["203.0.113.100-203.0.113.110"], 11), (["203.0.113.96/28"], 14), (["203.0.113.100", "203.0.113.100"], 1),
    (["203.0.113.1 - 203.0.113.2", "198.51.100.7"], 3), ([], 0),
])  # fmt: skip
def test_a_pool_is_addresses_ranges_and_networks(parts: list[str], count: int) -> None:
    pool = Pool(parts)
    for number in range(count):
        pool.take(f"default/s{number}")
    with pytest.raises(CloudError, match="no address is left in the pool"):
        pool.take("default/more")


@pytest.mark.parametrize(("part", "why"), [
    ("", "Address cannot be empty"), ("x", "Expected 4 octets"), ("1.2.3.4-", "Address cannot be empty"),
    ("1.2.3.9-1.2.3.4", "1.2.3.4 comes before 1.2.3.9"), ("10.0.0.0/8", "more than 65536 addresses"),
    ("1.2.3.4/24", "has host bits set"), ("fd00::1", "Expected 4 octets"), ("0.0.0.0-9.9.9.9", "more than 65536"),
])  # fmt: skip
def test_what_is_no_range_is_refused(part: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Pool([part])


def test_an_address_is_one_services_until_it_is_given_back() -> None:
    pool = Pool(["203.0.113.100-203.0.113.102"])
    assert [pool.take("a"), pool.take("b", "203.0.113.102"), pool.take("c"), pool.take("a")] == [
        "203.0.113.100", "203.0.113.102", "203.0.113.101", "203.0.113.100",
    ]  # fmt: skip
    with pytest.raises(CloudError, match=r"203.0.113.102 is taken by Service b"):
        pool.take("d", "203.0.113.102")
    with pytest.raises(CloudError, match=r"8.8.8.8 is not in the pool of addresses \(3 addresses, 3 taken\)"):
        pool.take("d", "8.8.8.8")
    assert pool.give_back("b") == "203.0.113.102"
    assert pool.take("a", "203.0.113.102") == "203.0.113.102"
    assert pool.take("d") == "203.0.113.100"
    assert pool.give_back("nobody") == ""


def test_an_address_with_listeners_made_by_hand_is_only_for_who_asks_and_leaves_them_their_ports() -> None:
    listeners = (Listener(80, "TCP", 80),)
    told = LoadBalancer(
        name="ingress", address="203.0.113.100", listeners=listeners, backends=(), check=Check("TCP", 80)
    )
    pool = Pool(["203.0.113.100-203.0.113.101"], [told])
    assert pool.take("a", ports=[(80, "TCP")]) == "203.0.113.101"
    with pytest.raises(CloudError, match=r"port 80/TCP of 203.0.113.100 is taken by listener ingress"):
        pool.take("b", "203.0.113.100", [(443, "TCP"), (80, "TCP")])
    assert pool.take("b", "203.0.113.100", [(443, "TCP"), (80, "UDP")]) == "203.0.113.100"
    with pytest.raises(CloudError, match=r"port 80/TCP of 203.0.113.100 is taken"):
        pool.take("b", "203.0.113.100", [(80, "TCP")])
    with pytest.raises(CloudError, match=r"no address is left in the pool \(2 addresses, 2 taken\)"):
        pool.take("c")


def test_a_load_balancer_balances_over_the_node_ports_of_all_nodes() -> None:
    told = plan(service(), NODES, "203.0.113.100", CLOUD)
    assert told.listeners == (Listener(80, "TCP", 30080),)
    assert told.backends == (Backend("host1", "10.100.0.2"), Backend("host2", "10.100.0.3"))
    assert (told.name, told.address, told.policy, told.forwarding) == (
        "default/web", "203.0.113.100", "roundRobin", "proxy",
    )  # fmt: skip


def test_kube_proxy_is_asked_for_policy_local_the_services_own_port() -> None:
    tcp = CloudSpec(pool=(), machine="slb", address="", inside="", check=HealthCheck(protocol="TCP", timeout=1.0))
    local = {"externalTrafficPolicy": "Local", "healthCheckNodePort": 32000}
    assert plan(service(), NODES, "a", CLOUD).check == Check("HTTP", 10256, "/healthz")
    assert plan(service(**local), NODES, "a", CLOUD).check == Check("HTTP", 32000, "/")
    assert plan(service(**local), NODES, "a", tcp).check == Check("TCP", 30080, "/", 1.0)
    only_udp = [{"port": 53, "protocol": "UDP", "nodePort": 30053}]
    assert plan(service(ports=only_udp), NODES, "a", tcp).check == Check("HTTP", 10256, "/healthz", 1.0)


def test_an_annotation_changes_what_the_cloud_does_by_itself() -> None:
    said = '{"policy": "weightedRoundRobin", "weights": {"host1": 3}, "proxyProtocol": "v1"}'
    told = plan(service(annotations={ANNOTATION: said}), NODES, "a", CLOUD)
    assert (told.policy, told.proxy_protocol, told.backends[0].weight) == ("weightedRoundRobin", "v1", 3)
    assert options_of({}, Options(forwarding="dsr")).forwarding == "dsr"


@pytest.mark.parametrize(("said", "what"), [
    ("{", "no JSON"), ("[1]", "is no JSON object"), ('{"polcy": "rr"}', "unknown field polcy"),
    ('{"policy": "random"}', "Invalid enum value 'random'"), ('{"weights": {"host1": "x"}}', "Expected int, got str"),
])  # fmt: skip
def test_an_annotation_that_makes_no_sense_is_refused(said: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        options_of({ANNOTATION: said}, Options())
    with pytest.raises(CloudError, match=rf"annotation k8semu/load-balancer: .*{what}"):
        plan(service(annotations={ANNOTATION: said}), NODES, "a", CLOUD)


def test_a_client_with_affinity_stays_at_its_node_and_direct_return_needs_no_memory() -> None:
    assert plan(service(sessionAffinity="ClientIP"), NODES, "a", CLOUD).policy == "sourceHash"
    direct = plan(service(annotations={ANNOTATION: '{"forwarding": "dsr"}'}), NODES, "a", CLOUD)
    assert (direct.policy, direct.listeners) == ("sourceHash", (Listener(80, "TCP", 0),))


def test_what_cannot_be_balanced_is_said() -> None:
    bare = [{"port": 80, "protocol": "TCP"}]
    with pytest.raises(CloudError, match="port 80 has no node port to balance over"):
        plan(service(ports=bare), NODES, "a", CLOUD)
    with pytest.raises(CloudError, match="port 9: this cloud balances TCP and UDP, not SCTP"):
        plan(service(ports=[{"port": 9, "protocol": "SCTP", "nodePort": 30009}]), NODES, "a", CLOUD)


def test_a_range_of_everybody_is_none() -> None:
    ranges = ["203.0.113.0/24", " 10.0.0.0/8 ", "fd00::/8"]
    assert plan(service(loadBalancerSourceRanges=ranges), NODES, "a", CLOUD).source_ranges == (
        "203.0.113.0/24", "10.0.0.0/8",
    )  # fmt: skip
    assert plan(service(loadBalancerSourceRanges=[*ranges, "0.0.0.0/0"]), NODES, "a", CLOUD).source_ranges == ()
