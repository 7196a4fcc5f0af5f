"""`kubectl logs`: the real kubectl reads logs from these servers, and the emulated one says the same."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_calls import k8semu
from hypothesis import given
from hypothesis import strategies as st
from livelab import LiveCluster
from test_kubectl_describe import version
from test_kubectl_into_pods import PODS, WEB, kubectl, pod, results

from k8semu.apps.container_log import ContainerLog
from k8semu.apps.kubectl.main import main
from k8semu.kube.kubelet.logs import Options, read


@pytest.fixture(scope="module")
def live() -> Iterator[LiveCluster]:
    cluster = LiveCluster()
    yield cluster
    cluster.stop()


LINES = (
    "web -c main", "pod/web -c main --tail=2", "web main --tail=0", "web -c main --timestamps", "web", "web -c side",
    "web -c main --limit-bytes=6", "web -c main --since-time=2026-01-01T00:00:08Z", "web -c main -p", "nothing",
    "web -c nothing", "", "web main -c main", "web -l app=web", "-l app=web -c main", "-l app=nothing",
    "web --all-containers", "web -c main --tail=-2", "web -c main --limit-bytes=-1", "web -c main --prefix",
    "svc/nothing", "web -n nowhere", "web -c main --since=1x", "web -c main --tail=x", "web main side",
)


OLDER = {
    "nothing": (1, 31), "svc/nothing": (1, 31), "web -n nowhere": (1, 31), "web": (1, 22), "-l app=nothing": (1, 22),
}  # fmt: skip
"""What kubectls before a version say in other words: there they are not asked."""


@pytest.mark.kubectl
@pytest.mark.parametrize("line", LINES)
def test_logs_are_what_kubectl_prints(live: LiveCluster, tmp_path: Path, line: str) -> None:
    words = ["logs", *line.split()]
    said = asyncio.run(main(words, server=live.url))
    assert said["output"] or said["errors"] or line.endswith(("--tail=0", "side"))
    if version() >= OLDER.get(line, (0,)):
        real = subprocess.run([*live.command(tmp_path), *words], capture_output=True, text=True, timeout=60,
                              check=False, env={**os.environ, "HOME": str(tmp_path)})  # fmt: skip
        heard = (real.stdout, real.stderr.lower(), real.returncode)
        assert (said["output"], said["errors"].lower(), said["code"]) == heard


@pytest.mark.kubectl
def test_a_log_is_followed_until_its_container_ends(tmp_path: Path) -> None:
    live = LiveCluster()
    try:
        command = [*live.command(tmp_path), "logs", "web", "-c", "main", "-f", "--tail=1"]
        env = {**os.environ, "HOME": str(tmp_path)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as it:
            assert it.stdout is not None
            assert it.stdout.readline() == "thr\u00e9e\n"
            live.loop.call_soon_threadsafe(live.written.line, "four")
            assert it.stdout.readline() == "four\n"
            live.loop.call_soon_threadsafe(live.written.end)
            assert (it.stdout.read(), it.wait(30)) == ("", 0)
    finally:
        live.stop()


# --- in the emulator --------------------------------------------------------------------------------

CALL = {"http": {"from": "host1", "url": "http://172.17.0.2/page?x=1"}}


@pytest.mark.parametrize(("image", "line"), [
    ("nginx:1.27", '172.17.0.1 - - [01/Jan/2026:00:00:00 +0000] "GET /page?x=1 HTTP/1.1" 200 {size} "-" "{agent}" "-"'),
    ("httpd", '172.17.0.1 - - [01/Jan/2026:00:00:00 +0000] "GET /page?x=1 HTTP/1.1" 200 {size}'),
    ("hashicorp/http-echo",
     '2026/01/01 00:00:00 172.17.0.1:{port} 172.17.0.2 "GET /page?x=1 HTTP/1.1" 200 {size} "{agent}" 0s'),
])  # fmt: skip
def test_a_server_writes_the_access_log_of_its_image(tmp_path: Path, image: str, line: str) -> None:
    web = pod("web-1", containers=[{"name": "main", "image": image, "ports": [{"containerPort": 80}]}])
    _, said = results(tmp_path, [CALL, kubectl("logs web-1")], web)
    pattern = re.escape(line).replace(r"\{size\}", r"\d+").replace(r"\{agent\}", "[^\"]+").replace(r"\{port\}", r"\d+")
    assert said["code"] == 0
    assert re.fullmatch(pattern + "\n", said["output"]), said["output"]


def test_the_ingress_controller_writes_its_own_format() -> None:
    said = k8semu("exec", "ingress-host-path", "host1", "--", "kubectl", "logs", "ingress")
    found, missing = (re.escape(text) for text in (
        '203.0.113.10 - - [01/Jan/2026:00:00:00 +0000] "GET /cart/items?sort=price HTTP/1.1" 200 450 "-" "curl/8.5.0" '
        "100 0.000 [default-cart-service-http] [] 10.96.0.21:80 450 0.000 200 ",
        '203.0.113.10 - - [01/Jan/2026:00:00:00 +0000] "GET /status/deep HTTP/1.1" 404 146 "-" "curl/8.5.0" '
        "89 0.000 [upstream-default-backend] [] - - - - ",
    ))  # fmt: skip
    for line in (found, missing):
        assert re.search(f"^{line}[0-9a-f]{{32}}$", said.out, re.MULTILINE), said.out


def test_each_leg_of_a_log_is_in_the_capture(tmp_path: Path) -> None:
    results(tmp_path, [kubectl("logs web-1 -c main --tail 3")], *PODS)
    asked = (tmp_path / "here.pcapng").read_bytes()
    assert b"GET /api/v1/namespaces/default/pods/web-1/log?container=main&tailLines=3 HTTP/1.1" in asked
    assert b"GET /containerLogs/default/web-1/main?tailLines=3 HTTP/1.1" in asked


PRINTS = {"k8semu/program": "log_programs:ticks"}


def test_what_a_program_prints_is_in_its_log_and_on_standard_error(tmp_path: Path) -> None:
    steps = [kubectl("logs web-1 -f", background=True), {"wait": 1.5}, {"interrupt": {"step": "kubectl 1"}},
             kubectl("logs web-1 --timestamps --tail 1"), kubectl("logs web-1 --since 1s")]  # fmt: skip
    web = pod("web-1", containers=[{"name": "main", "image": "mine"}])
    web["metadata"]["annotations"] = PRINTS
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        first, _, all_of_it, last, late = results(tmp_path, steps, web)
    assert (first["output"], first["code"]) == ("tick 0\nno end\n", None)
    assert all_of_it["output"] == "tick 0\nno end\ntick 1\n"
    assert last["output"] == "2026-01-01T00:00:01.000000000Z tick 1\n"
    assert late["output"] == "tick 1\n"
    assert out.getvalue() == ""
    assert err.getvalue() == "[pod/web-1/main] tick 0\n[pod/web-1/main] no end\n[pod/web-1/main] tick 1\n"


def test_a_server_of_ours_is_not_heard_on_standard_error(tmp_path: Path) -> None:
    web = pod("web-1", containers=[{"name": "main", "image": "mine"}])
    web["metadata"]["annotations"] = {"k8semu/program": "k8semu.apps.http_echo:http_echo",
                                      "k8semu/args": '{"name": "web", "ports": [80]}'}  # fmt: skip
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        _, said = results(tmp_path, [CALL, kubectl("logs web-1")], web)
    assert ('"GET /page?x=1 HTTP/1.1" 200' in said["output"], err.getvalue()) == (True, "")


def test_a_pod_that_comes_again_has_a_new_log(tmp_path: Path) -> None:
    web = pod("web-1", containers=[WEB])
    steps = [CALL, kubectl("logs web-1"), {"delete": {"object": "pod/web-1"}}, {"apply": [web]},
             kubectl("logs web-1")]  # fmt: skip
    _, before, _, _, after = results(tmp_path, steps, web)
    assert before["output"].count("\n") == 1
    assert (after["output"], after["code"]) == ("", 0)


def test_a_log_that_goes_on_is_refused_in_the_foreground() -> None:
    said = k8semu("exec", "service-clusterip", "host1", "--", "kubectl", "logs", "-f", "account-1")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: kubectl logs goes on until it is interrupted")


# --- lines ------------------------------------------------------------------------------------------


def written(texts: list[str]) -> ContainerLog:
    times = iter(range(0, 1 << 62, 1_000_000_000))
    log = ContainerLog(lambda: next(times))
    for text in texts:
        log.put(f"{text}\n", "stdout")
    return log


def all_of(log: ContainerLog, query: str, now: int = 0) -> str:
    async def pieces() -> list[bytes]:
        return [data async for data in read(log, Options.read(query, now))]

    return b"".join(asyncio.run(pieces())).decode()


@given(st.lists(st.text(alphabet="ab\u00e9 ", max_size=5), max_size=8), st.integers(0, 10))
def test_a_tail_is_the_end_of_the_log(texts: list[str], count: int) -> None:
    whole = all_of(written(texts), "")
    assert whole == "".join(f"{text}\n" for text in texts)
    tail = all_of(written(texts), f"tailLines={count}")
    assert whole.endswith(tail)
    assert tail.count("\n") == min(count, len(texts))


def test_lines_are_chosen_by_their_age() -> None:
    log = written(["a", "b", "c"])
    assert all_of(log, "sinceSeconds=1", now=2_000_000_000) == "b\nc\n"
    assert all_of(log, "sinceTime=2026-01-01T00:00:02Z&timestamps=true") == "2026-01-01T00:00:02.000000000Z c\n"


@pytest.mark.parametrize("query", ["tailLines=-1", "tailLines=x", "limitBytes=0", "sinceSeconds=0",
                                   "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z"])  # fmt: skip
def test_what_makes_no_sense_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match=r"Invalid value|Forbidden"):
        Options.read(query, 0)


def test_a_line_is_one_when_it_has_ended() -> None:
    log = written([])
    for piece in ("a", "b\nc", "d"):
        log.put(piece, "stdout")
    assert [line.text for line in log.lines] == ["ab"]
    log.end()
    assert [line.text for line in log.lines] == ["ab", "cd"]
