"""Any request is answered by a registry, with a status of its own: never a crash, and never a lie about the rest."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from k8semu.apps.registry import eureka_codec as codec
from k8semu.apps.registry.clock import Clock
from k8semu.apps.registry.consul import Agent
from k8semu.apps.registry.consul_server import Consul
from k8semu.apps.registry.eureka import Registry
from k8semu.apps.registry.eureka_server import Eureka
from k8semu.apps.registry.http import Answer, Handler, Request
from k8semu.apps.registry.nacos_server import Nacos
from k8semu.sim.clock import Clock as SimClock
from k8semu.sim.loop import SimLoop

METHODS = st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"])
WORDS = [
    "eureka", "v2", "apps", "delta", "ACCOUNT", "a", "status", "metadata", "vips", "instances",
    "v1", "agent", "service", "register", "deregister", "check", "pass", "update", "health", "catalog", "services",
    "nacos", "ns", "instance", "beat", "list",
]  # fmt: skip
KEYS = [
    "instance", "instanceId", "hostName", "app", "port", "$", "@enabled", "status", "leaseInfo", "durationInSecs",
    "metadata", "ID", "Name", "Check", "Checks", "TTL", "Status", "Tags", "Meta", "Weights", "Passing", "Port",
    "serviceName", "ip", "weight", "beat", "udpPort", "clientIP", "index", "wait", "passing", "value", "pageNo",
    "pageSize", "lastDirtyTimestamp",
]  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6),
    st.sampled_from(["ACCOUNT", "a", "1", "10s", "UP", "passing", "true", "172.17.0.3", "\ud800", "é", "<", "&"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=4)), inner)
    ),
    max_leaves=10,
)
ACCOUNT = {
    "hostName": "a", "app": "ACCOUNT", "Name": "a", "ID": "a", "Check": {"TTL": "10s"}, "serviceName": "a",
    "ip": "172.17.0.3", "port": 8080,
}  # fmt: skip
BODIES = st.one_of(
    st.binary(max_size=40),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4).map(lambda m: json.dumps({**ACCOUNT, **m}).encode()),
    st.dictionaries(st.sampled_from(KEYS), st.text(max_size=6), max_size=4).map(
        lambda more: ("<instance>" + "".join(f"<{k}>{v}</{k}>" for k, v in more.items()) + "</instance>").encode(
            "utf-8", "replace"
        )
    ),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
REQUESTS = st.builds(
    Request,
    METHODS,
    st.lists(st.one_of(st.sampled_from(WORDS), st.sampled_from(["%ff", "%2F", "a%20b", ""])), max_size=6).map(
        lambda words: "/" + "/".join(words)
    ),
    st.dictionaries(st.sampled_from(KEYS), st.one_of(TEXTS, st.sampled_from(["a", "80", "172.17.0.3"])), max_size=5),
    st.dictionaries(
        st.sampled_from(["content-type", "accept"]),
        st.sampled_from(["application/json", "application/xml", "application/x-www-form-urlencoded", "*/*"]),
    ),
    BODIES,
)
PREFIXES = ("/eureka/apps/ACCOUNT", "/v1/agent/service/register", "/nacos/v1/ns/instance", "/nacos/v1/ns/instance/beat")


def play(requests: list[Request], server: Any) -> list[Answer]:
    """Ask them all, in simulated time."""
    loop = SimLoop(SimClock())

    async def main() -> list[Answer]:
        handler, close = server()
        try:
            return [await asyncio.wait_for(handler(request), 700) for request in requests]
        finally:
            close()

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def eureka() -> tuple[Handler, Any]:
    clock = Clock()
    return Eureka(Registry(clock.now, clock.stamp), 0).answer, lambda: None


def consul() -> tuple[Handler, Any]:
    agent = Agent(Clock().now)
    return Consul(agent).answer, agent.close


def nacos() -> tuple[Handler, Any]:
    return Nacos(Clock()).answer, lambda: None


@settings(max_examples=150, deadline=None)
@given(st.lists(REQUESTS, max_size=4), st.lists(BODIES, max_size=4), st.sampled_from([eureka, consul, nacos]))
def test_any_request_is_answered(requests: list[Request], bodies: list[bytes], server: Any) -> None:
    json_type = {"content-type": "application/json"}
    aimed = [
        Request("PUT" if "v1/" in path or "beat" in path else "POST", path, {}, json_type, body)
        for body in bodies for path in PREFIXES
    ]  # fmt: skip
    lists = [Request("GET", path, {}, {"accept": accept}) for path in (
        "/eureka/apps", "/eureka/apps/delta", "/v1/catalog/services", "/v1/health/service/a", "/v1/agent/checks",
    ) for accept in ("application/json", "application/xml")]  # fmt: skip
    answers = play([*requests, *aimed, *lists], server)
    assert all(answer.status in (200, 204, 400, 404, 405, 415, 500) for answer in answers)
    for answer in answers:
        if answer.kind == "application/json":
            json.loads(answer.body)
        elif answer.kind == "application/xml":
            codec.from_xml(b"<instance>" + answer.body + b"</instance>")


@settings(max_examples=150, deadline=None)
@given(BODIES)
def test_what_is_read_as_an_instance_is_written_and_read_again_as_the_same(body: bytes) -> None:
    for read in (codec.from_json, codec.from_xml):
        try:
            instance = read(body)
        except codec.CodecError:
            continue
        instance.instance_id = instance.id  # as it is written
        again = codec.from_json(codec.to_json(instance))
        assert again == instance
        codec.from_xml(codec.to_xml(instance))


@settings(max_examples=100, deadline=None)
@given(BODIES)
def test_a_list_is_read_or_refused(body: bytes) -> None:
    try:
        codec.applications_from_json(body)
    except codec.CodecError:
        return
