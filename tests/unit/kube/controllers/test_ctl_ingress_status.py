"""Where an Ingress says that it can be reached."""

from __future__ import annotations

from typing import Any

import pytest
from ingress_objects import NGINX, ingress
from kubelab import Master

from k8semu.kube.controllers.ingress_status import IngressStatusController

SHOP = ingress("shop", {"a.example": {"/": "web:80"}})


@pytest.fixture
def master() -> Master:
    master = Master()
    master.registry.create("ingressclasses", NGINX)
    master.plane.add(IngressStatusController(master.registry.caches, master.clock))
    return master


def controller(name: str, node: str, *args: str) -> dict[str, Any]:
    container = {"name": "c", "image": "registry.k8s.io/ingress-nginx/controller:v1", "args": list(args)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [container]},
    }


def service(kind: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"},
            "spec": {"type": kind, "ports": [{"port": 80}], **spec}}  # fmt: skip


def ways(master: Master) -> list[dict[str, str]]:
    master.plane.settle()
    found = master.registry.get("ingresses", "default", "shop")["status"]["loadBalancer"].get("ingress", [])
    return list(found)


def test_at_the_nodes_that_run_the_controller(master: Master) -> None:
    master.registry.create("ingresses", SHOP)
    assert ways(master) == []
    for name, node in (("two", "host2"), ("one", "host1")):
        master.registry.create("pods", controller(name, node))
    assert ways(master) == [{"ip": "10.100.0.2"}, {"ip": "10.100.0.3"}]
    master.registry.delete("pods", "default", "one")
    assert ways(master) == [{"ip": "10.100.0.3"}]


def test_at_the_address_of_the_load_balancer_in_front(master: Master) -> None:
    master.registry.create("pods", controller("one", "host1", "--publish-service=default/front"))
    made = master.registry.create("services", service("LoadBalancer"))
    master.registry.create("ingresses", SHOP)
    assert ways(master) == []
    status = {"loadBalancer": {"ingress": [{"ip": "203.0.113.100", "ipMode": "VIP"}]}}
    master.registry.update("services", {**made, "status": status}, "status")
    assert ways(master) == [{"ip": "203.0.113.100"}]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--publish-status-address=192.0.2.1,lb.example.org",), [{"hostname": "lb.example.org"}, {"ip": "192.0.2.1"}]),
        (("--publish-service", "default/nobody"), []), (("--controller-class=example.com/other",), []),
    ],
)  # fmt: skip
def test_as_the_controllers_flags_say(master: Master, args: tuple[str, ...], said: list[dict[str, str]]) -> None:
    master.registry.create("pods", controller("one", "host1", *args))
    master.registry.create("ingresses", SHOP)
    assert ways(master) == said


def test_an_ingress_of_another_class_is_left_alone(master: Master) -> None:
    master.registry.create("pods", controller("one", "host1"))
    master.registry.create("ingresses", ingress("shop", {"a.example": {"/": "web:80"}}, cls="other"))
    assert ways(master) == []
