"""Real clients of a real API server talk to this one over a loopback socket: the `kubernetes` package, and kubectl."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from kubernetes.client.exceptions import ApiException

from k8semu.kube.api.registry import Registry
from k8semu.kube.api.requests import Api
from k8semu.kube.api.server import LoopClock, Server
from k8semu.kube.controllers.plane import ControlPlane
from k8semu.sim.streams import Streams


class Live:
    """An API server with its controllers, in a thread of its own."""

    def __init__(self) -> None:
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._thread.start()
        self._ready.wait()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        clock = LoopClock()
        registry = Registry(clock, Streams(1))
        plane = ControlPlane(registry, clock)
        server = Server(Api(registry, clock, plane.settle))
        listening = await server.start("127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        await server.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


@pytest.fixture
def live() -> Iterator[Live]:
    server = Live()
    yield server
    server.stop()


@pytest.fixture
def api(live: Live) -> Iterator[kubernetes.client.ApiClient]:
    config = kubernetes.client.Configuration(host=f"http://127.0.0.1:{live.port}")
    with kubernetes.client.ApiClient(config) as client:
        yield client


def deployment(replicas: int = 2, image: str = "nginx:1") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "account"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "account"}},
                 "template": {"metadata": {"labels": {"app": "account"}},
                              "spec": {"containers": [{"name": "c", "image": image}]}}},
    }  # fmt: skip


def service(name: str = "account", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": "account"}, "ports": [{"port": 80}], **spec}}  # fmt: skip


def test_the_python_client_creates_reads_changes_and_deletes(api: Any) -> None:
    core = kubernetes.client.CoreV1Api(api)
    made = core.create_namespaced_service("default", service(clusterIP="10.96.0.20"))
    assert (made.spec.cluster_ip, made.spec.type, made.spec.ports[0].target_port) == ("10.96.0.20", "ClusterIP", 80)
    assert [each.metadata.name for each in core.list_namespaced_service("default").items] == ["account"]
    core.patch_namespaced_service("account", "default", {"metadata": {"labels": {"tier": "web"}}})
    found = core.list_service_for_all_namespaces(label_selector="tier in (web,db),!canary").items
    assert [each.metadata.name for each in found] == ["account"]
    read = core.read_namespaced_service("account", "default")
    read.spec.selector = {"app": "other"}
    assert core.replace_namespaced_service("account", "default", read).spec.selector == {"app": "other"}
    core.delete_namespaced_service("account", "default")
    assert core.list_namespaced_service("default").items == []


def test_the_python_client_patches_in_three_ways(api: Any) -> None:
    apps = kubernetes.client.AppsV1Api(api)
    apps.create_namespaced_deployment("default", deployment())
    strategic = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}}}}
    done = apps.patch_namespaced_deployment("account", "default", strategic)
    assert [each.image for each in done.spec.template.spec.containers] == ["nginx:2"]
    operations = [{"op": "replace", "path": "/spec/replicas", "value": 5}]
    assert apps.patch_namespaced_deployment("account", "default", operations).spec.replicas == 5
    scaled = apps.patch_namespaced_deployment_scale("account", "default", {"spec": {"replicas": 3}})
    assert scaled.spec.replicas == 3
    assert scaled.status.selector == "app=account"


def test_server_side_apply_makes_and_merges(api: Any) -> None:
    apps = kubernetes.client.AppsV1Api(api)
    for image in ("nginx:1", "nginx:2"):
        done = apps.patch_namespaced_deployment(
            "account", "default", deployment(image=image), field_manager="me", force=True,
            _content_type="application/apply-patch+yaml",
        )  # fmt: skip
        assert done.spec.template.spec.containers[0].image == image


def test_errors_are_statuses_with_reasons_and_causes(api: Any) -> None:
    core = kubernetes.client.CoreV1Api(api)
    core.create_namespaced_service("default", service(clusterIP="10.96.0.20"))
    with pytest.raises(ApiException) as caught:
        core.create_namespaced_service("default", service("other", clusterIP="10.96.0.20"))
    body = json.loads(caught.value.body)
    assert (caught.value.status, body["reason"]) == (422, "Invalid")
    assert body["details"]["causes"] == [{
        "reason": "FieldValueInvalid", "field": "spec.clusterIPs",
        "message": 'Invalid value: ["10.96.0.20"]: failed to allocate IP 10.96.0.20: provided IP is already allocated',
    }]  # fmt: skip
    for call, code, reason in (
        (lambda: core.read_namespaced_service("nope", "default"), 404, "NotFound"),
        (lambda: core.create_namespaced_service("default", service()), 409, "AlreadyExists"),
        (lambda: core.create_namespaced_service("nowhere", service()), 404, "NotFound"),
        (lambda: core.patch_namespaced_service("account", "default", {"spec": {"ports": "x"}}), 400, "BadRequest"),
    ):
        with pytest.raises(ApiException) as caught:
            call()
        assert (caught.value.status, json.loads(caught.value.body)["reason"]) == (code, reason)


def test_a_watch_tells_changes_from_a_version_on(api: Any) -> None:
    core, watch = kubernetes.client.CoreV1Api(api), kubernetes.watch.Watch()
    before = core.list_namespaced_service("default").metadata.resource_version
    core.create_namespaced_service("default", service("a"))
    core.create_namespaced_service("default", service("b"))
    core.patch_namespaced_service("a", "default", {"metadata": {"labels": {"x": "y"}}})
    core.delete_namespaced_service("b", "default")
    seen = []
    for event in watch.stream(core.list_namespaced_service, "default", resource_version=before, timeout_seconds=30):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 4:
            watch.stop()
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


def test_a_watch_with_a_selector_sees_an_object_come_and_go(api: Any) -> None:
    core, watch = kubernetes.client.CoreV1Api(api), kubernetes.watch.Watch()
    before = core.list_namespaced_service("default").metadata.resource_version
    core.create_namespaced_service("default", service("a"))
    for value in ("y", "z"):
        core.patch_namespaced_service("a", "default", {"metadata": {"labels": {"x": value}}})
    stream = watch.stream(
        core.list_namespaced_service, "default", resource_version=before, label_selector="x=y", timeout_seconds=30
    )
    assert [next(stream)["type"], next(stream)["type"]] == ["ADDED", "DELETED"]
    watch.stop()


def test_a_watch_from_a_version_that_is_forgotten_says_so(api: Any) -> None:
    core = kubernetes.client.CoreV1Api(api)
    for i in range(1001):
        core.create_namespaced_config_map("default", {"metadata": {"name": f"c{i}"}, "data": {}})
    with pytest.raises(ApiException) as caught:
        next(kubernetes.watch.Watch().stream(core.list_namespaced_config_map, "default", resource_version="1"))
    assert caught.value.status == 410


def test_all_kinds_are_found_by_two_requests_where_a_client_takes_the_aggregated_form(live: Live) -> None:
    form = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    found: dict[str, tuple[str, list[str]]] = {}
    for path in ("api", "apis"):
        url, accept = f"http://127.0.0.1:{live.port}/{path}", {"Accept": f"{form},application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, headers=accept)) as answer:
            assert answer.headers["Content-Type"] == form
            said = json.load(answer)
        assert (said["kind"], said["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
        for group in said["items"]:
            for row in group["versions"][0]["resources"]:
                subs = [sub["subresource"] for sub in row.get("subresources", ())]
                found[row["resource"]] = (group["metadata"].get("name", ""), subs)
    assert found["services"] == ("", ["status"])
    assert found["deployments"] == ("apps", ["status", "scale"])
    assert {"pods", "endpointslices", "ingresses", "leases"} <= found.keys()


@pytest.mark.parametrize("asked", [{}, {"timeout_seconds": 1, "watch": True}])
def test_a_version_that_has_yet_to_come_is_refused_at_once(api: Any, asked: dict[str, Any]) -> None:
    core = kubernetes.client.CoreV1Api(api)
    with pytest.raises(ApiException) as caught:
        core.list_namespaced_config_map("default", resource_version="999999", **asked)
    said = json.loads(caught.value.body)
    assert (caught.value.status, said["reason"]) == (504, "Timeout")
    assert said["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_a_list_is_of_now_and_of_no_exact_version_of_before(api: Any) -> None:
    core = kubernetes.client.CoreV1Api(api)
    before = core.list_namespaced_config_map("default").metadata.resource_version
    core.create_namespaced_config_map("default", {"metadata": {"name": "c"}})
    assert len(core.list_namespaced_config_map("default", resource_version=before).items) == 1
    for version, code in ((before, 410), ("abc", 400)):
        with pytest.raises(ApiException) as caught:
            core.list_namespaced_config_map("default", resource_version=version, resource_version_match="Exact")
        assert caught.value.status == code


def test_a_list_comes_in_pages(api: Any) -> None:
    core = kubernetes.client.CoreV1Api(api)
    for i in range(5):
        core.create_namespaced_config_map("default", {"metadata": {"name": f"c{i}"}})
    first = core.list_namespaced_config_map("default", limit=2)
    assert ([each.metadata.name for each in first.items], first.metadata.remaining_item_count) == (["c0", "c1"], 3)
    rest = core.list_namespaced_config_map("default", _continue=first.metadata._continue)
    assert [each.metadata.name for each in rest.items] == ["c2", "c3", "c4"]


def test_controllers_act_on_what_a_client_writes(api: Any) -> None:
    core, apps = kubernetes.client.CoreV1Api(api), kubernetes.client.AppsV1Api(api)
    core.create_node({"metadata": {"name": "host1"}})
    apps.create_namespaced_deployment("default", deployment(3))
    pods = core.list_namespaced_pod("default", field_selector="spec.nodeName=host1").items
    assert len(pods) == 3
    name = pods[0].metadata.name
    status = {"phase": "Running", "podIP": "172.17.0.2", "conditions": [{"type": "Ready", "status": "True"}]}
    core.patch_namespaced_pod_status(name, "default", {"status": status})
    core.create_namespaced_service("default", service())
    (only,) = kubernetes.client.DiscoveryV1Api(api).list_namespaced_endpoint_slice("default").items
    assert [(each.addresses, each.conditions.ready) for each in only.endpoints] == [(["172.17.0.2"], True)]
    gone = core.delete_namespaced_pod(name, "default")
    assert gone.metadata.deletion_timestamp is not None
    core.delete_namespaced_pod(name, "default", grace_period_seconds=0)
    assert name not in [each.metadata.name for each in core.list_namespaced_pod("default").items]


@pytest.mark.parametrize(
    "said",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /api/v1/namespaces/default/services HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nnot json!",
        b"GET /api/v1/pods?watch=1&resourceVersion=x HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_the_server_goes_on(live: Live, api: Any, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as sock:
        sock.sendall(said)
        assert sock.recv(100).startswith(b"HTTP/1.1 400")
    assert kubernetes.client.VersionApi(api).get_code().minor == "34"


@pytest.mark.kubectl
def test_kubectl_applies_reads_and_deletes(live: Live, tmp_path: Path) -> None:
    """An unmodified kubectl: discovery, client-side apply, tables, scale, deletion with its waiting."""

    def kubectl(*words: str, code: int = 0) -> str:
        command = ["kubectl", f"--server=http://127.0.0.1:{live.port}", f"--cache-dir={tmp_path}", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, "HOME": str(tmp_path)})  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    manifest = tmp_path / "all.json"
    items = [deployment(), service(clusterIP="10.96.0.20")]
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    apply = ("apply", "--validate=false", "-f", str(manifest))   # it asks for schemas otherwise: kubectl 1.20
    assert kubectl(*apply).splitlines() == ["deployment.apps/account created", "service/account created"]
    assert kubectl(*apply).splitlines() == ["deployment.apps/account unchanged", "service/account unchanged"]
    items[0] = deployment(3, "nginx:2")
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    assert kubectl(*apply).splitlines() == ["deployment.apps/account configured", "service/account unchanged"]
    header, row = kubectl("get", "svc", "-o", "wide").splitlines()
    assert header.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"]
    assert row.split()[:5] == ["account", "ClusterIP", "10.96.0.20", "<none>", "80/TCP"]
    assert kubectl("get", "deploy", "account", "-o", "jsonpath={.spec.template.spec.containers[0].image}") == "nginx:2"
    kubectl("scale", "deploy/account", "--replicas=1")
    assert kubectl("get", "deploy", "account", "-o", "jsonpath={.spec.replicas}") == "1"
    kubectl("label", "svc", "account", "tier=web")
    assert kubectl("get", "svc", "-l", "tier=web", "-o", "name").strip() == "service/account"
    assert "(NotFound)" in kubectl("get", "svc", "nope", code=1)
    kubectl("delete", "deploy,svc", "account")
    assert kubectl("get", "deploy,rs,pods,svc", "-o", "name") == ""


@pytest.mark.kubectl
def test_kubectl_watches_what_changes(live: Live, api: Any, tmp_path: Path) -> None:
    """An unmodified `kubectl get --watch`: the list first, then a row for each change, as it comes."""
    core = kubernetes.client.CoreV1Api(api)
    core.create_namespaced_service("default", service(clusterIP="10.96.0.20"))
    command = ["kubectl", f"--server=http://127.0.0.1:{live.port}", f"--cache-dir={tmp_path}", "get", "svc", "--watch"]
    env = {**os.environ, "HOME": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as proc:
        assert proc.stdout is not None
        head, first = (proc.stdout.readline().split() for _ in range(2))
        assert head[:4] == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP"]
        assert first[:3] == ["account", "ClusterIP", "10.96.0.20"]
        core.patch_namespaced_service("account", "default", {"spec": {"type": "NodePort"}})
        assert proc.stdout.readline().split()[:2] == ["account", "NodePort"]
        other = {**service(clusterIP="10.96.0.21"), "metadata": {"name": "other"}}
        core.create_namespaced_service("default", other)
        assert proc.stdout.readline().split()[:3] == ["other", "ClusterIP", "10.96.0.21"]
        proc.terminate()
