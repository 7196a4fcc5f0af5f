"""Endpoints say what a Service's slices say, in the form of before."""

from __future__ import annotations

import pytest
from kubelab import JSON, Master, pod, service

from k8semu.kube.controllers.endpoints import EndpointsController

PORTS = [{"name": "http", "port": 80, "targetPort": 8080}]


@pytest.fixture
def master() -> Master:
    made = Master()
    made.plane.add(EndpointsController(made.registry.caches, made.clock))
    return made


def subsets(master: Master) -> list[tuple[list[str], list[str], list[int]]]:
    """(ready, others, ports) of each subset."""
    found: JSON = master.registry.get("endpoints", "default", "account")
    return [
        ([each["ip"] for each in part.get("addresses", ())], [each["ip"] for each in part.get("notReadyAddresses", ())],
         [each["port"] for each in part.get("ports", ())])
        for part in found["subsets"]
    ]  # fmt: skip


def test_a_service_has_one_object_with_its_ready_pods_and_the_others(master: Master) -> None:
    master.create("services", service(ports=PORTS))
    assert subsets(master) == []
    master.create("pods", pod("a"))
    master.slow = True
    master.create("pods", pod("b"))
    assert subsets(master) == [(["172.17.0.1"], ["172.17.0.2"], [8080])]
    master.ready("b")
    assert subsets(master) == [(["172.17.0.1", "172.17.0.2"], [], [8080])]
    found = master.registry.get("endpoints", "default", "account")
    assert found["subsets"][0]["addresses"][0]["targetRef"]["name"] == "a"
    assert found["metadata"]["labels"] == {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}


def test_a_pod_that_ends_is_in_it_no_longer(master: Master) -> None:
    master.create("services", service(ports=PORTS))
    master.create("pods", pod("a"))
    master.lingering = True
    master.registry.delete("pods", "default", "a")
    master.plane.settle()
    assert subsets(master) == []


def test_it_goes_with_its_service_and_comes_back_when_somebody_deletes_it(master: Master) -> None:
    master.create("services", service(ports=PORTS))
    master.create("pods", pod("a"))
    master.registry.delete("endpoints", "default", "account")
    master.plane.settle()
    assert subsets(master) == [(["172.17.0.1"], [], [8080])]
    master.registry.delete("services", "default", "account")
    master.plane.settle()
    assert master.registry.list("endpoints", "default") == []


def test_what_somebody_writes_for_a_service_without_a_selector_is_left_alone(master: Master) -> None:
    plain = service(ports=PORTS)
    del plain["spec"]["selector"]
    master.create("services", plain)
    mine = [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80, "name": "http"}]}]
    made = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "account"}, "subsets": mine}
    master.create("endpoints", made)
    assert subsets(master) == [(["192.0.2.1"], [], [80])]
    slices = master.registry.list("endpointslices", "default")
    assert [each["endpoints"][0]["addresses"] for each in slices] == [["192.0.2.1"]]
