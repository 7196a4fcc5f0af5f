"""kubectl exec and port-forward in emulated clusters: which Pod, which port, and what is said when there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from k8semu.cli.main import cli
from k8semu.scenario.load import parse
from k8semu.scenario.run import run

HOSTS = {"hosts": [{"name": "user", "address": "203.0.113.10/24"}], "services": {"dns": False}}
WEB = {"name": "main", "image": "nginx", "ports": [{"name": "http", "containerPort": 80}]}
SIDE = {"name": "side", "image": "busybox"}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    labels = {"app": name.partition("-")[0]}
    containers = [{"containers": [WEB, SIDE]}, {}][bool(spec.get("containers"))]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
            "spec": {"nodeName": "host1", **containers, **spec}}  # fmt: skip


def service(name: str, port: Any, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": "web"}, "ports": [port], **spec}}  # fmt: skip


PODS = [pod("web-1"), pod("web-2", nodeName="host2")]
SERVICES = [
    service("named", {"name": "front", "port": 8000, "targetPort": "http"}), service("plain", {"port": 80}),
    service("headless", {"port": 80, "targetPort": 8080}, clusterIP="None"),
    service("lost", {"port": 80, "targetPort": "nope"}), service("bare", {"port": 80}, selector=None),
]  # fmt: skip


def results(tmp_path: Path, steps: list[dict[str, Any]], *manifests: dict[str, Any], **spec: Any) -> list[Any]:
    head = {"apiVersion": "k8semu/v1", "kind": "Scenario", "spec": {**HOSTS, **spec, "steps": steps}}
    loaded = parse("\n---\n".join(json.dumps(each) for each in (head, *manifests)), "here.yaml", "here")
    done = run(loaded, tmp_path)
    assert done.crashes == []
    return [step.result for step in done.steps]


def kubectl(command: str, **more: Any) -> dict[str, Any]:
    return {"kubectl": {"from": "user", "command": command, **more}}


def http(url: str, **more: Any) -> dict[str, Any]:
    return {"http": {"from": "user", "url": url, **more}}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("web-1 8080:80", "8080 -> 80"), ("pod/web-1 80", "80 -> 80"), ("po/web-1 8080:http", "8080 -> 80"),
        ("svc/named 8080:8000", "8080 -> 80"), ("service/named 8080:front", "8080 -> 80"),
        ("svc/named 8000", "8000 -> 80"), ("svc/plain 8080:80", "8080 -> 80"), ("svc/headless 80", "80 -> 80"),
        ("web-1 8080:80 --address 0.0.0.0", "8080 -> 80"),
    ],
)  # fmt: skip
def test_these_words_name_a_pod_and_a_port_of_it(tmp_path: Path, words: str, line: str) -> None:
    local = line.partition(" ")[0]
    said, answer = results(
        tmp_path, [kubectl(f"port-forward {words}", background=True), http(f"http://127.0.0.1:{local}/")],
        *PODS, *SERVICES,
    )  # fmt: skip
    host = "0.0.0.0" if "--address" in words else "127.0.0.1"
    assert said == {"output": f"Forwarding from {host}:{line}\n", "code": None}
    assert (answer["servedBy"], answer["clientAddress"]) == ("web-1", "127.0.0.1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("web-1 99999:80", "error: error parsing local port '99999': strconv.ParseUint: parsing \"99999\": value out"),
        ("web-1", "error: TYPE/NAME and list of ports are required for port-forward"),
        ("nix 80", 'Error from server (NotFound): pods "nix" not found'),
        ("svc/nix 80", 'Error from server (NotFound): services "nix" not found'),
        ("frob/web 80", 'error: the server doesn\'t have a resource type "frob"'),
        ("web-1 80:nope", "error: Pod 'web-1' does not have a named port 'nope'"),
        ("web-1 80:99999", "error: error parsing remote port '99999'"),
        ("web-1 x:80", "error: error parsing local port 'x'"),
        ("svc/named 80:81", "error: Service named does not have a service port 81"),
        ("svc/lost 80", "error: Pod 'web-1' does not have a named port 'nope'"),
        ("svc/bare 80", "error: invalid service 'bare': Service is defined without a selector"),
    ],
)
def test_these_words_do_not(tmp_path: Path, words: str, said: str) -> None:
    (result,) = results(tmp_path, [kubectl(f"port-forward {words}", background=True)], *PODS, *SERVICES)
    assert result["code"] == 1
    assert result["output"].startswith(said)


@pytest.mark.parametrize("after", [0.0, 0.01, 0.05])
def test_who_speaks_late_to_a_port_that_leads_nowhere_is_not_reset(tmp_path: Path, after: float) -> None:
    args = {"host": "127.0.0.1", "port": 8080, "after": after}
    late = {"from": "user", "function": "cli_programs:speak_late", "args": args}
    _, said = results(tmp_path, [kubectl("port-forward web-1 8080:81", background=True), {"program": late}], *PODS)
    assert said["ended"] == "in order"


def test_a_port_of_this_machine_that_is_taken_is_not_forwarded(tmp_path: Path) -> None:
    forward = {**kubectl("port-forward web-1 8080:80", background=True)}
    _, second = results(tmp_path, [forward, forward], *PODS)
    assert second["code"] == 1
    assert "Unable to listen on port 8080" in second["output"]
    assert "bind: address already in use" in second["output"]


def listener(host: str) -> dict[str, Any]:
    made = pod("own", containers=[{"name": "main", "image": "own"}])
    args = json.dumps({"name": "own", "ports": [9000], "host": host})
    made["metadata"]["annotations"] = {"k8semu/program": "k8semu.apps.http_echo:http_echo", "k8semu/args": args}
    return made


@pytest.mark.parametrize(("host", "there"), [("127.0.0.1", True), ("0.0.0.0", True), ("172.17.0.2", False)])
def test_what_counts_is_the_pod_s_localhost(tmp_path: Path, host: str, there: bool) -> None:
    """A server that is bound to the Pod's address alone is not reached, though any Pod could call it."""
    _, answer = results(
        tmp_path, [kubectl("port-forward own 9000", background=True), http("http://127.0.0.1:9000/")], listener(host)
    )
    assert (answer.get("servedBy"), answer["error"]) == (("own", "") if there else (None, "Empty reply from server"))


