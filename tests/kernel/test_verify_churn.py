"""Pods, links and nodes that come and go: Linux, told the same, sends the same frames."""

from __future__ import annotations

import json
import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from typing import Any, NamedTuple

import pytest

from k8semu.cluster.journal import Tell
from k8semu.errors import NotVerifiableError
from k8semu.lab.features import why_not
from k8semu.linux.core.commands import LinkFault
from k8semu.scenario.load import parse
from k8semu.scenario.verify import verify_scenario

pytestmark = pytest.mark.kernel

WEB = {"name": "main", "image": "nginx", "ports": [{"containerPort": 80}]}


def pod(name: str, node: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"nodeName": node, "containers": [WEB]},
    }  # fmt: skip


def deployment(replicas: int, node: str = "host2") -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"nodeName": node, "containers": [WEB]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def ping(name: str, to: str, **more: Any) -> dict[str, Any]:
    return {"ping": {"from": name, "to": to, **more}}


def http(name: str, host: str) -> dict[str, Any]:
    return {"http": {"from": name, "url": f"http://{host}/", "timeout": 2.5}}


def link(on: str, up: bool, dev: str = "eth0") -> dict[str, Any]:
    return {"link": {"on": on, "dev": dev, "up": up}}


def node(name: str, up: bool) -> dict[str, Any]:
    return {"node": {"name": name, "up": up}}


def scenario(steps: list[dict[str, Any]], *manifests: dict[str, Any], **network: str) -> str:
    spec = {
        "nodes": [
            {"name": "host1", "address": "10.100.0.2/24", "podCIDR": "172.17.0.0/24"},
            {"name": "host2", "address": "10.100.0.3/24", "podCIDR": "172.17.1.0/24"},
        ],
        "podNetwork": network or {"plugin": "flannel", "backend": "vxlan"},
        "steps": steps,
    }
    head = {"apiVersion": "k8semu/v1", "kind": "Scenario", "spec": spec}
    return "\n---\n".join(json.dumps(document) for document in (head, pod("client", "host1"), *manifests))


SCALED = [
    http("client", "172.17.1.2"), {"scale": {"workload": "web", "replicas": 3}}, http("client", "172.17.1.4"),
    {"exec": {"on": "host2", "command": "bridge link"}}, {"scale": {"workload": "web", "replicas": 1}},
    ping("client", "172.17.1.2"), {"exec": {"on": "host2", "command": "bridge link"}},
    {"delete": {"object": "deployment/web"}}, ping("client", "172.17.1.2"),
]  # fmt: skip
REPLACED = [
    http("client", "other"), {"kill": {"pod": "other"}}, http("client", "172.17.0.3"),
    {"apply": [pod("late", "host2"), pod("near", "host1")]}, http("client", "late"), http("late", "near"),
    {"delete": {"object": "pod/late"}}, http("client", "172.17.1.2"), {"apply": [pod("late", "host1")]},
    http("client", "late"), http("client", "nobody"),
]  # fmt: skip
UNPLUGGED = [
    http("client", "far"), link("far", up=False), ping("client", "172.17.1.2"), link("far", up=True),
    {"exec": {"on": "far", "command": "ip route"}}, ping("client", "172.17.1.2"), link("client", up=False),
    ping("host1", "172.17.0.2"), http("client", "far"),
]  # fmt: skip
NODE_LOST = [
    http("client", "far"), node("host2", up=False), ping("client", "172.17.1.2"),
    node("host2", up=True), ping("host1", "10.100.0.3"), http("client", "far"),
]  # fmt: skip
NODE_LINK = [
    http("client", "far"), link("host2", up=False), ping("client", "172.17.1.2"), ping("far", "172.17.0.2"),
    {"exec": {"on": "host2", "command": "ip route"}}, link("host2", up=True),
    {"exec": {"on": "host2", "command": "ip route"}}, http("client", "far"), ping("far", "172.17.0.2"),
]  # fmt: skip
BRIDGE = [
    http("client", "near"), link("host1", up=False, dev="docker0"), http("client", "near"),
    ping("client", "172.17.0.1"), link("host1", up=True, dev="docker0"), ping("client", "172.17.0.1"),
    http("client", "near"),
]  # fmt: skip
SHRUNK = [
    http("client", "far"), {"link": {"on": "host1", "dev": "eth0", "mtu": 1300}},
    ping("client", "172.17.1.2", size=1400), ping("client", "172.17.1.2", size=1200),
]  # fmt: skip
CASES = {
    "scaled": scenario(SCALED, deployment(1)),
    "replaced": scenario(REPLACED, pod("other", "host1")),
    "a Pod is unplugged": scenario(UNPLUGGED, pod("far", "host2")),
    "a node is lost": scenario(NODE_LOST, pod("far", "host2")),
    "a node is lost, host-gw": scenario(NODE_LOST, pod("far", "host2"), plugin="flannel", backend="host-gw"),
    "a node is lost, udp": scenario(NODE_LOST, pod("far", "host2"), plugin="flannel", backend="udp"),
    "a node is lost, weave": scenario(NODE_LOST, pod("far", "host2"), plugin="weave"),
    "a node's link goes down": scenario(NODE_LINK, pod("far", "host2")),
    "a node's link goes down, host-gw": scenario(NODE_LINK, pod("far", "host2"), plugin="flannel", backend="host-gw"),
    "a bridge goes down": scenario(BRIDGE, pod("near", "host1")),
    "a link's MTU shrinks": scenario(SHRUNK, pod("far", "host2"), plugin="flannel", backend="host-gw"),
}  # fmt: skip


class Seen(NamedTuple):
    """What a comparison found, as another process can tell it."""

    same: bool
    frames: int
    skipped: list[str]
    text: str


def compare(text: str) -> Seen:
    report = verify_scenario(parse(text, "churn.yaml", "churn"))
    return Seen(report.same, report.frames, report.skipped, report.text)


@pytest.fixture(scope="module")
def compared() -> Iterator[dict[str, Future[Seen]]]:
    """All cases, a few at a time: they mostly wait for neighbours that do not answer."""
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield {name: pool.submit(compare, text) for name, text in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_linux_sends_the_same_frames_when(name: str, compared: dict[str, Future[Seen]]) -> None:
    seen = compared[name].result()
    if not seen.same:      # the kernel's side may come late on a busy machine: once more, alone
        wait(compared.values())
        seen = compare(CASES[name])
    assert seen.same, seen.text
    assert seen.frames > 20
    assert not [row for row in seen.skipped if "nothing in it" not in row]


def test_a_slow_link_is_compared_where_the_kernel_can_make_one_and_said_to_be_not_verifiable_elsewhere() -> None:
    steps = [{"link": {"on": "client", "delay": "20ms"}}, ping("client", "172.17.0.1")]
    slow = parse(scenario(steps), "churn.yaml", "churn")
    reason = why_not([Tell(netns="client", command=LinkFault(name="eth0", delay=20_000_000))])
    if not reason:
        report = verify_scenario(slow)
        assert report.same, report.text
        return
    assert reason.startswith(("no faulty links (netem) here: ", "tc is not installed"))
    with pytest.raises(NotVerifiableError, match=re.escape(reason)):
        verify_scenario(slow)
