"""exec and port-forward by real clients: kubectl over WebSocket and over SPDY, and Python's client library."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream
from livelab import LiveCluster

from k8semu.apps.kubectl.main import main as kubectl_main

BY_SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}
WAYS = pytest.mark.parametrize("way", [{}, BY_SPDY], ids=["websocket", "spdy"])


@pytest.fixture(scope="module")
def live() -> Iterator[LiveCluster]:
    cluster = LiveCluster()
    yield cluster
    cluster.stop()


def kubectl(live: LiveCluster, home: Path, way: dict[str, str], *words: str, typed: str = "") -> Any:
    return subprocess.run(
        [*live.command(home), *words], input=typed, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "HOME": str(home), **way},
    )  # fmt: skip


@WAYS
@pytest.mark.kubectl
def test_kubectl_exec_prints_what_the_command_prints(live: LiveCluster, tmp_path: Path, way: dict[str, str]) -> None:
    done = kubectl(live, tmp_path, way, "exec", "web", "-c", "main", "--", "cat", "/etc/hosts")
    assert (done.stdout, done.stderr, done.returncode) == ("127.0.0.1\tlocalhost\n", "", 0)


@WAYS
@pytest.mark.kubectl
def test_kubectl_exec_ends_as_the_command_ends(live: LiveCluster, tmp_path: Path, way: dict[str, str]) -> None:
    done = kubectl(live, tmp_path, way, "exec", "web", "-c", "main", "--", "sh", "-c", "echo out; cat /nope || exit 7")
    assert (done.stdout, done.returncode) == ("out\n", 7)
    assert done.stderr == "cat: /nope: No such file or directory\ncommand terminated with exit code 7\n"


@WAYS
@pytest.mark.kubectl
def test_kubectl_exec_has_its_standard_input_read(live: LiveCluster, tmp_path: Path, way: dict[str, str]) -> None:
    typed = "".join(f"line {number}\n" for number in range(20_000))
    done = kubectl(live, tmp_path, way, "exec", "-i", "web", "-c", "main", "--", "cat", typed=typed)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == typed


@WAYS
@pytest.mark.kubectl
def test_kubectl_exec_is_told_of_a_command_that_is_not_there(
    live: LiveCluster, tmp_path: Path, way: dict[str, str]
) -> None:
    done = kubectl(live, tmp_path, way, "exec", "web", "-c", "main", "--", "frob")
    assert done.returncode == 1
    assert 'exec: "frob": executable file not found in $PATH' in done.stderr


HOSTS = "127.0.0.1\tlocalhost\n"
CHOSEN = 'Defaulted container "main" out of: main, side\n'
NO_TTY = "Unable to use a TTY - input is not a terminal or the right kind of file\n"
CAT = "cat: /nope: No such file or directory\ncommand terminated with exit code 3\n"
SAID = [
    # a command line, the exit status, what is printed, what is said of it; whether kubectl before 1.31 says the same
    (("-it", "web", "--", "cat"), 0, "typed\n", CHOSEN + NO_TTY, False),
    (("-t", "web", "-c", "side", "--", "cat", "/etc/hosts"), 0, HOSTS, "", True),
    (("-qit", "web", "--", "cat"), 0, "typed\n", "", False),
    (("web", "--", "sh", "-c", "echo out; cat /nope; exit 3"), 3, "out\n", CHOSEN + CAT, False),
    (("web", "-c", "nope", "--", "true"), 1, "",
     "Error from server (BadRequest): container nope is not valid for pod web\n", True),
    (("web",), 1, "", "error: you must specify at least one command for the container\n", True),
    ((), 1, "", "error: pod, type/name or --filename must be specified\n", True),
    (("nope", "--", "true"), 1, "", 'Error from server (NotFound): pods "nope" not found\n', True),
    (("svc/web", "--", "cat", "/etc/hosts"), 0, HOSTS, CHOSEN, False),
    (("svc/nope", "--", "true"), 1, "", 'Error from server (NotFound): services "nope" not found\n', True),
    (("web", "true"), 1, "",
     "error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\n"
     "See 'kubectl exec -h' for help and examples\n", False),
    (("deploy/nope", "--", "true"), 1, "", 'Error from server (NotFound): deployments.apps "nope" not found\n', True),
    (("-n", "other", "web", "--", "true"), 1, "", 'Error from server (NotFound): namespaces "other" not found\n', True),
]  # fmt: skip


@pytest.mark.kubectl
@pytest.mark.parametrize(("words", "code", "output", "errors", "always"), SAID, ids=[" ".join(row[0]) for row in SAID])
def test_ours_says_what_the_real_kubectl_exec_says(
    live: LiveCluster, tmp_path: Path, words: tuple[str, ...], code: int, output: str, errors: str, always: bool
) -> None:
    ours = asyncio.run(kubectl_main(["exec", *words], server=live.url, stdin="typed\n"))
    assert (ours["code"], ours["output"], ours["errors"]) == (code, output, errors)
    if always or client_minor(tmp_path) >= 31:
        real = kubectl(live, tmp_path, {}, "exec", *words, typed="typed\n")
        assert (real.returncode, real.stdout, real.stderr) == (code, output, errors)


@pytest.mark.kubectl
@pytest.mark.parametrize("words", [
    ("nope", "8080:80"), ("svc/nope", "8080:80"), ("svc/web", "8080:81"), ("web", "99999:80"), ("web", "x"), ("web",),
    ("deploy/nope", "80"), (), ("web", ":0"), ("web", "8080:99999"), ("web", "a:80"),
], ids=" ".join)  # fmt: skip
def test_ours_says_what_the_real_kubectl_port_forward_says(
    live: LiveCluster, tmp_path: Path, words: tuple[str, ...]
) -> None:
    real = kubectl(live, tmp_path, {}, "port-forward", *words)
    ours = asyncio.run(kubectl_main(["port-forward", *words], server=live.url))
    assert (ours["code"], ours["output"], ours["errors"]) == (real.returncode, real.stdout, real.stderr)


@pytest.mark.kubectl
def test_kubectl_exec_into_a_container_that_is_not_there(live: LiveCluster, tmp_path: Path) -> None:
    done = kubectl(live, tmp_path, {}, "exec", "web", "-c", "nope", "--", "true")
    assert done.returncode == 1
    assert "container nope" in done.stderr


@contextmanager
def forwarding(live: LiveCluster, home: Path, way: dict[str, str], *words: str) -> Iterator[tuple[Any, int]]:
    """A real port-forward that runs, and its local port."""
    command, env = [*live.command(home), "port-forward", *words], {**os.environ, "HOME": str(home), **way}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as real:
        try:
            assert real.stdout is not None
            said = real.stdout.readline()
            found = re.search(r"Forwarding from 127\.0\.0\.1:(\d+) -> \d+", said)
            assert found, said + (real.stderr.read() if real.stderr and not said else "")
            yield real, int(found[1])
        finally:
            real.terminate()


def get(port: int, path: str = "/") -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return bytes(answer.read())


@WAYS
@pytest.mark.kubectl
def test_kubectl_port_forward_reaches_the_pod(live: LiveCluster, tmp_path: Path, way: dict[str, str]) -> None:
    with forwarding(live, tmp_path, way, "pod/web", f":{live.pod_port}") as (_, port):
        assert json.loads(get(port))["servedBy"] == "web"
        assert len(get(port, "/bytes/300000")) == 300_000


@pytest.mark.kubectl
def test_kubectl_port_forward_finds_the_pod_of_a_service(live: LiveCluster, tmp_path: Path) -> None:
    with forwarding(live, tmp_path, {}, "svc/web", ":80") as (_, port):
        assert json.loads(get(port))["clientAddress"] == "127.0.0.1"


@WAYS
@pytest.mark.kubectl
def test_kubectl_port_forward_loses_a_pod_that_does_not_listen(
    live: LiveCluster, tmp_path: Path, way: dict[str, str]
) -> None:
    with forwarding(live, tmp_path, way, "pod/web", ":1") as (real, port):
        with pytest.raises(OSError, match=r"closed|reset"):
            get(port)
        said = real.stderr.readline()
        assert "connect: connection refused" in said
        if client_minor(tmp_path) >= 23:        # an older one goes on, and forwards to nobody
            real.wait(30)
            assert "lost connection to pod" in real.stderr.read()


def client_minor(home: Path) -> int:
    """34 of kubectl 1.34."""
    said = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True, check=True,
                          env={**os.environ, "HOME": str(home)}).stdout  # fmt: skip
    return int(re.sub(r"\D", "", json.loads(said)["clientVersion"]["minor"]))


# --- Python's client library ----------------------------------------------------------------------


@pytest.fixture
def api(live: LiveCluster) -> Iterator[Any]:
    config = kubernetes.client.Configuration(host=live.url)
    with kubernetes.client.ApiClient(config) as client:
        yield kubernetes.client.CoreV1Api(client)


def test_the_python_client_runs_a_command(api: Any) -> None:
    said = stream(
        api.connect_get_namespaced_pod_exec, "web", "default", container="main",
        command=["sh", "-c", "echo here; cat /nope"], stdout=True, stderr=True, stdin=False, tty=False,
        _preload_content=False,
    )  # fmt: skip
    said.run_forever(timeout=30)
    assert said.read_stdout() == "here\n"
    assert said.read_stderr() == "cat: /nope: No such file or directory\n"
    assert said.returncode == 1


LEAKS = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""The library forgets a socket whose upgrade is refused."""


@LEAKS
def test_the_python_client_is_refused_as_an_api_error(api: Any) -> None:
    with pytest.raises(ApiException, match="404"):
        stream(api.connect_get_namespaced_pod_exec, "nix", "default", command=["true"], stdout=True)
    gc.collect()


@LEAKS
def test_what_only_older_clients_speak_is_refused_and_the_server_goes_on(live: LiveCluster, api: Any) -> None:
    """Port-forward over WebSocket channels, without SPDY in it, was never what kubectl used."""
    with pytest.raises(ApiException, match="400"):
        portforward(api.connect_get_namespaced_pod_portforward, "web", "default", ports=str(live.pod_port))
    gc.collect()
    assert api.read_namespaced_pod("web", "default").metadata.name == "web"
