"""A Service's endpoints are its Pods, in slices, each with its state."""

from __future__ import annotations

from typing import Any

import pytest
from kubelab import JSON, Master, pod, service, workload


@pytest.fixture
def master() -> Master:
    return Master()


def slices(master: Master, name: str = "account") -> list[JSON]:
    return [each for each in master.registry.list("endpointslices", "default")
            if each["metadata"]["labels"].get("kubernetes.io/service-name") == name]  # fmt: skip


def endpoints(master: Master, name: str = "account") -> dict[str, JSON]:
    """By Pod."""
    return {each["targetRef"]["name"]: each for part in slices(master, name) for each in part["endpoints"]}


def state(endpoint: JSON) -> tuple[bool, bool, bool]:
    conditions = endpoint["conditions"]
    return conditions["ready"], conditions["serving"], conditions["terminating"]


def test_a_service_has_the_pods_that_it_selects(master: Master) -> None:
    master.create("services", service(ports=[{"name": "http", "port": 80, "targetPort": 8080}]))
    master.create("pods", pod("a"))
    master.create("pods", pod("b"))
    master.create("pods", pod("other", {"app": "other"}))
    (only,) = slices(master)
    assert only["addressType"] == "IPv4"
    assert only["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    assert only["metadata"]["name"].startswith("account-")
    assert only["metadata"]["labels"] == {
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": "account",
    }
    assert only["metadata"]["ownerReferences"][0]["kind"] == "Service"
    found = endpoints(master)
    assert list(found) == ["a", "b"]
    made = master.registry.get("pods", "default", "a")
    assert found["a"] == {
        "addresses": ["172.17.0.1"], "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": "host1", "zone": "a",
        "targetRef": {"kind": "Pod", "name": "a", "namespace": "default", "uid": made["metadata"]["uid"]},
    }  # fmt: skip


def test_a_selector_that_matches_nothing_gives_one_empty_slice(master: Master) -> None:
    master.create("services", service())
    (only,) = slices(master)
    assert (only["endpoints"], only["ports"]) == ([], [])
    master.create("pods", pod("a"))
    (only,) = slices(master)
    assert len(only["endpoints"]) == 1


def test_a_pod_that_is_not_ready_is_an_endpoint_that_is_not_ready(master: Master) -> None:
    master.create("services", service())
    master.slow = True
    master.create("pods", pod("a"))
    assert state(endpoints(master)["a"]) == (False, False, False)
    master.ready("a")
    assert state(endpoints(master)["a"]) == (True, True, False)
    master.ready("a", False)
    assert state(endpoints(master)["a"]) == (False, False, False)


def test_addresses_may_be_published_before_they_are_ready(master: Master) -> None:
    master.slow = True
    master.create("services", service(publishNotReadyAddresses=True))
    master.create("pods", pod("a"))
    assert state(endpoints(master)["a"]) == (True, False, False)


def test_a_pod_that_is_stopping_serves_until_it_is_gone(master: Master) -> None:
    master.create("services", service())
    master.create("pods", pod("a"))
    master.create("pods", pod("b"))
    master.lingering = True
    master.delete("pods", "a")
    assert state(endpoints(master)["a"]) == (False, True, True)
    master.stop_all()
    assert list(endpoints(master)) == ["b"]


def test_a_named_port_is_each_pods_own(master: Master) -> None:
    master.create("services", service(ports=[{"port": 80, "targetPort": "web"}]))
    master.create("pods", pod("a", ports=[{"name": "web", "containerPort": 8080}]))
    master.create("pods", pod("b", ports=[{"name": "web", "containerPort": 9090}]))
    master.create("pods", pod("c", ports=[{"name": "web", "containerPort": 8080}]))
    found = {each["ports"][0]["port"]: [e["targetRef"]["name"] for e in each["endpoints"]] for each in slices(master)}
    assert found == {8080: ["a", "c"], 9090: ["b"]}


def test_a_port_name_that_no_container_has_leaves_the_port_out(master: Master) -> None:
    master.create("services", service(ports=[{"port": 80, "targetPort": "nope"}]))
    master.create("pods", pod("a", ports=[{"name": "web", "containerPort": 8080}]))
    (only,) = slices(master)
    assert only["ports"] == []
    assert len(only["endpoints"]) == 1


def test_a_port_name_is_looked_up_by_protocol(master: Master) -> None:
    ports = [{"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"}]
    master.create("services", service(ports=ports))
    named = [{"name": "dns", "containerPort": 53}, {"name": "dns-udp", "containerPort": 5353, "protocol": "UDP"}]
    master.create("pods", pod("a", ports=named))
    assert slices(master)[0]["ports"] == []


def test_a_slice_holds_a_hundred_endpoints(master: Master) -> None:
    master.create("services", service())
    master.create("deployments", workload("Deployment", replicas=250))
    assert sorted(len(each["endpoints"]) for each in slices(master)) == [50, 100, 100]
    assert len(endpoints(master)) == 250


def test_endpoints_stay_in_their_slices_when_others_come_and_go(master: Master) -> None:
    master.create("services", service())
    master.create("deployments", workload("Deployment", replicas=150))
    before = {each["metadata"]["name"]: {e["targetRef"]["name"] for e in each["endpoints"]} for each in slices(master)}
    master.delete("pods", next(iter(next(iter(before.values())))))
    after = {each["metadata"]["name"]: {e["targetRef"]["name"] for e in each["endpoints"]} for each in slices(master)}
    assert after.keys() == before.keys()
    assert all(len(before[name] - after[name]) <= 1 for name in before)
    assert sum(len(names) for names in after.values()) == 150


def test_a_headless_service_names_its_pods_hosts(master: Master) -> None:
    master.create("services", service(clusterIP="None"))
    master.create("pods", pod("a", hostname="a-0", subdomain="account"))
    (only,) = slices(master)
    assert only["endpoints"][0]["hostname"] == "a-0"
    assert only["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


@pytest.mark.parametrize(
    ("distribution", "hints"),
    [
        ("PreferClose", {"forZones": [{"name": "a"}]}),
        ("PreferSameZone", {"forZones": [{"name": "a"}]}),
        ("PreferSameNode", {"forZones": [{"name": "a"}], "forNodes": [{"name": "host1"}]}),
    ],
)
def test_traffic_distribution_hints_at_who_should_call(master: Master, distribution: str, hints: JSON) -> None:
    master.create("services", service(trafficDistribution=distribution))
    master.create("pods", pod("a", nodeName="host1"))
    assert endpoints(master)["a"]["hints"] == hints


def test_slices_made_by_hand_are_left_alone(master: Master) -> None:
    by_hand: dict[str, Any] = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "mine", "labels": {"kubernetes.io/service-name": "account"}},
        "endpoints": [{"addresses": ["192.0.2.7"]}], "ports": [{"port": 80}],
    }  # fmt: skip
    master.create("services", service())
    made = master.create("endpointslices", by_hand)
    master.create("pods", pod("a"))
    master.delete("pods", "a")
    assert master.registry.get("endpointslices", "default", "mine") is made


