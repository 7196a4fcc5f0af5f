"""Whatever a client sends, the API server answers it, and goes on serving."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8semu.kube.api.arguments import Request
from k8semu.kube.api.patch import ACCEPTED, APPLY
from k8semu.kube.api.registry import Registry
from k8semu.kube.api.requests import Answer, Api, Watching
from k8semu.kube.api.resources import BY_KIND, RESOURCES
from k8semu.kube.api.server import Server
from k8semu.kube.controllers.plane import ControlPlane
from k8semu.sim.clock import Clock
from k8semu.sim.streams import Streams

WORDS = st.sampled_from([
    "metadata", "spec", "status", "name", "namespace", "labels", "ports", "port", "targetPort", "nodePort", "type",
    "clusterIP", "clusterIPs", "selector", "matchLabels", "matchExpressions", "template", "containers", "image",
    "replicas", "strategy", "rollingUpdate", "maxSurge", "endpoints", "addresses", "addressType", "conditions",
    "ownerReferences", "finalizers", "annotations", "rules", "http", "paths", "backend", "subsets", "taints",
    "resourceVersion", "uid", "default", "a", "10.96.0.20", "None", "NodePort", "LoadBalancer", "ExternalName",
    "IPv4", "ipFamilies", "generateName", "updateStrategy", "ordinals", "start", "readinessProbe", "loadBalancer",
    "ingress", "sessionAffinity", "ClientIP", "sessionAffinityConfig", "$patch", "replace", "delete", "25%", "x%",
])  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers(-2, 70_000) | WORDS | st.text(max_size=5) | st.floats(allow_nan=False)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12
)


def made(api: Api) -> None:
    """One object of each kind that has rules."""
    pod = {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod}
    selector = {"matchLabels": {"a": "b"}}
    specs: dict[str, dict[str, Any]] = {
        "pods": {"spec": pod}, "services": {"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}},
        **{f"{kind}s": {"spec": {"selector": selector, "template": template}}
           for kind in ("deployment", "replicaset", "statefulset", "daemonset")},
        "nodes": {"spec": {}}, "endpoints": {}, "configmaps": {}, "ingresses": {"spec": {"rules": [{"host": "a.b"}]}},
        "endpointslices": {"addressType": "IPv4", "metadata": {"labels": {"kubernetes.io/service-name": "a"}}},
    }  # fmt: skip
    for plural, parts in specs.items():
        resource = RESOURCES[plural]
        meta = {"name": "a", **parts.get("metadata", {})}
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, **parts, "metadata": meta}
        api.registry.create(plural, obj)
    api.changed()


def server() -> Api:
    clock = Clock()
    registry = Registry(clock, Streams(1))
    api = Api(registry, clock, ControlPlane(registry, clock).settle)
    made(api)
    return api


def path(plural: str, name: str) -> str:
    resource = RESOURCES[plural]
    root = f"/apis/{resource.api_version}" if resource.group else "/api/v1"
    space = "/namespaces/default" if resource.namespaced else ""
    return f"{root}{space}/{plural}" + (f"/{name}" if name else "")


PLURALS = st.sampled_from(sorted(RESOURCES))


def answered(api: Api, request: Request) -> None:
    answer = api.handle(request)
    if isinstance(answer, Answer):
        assert 200 <= answer.code < 600
        msgspec.json.encode(answer.body)
    else:
        assert isinstance(answer, Watching)


@given(PLURALS, JSON, JSON)
def test_any_object_is_kept_or_refused(plural: str, spec: Any, meta: Any) -> None:
    api, resource = server(), RESOURCES[plural]
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}
    for obj in (body, {**body, "metadata": {"name": "b"}}, spec):
        answered(api, Request("POST", path(plural, ""), msgspec.json.encode(obj)))


@given(PLURALS, st.sampled_from((*ACCEPTED, APPLY)), st.sampled_from(["", "/status", "/scale", "/binding"]), JSON)
def test_any_patch_fits_or_is_refused(plural: str, kind: str, sub: str, patch: Any) -> None:
    api = server()
    for what in (patch, {"spec": patch}, {"metadata": patch}, {"status": patch}, [patch]):
        answered(api, Request("PATCH", path(plural, "a") + sub + "?fieldManager=x", msgspec.json.encode(what),
                              content_type=kind))  # fmt: skip
        answered(api, Request("PUT", path(plural, "a") + sub, msgspec.json.encode(what)))


PORTS = [{"name": "web", "containerPort": 80, "hostPort": 8080, "protocol": "TCP"}]
PROBE = {"httpGet": {"port": "web", "path": "/"}, "periodSeconds": 5}
POD = {
    "containers": [{"name": "c", "image": "i", "ports": PORTS, "readinessProbe": PROBE, "env": [{"name": "A"}]}],
    "nodeSelector": {"a": "b"}, "tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 1}],
    "hostname": "h", "subdomain": "s", "terminationGracePeriodSeconds": 5, "nodeName": "",
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]}}},
}  # fmt: skip
WORKLOAD = {
    "replicas": 2, "minReadySeconds": 1, "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [
        {"key": "a", "operator": "In", "values": ["b"]}]},
    "template": {"metadata": {"labels": {"a": "b"}, "annotations": {"x": "y"}}, "spec": POD},
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1, "maxUnavailable": 1, "maxSurge": 0}},
    "ordinals": {"start": 1}, "serviceName": "a", "revisionHistoryLimit": 1, "paused": False,
}  # fmt: skip
WHOLE: dict[str, dict[str, Any]] = {
    "services": {"spec": {
        "type": "LoadBalancer", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "selector": {"a": "b"},
        "ports": [{"name": "a", "port": 80, "targetPort": "web", "nodePort": 30080, "protocol": "TCP"}],
        "externalIPs": ["192.0.2.1"], "sessionAffinity": "ClientIP", "ipFamilies": ["IPv4"],
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}, "externalTrafficPolicy": "Local",
        "loadBalancerSourceRanges": ["192.0.2.0/24"], "healthCheckNodePort": 30081,
        "trafficDistribution": "PreferClose", "ipFamilyPolicy": "SingleStack"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9", "ipMode": "VIP"}]}}},
    "pods": {"spec": POD, "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
                                     "conditions": [{"type": "Ready", "status": "True",
                                                     "lastTransitionTime": "2026-01-01T00:00:00Z"}]}},
    "endpointslices": {"addressType": "IPv4", "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
                       "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "hostname": "a",
                                      "targetRef": {"kind": "Pod", "uid": "u"},
                                      "hints": {"forZones": [{"name": "z"}]}}]},
    "endpoints": {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "notReadyAddresses": [{"ip": "10.0.0.2"}],
                               "ports": [{"port": 80}]}]},
    "ingresses": {"spec": {"defaultBackend": {"service": {"name": "a", "port": {"number": 80}}}, "rules": [
        {"host": "a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {
            "service": {"name": "a", "port": {"name": "web"}}}}]}}], "tls": [{"hosts": ["a.b"]}]}},
    "nodes": {"spec": {"podCIDR": "10.0.0.0/24", "taints": [{"key": "a", "effect": "NoExecute",
                                                           "timeAdded": "2026-01-01T00:00:00Z"}]},
              "status": {"conditions": [{"type": "Ready", "status": "False"}],
                         "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}},
    "leases": {"spec": {"renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 40}},
    "networkpolicies": {"spec": {"podSelector": {"matchLabels": {"a": "b"}}}},
    "configmaps": {"data": {"a": "b"}}, "namespaces": {"spec": {"finalizers": ["kubernetes"]}},
    **{f"{kind}s": {"spec": WORKLOAD} for kind in ("deployment", "replicaset", "statefulset", "daemonset")},
}  # fmt: skip
META = {
    "name": "a", "labels": {"a": "b", "kubernetes.io/service-name": "a"}, "annotations": {"x": "y"},
    "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "u", "controller": True}],
    "finalizers": ["a/b"],
}  # fmt: skip


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all parts of a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([here] if here else []), *(place for key, part in inner for place in places(part, (*here, key)))]


def changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = changed(value[place[0]], place[1:], new)
    return copy


@settings(max_examples=300)
@given(st.data())
def test_a_right_object_with_one_thing_changed_is_kept_or_refused_and_controllers_live_on(data: st.DataObject) -> None:
    plural = data.draw(st.sampled_from(sorted(WHOLE)))
    resource, api = RESOURCES[plural], server()
    whole = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": META, **WHOLE[plural]}
    obj = whole
    for _ in range(data.draw(st.integers(1, 2))):
        obj = changed(obj, data.draw(st.sampled_from(places(obj))), data.draw(LEAVES | JSON))
        if not isinstance(obj.get("metadata"), dict):
            break
    body = msgspec.json.encode(obj)
    answered(api, Request("PUT", path(plural, "a"), body))
    answered(api, Request("PUT", path(plural, "a") + "/status", body))
    answered(api, Request("DELETE", path(plural, "a")))
    answered(api, Request("POST", path(plural, ""), body))
    table = "application/json;as=Table;g=meta.k8s.io"
    answered(api, Request("GET", path(plural, "") + "?labelSelector=a=b", accept=table))


@given(
    st.lists(st.fixed_dictionaries({
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]),
        "path": st.lists(WORDS | st.sampled_from(["0", "-", "1", "~1"]), max_size=4).map(lambda p: "/" + "/".join(p)),
    }, optional={"value": JSON, "from": st.sampled_from(["/spec", "/spec/ports/0", "/metadata", "", "/x"])}),
        max_size=4),
)  # fmt: skip
def test_any_json_patch_fits_or_is_refused(operations: list[Any]) -> None:
    api = server()
    body = msgspec.json.encode(operations)
    for plural in ("services", "deployments"):
        answered(api, Request("PATCH", path(plural, "a"), body, content_type="application/json-patch+json"))


@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
    st.lists(WORDS | st.sampled_from(["api", "apis", "v1", "apps", "namespaces", "pods", "services", "%2F", ""])
             | st.text(max_size=4), max_size=8),
    st.dictionaries(st.sampled_from(["labelSelector", "fieldSelector", "limit", "continue", "watch", "resourceVersion",
                                     "timeoutSeconds", "dryRun", "gracePeriodSeconds"]), st.text(max_size=8)),
    st.binary(max_size=20),
)  # fmt: skip
def test_any_path_query_and_body_is_answered(
    method: str, parts: list[str], query: dict[str, str], body: bytes
) -> None:
    api = server()
    options = "&".join(f"{key}={value}" for key, value in query.items())
    for target in ("/" + "/".join(parts), "/api/v1/pods", "/api/v1/namespaces/default/services/a"):
        answered(api, Request(method, f"{target}?{options}", body, content_type="application/json"))


@pytest.mark.parametrize("depth", [100, 400, 900, 5000, 100_000])
def test_however_deep_an_object_is_it_is_answered(depth: int) -> None:
    api = server()
    for left, right in ((b"[", b"]"), (b'{"a":', b"}")):
        deep = left * depth + b"1" + right * depth
        body = b'{"metadata":{"name":"a"},"spec":{"x":' + deep + b"}}"
        answered(api, Request("POST", path("configmaps", ""), body))
        for kind in (*ACCEPTED, APPLY):
            answered(api, Request("PATCH", path("services", "a") + "?fieldManager=x", body, content_type=kind))


def test_every_kind_can_be_named_by_its_version() -> None:
    assert len(BY_KIND) == len(RESOURCES)


class _Writer:
    """The far end of a connection, as far as the server writes to it."""

    def __init__(self) -> None:
        self.said = b""

    def write(self, data: bytes) -> None:
        self.said += data

    async def drain(self) -> None:
        pass

    def close(self) -> None:
        pass


async def _converse(data: bytes) -> bytes:
    reader, writer = asyncio.StreamReader(), _Writer()
    reader.feed_data(data)
    reader.feed_eof()
    await Server(server())._accept(reader, writer)  # type: ignore[arg-type]
    return writer.said


@given(st.binary(max_size=200))
def test_any_bytes_on_a_connection_end_it_or_are_answered(data: bytes) -> None:
    said = asyncio.run(_converse(data))
    if said:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(said)
        assert isinstance(client.next_event(), h11.Response)


@given(st.binary(max_size=40), st.integers(0, 60))
def test_bytes_in_the_middle_of_a_request_end_it_or_are_answered(noise: bytes, at: int) -> None:
    whole = b"POST /api/v1/namespaces/default/services HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
    asyncio.run(_converse(whole[:at] + noise + whole[at:]))
