"""A real kubectl, and ours, before the API server's doors: over loopback sockets, and in a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import certificate
from livelab import LiveCluster, service

from k8semu.apps.kubectl.main import main as kubectl_main
from k8semu.scenario.load import find, parse
from k8semu.scenario.run import run

PROXIED = "/api/v1/namespaces/default/services/web:http/proxy"


@pytest.fixture
def live() -> Iterator[LiveCluster]:
    cluster = LiveCluster()
    yield cluster
    cluster.stop()


def get(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_service_is_reached_through_the_api_server(live: LiveCluster) -> None:
    code, said = get(f"{live.url}{PROXIED}/hello?a=b")
    assert (code, json.loads(said)["path"]) == (200, "/hello?a=b")
    assert json.loads(said)["headers"]["x-forwarded-uri"] == f"{PROXIED}/hello"
    assert json.loads(said)["headers"]["x-forwarded-for"] == "127.0.0.1"
    code, said = get(f"{live.url}{PROXIED}")       # without its slash it is sent there
    assert (code, json.loads(said)["path"]) == (200, "/")
    code, said = get(f"{live.url}/api/v1/namespaces/default/services/dead/proxy/")
    assert (code, json.loads(said)["reason"]) == (503, "ServiceUnavailable")
    assert "connect: connection refused" in json.loads(said)["message"]


@pytest.fixture
def https_port(live: LiveCluster, tmp_path: Path) -> Iterator[int]:
    """A server that speaks HTTPS only, beside the cluster's."""
    made = certificate("secure.example")
    (tmp_path / "pair.pem").write_text(made.pem + made.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
        writer.close()

    serving = asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    server = asyncio.run_coroutine_threadsafe(serving, live.loop).result(20)
    yield server.sockets[0].getsockname()[1]
    live.loop.call_soon_threadsafe(server.close)


def test_a_service_that_speaks_https_is_reached_whatever_its_certificate(live: LiveCluster, https_port: int) -> None:
    live.tell(*service("secure", https_port, "tls"))
    base = f"{live.url}/api/v1/namespaces/default/services"
    assert get(f"{base}/https:secure:tls/proxy/") == (200, "secret")
    assert get(f"{base}/secure:tls/proxy/")[0] == 503      # plain HTTP is no answer there


@pytest.mark.kubectl
def test_a_real_kubectl_asks_a_pod_through_the_api_server(live: LiveCluster, tmp_path: Path) -> None:
    done = live.kubectl(tmp_path, "get", "--raw", f"{PROXIED}/there")
    assert json.loads(done.stdout)["path"] == "/there"


@pytest.mark.kubectl
def test_a_real_kubectl_proxy_stands_before_the_api_server(live: LiveCluster, tmp_path: Path) -> None:
    command, env = [*live.command(tmp_path), "proxy", "--port=0"], {**os.environ, "HOME": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as real:
        try:
            assert real.stdout is not None
            said = real.stdout.readline()
            found = re.search(r"127\.0\.0\.1:\d+", said)
            assert found, said
            code, body = get(f"http://{found[0]}{PROXIED}/x")
            assert (code, json.loads(body)["path"]) == (200, "/x")
            assert json.loads(body)["headers"]["x-forwarded-for"] == "127.0.0.1, 127.0.0.1"
            assert get(f"http://{found[0]}/api/v1/pods", Host="evil.example")[0] == 403
        finally:
            real.terminate()


def asked(line: str, host: str = "localhost") -> str:
    return f"{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


BESIDE = [
    *(asked(f"GET {path}") for path in (
        "/version", f"{PROXIED}/a?x=1", f"{PROXIED}:nope/", "/api/v1/namespaces/default/services/nope/proxy/", "/nope",
        "/api/v1/namespaces/default/pods/web:1/proxy/", "/api/v1/namespaces/default/pods/web/exec?command=id",
        "/api/v1/namespaces/default/pods/web/attach", "/api/v1/namespaces/default/pods/web/%65xec", "//version?x=1",
        "/a/../version", "/api/v1/./namespaces/")),
    *(asked("GET /version", host) for host in (
        "127.0.0.1:1", "[::1]:8001", "evil.example", "", "localhost.evil", "LOCALHOST", "a:b:c")),
    *(asked(f"{method} {PROXIED}/") for method in ("POST", "DELETE", "HEAD", "FOO")),
    asked("HEAD /api/v1/namespaces/default/pods/web/exec"), asked("HEAD /nope"), "hello\r\n\r\n",
]  # fmt: skip


def said(port: int, raw: str) -> tuple[str, list[str], str]:
    """The status line, the header lines, the body, without what is another in each run."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(raw.encode())
        out = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    head, _, body = out.partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    body = re.sub(r'"(host|user-agent|accept-encoding|content-length)": "[^"]*", ', "", body)
    told = "/proxy/" in raw and "200" in status             # the real one asks for gzip, too
    return status, sorted(row for row in lines if not row.startswith("Date") and not (told and "Length" in row)), body


@pytest.mark.kubectl
@pytest.mark.parametrize("flags", [
    [], ["--api-prefix=/k8s"], ["--accept-paths=^/version,^/nope", "--reject-paths=x^", "--accept-hosts=^.*$"],
    ["--reject-methods=POST,DELETE"],
], ids=" ".join)  # fmt: skip
def test_ours_answers_as_the_real_kubectl_proxy(live: LiveCluster, tmp_path: Path, flags: list[str]) -> None:
    async def ours() -> list[tuple[str, list[str], str]]:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        task = asyncio.create_task(kubectl_main(["proxy", f"--port={port}", *flags], server=live.url))
        while True:
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                break
            except OSError:
                await asyncio.sleep(0)
        found = [await asyncio.to_thread(said, port, raw) for raw in BESIDE]
        task.cancel()
        await task
        return found

    command, env = [*live.command(tmp_path), "proxy", "--port=0", *flags], {**os.environ, "HOME": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as real:
        try:
            assert real.stdout is not None
            port = int(real.stdout.readline().rpartition(":")[2])
            theirs = [said(port, raw) for raw in BESIDE]
        finally:
            real.terminate()
    assert list(zip(BESIDE, asyncio.run(ours()), strict=True)) == list(zip(BESIDE, theirs, strict=True))


# --- in the emulator ----------------------------------------------------------------------------

HEAD = "hosts: [{name: user, address: 203.0.113.10/24}]\nservices: {dns: false}\nsteps:\n"


def steps(tmp_path: Path, *lines: str) -> list[dict[str, object]]:
    """The results of steps on two Pods of a Service."""
    manifests = find("kubectl-proxy").read_text().split("\n---\n", 1)[1]
    head = "".join(f"  {line}\n" for line in (HEAD + "".join(f"  - {line}\n" for line in lines)).splitlines())
    text = f"apiVersion: k8semu/v1\nkind: Scenario\nspec:\n{head}---\n{manifests}"
    loaded = parse(text, "here.yaml", "here")
    return [step.result for step in run(loaded, tmp_path).steps]


def test_a_cluster_without_a_master_gets_one_that_takes_no_pods(tmp_path: Path) -> None:
    nodes, pods = steps(
        tmp_path, 'kubectl: {from: user, command: "get nodes --no-headers"}',
        'kubectl: {from: user, command: "get pods -o wide --no-headers"}',
    )  # fmt: skip
    assert [row.split()[0] for row in str(nodes["output"]).splitlines()] == ["host1", "host2", "master"]
    assert [row.split()[6] for row in str(pods["output"]).splitlines()] == ["host1", "host2"]


def test_kubectl_get_prints_what_kubectl_prints(tmp_path: Path) -> None:
    names, one, none, wide = steps(
        tmp_path, 'kubectl: {from: user, command: "get pods,svc -l app=account -o name"}',
        'kubectl: {from: user, command: "get pod/account-1 -o json"}',
        'kubectl: {from: user, command: "get pods -n kube-public"}',
        'kubectl: {from: user, command: "get svc account-service -o wide"}',
    )  # fmt: skip
    assert names == {"output": "pod/account-1\npod/account-2\n", "code": 0}
    assert json.loads(str(one["output"]))["status"]["podIP"] == "172.17.0.2"
    assert none == {"output": "No resources found in kube-public namespace.\n", "code": 0}
    assert str(wide["output"]).splitlines()[1].split()[:5] == [
        "account-service", "ClusterIP", "10.96.0.20", "<none>", "80/TCP"]  # fmt: skip


def test_what_runs_in_the_background_is_there_until_it_is_interrupted(tmp_path: Path) -> None:
    started, there, ended, gone = steps(
        tmp_path, "name: p\n    kubectl: {from: user, command: proxy --port 9999, background: true}",
        'http: {from: user, url: "http://localhost:9999/version"}', "interrupt: {step: p}",
        'http: {from: user, url: "http://localhost:9999/version"}',
    )  # fmt: skip
    assert started == {"output": "Starting to serve on 127.0.0.1:9999\n", "code": None}
    assert there["status"] == 200
    assert ended == {"output": "Starting to serve on 127.0.0.1:9999\n", "code": 130}
    assert gone["error"] == "ECONNREFUSED"


def test_a_port_that_is_taken_is_said_at_once(tmp_path: Path) -> None:
    proxy = "kubectl: {from: user, command: proxy, background: true}"
    _, second = steps(tmp_path, f"name: a\n    {proxy}", f"name: b\n    {proxy}")
    assert second == {"output": "error: listen tcp 127.0.0.1:8001: bind: address already in use\n", "code": 1}


def test_an_api_server_on_the_wire_has_the_same_doors(tmp_path: Path) -> None:
    manifests = find("kubectl-proxy").read_text().split("\n---\n", 1)[1]
    text = f"""
spec:
  controlPlane: wire
  services: {{dns: false}}
  nodes:
    - {{name: host1, address: 10.100.0.2/24}}
    - {{name: host2, address: 10.100.0.3/24}}
    - {{name: master, address: 10.100.0.10/24}}
  steps:
    - wait: 1s
    - http: {{from: host1, url: "http://10.100.0.10:6443{PROXIED.replace("web:http", "account-service:80")}/"}}
---
{manifests}"""
    _, answer = run(parse(text, "here.yaml", "here"), tmp_path).steps
    assert (answer.result["status"], answer.result["clientAddress"]) == (200, "172.17.2.0")
