"""`kubectl get -o jsonpath`: what a template makes is what the real kubectl makes of the same objects."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from cli_calls import k8semu
from hypothesis import given
from hypothesis import strategies as st
from test_api_server import Live, deployment, service

from k8semu.apps.kubectl.jsonpath import JsonPathError, render

TEMPLATES = [
    "{.items[*].metadata.name}", "{.items[0].spec.clusterIP}", "{.items[-1:].metadata.name}", "{.items[0:1].kind}",
    '{range .items[*]}{.metadata.name}{"\\t"}{.spec.type}{"\\n"}{end}', "plain text {.kind}",
    "{.items[*].spec.nothing}",
    '{.items[?(@.spec.clusterIP=="10.96.0.21")].metadata.name}', "{.items[?(@.metadata.labels)].metadata.name}",
    "{.items[?(@.spec.ports[0].port>80)].metadata.name}", "{.items[0].spec.ports}", "{.items[0].spec.selector}",
    "{.items[0].metadata.labels.example\\.com/tier}", "{.items[0].metadata['name','namespace']}", "{..clusterIP}",
    "{.items[0].spec.ports[0].port} and {.items[1].spec.ports[0]['targetPort']}", "{.items[*]['metadata.name']}",
    "{$.kind}", "no braces",
    '{.items[?(@.metadata.name=="two")].spec.ports[?(@.name == "b")].port}', "{.kind}{'/'}{.items[0].kind}",
]  # fmt: skip
BROKEN = ["{.items", "{.items[0", '{"open}', "{.items[?(@.a==)]}", "{range .items[*]}{.kind}", "{end}", "{.items[x]}"]


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    server = Live()
    config = kubernetes.client.Configuration(host=f"http://127.0.0.1:{server.port}")
    with kubernetes.client.ApiClient(config) as client:
        core = kubernetes.client.CoreV1Api(client)
        one = service("one", clusterIP="10.96.0.21")
        one["metadata"]["labels"] = {"example.com/tier": "web"}
        core.create_namespaced_service("default", one)
        ports = [{"name": "a", "port": 81}, {"name": "b", "port": 82}]
        core.create_namespaced_service("default", service("two", clusterIP="10.96.0.22", ports=ports))
        kubernetes.client.AppsV1Api(client).create_namespaced_deployment("default", deployment())
    yield server
    server.stop()


def kubectl(live: Live, home: Path, *words: str) -> str:
    command = ["kubectl", f"--server=http://127.0.0.1:{live.port}", f"--cache-dir={home}", "get", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "HOME": str(home)}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.kubectl
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_gives_what_kubectl_gives(live: Live, tmp_path: Path, template: str) -> None:
    objects: Any = json.loads(kubectl(live, tmp_path, "svc", "-o", "json"))
    assert render(template, objects) == kubectl(live, tmp_path, "svc", "-o", f"jsonpath={template}")


def test_a_range_stands_in_a_range() -> None:      # old kubectls lose their way there
    objects = {"items": [{"ports": [80, 81]}, {"ports": []}, {"ports": [82]}]}
    assert render('{range .items[*]}{range .ports[*]}{.}{" "}{end}{"|"}{end}', objects) == "80 81 ||82 |"


@pytest.mark.parametrize("template", BROKEN)
def test_a_template_that_is_none_is_refused_by_one_line(template: str) -> None:
    said = k8semu("exec", "service-clusterip", "host1", "--", "kubectl", "get", "pods", "-o", f"jsonpath={template}")
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert said.err.startswith(f"error: error parsing jsonpath {template}, ")


def test_the_emulated_kubectl_takes_one() -> None:
    words = ("kubectl", "get", "pods", "-l", "app=account", "-o", "jsonpath={.items[*].status.podIP}")
    said = k8semu("exec", "service-clusterip", "host1", "--", *words)
    assert (said.code, said.out) == (0, "172.17.0.3 172.17.0.4 172.17.1.2 172.17.1.3")


@given(st.text(alphabet="{}[].*'\"@?()=<>!ab01,:$\\ |range end", max_size=40))
def test_any_template_gives_text_or_is_refused(template: str) -> None:
    with contextlib.suppress(JsonPathError):
        assert isinstance(render(template, {"a": [{"b": 1}, {"b": "x"}], "items": []}), str)
