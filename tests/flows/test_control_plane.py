"""What follows from objects that are applied: Pods, endpoints, rules; at once, over time, and on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.cluster import build
from k8semu.scenario.load import load, parse
from k8semu.scenario.run import Run, RunResult, run

HEAD = """\
apiVersion: k8semu/v1
kind: Scenario
spec:
  router: true
  nodes:
    - {{name: host1, address: 10.100.0.2/24}}
    - {{name: host2, address: 10.100.0.3/24}}
  {extra}
  services: {{dns: false}}
  steps:
{steps}
---
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec: {{nodeName: host1, containers: [{{name: c, image: busybox}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: account}}
spec: {{clusterIP: 10.96.0.20, selector: {{app: account}}, ports: [{{port: 80}}]}}
"""


def pod(name: str, extra: str = "", node: str = "host2", labels: str = "app: account") -> str:
    return (
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"
        f"spec: {{nodeName: {node}, containers: [{{name: web, image: nginx, "
        f"ports: [{{containerPort: 80}}]{extra}}}]}}\n"
    )


def play(steps: str, *pods: str, extra: str = "") -> RunResult:
    text = HEAD.format(steps=steps, extra=extra) + "".join(pods)
    return run(parse(text, "f.yaml", "f"))


def calls(result: RunResult, step: int) -> list[tuple[str, str]]:
    return [(call.get("servedBy", ""), call["error"]) for call in result.steps[step].result["calls"]]


CALL = "    - http: {from: client, url: 'http://10.96.0.20/', count: 4, timeout: 300ms}\n"


def test_a_pod_gets_connections_only_when_it_is_ready() -> None:
    slow = pod("slow", ", readinessProbe: {httpGet: {port: 80}, initialDelaySeconds: 5}")
    result = play(f"{CALL}    - wait: 6s\n{CALL}", pod("quick"), slow)
    assert {name for name, _ in calls(result, 0)} == {"quick"}
    assert {name for name, _ in calls(result, 2)} == {"quick", "slow"}


def test_a_pod_that_is_not_ready_yet_makes_a_service_refuse() -> None:
    slow = pod("slow", ", readinessProbe: {httpGet: {port: 80}, initialDelaySeconds: 5}")
    result = play(f"{CALL}    - wait: 6s\n{CALL}", slow)
    assert calls(result, 0) == [("", "ECONNREFUSED")] * 4
    assert calls(result, 2) == [("slow", "")] * 4


def test_a_pod_that_ends_still_serves_while_there_is_nobody_else() -> None:
    ending = pod("last", ", lifecycle: {preStop: {sleep: {seconds: 3}}}")
    result = play(f"    - delete: {{object: pod/last}}\n{CALL}    - wait: 4s\n{CALL}", ending)
    assert calls(result, 1) == [("last", "")] * 4
    assert calls(result, 3) == [("", "ECONNREFUSED")] * 4


def test_a_service_may_come_and_go_while_pods_stay() -> None:
    steps = (
        f"{CALL}    - delete: {{object: service/account}}\n{CALL}"
        "    - apply: [{apiVersion: v1, kind: Service, metadata: {name: account}, "
        "spec: {clusterIP: 10.96.0.20, selector: {app: account}, ports: [{port: 80}]}}]\n"
        f"{CALL}"
    )
    result = play(steps, pod("one"))
    assert calls(result, 0) == calls(result, 4) == [("one", "")] * 4
    assert calls(result, 2) != calls(result, 0)


def test_what_the_api_server_refuses_in_a_step_is_the_steps_error() -> None:
    clash = (
        "    - apply: [{apiVersion: v1, kind: Service, metadata: {name: other}, "
        "spec: {clusterIP: 10.96.0.20, ports: [{port: 80}]}}]\n"
    )
    error = play(clash, pod("one")).steps[0].result["error"]
    assert "provided IP is already allocated" in error


def test_pods_of_a_silent_node_leave_its_services_after_forty_seconds() -> None:
    steps = f"    - node: {{name: host2}}\n    - wait: 30s\n{CALL}    - wait: 20s\n{CALL}"
    result = play(steps, pod("here", node="host1"), pod("there"))
    assert "" in {name for name, _ in calls(result, 2)}, "some connections still go to the Pod that nobody reaches"
    assert {name for name, _ in calls(result, 4)} == {"here"}


def test_pods_of_a_node_that_is_heard_again_are_back_in_their_services() -> None:
    steps = "    - node: {name: host2}\n    - wait: 60s\n    - node: {name: host2, up: true}\n" + CALL
    result = play(steps, pod("there"))
    assert {name for name, _ in calls(result, 3)} == {"there"}


def rules(loaded: Any, node: str) -> tuple[list[str], dict[str, str]]:
    """The nat rules of Services on a node at the end, and the running Pods with their addresses."""
    this = Run(loaded)
    try:
        this.build()
        this.steps()
        text = this.built.nodes[node].net.netfilter.save(table="nat")
        pods = {name: machine.address for name, machine in this.built.pods.items()}
    finally:
        this.close()
    return sorted(row for row in text.splitlines() if "default/account" in row), pods


@pytest.mark.parametrize("node", ["host1", "host2"])
def test_on_the_wire_it_ends_as_it_does_at_once(node: str) -> None:
    steps = "    - wait: 1s\n"
    told = {}
    for extra in ("controlPlane: instant", "controlPlane: wire"):
        text = HEAD.format(steps=steps, extra=extra) + pod("one", node="host1") + pod("two")
        told[extra] = rules(parse(text, "f.yaml", "f"), node)
    instant, wire = told.values()
    assert instant == wire
    assert len(instant[0]) >= 6


def test_nodes_that_sleep_give_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    awake = run(load("service-clusterip"))
    monkeypatch.setattr(build, "SLEEP_FROM", 1)
    asleep = run(load("service-clusterip"))
    assert asleep.ok
    for one, other in zip(awake.steps, asleep.steps, strict=True):
        if one.kind == "http":
            assert one.result["calls"] == other.result["calls"]


def test_a_sleeping_node_has_no_pods_before_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "SLEEP_FROM", 1)
    this = Run(parse(HEAD.format(steps="    - wait: 1s\n", extra="") + pod("one"), "f.yaml", "f"))
    try:
        this.build()
        this.steps()
        assert "one" not in this.cluster.netns
        assert this.built.pods["one"].address == "172.17.1.2"
        assert "docker0" in this.built.machine("host2").net.devs, "looking at the node wakes it"
        assert "one" in this.cluster.netns
    finally:
        this.close()


def test_the_packet_that_wakes_a_node_finds_its_programs_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "SLEEP_FROM", 1)
    service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n"
    steps = '    - http: {from: host1, url: "http://10.100.0.3:10256/healthz"}\n'
    this = Run(parse(HEAD.format(steps=steps, extra="") + pod("one") + service, "f.yaml", "f"))
    try:
        this.build()
        assert [step.result["status"] for step in this.steps()] == [200]
    finally:
        this.close()


def test_files_of_a_pod_and_containers_of_a_node_are_there_once_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "SLEEP_FROM", 1)
    this = Run(parse(HEAD.format(steps="", extra="") + pod("one"), "f.yaml", "f"))
    try:
        this.build()
        assert this.built.pods["one"].files["/etc/hosts"].endswith("172.17.1.2\tone\n")
        names = [container.name.split("_")[1] for container in this.built.nodes["host2"].containers]
        assert names == ["POD", "web"]
    finally:
        this.close()


def test_pods_on_the_nodes_own_network_end_one_by_one() -> None:
    own = "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {0}}}\nspec:\n  nodeName: host2\n  hostNetwork: true\n" \
        "  containers: [{{name: web, image: nginx, ports: [{{containerPort: {1}}}]}}]\n"  # fmt: skip
    result = play(
        "    - delete: {object: pod/a}\n    - kill: {pod: b}\n    - wait: 1s\n"
        "    - exec: {on: host2, command: ss -tln}\n",
        own.format("a", 81), own.format("b", 82),
    )  # fmt: skip
    assert result.ok
    assert ":81 " not in result.steps[3].result["output"]
    assert ":82 " not in result.steps[3].result["output"]


def test_a_daemon_set_cannot_be_scaled() -> None:
    daemons = (
        "---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: d}\nspec:\n  selector: {matchLabels: {d: d}}\n"
        "  template: {metadata: {labels: {d: d}}, spec: {containers: [{name: c, image: busybox}]}}\n"
    )
    result = play("    - scale: {workload: daemonset/d, replicas: 3}\n", daemons)
    assert result.steps[0].result["error"] == "the server could not find the requested resource"
