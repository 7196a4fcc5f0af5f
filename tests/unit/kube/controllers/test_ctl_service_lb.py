"""Services of type LoadBalancer, and what the cloud is asked for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from kubelab import Master, service

from k8semu.kube.cloud import CloudError
from k8semu.kube.controllers.service_lb import EXCLUDED, FINALIZER, ServiceController

JSON = dict[str, Any]


class FakeCloud:
    """Gives addresses as long as there are some, and remembers what it was asked."""

    def __init__(self, addresses: int = 9, of_class: str = "") -> None:
        self.load_balancer_class = of_class
        self.free = [f"203.0.113.{100 + n}" for n in range(addresses)]
        self.held: dict[tuple[str, str], str] = {}
        self.asked: list[str] = []

    def _note(self, verb: str, service: JSON, nodes: Sequence[JSON]) -> None:
        names = " ".join(node["metadata"]["name"] for node in nodes)
        self.asked.append(f"{verb} {service['metadata']['name']}: {names}")

    def ensure(self, service: JSON, nodes: Sequence[JSON]) -> list[JSON]:
        key = (service["metadata"]["namespace"], service["metadata"]["name"])
        self._note("ensure", service, nodes)
        if key not in self.held:
            if not self.free:
                raise CloudError("no address is left")
            self.held[key] = self.free.pop(0)
        return [{"ip": self.held[key], "ipMode": "VIP"}]

    def update(self, service: JSON, nodes: Sequence[JSON]) -> None:
        self._note("update", service, nodes)

    def has(self, key: tuple[str, str]) -> bool:
        return key in self.held

    def delete(self, key: tuple[str, str]) -> None:
        self.free.append(self.held.pop(key))
        self.asked.append(f"delete {key[1]}")


def cluster(cloud: FakeCloud) -> Master:
    master = Master()
    master.plane.add(ServiceController(master.registry.caches, master.clock, cloud))
    return master


def balanced(name: str = "account", **spec: Any) -> JSON:
    return service(name, type="LoadBalancer", **spec)


def outside(master: Master, name: str = "account") -> list[str]:
    status = master.registry.get("services", "default", name)["status"]
    return [way["ip"] for way in status["loadBalancer"].get("ingress", [])]


def events(master: Master) -> list[str]:
    return [f"{e['type']} {e['reason']} {e['count']}" for e in master.registry.list("events")]


def test_a_service_gets_an_address_and_keeps_it_until_it_goes() -> None:
    cloud = FakeCloud()
    master = cluster(cloud)
    master.create("services", balanced())
    assert outside(master) == ["203.0.113.100"]
    assert cloud.asked == ["ensure account: host1 host2"]
    assert master.registry.get("services", "default", "account")["metadata"]["finalizers"] == [FINALIZER]
    assert events(master) == ["Normal EnsuringLoadBalancer 1", "Normal EnsuredLoadBalancer 1"]
    master.delete("services", "account")
    assert master.names("services") == []
    assert cloud.asked[1:] == ["delete account"]
    assert events(master)[2:] == ["Normal DeletingLoadBalancer 1", "Normal DeletedLoadBalancer 1"]


def test_a_service_that_needs_none_any_more_gives_it_back() -> None:
    cloud = FakeCloud()
    master = cluster(cloud)
    master.create("services", balanced())
    master.change("services", "account", type="ClusterIP")
    assert outside(master) == []
    assert cloud.asked[1:] == ["delete account"]
    assert not master.registry.get("services", "default", "account")["metadata"].get("finalizers")
    master.change("services", "account", type="LoadBalancer")
    assert outside(master) == ["203.0.113.101"]


def test_without_a_free_address_a_service_is_pending_until_there_is_one() -> None:
    cloud = FakeCloud(addresses=1)
    master = cluster(cloud)
    master.create("services", balanced("first"))
    master.create("services", balanced("second"))
    assert outside(master, "second") == []
    master.run(16)
    assert "Warning SyncLoadBalancerFailed 3" in events(master), "after 0, 5 and 15 seconds"
    last = [e["message"] for e in master.registry.list("events") if e["type"] == "Warning"]
    assert last == ["Error syncing load balancer: failed to ensure load balancer: no address is left"]
    master.delete("services", "first")
    master.run(20)
    assert outside(master, "second") == ["203.0.113.100"]


def test_only_nodes_that_are_ready_and_not_excluded_are_behind_it() -> None:
    cloud = FakeCloud()
    master = cluster(cloud)
    master.create("services", balanced())
    master.add_node("host3")
    node = master.registry.get("nodes", "", "host1")
    labels = {**node["metadata"]["labels"], EXCLUDED: ""}
    master.registry.update("nodes", {**node, "metadata": {**node["metadata"], "labels": labels}})
    master.plane.settle()
    master.heartbeat("host2")
    master.run(60)
    assert cloud.asked == [
        "ensure account: host1 host2", "update account: host1 host2 host3", "update account: host2 host3",
        "update account: host3",
    ]  # fmt: skip


def test_what_changes_in_a_service_reaches_the_cloud_and_its_status_does_not() -> None:
    cloud = FakeCloud()
    master = cluster(cloud)
    master.create("services", balanced())
    master.change("services", "account", ports=[{"port": 8080}])
    obj = master.registry.get("services", "default", "account")
    status = {"conditions": [], **obj["status"]}
    master.registry.update("services", {**obj, "status": status}, "status")
    master.plane.settle()
    assert cloud.asked == ["ensure account: host1 host2"] * 2


@pytest.mark.parametrize(("ours", "said", "served"), [
    ("", "", True), ("", "example.com/other", False), ("example.com/slb", "example.com/slb", True),
    ("example.com/slb", "", False),
])  # fmt: skip
def test_a_cloud_serves_its_own_class_only(ours: str, said: str, served: bool) -> None:
    master = cluster(FakeCloud(of_class=ours))
    master.create("services", balanced(**({"loadBalancerClass": said} if said else {})))
    assert bool(outside(master)) == served


def test_an_address_that_somebody_else_has_written_stays() -> None:
    cloud = FakeCloud()
    master = cluster(cloud)
    made = master.registry.create("services", balanced())
    status = {"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}}
    master.registry.update("services", {**made, "status": status}, "status")
    master.plane.settle()
    assert outside(master) == ["198.51.100.9"]
    assert cloud.asked == []
    master.delete("services", "account")
    assert master.names("services") == []


def test_kubectl_shows_when_an_event_was_last_seen_and_not_its_name() -> None:
    from k8semu.kube.api.meta import timestamp
    from k8semu.kube.api.table import as_table

    event: dict[str, Any] = {
        "metadata": {"name": "web.1", "namespace": "default"}, "type": "Warning", "reason": "SyncLoadBalancerFailed",
        "involvedObject": {"kind": "Service", "name": "web"}, "message": "no address is left ", "count": 2,
        "firstTimestamp": timestamp(0), "lastTimestamp": timestamp(60), "source": {"component": "service-controller"},
    }  # fmt: skip
    table = as_table("events", [event], 1, 90 * 1_000_000_000, "None")
    shown = [i for i, column in enumerate(table["columnDefinitions"]) if not column["priority"]]
    assert [table["columnDefinitions"][i]["name"].upper() for i in shown] == [
        "LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE",
    ]  # fmt: skip
    assert [table["rows"][0]["cells"][i] for i in shown] == [
        "30s", "Warning", "SyncLoadBalancerFailed", "service/web", "no address is left",
    ]  # fmt: skip


def test_kubectl_shows_the_address_or_that_it_is_pending() -> None:
    from k8semu.kube.api.table import as_table

    master = cluster(FakeCloud(addresses=1))
    for name in ("first", "second"):
        master.create("services", balanced(name, ports=[{"port": 80, "nodePort": 30000 + len(name)}]))
    table = as_table("services", list(master.registry.list("services", "default")), 1, master.clock.now, "None")
    rows = {row["cells"][0]: row["cells"][3:5] for row in table["rows"]}
    assert rows == {"first": ["203.0.113.100", "80:30005/TCP"], "second": ["<pending>", "80:30006/TCP"]}
