"""Calls to random Services under userspace mode fare as in Linux, frame by frame: the same kube-proxy on real sockets.

    pod, near 172.17.0.x ── host1 10.100.0.2 ──┬── router ── user 203.0.113.10
    far 172.17.1.2 ──────── host2 10.100.0.3 ──┘    (it leads ClusterIPs and external addresses to host1)

A case is a few Services without selectors, the EndpointSlices that somebody writes for them, calls, then other
EndpointSlices, and calls again. To build machines takes longer than to call, so several cases follow each other on
the same machines. Ports 81 and 54 of endpoints have no listener: kube-proxy goes on to the next. Where it finds no
endpoint at all it closes the connection, before or after a request is there; so that client only waits for the end.
"""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from outside_in import cluster, text
from proxy_flows import ROUTES

from k8semu.linux.core.commands import Sysctl
from k8semu.scenario.load import parse
from k8semu.scenario.run import Run
from k8semu.scenario.verify import verify_run

pytestmark = pytest.mark.kernel

EXAMPLES = 25
TOGETHER = 5
PATIENCE = 0.2
"""Seconds that a call waits where nobody answers."""
NEAR, FAR = "172.17.0.3", "172.17.1.2"
CLIENTS = ("pod", "near", "far", "host1", "host2", "user")
POLICY = st.sampled_from(["Cluster", "Local"])
STATES = (
    {"ready": True}, {}, {"ready": False}, {"ready": False, "serving": True, "terminating": True},
    {"ready": False, "serving": False, "terminating": True},
)  # fmt: skip
ENDPOINTS = st.lists(
    st.tuples(st.sampled_from([NEAR, FAR]), st.sampled_from(STATES[:2] * 3 + STATES[2:])), max_size=3,
    unique_by=lambda endpoint: endpoint[0],
)  # fmt: skip
CALLS = st.lists(st.tuples(st.sampled_from(CLIENTS), st.integers(0, 2), st.integers(0, 11)), min_size=3, max_size=6)

Endpoints = list[tuple[str, dict[str, bool]]]
Calls = list[tuple[str, int, int]]


class Drawn(NamedTuple):
    """A Service; its endpoints and the port that they listen on, before and after."""

    protocol: str
    spec: dict[str, Any]
    ranges: list[str]
    endpoints: tuple[Endpoints, Endpoints]
    dead: tuple[bool, bool]


Case = tuple[list[Drawn], Calls, Calls]


@st.composite
def services(draw: st.DrawFn) -> Drawn:
    """With policies, load balancers, source ranges, external IPs, affinity: of which some have no effect here."""
    kind = draw(st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]))
    spec: dict[str, Any] = {"type": kind, "internalTrafficPolicy": draw(POLICY)}
    external = draw(st.booleans())
    if kind != "ClusterIP" or external:
        spec["externalTrafficPolicy"] = draw(POLICY)
    if external:
        spec["externalIPs"] = ["198.51.100.{}"]
    if draw(st.booleans()):
        spec["sessionAffinity"] = "ClientIP"
    ranges = draw(st.sampled_from([[], ["203.0.113.0/25"], ["192.0.2.0/24"]])) if kind == "LoadBalancer" else []
    endpoints, dead = (draw(ENDPOINTS), draw(ENDPOINTS)), (draw(st.integers(0, 5)) == 0, draw(st.integers(0, 5)) == 0)
    return Drawn(draw(st.sampled_from(["TCP", "TCP", "UDP"])), spec, ranges, endpoints, dead)


CASES = st.tuples(st.lists(services(), min_size=3, max_size=3), CALLS, CALLS)


# --- a case as steps ----------------------------------------------------------------------------


def steps(case: Case, number: int) -> list[dict[str, Any]]:
    """Apply, call, apply other endpoints, call; take every other case's Services away again."""
    drawn, before, after = case
    known = [(f"s{number}-{i}", 3 * number + i + 1, one) for i, one in enumerate(drawn)]
    found: list[dict[str, Any]] = [{"apply": [_service(*each) for each in known]}]
    for stage, calls in enumerate((before, after)):
        found.append({"apply": [_slice(name, one, stage) for name, _, one in known]})
        found += [_call(client, *known[which][1:], target, stage) for client, which, target in calls]
    if number % 2:
        found += [{"delete": {"object": f"service/{name}"}} for name, _, _ in known]
    return [{"name": f"case {number}, {i}: {next(iter(step))}", **step} for i, step in enumerate(found)]


def _port(one: Drawn) -> int:
    return 53 if one.protocol == "UDP" else 80


def _service(name: str, number: int, one: Drawn) -> dict[str, Any]:
    port: dict[str, Any] = {"port": _port(one), "protocol": one.protocol}
    if one.spec["type"] != "ClusterIP":
        port["nodePort"] = 30000 + number
    spec = {**one.spec, "clusterIP": f"10.96.0.{number + 100}", "ports": [port]}
    if "externalIPs" in spec:
        spec["externalIPs"] = [f"198.51.100.{number}"]
    manifest = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
    if one.spec["type"] == "LoadBalancer":
        manifest["spec"]["loadBalancerSourceRanges"] = one.ranges
        manifest["status"] = {"loadBalancer": {"ingress": [{"ip": f"198.51.100.{number + 100}"}]}}
    return manifest