def test_a_pod_on_the_node_s_network_has_the_node_s_localhost(tmp_path: Path) -> None:
    own = pod("web-1", hostNetwork=True)
    _, answer, name = results(
        tmp_path, [kubectl("port-forward web-1 8080:80", background=True), http("http://127.0.0.1:8080/"),
                   kubectl("exec web-1 -c side -- curl -s -o /dev/null -w %{local_ip} 10.100.0.3:80")],
        own, pod("web-2", hostNetwork=True, nodeName="host2"),
    )  # fmt: skip
    assert (answer["servedBy"], answer["clientAddress"]) == ("web-1", "127.0.0.1")
    assert name["output"] == "10.100.0.2"


def test_many_connections_share_one_session(tmp_path: Path) -> None:
    _, answers, said = results(
        tmp_path, [{"name": "f", **kubectl("port-forward web-1 8080:80", background=True)},
                   http("http://127.0.0.1:8080/bytes/100000", count=5), {"interrupt": {"step": "f"}}], *PODS,
    )  # fmt: skip
    assert [call["bytes"] for call in answers["calls"]] == [100_000] * 5
    assert said["output"].count("Handling connection for 8080\n") == 5
    assert said["code"] == 0


def test_exec_finds_the_pod_of_a_workload_and_a_container_by_name(tmp_path: Path) -> None:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [WEB, SIDE]}}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
                  "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template}}  # fmt: skip
    by_workload, by_service, no_such, no_command = results(
        tmp_path, [kubectl("exec deploy/d -c side -- hostname"), kubectl("exec svc/plain -c main -- hostname"),
                   kubectl("exec web-1 -c nope -- true"), kubectl("exec web-1 hostname")],
        deployment, *PODS, *SERVICES,
    )  # fmt: skip
    assert by_workload["output"].startswith("d-")
    assert by_service == {"output": "web-1\n", "code": 0}
    said = "Error from server (BadRequest): container nope is not valid for pod web-1\n"
    assert no_such == {"output": said, "code": 1}
    assert "Use exec [POD] -- [COMMAND] instead" in no_command["output"]


def test_exec_carries_much_both_ways(tmp_path: Path) -> None:
    typed = "".join(f"line {number}\n" for number in range(20_000))
    (said,) = results(tmp_path, [kubectl("exec -i web-1 -c side -- cat", stdin=typed)], *PODS)
    assert said == {"output": typed, "code": 0}


def test_a_control_plane_on_the_wire_has_the_same_way_in(tmp_path: Path) -> None:
    """There the kubelets hear of their Pods from the API server, and so do their servers."""
    nodes = [{"name": f"host{n}", "address": f"10.100.0.{n + 1}/24"} for n in (1, 2)]
    _, _, said, answer, health = results(
        tmp_path, [{"wait": 1}, {**kubectl("port-forward web-1 8080:80", background=True)},
                   kubectl("exec web-2 -c side -- hostname"), http("http://127.0.0.1:8080/"),
                   http("http://10.100.0.10:6443/api/v1/nodes/host1/proxy/healthz")],
        *PODS, controlPlane="wire", nodes=nodes,
    )  # fmt: skip
    assert said == {"output": "web-2\n", "code": 0}
    assert answer["servedBy"] == "web-1"
    assert health["status"] == 200


def test_a_pod_that_is_made_anew_is_another_sandbox(tmp_path: Path) -> None:
    before, _, after = results(
        tmp_path, [kubectl("exec web-1 -c side -- hostname"), {"apply": [pod("web-3")]},
                   kubectl("exec web-3 -c side -- cat /etc/hostname")], *PODS,
    )  # fmt: skip
    assert before["code"] == 0
    assert after == {"output": "web-3\n", "code": 0}


def test_exec_on_the_command_line_reaches_into_any_scenario() -> None:
    """It needs an API server; the scenario that has none gets one on a node `master`."""
    words = ["exec", "pod-same-node", "host1", "--", "kubectl", "exec", "client", "--", "sh", "-c", "hostname; exit 3"]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert "client\n" in done.output
    assert done.return_value == 3
