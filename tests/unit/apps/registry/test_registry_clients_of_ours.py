"""An instance registers and a client finds it: our programs against our registries, in simulated time.

One machine has a registry of each kind; account-1 to account-3 have an address each beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from k8semu.cluster.cluster import Cluster
from k8semu.cluster.journal import Program
from k8semu.linux.core.commands import AddrAdd, BridgeAdd, LinkSet, VethAdd

KINDS = {
    "eureka": ("k8semu.apps.registry.eureka_server:eureka", 8761, {"self_preservation": False, "response_cache": 0}),
    "consul": ("k8semu.apps.registry.consul_server:consul", 8500, {}),
    "nacos": ("k8semu.apps.registry.nacos_server:nacos", 8848, {}),
}
PODS = {"registry": 2, "client": 3, "account-1": 4, "account-2": 5, "account-3": 6}


class World:
    """Pods on a bridge."""

    def __init__(self, kind: str, **options: Any) -> None:
        self.kind = kind
        function, port, args = KINDS[kind]
        self.url = f"http://172.17.0.2:{port}"
        self.cluster = cluster = Cluster()
        cluster.add_netns("node")
        cluster.tell_all("node", [BridgeAdd(name="docker0"), LinkSet(name="docker0", up=True)])
        for pod, host in PODS.items():
            cluster.add_netns(pod)
            cluster.tell("node", VethAdd(name=f"v{host}", peer="eth0", peer_netns=pod))
            cluster.tell("node", LinkSet(name=f"v{host}", master="docker0", up=True))
            cluster.tell_all(pod, [AddrAdd(dev="eth0", address=f"172.17.0.{host}/24"), LinkSet(name="eth0", up=True)])
        cluster.start("registry", "registry", Program(function=function, args={**args, **options}))

    def start(self, pod: str, **more: Any) -> None:
        args = {"kind": self.kind, "registry": self.url, "service": "account", "name": pod}
        args |= {"address": f"172.17.0.{PODS[pod]}", "interval": 10, "lease": 15, **more}
        self.cluster.start(pod, pod, Program(function="k8semu.apps.registry.instance:instance", args=args))

    async def call(self, function: str, pod: str = "client", **more: Any) -> Any:
        name = more.pop("program", f"k8semu.apps.registry.{function}")
        program = Program(function=name, args={"service": "account", **more})
        return await self.cluster.call(pod, "call", program)

    async def discover(self, **more: Any) -> Any:
        return await self.call("client:discover", kind=self.kind, registry=self.url, **more)


def play(kind: str, scene: Callable[[World], Coroutine[Any, Any, None]], **options: Any) -> None:
    world = World(kind, **options)
    try:
        world.cluster.run(scene(world))
    finally:
        world.cluster.close()
    assert not world.cluster.crashes


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_calls_every_instance_in_turn(kind: str) -> None:
    async def scene(world: World) -> None:
        for number in (1, 2, 3):
            world.start(f"account-{number}", after=0.1 * number)
        await asyncio.sleep(1)
        result = await world.discover(count=6)
        assert [call["servedBy"] for call in result["calls"]] == ["account-2", "account-3", "account-1"] * 2
        assert result["shares"] == {"account-1": 2, "account-2": 2, "account-3": 2}
        assert result["calls"][0]["instance"] == "172.17.0.5:8080"
        assert (result["errors"], result["error"]) == ({}, "")

    play(kind, scene)


@pytest.mark.parametrize("kind", KINDS)
def test_heartbeats_keep_an_instance_and_silence_ends_it(kind: str) -> None:
    async def scene(world: World) -> None:
        world.start("account-1")
        world.start("account-2", after=0.1)
        await asyncio.sleep(200)
        assert (await world.discover())["instances"] == ["account-1", "account-2"]
        world.cluster.stop("account-1")
        await asyncio.sleep(120)
        assert (await world.discover())["instances"] == ["account-2"]

    play(kind, scene)


@pytest.mark.parametrize("kind", KINDS)
def test_an_instance_that_leaves_is_gone_at_once_and_registers_again_at_its_next_heartbeat(kind: str) -> None:
    async def scene(world: World) -> None:
        world.start("account-1")
        await asyncio.sleep(1)
        gone = await world.call("instance:leave", kind=kind, registry=world.url, name="account-1", address="172.17.0.4")
        assert gone == {"error": ""}
        assert (await world.discover())["instances"] == []
        await asyncio.sleep(10)
        assert (await world.discover())["instances"] == ["account-1"]

    play(kind, scene)


@pytest.mark.parametrize("kind", KINDS)
def test_instances_wait_for_a_registry_that_starts_late(kind: str) -> None:
    async def scene(world: World) -> None:
        process = world.cluster.processes["registry"]
        world.cluster.stop("registry")
        world.start("account-1")
        await asyncio.sleep(5)
        result = await world.discover()
        assert result["calls"][0]["error"] == "ECONNREFUSED"
        world.cluster.start("registry", "registry", process.program)
        await asyncio.sleep(6)
        assert (await world.discover())["instances"] == ["account-1"]

    play(kind, scene)


def test_an_empty_list_is_an_error_of_the_balancers() -> None:
    async def scene(world: World) -> None:
        result = await world.discover(count=2)
        assert [(call["error"], call["tried"]) for call in result["calls"]] == [("NO_SERVER", [])] * 2
        assert result["errors"] == {"NO_SERVER": 2}

    play("eureka", scene)


def test_a_dead_instance_costs_a_call_or_with_a_retry_only_time() -> None:
    async def scene(world: World) -> None:
        world.start("account-1")
        world.start("account-2", after=0.1)
        await asyncio.sleep(1)
        world.cluster.stop("account-1")
        result = await world.discover(count=2, retries=0)
        assert [call["error"] for call in result["calls"]] == ["", "ECONNREFUSED"]
        result = await world.discover(count=2, retries=1)
        assert [call["tried"] for call in result["calls"]] == [["account-2"], ["account-1", "account-2"]]
        assert [call["servedBy"] for call in result["calls"]] == ["account-2"] * 2

    play("eureka", scene)


def test_a_list_is_as_old_as_the_refresh_lets_it_be() -> None:
    async def scene(world: World) -> None:
        world.start("account-1")
        await asyncio.sleep(1)
        world.start("account-2", after=10)
        result = await world.discover(count=8, interval=5)
        assert [call["servedBy"] for call in result["calls"]] == ["account-1"] * 6 + ["account-2", "account-1"]
        assert [call["listAge"] for call in result["calls"]][5:] == ["25000 ms", "0 ms", "5000 ms"]

    play("consul", scene)


def test_a_eureka_client_fetches_the_whole_list_once_and_then_what_has_changed() -> None:
    async def scene(world: World) -> None:
        for number in (1, 2):
            world.start(f"account-{number}", after=0.1 * number)
        await asyncio.sleep(1)
        world.start("account-3", after=10)
        world.cluster.loop.call_later(20, world.cluster.stop, "account-1")
        result = await world.call("", program=f"{__name__}:fetch_often", url=world.url)
        assert result["lists"] == [
            ["account-1", "account-2"], ["account-1", "account-2", "account-3"], ["account-2", "account-3"]
        ]  # fmt: skip
        assert result["asked"] == ["/eureka/apps/", "/eureka/apps/delta", "/eureka/apps/delta", "/eureka/apps/"]

    play("eureka", scene)


async def fetch_often(url: str, service: str) -> dict[str, Any]:
    """Fetch at once, after 15 s, and after five minutes, when the eviction is no longer in the delta."""
    from k8semu.apps.registry.protocols import EurekaProtocol

    asked: list[str] = []

    class Watched(EurekaProtocol):
        async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
            asked.append(path)
            return await super().ask(method, path, body, **headers)

    eureka = Watched(url, service)
    lists = []
    for pause in (0, 15, 300):
        await asyncio.sleep(pause)
        lists.append([server.name for server in await eureka.fetch()])
    return {"lists": lists, "asked": asked}


def test_a_client_that_watches_consul_is_told_when_the_list_changes() -> None:
    async def scene(world: World) -> None:
        world.start("account-1")
        world.start("account-2", after=0.1)
        await asyncio.sleep(1)
        world.cluster.stop("account-2")
        result = await world.call("client:watch", registry=world.url)
        assert result == {"before": ["account-1", "account-2"], "after": ["account-1"], "error": ""}
        assert 15 < world.cluster.loop.time() < 15.2

    play("consul", scene)


def test_a_client_that_subscribes_at_nacos_is_sent_the_list() -> None:
    async def scene(world: World) -> None:
        world.start("account-1")
        await asyncio.sleep(1)
        world.start("account-2", after=2)
        result = await world.call("client:subscribe", registry=world.url, address="172.17.0.3")
        assert result == {"before": ["account-1"], "after": ["account-1", "account-2"], "error": ""}
        world.cluster.stop("registry")
        result = await world.call("client:subscribe", registry=world.url, address="172.17.0.3")
        assert result["error"] == "ECONNREFUSED"

    play("nacos", scene)


def test_consul_asks_an_instance_itself_if_its_check_is_http_or_tcp() -> None:
    async def scene(world: World) -> None:
        world.start("account-1")
        await asyncio.sleep(1)
        result = await world.call("client:watch", registry=world.url, wait=1)
        assert result["before"] == ["account-1"]
        for id, check in (("h", {"HTTP": "http://172.17.0.4:8080/"}), ("t", {"TCP": "172.17.0.4:8080"}),
                          ("d", {"TCP": "172.17.0.4:81"})):  # fmt: skip
            await world.cluster.call("client", "register", Program(
                function=f"{__name__}:register_with", args={"url": world.url, "id": id, "check": check},
            ))  # fmt: skip
        await asyncio.sleep(1)
        assert (await world.discover())["instances"] == ["account-1", "h", "t"]

    play("consul", scene)


async def register_with(url: str, id: str, check: dict[str, str], service: str = "account") -> int:
    import json

    from k8semu.apps.registry.http import call

    body = {"ID": id, "Name": service, "Address": "172.17.0.4", "Port": 8080, "Check": {**check, "Interval": "10s"}}
    return (await call("PUT", f"{url}/v1/agent/service/register", json.dumps(body).encode())).status