def _slice(name: str, one: Drawn, stage: int) -> dict[str, Any]:
    port = {"port": _port(one) + one.dead[stage], "protocol": one.protocol, "name": ""}
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": f"{name}-x", "labels": {"kubernetes.io/service-name": name}}, "ports": [port],
        "endpoints": [
            {"addresses": [ip], "conditions": conditions, "nodeName": "host1" if ip == NEAR else "host2"}
            for ip, conditions in one.endpoints[stage]
        ],
    }  # fmt: skip


def _call(client: str, number: int, one: Drawn, target: int, stage: int) -> dict[str, Any]:
    port = _port(one)
    targets = [(f"10.96.0.{number + 100}", port)] * 3 + [(f"10.96.0.{number + 100}", port + 1)]
    if "externalIPs" in one.spec:
        targets += [(f"198.51.100.{number}", port)] * 2
    if one.spec["type"] == "LoadBalancer":
        targets += [(f"198.51.100.{number + 100}", port)] * 2
    if one.spec["type"] != "ClusterIP":
        targets += [("10.100.0.2", 30000 + number), ("10.100.0.3", 30000 + number), ("172.17.0.1", 30000 + number)]
        if client in ("host1", "host2"):
            targets.append(("127.0.0.1", 30000 + number))
    host, to = targets[target % len(targets)]
    if one.protocol == "UDP":
        return {"udp": {"from": client, "to": f"{host}:{to}", "send": "hello", "timeout": PATIENCE}}
    if one.dead[stage] or not any(conditions.get("ready", True) for _, conditions in one.endpoints[stage]):
        return {"tcp": {"from": client, "to": f"{host}:{to}", "closeAfter": "end", "timeout": PATIENCE}}
    return {"http": {"from": client, "url": f"http://{host}:{to}/", "count": 2, "timeout": PATIENCE}}


def _pod(name: str, node: str) -> dict[str, Any]:
    notes = {"k8semu/program.dns": "k8semu.apps.sockets:udp_echo", "k8semu/args.dns": json.dumps({"ports": [53]})}
    containers = [
        {"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]},
        {"name": "dns", "image": "dns", "ports": [{"containerPort": 53, "protocol": "UDP"}]},
    ]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": notes},
            "spec": {"nodeName": node, "containers": containers}}  # fmt: skip


PODS = [_pod("pod", "host1"), _pod("near", "host1"), _pod("far", "host2")]


# --- both worlds --------------------------------------------------------------------------------


class Routed(Run):
    """The router knows the way to Services. Nobody limits ICMP errors, nor sends redirects: that goes by the clock."""

    def build(self) -> None:
        super().build()
        self.cluster.tell_all("router", ROUTES)
        for machine in (*self.built.nodes, *self.built.hosts, *self.built.pods):
            netns = self.built.machine(machine).netns_name
            self.cluster.tell(netns, Sysctl(name="net.ipv4.icmp_ratelimit", value=0))
            for dev in ("all", "eth0", "eth1", "docker0"):
                if dev == "all" or dev in self.cluster.netns[netns].devs:
                    self.cluster.tell(netns, Sysctl(name=f"net.ipv4.conf.{dev}.send_redirects", value=0))


class Found(NamedTuple):
    """What a comparison found, as another process can tell it."""

    same: bool
    text: str
    answers: list[str]


def compare(cases: list[Case], first: int) -> Found:
    all_steps = [step for i, case in enumerate(cases) for step in steps(case, first + i)]
    this = Routed(parse(text(cluster("userspace", all_steps), *PODS), "drawn.yaml", "drawn"))
    report = verify_run(this)
    results = [entry.result for entry in this.cluster.journal.entries if hasattr(entry, "result")]
    answers = [_told(call) for result in results for call in (result if isinstance(result, list) else [result])]
    return Found(report.same, report.text, answers)


def _told(call: dict[str, Any]) -> str:
    return str(call.get("error") or call.get("clientAddress") or call.get("reply"))


def draw_cases() -> list[Case]:
    drawn: list[Case] = []

    @settings(
        max_examples=EXAMPLES, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck),
        derandomize=True, deadline=None, database=None,
    )  # fmt: skip
    @given(CASES)
    def draw(case: Case) -> None:
        drawn.append(case)

    draw()
    return drawn


def test_calls_to_random_services_fare_as_in_linux_under_userspace_mode() -> None:
    drawn = draw_cases()
    assert len(drawn) == EXAMPLES
    starts = range(0, EXAMPLES, TOGETHER)
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(compare, (drawn[at : at + TOGETHER] for at in starts), starts))
    answers: set[str] = set()
    for at, seen in zip(starts, found, strict=True):
        if not seen.same:      # the kernel's side may come late on a busy machine: once more, alone
            seen = compare(drawn[at : at + TOGETHER], at)
        assert seen.same, seen.text
        answers.update(seen.answers)
    assert answers >= {"172.17.0.1", "172.17.0.0", "172.17.1.1", "172.17.1.0", "hello", "", "ETIMEDOUT"}
