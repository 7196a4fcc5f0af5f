"""What else is read with kubectl: it watches, and says of the cluster and of itself what the real one says."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from livelab import LiveCluster, told
from test_api_server import Live, service
from test_kubectl_describe import version
from test_kubectl_into_pods import PODS, kubectl, results

from k8semu.apps.kubectl.main import main
from k8semu.apps.terminal import Terminal, current_terminal

DNS = told("Service", "kube-dns", spec={"type": "ClusterIP", "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]},
           meta={"namespace": "kube-system", "labels": {"kubernetes.io/cluster-service": "true",
                                                        "kubernetes.io/name": "CoreDNS"}})  # fmt: skip


@pytest.fixture(scope="module")
def live() -> Iterator[LiveCluster]:
    cluster = LiveCluster()
    cluster.tell(DNS)
    yield cluster
    cluster.stop()


@pytest.mark.kubectl
@pytest.mark.parametrize("line", ["api-versions", "cluster-info", "config view", "config current-context", "top pods",
                                  "top nodes", "get svc,pods -A --watch"])  # fmt: skip
def test_it_is_said_as_kubectl_says_it(live: LiveCluster, tmp_path: Path, line: str) -> None:
    real = subprocess.run([*live.command(tmp_path), *line.split()], capture_output=True, text=True, timeout=60,
                          check=False, env={**os.environ, "HOME": str(tmp_path)})  # fmt: skip
    said = asyncio.run(main(line.split(), server=live.url))
    colourless = re.sub(r"\x1b\[[0-9;]*m", "", real.stdout)          # before 1.33
    if version() < (1, 22):
        return                                                      # the control plane is called otherwise, too
    assert (said["output"], said["errors"], said["code"]) == (colourless, real.stderr, real.returncode)


@pytest.mark.kubectl
def test_a_watch_prints_the_rows_of_kubectl(tmp_path: Path) -> None:
    """Both look on while a Service comes, changes and goes."""
    live = Live()
    command = ["kubectl", f"--server=http://127.0.0.1:{live.port}", f"--cache-dir={tmp_path}"]
    config = kubernetes.client.Configuration(host=f"http://127.0.0.1:{live.port}")

    def change() -> None:
        with kubernetes.client.ApiClient(config) as client:
            core = kubernetes.client.CoreV1Api(client)
            core.create_namespaced_service("default", service("a-longer-name", clusterIP="10.96.0.21"))
            core.patch_namespaced_service("a-longer-name", "default", {"spec": {"type": "NodePort"}})
            core.delete_namespaced_service("a-longer-name", "default")

    async def ours(lines: int) -> str:
        screen = Terminal()
        current_terminal.set(screen)
        task = asyncio.ensure_future(main(["get", "svc", "-w"], server=f"http://127.0.0.1:{live.port}"))
        await screen.first_word()
        await asyncio.to_thread(change)
        while "".join(screen.output).count("\n") < lines:
            await asyncio.wait((task,), timeout=0.01)
        task.cancel()
        return str((await task)["output"])

    try:
        with kubernetes.client.ApiClient(config) as client:
            kubernetes.client.CoreV1Api(client).create_namespaced_service("default", service(clusterIP="10.96.0.20"))
        env = {**os.environ, "HOME": str(tmp_path)}
        with subprocess.Popen([*command, "get", "svc", "-w"], stdout=subprocess.PIPE, text=True, env=env) as proc:
            assert proc.stdout is not None
            head = [proc.stdout.readline() for _ in range(2)]
            said = asyncio.run(ours(5))
            real = "".join([*head, *(proc.stdout.readline() for _ in range(3))])
            proc.terminate()
    finally:
        live.stop()
    ages = re.compile(r"\b\d+s$", re.MULTILINE)
    assert said.count("\n") == 5
    assert ages.sub("0s", said) == ages.sub("0s", real)


def events_of(text: str) -> list[tuple[str, ...]]:
    """(type, reason, from, message) of what a description ends with."""
    rows = text.partition("\nEvents:\n")[2].splitlines()[2:]
    return [(*(cells := re.split(" {2,}", row.strip()))[:2], *cells[3:]) for row in rows]


def test_events_tell_how_a_pod_came_up_and_goes(tmp_path: Path) -> None:
    """One that names its node was not scheduled; one that nobody takes waits for a node."""
    free, lost = ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {**spec, "containers": [
        {"name": "main", "image": "nginx:1.27"}]}} for name, spec in (
        ("free", {}), ("lost", {"nodeSelector": {"disk": "ssd"}})))  # fmt: skip
    sleepy = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sleepy"}, "spec": {"containers": [
        {"name": "main", "image": "nginx", "lifecycle": {"preStop": {"sleep": {"seconds": 3}}}}]}}  # fmt: skip
    steps: list[dict[str, Any]] = [
        kubectl("describe pod free"), {"apply": [lost]}, kubectl("describe pod lost"), kubectl("describe pod web-1"),
        {"delete": {"object": "pod/sleepy"}}, kubectl("get events --field-selector involvedObject.name=sleepy"),
    ]  # fmt: skip
    came, _, waits, pinned, _, gone = results(tmp_path, steps, free, sleepy, *PODS)
    ours = "spec.containers{main}: "
    up = [("Normal", "Pulled", "kubelet", f'{ours}Container image "nginx:1.27" already present on machine'),
          ("Normal", "Created", "kubelet", f"{ours}Created container: main"),
          ("Normal", "Started", "kubelet", f"{ours}Started container main")]  # fmt: skip
    bound = ("Normal", "Scheduled", "default-scheduler", "Successfully assigned default/free to host1")
    assert events_of(came["output"]) == [bound, *up]
    ((kind, reason, source, why),) = events_of(waits["output"])
    assert (kind, reason, source) == ("Warning", "FailedScheduling", "default-scheduler")
    assert why.startswith("0/3 nodes are available: ")
    assert [row[1] for row in events_of(pinned["output"])] == ["Pulled", "Created", "Started"] * 2
    last = gone["output"].splitlines()[-1]
    assert re.split(" {2,}", last)[1:] == ["Normal", "Killing", "pod/sleepy", "Stopping container main"]


def test_what_keeps_a_container_from_starting_is_said_once(tmp_path: Path) -> None:
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "nowhere", "key": "a"}}}]
    web = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
           "spec": {"containers": [{"name": "main", "image": "nginx", "env": env}]}}  # fmt: skip
    _, said = results(tmp_path, [{"apply": [web]}, kubectl("describe pod web")])
    rows = events_of(said["output"])
    assert [row[:3] for row in rows] == [
        ("Normal", "Scheduled", "default-scheduler"), ("Warning", "Failed", "kubelet"),
    ]  # fmt: skip
    assert rows[1][3] == 'Error: configmap "nowhere" not found'


def test_endpoints_are_watched_while_pods_go(tmp_path: Path) -> None:
    services = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}  # fmt: skip
    steps: list[dict[str, Any]] = [
        kubectl("get endpoints web -w", background=True), {"delete": {"object": "pod/web-2"}},
        {"interrupt": {"step": "kubectl 1"}},
    ]  # fmt: skip
    first, _, said = results(tmp_path, steps, *PODS, services)
    head, row, *more = said["output"].splitlines()
    assert first["output"].splitlines() == [head, row]
    assert [head.split(), row.split()[:2]] == [["NAME", "ENDPOINTS", "AGE"], ["web", "172.17.0.2:80,172.17.1.2:80"]]
    assert more[-1].split()[:2] == ["web", "172.17.0.2:80"]
    assert said["code"] == 130
