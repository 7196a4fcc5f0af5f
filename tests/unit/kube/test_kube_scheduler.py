"""Which node does a Pod go to?"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.kube.objects import Pod
from k8semu.kube.scheduler import Scheduler, Unschedulable, host_ports

NODES: dict[str, dict[str, str]] = {"host1": {"disk": "ssd"}, "host2": {}, "host3": {"disk": "ssd"}}


def pod(name: str, ports: list[dict[str, Any]] | None = None, **spec: Any) -> Pod:
    manifest = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "ports": ports or []}], **spec},
    }  # fmt: skip
    return msgspec.convert(manifest, Pod)


def test_a_pod_that_names_its_node_goes_there() -> None:
    assert Scheduler(NODES).place(pod("a", nodeName="host2")) == "host2"


def test_others_go_where_the_fewest_are_and_first_in_order_among_equals() -> None:
    scheduler = Scheduler(NODES)
    scheduler.place(pod("pinned", nodeName="host1"))
    assert [scheduler.place(pod(f"p{i}")) for i in range(5)] == ["host2", "host3", "host1", "host2", "host3"]


def test_a_selector_leaves_only_nodes_with_its_labels() -> None:
    scheduler = Scheduler(NODES)
    assert [scheduler.place(pod(f"p{i}", nodeSelector={"disk": "ssd"})) for i in range(3)] == [
        "host1", "host3", "host1",
    ]  # fmt: skip
    assert scheduler.place(pod("any")) == "host2"


def test_two_pods_cannot_have_one_host_port_of_a_node() -> None:
    scheduler = Scheduler(NODES)
    wants = [{"containerPort": 80, "hostPort": 8080}]
    assert [scheduler.place(pod(f"p{i}", wants)) for i in range(3)] == ["host1", "host2", "host3"]
    with pytest.raises(Unschedulable, match=r"0/3 nodes are available: 3 node.s. didn't have free ports"):
        scheduler.place(pod("p3", wants))
    with pytest.raises(Unschedulable, match="node 'host1' didn't have free ports"):
        scheduler.place(pod("p4", wants, nodeName="host1"))


def test_host_ports_clash_only_on_one_address_and_protocol() -> None:
    scheduler = Scheduler({"host1": {}})
    scheduler.place(pod("a", [{"containerPort": 53, "hostPort": 53, "hostIP": "127.0.0.1"}]))
    scheduler.place(pod("b", [{"containerPort": 53, "hostPort": 53, "hostIP": "127.0.0.2"}]))
    scheduler.place(pod("c", [{"containerPort": 53, "hostPort": 53, "protocol": "UDP"}]))
    with pytest.raises(Unschedulable):
        scheduler.place(pod("d", [{"containerPort": 53, "hostPort": 53}]))


def test_a_pod_on_its_nodes_network_takes_all_the_ports_it_declares() -> None:
    assert host_ports(pod("a", [{"containerPort": 80}])) == []
    assert host_ports(pod("a", [{"containerPort": 80}], hostNetwork=True)) == [("TCP", "0.0.0.0", 80)]


def test_a_node_has_room_again_once_a_pod_has_gone() -> None:
    scheduler = Scheduler({"host1": {}, "host2": {}})
    for i in range(4):
        scheduler.place(pod(f"p{i}"))
    scheduler.remove("default/p1", "host2")
    scheduler.remove("default/p1", "host2")
    assert scheduler.place(pod("late")) == "host2"
    assert scheduler.count("host2") == 2


def test_an_unknown_node_is_not_schedulable() -> None:
    with pytest.raises(Unschedulable, match="no node 'host9'"):
        Scheduler(NODES).place(pod("a", nodeName="host9"))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=60))
def test_the_choice_equals_the_scan_of_all_nodes(script: list[tuple[int, int]]) -> None:
    scheduler, on = Scheduler(NODES), dict.fromkeys(NODES, 0)
    placed: list[tuple[str, str]] = []
    for number, (action, pick) in enumerate(script):
        if action == 0 and placed:
            name, node = placed.pop(pick % len(placed))
            scheduler.remove(name, node)
            on[node] -= 1
            continue
        selector = {"disk": "ssd"} if action == 1 else {}
        fits = [node for node, labels in NODES.items() if selector.items() <= labels.items()]
        wanted = min(fits, key=lambda node: on[node])
        assert scheduler.place(pod(f"p{number}", nodeSelector=selector)) == wanted
        on[wanted] += 1
        placed.append((f"default/p{number}", wanted))
