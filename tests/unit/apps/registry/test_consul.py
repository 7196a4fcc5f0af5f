"""Consul's rules: what each request is answered, when a check turns critical, who waits for what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from k8semu.apps.registry.consul import Agent
from k8semu.apps.registry.consul_codec import seconds
from k8semu.apps.registry.consul_server import Consul
from k8semu.apps.registry.http import Answer, Request
from k8semu.sim.clock import Clock
from k8semu.sim.loop import SimLoop

ACCOUNT_1 = {"ID": "account-1", "Name": "account", "Address": "172.17.0.3", "Port": 8080, "Check": {"TTL": "10s"}}


class World:
    """An agent in simulated time."""

    def __init__(self, **options: Any) -> None:
        self.agent = Agent(asyncio.get_running_loop().time, address="172.17.0.2", **options)
        self.server = Consul(self.agent)

    async def ask(self, method: str, path: str, body: Any = b"") -> Answer:
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        path, _, query = path.partition("?")
        pairs = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
        return await self.server.answer(Request(method, f"/v1{path}", pairs, {}, body))

    async def register(self, number: int = 1, **more: Any) -> int:
        account = {**ACCOUNT_1, "ID": f"account-{number}", "Address": f"172.17.0.{number + 2}", **more}
        return (await self.ask("PUT", "/agent/service/register", account)).status

    async def passing(self) -> list[str]:
        found = json.loads((await self.ask("GET", "/health/service/account?passing")).body)
        return [entry["Service"]["ID"] for entry in found]


Scene = Callable[[World], Coroutine[Any, Any, None]]


def play(scene: Scene, **options: Any) -> None:
    """Play a scene in simulated time."""
    loop = SimLoop(Clock())

    async def main() -> None:
        world = World(**options)
        try:
            await scene(world)
        finally:
            world.agent.close()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def test_a_check_is_critical_until_it_is_passed_and_again_when_its_ttl_is_over() -> None:
    async def scene(world: World) -> None:
        assert await world.register() == 200
        assert await world.passing() == []
        assert (await world.ask("PUT", "/agent/check/pass/service:account-1?note=fine")).status == 200
        await asyncio.sleep(9.9)
        assert await world.passing() == ["account-1"]
        await world.ask("PUT", "/agent/check/pass/service:account-1")
        await asyncio.sleep(9.9)
        assert await world.passing() == ["account-1"]
        await asyncio.sleep(0.2)
        assert await world.passing() == []
        (check,) = json.loads((await world.ask("GET", "/health/checks/account")).body)
        assert (check["Status"], check["Output"], check["Type"]) == ("critical", "TTL expired", "ttl")

    play(scene)


def test_a_warning_is_no_passing() -> None:
    async def scene(world: World) -> None:
        await world.register()
        await world.ask("PUT", "/agent/check/warn/service:account-1")
        assert await world.passing() == []
        (entry,) = json.loads((await world.ask("GET", "/health/service/account")).body)
        assert [check["Status"] for check in entry["Checks"]] == ["passing", "warning"]
        await world.ask("PUT", "/agent/check/update/service:account-1", {"Status": "passing", "Output": "up"})
        assert await world.passing() == ["account-1"]

    play(scene)


def test_a_blocking_query_is_answered_when_something_changes_and_not_before() -> None:
    async def scene(world: World) -> None:
        await world.register()
        await world.ask("PUT", "/agent/check/pass/service:account-1")
        index = dict((await world.ask("GET", "/health/service/account")).headers)["X-Consul-Index"]
        loop = asyncio.get_running_loop()
        start = loop.time()
        waiting = asyncio.ensure_future(world.ask("GET", f"/health/service/account?passing&index={index}&wait=1m"))
        await asyncio.sleep(3)
        await world.ask("PUT", "/agent/check/pass/service:account-1")
        await asyncio.sleep(0)
        assert not waiting.done(), "a pass that changes nothing is no change"
        answer = await waiting
        assert (loop.time() - start, json.loads(answer.body)) == (13.0, []), "the TTL ran out ten seconds later"
        assert int(dict(answer.headers)["X-Consul-Index"]) > int(index)

    play(scene)


def test_a_blocking_query_is_answered_with_the_same_index_when_its_wait_is_over() -> None:
    async def scene(world: World) -> None:
        await world.register()
        index = dict((await world.ask("GET", "/catalog/service/account")).headers)["X-Consul-Index"]
        await world.register(2, Name="other")
        start = asyncio.get_running_loop().time()
        answer = await world.ask("GET", f"/catalog/service/account?index={index}&wait=5s")
        assert asyncio.get_running_loop().time() - start == 5.0, "another service is another index"
        assert dict(answer.headers)["X-Consul-Index"] == index

    play(scene)


def test_what_is_critical_for_too_long_is_deregistered_but_not_within_a_minute() -> None:
    async def scene(world: World) -> None:
        await world.register(Check={"TTL": "10s", "DeregisterCriticalServiceAfter": "5s"})
        await asyncio.sleep(59)
        assert world.agent.reap() == []
        await asyncio.sleep(2)
        assert world.agent.reap() == ["account-1"]
        assert json.loads((await world.ask("GET", "/catalog/services")).body) == {}

    play(scene)


def test_registering_again_keeps_the_status_and_the_index() -> None:
    async def scene(world: World) -> None:
        await world.register()
        await world.ask("PUT", "/agent/check/pass/service:account-1")
        index = world.agent.index
        await world.register()
        assert (await world.passing(), world.agent.index) == (["account-1"], index)
        await world.register(Port=9090)
        assert world.agent.index == index + 1

    play(scene)


def test_catalog_and_agent_say_what_is_registered() -> None:
    async def scene(world: World) -> None:
        await world.register(2, Tags=["v2"])
        await world.register(1, Tags=["v1", "canary"], Meta={"zone": "host1"}, Weights={"Passing": 3, "Warning": 1})
        assert json.loads((await world.ask("GET", "/catalog/services")).body) == {"account": ["canary", "v1", "v2"]}
        one, two = json.loads((await world.ask("GET", "/catalog/service/account")).body)
        assert (one["ServiceID"], one["ServiceAddress"], one["ServicePort"]) == ("account-1", "172.17.0.3", 8080)
        assert (one["Address"], one["ServiceWeights"]["Passing"]) == ("172.17.0.2", 3)
        assert two["ServiceTags"] == ["v2"]
        tagged = json.loads((await world.ask("GET", "/catalog/service/account?tag=canary")).body)
        assert [service["ServiceID"] for service in tagged] == ["account-1"]
        assert list(json.loads((await world.ask("GET", "/agent/services")).body)) == ["account-1", "account-2"]
        assert list(json.loads((await world.ask("GET", "/agent/checks")).body)) == [
            "service:account-1", "service:account-2"
        ]  # fmt: skip
        assert json.loads((await world.ask("GET", "/status/leader")).body) == "172.17.0.2:8300"
        assert json.loads((await world.ask("GET", "/catalog/service/nobody")).body) == []

    play(scene)


UNKNOWN_SERVICE = 'Unknown service ID "x". Ensure that the service ID is passed, not the service name.'
UNKNOWN_CHECK = 'Unknown check ID "x". Ensure that the check ID is passed, not the check name.'


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("PUT", "/agent/service/register", b"{", 400, "Request decode failed: "),
        ("PUT", "/agent/service/register", b"[]", 400, "Request decode failed: "),
        ("PUT", "/agent/service/register", {}, 400, "Missing service name"),
        ("PUT", "/agent/service/register", {"Name": 3}, 400, "Request decode failed: "),
        ("PUT", "/agent/service/register", {"Name": "a", "Tags": [1]}, 400, "Request decode failed: "),
        ("PUT", "/agent/service/register", {"Name": "a", "Address": "0.0.0.0"}, 400, "Invalid service address"),
        ("PUT", "/agent/service/register", {"Name": "a", "Check": {}}, 400, "Invalid check: TTL must be > 0"),
        ("PUT", "/agent/service/register", {"Name": "a", "Check": {"TTL": "soon"}}, 400,
         'Request decode failed: time: invalid duration "soon"'),
        ("PUT", "/agent/service/register", {"Name": "a", "Check": {"TTL": "1s", "Interval": "1s"}}, 400,
         "Invalid check: Interval and TTL cannot both be specified"),
        ("PUT", "/agent/service/register", {"Name": "a", "Check": {"TCP": "a:1"}}, 400,
         "Invalid check: Interval must be > 0"),
        ("PUT", "/agent/service/register", {"Name": "a", "Check": {"TTL": "1s", "Status": "ok"}}, 400, "Status for"),
        ("GET", "/agent/service/register", b"", 405, "method GET not allowed"),
        ("PUT", "/agent/service/deregister/x", b"", 404, UNKNOWN_SERVICE),
        ("PUT", "/agent/check/pass/x", b"", 404, UNKNOWN_CHECK),
        ("GET", "/health/service/a?index=x", b"", 400, "Invalid index"),
        ("GET", "/health/service/a?index=1&wait=x", b"", 400, "Invalid wait time"),
        ("GET", "/health/service/a?passing=maybe", b"", 400, "Invalid value for ?passing"),
        ("POST", "/catalog/services", b"", 405, "method POST not allowed"),
        ("GET", "/nothing", b"", 404, "Invalid URL path"),
        ("GET", "/agent/nothing", b"", 404, "Invalid URL path"),
        ("GET", "/health/nothing", b"", 404, "Invalid URL path"),
    ],
)  # fmt: skip
def test_what_consul_refuses_and_how(method: str, path: str, body: Any, status: int, says: str) -> None:
    async def scene(world: World) -> None:
        answer = await world.ask(method, path, body)
        assert (answer.status, answer.body.decode()[: len(says)]) == (status, says)

    play(scene)


def test_a_check_that_is_no_ttl_check_cannot_be_passed_from_outside() -> None:
    async def scene(world: World) -> None:
        await world.register(Check={"HTTP": "http://172.17.0.3:8080/", "Interval": "10s"})
        assert (await world.ask("PUT", "/agent/check/pass/service:account-1")).status == 404

    play(scene)


def test_an_http_check_is_made_at_its_interval() -> None:
    results = [("critical", "refused"), ("passing", "200 OK")]

    async def asked(check: Any) -> tuple[str, str]:
        return results.pop(0) if results else ("passing", "200 OK")

    async def scene(world: World) -> None:
        await world.register(Check={"HTTP": "http://172.17.0.3:8080/", "Interval": "10s"})
        await asyncio.sleep(9)
        assert await world.passing() == []
        await asyncio.sleep(2)
        assert await world.passing() == ["account-1"]

    play(scene, probe=asked)


@pytest.mark.parametrize(
    ("text", "value"), [("10s", 10.0), ("1m30s", 90.0), ("500ms", 0.5), ("1.5h", 5400.0), ("0", 0.0), ("-1s", -1.0)]
)
def test_durations_are_gos(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "10", "s", "1d", "1 s", "٣s"])
def test_what_is_no_duration_is_said_in_gos_words(text: str) -> None:
    with pytest.raises(ValueError, match="time: invalid duration"):
        seconds(text)