def test_endpoints_written_by_hand_are_mirrored(master: Master) -> None:
    master.create("services", service(selector=None))
    subsets = [{"addresses": [{"ip": "192.0.2.7"}], "notReadyAddresses": [{"ip": "192.0.2.8"}],
                "ports": [{"port": 5432}]}]  # fmt: skip
    master.create("endpoints", {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "account"},
                                "subsets": subsets})  # fmt: skip
    (only,) = slices(master)
    assert [e["addresses"] for e in only["endpoints"]] == [["192.0.2.7"], ["192.0.2.8"]]
    assert [e["conditions"]["ready"] for e in only["endpoints"]] == [True, False]
    assert only["ports"] == [{"name": "", "protocol": "TCP", "port": 5432}]
    master.delete("endpoints", "account")
    assert not slices(master)


def test_slices_go_with_their_service(master: Master) -> None:
    master.create("services", service())
    master.create("pods", pod("a"))
    master.delete("services", "account")
    assert not slices(master)


def test_a_changed_selector_takes_other_pods(master: Master) -> None:
    master.create("services", service())
    master.create("pods", pod("a"))
    master.create("pods", pod("b", {"app": "other"}))
    master.change("services", "account", selector={"app": "other"})
    assert list(endpoints(master)) == ["b"]
    master.create("pods", pod("c", {"app": "other"}))
    assert list(endpoints(master)) == ["b", "c"]


def test_a_pod_that_is_relabelled_leaves(master: Master) -> None:
    master.create("services", service())
    made = master.create("pods", pod("a"))
    now = master.registry.get("pods", "default", "a")
    master.registry.update("pods", {**now, "metadata": {**now["metadata"], "labels": {"app": "quarantine"}}})
    master.plane.settle()
    assert not endpoints(master)
    assert made["metadata"]["uid"] == now["metadata"]["uid"]


def test_a_slice_that_somebody_deletes_comes_back(master: Master) -> None:
    master.create("services", service())
    master.create("pods", pod("a"))
    master.delete("endpointslices", slices(master)[0]["metadata"]["name"])
    assert list(endpoints(master)) == ["a"]
