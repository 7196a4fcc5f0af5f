"""Clients that find their servers by DNS, and keep an address for too long, or not.

    client, web-1 172.17.0.3, web-2 172.17.0.4 on one bridge; what the name stands for changes while the client runs
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from k8semu.cluster.cluster import Cluster
from k8semu.cluster.journal import Program
from k8semu.linux.core.commands import AddrAdd, BridgeAdd, LinkSet, VethAdd

PODS = {"client": 2, "web-1": 3, "web-2": 4}
Client = Callable[..., dict[str, Any]]


@pytest.fixture
def client() -> Iterator[Client]:
    """Runs the client: at 10 s `account` becomes web-2's name, and web-1 is gone."""
    cluster = Cluster()
    cluster.add_netns("node")
    cluster.tell_all("node", [BridgeAdd(name="docker0"), LinkSet(name="docker0", up=True)])
    for pod, host in PODS.items():
        cluster.add_netns(pod)
        cluster.tell("node", VethAdd(name=f"v{host}", peer="eth0", peer_netns=pod))
        cluster.tell("node", LinkSet(name=f"v{host}", master="docker0", up=True))
        cluster.tell_all(pod, [AddrAdd(dev="eth0", address=f"172.17.0.{host}/24"), LinkSet(name="eth0", up=True)])
        if pod != "client":
            echo = Program(function="k8semu.apps.http_echo:http_echo", args={"name": pod, "ports": [80]})
            cluster.start(pod, pod, echo)
    cluster.hosts["account"] = "172.17.0.3"

    def move() -> None:
        cluster.hosts["account"] = "172.17.0.4"
        cluster.stop("web-1")

    def run(**args: Any) -> dict[str, Any]:
        cluster.loop.call_later(10, move)
        args = {"name": "account", "count": 5, "interval": 4} | args
        program = Program(function="k8semu.apps.discovery_dns:dns_client", args=args)
        result: dict[str, Any] = cluster.run(cluster.call("client", "client", program))
        return result

    run.cluster = cluster  # type: ignore[attr-defined]
    yield run
    cluster.close()


def outcome(result: dict[str, Any]) -> list[str]:
    return [call["servedBy"] or call["error"] for call in result["calls"]]


def test_who_asks_each_time_is_right_each_time(client: Client) -> None:
    result = client(cache=0)
    assert outcome(result) == ["web-1", "web-1", "web-1", "web-2", "web-2"]
    assert (result["lookups"], result["addresses"]) == (5, ["172.17.0.4"])


def test_who_keeps_to_the_ttl_is_wrong_until_it_is_over(client: Client) -> None:
    result = client(cache=5, count=10, interval=2)
    assert outcome(result) == ["web-1"] * 5 + ["ECONNREFUSED"] + ["web-2"] * 4
    assert result["lookups"] == 4


def test_who_keeps_an_address_for_ever_calls_a_dead_pod_for_ever(client: Client) -> None:
    result = client(cache=-1, count=100)
    assert outcome(result) == ["web-1"] * 3 + ["ECONNREFUSED"] * 97
    assert (result["lookups"], result["errors"]) == (1, {"ECONNREFUSED": 97})


def test_a_name_that_is_not_there_is_asked_for_again(client: Client) -> None:
    result = client(name="nobody", count=2, cache=-1)
    assert (outcome(result), result["lookups"]) == (["EAI_NONAME"] * 2, 2)


def test_the_host_header_is_the_name_and_the_call_goes_to_the_address(client: Client) -> None:
    (call,) = client(count=1)["calls"]
    assert call == {"status": 200, "servedBy": "web-1", "error": "", "instance": "172.17.0.3:80"}


def test_a_consumer_passes_answers_on_and_keeps_what_it_heard_between_requests(client: Client) -> None:
    cluster: Cluster = client.cluster  # type: ignore[attr-defined]
    args = {"name": "account", "ports": [8080], "cache": -1}
    cluster.start("client", "consumer", Program(function="k8semu.apps.discovery_dns:consumer", args=args))

    async def ask() -> dict[str, Any]:
        get = Program(function="k8semu.apps.http_client:http_get", args={"url": "http://172.17.0.2:8080/cart"})
        [result] = await cluster.call("web-2", "curl", get)
        return result

    async def main() -> list[dict[str, Any]]:
        await asyncio.sleep(1)
        before = await ask()
        cluster.hosts["account"] = "172.17.0.4"
        cluster.stop("web-1")
        await asyncio.sleep(100)
        return [before, await ask()]

    before, after = cluster.run(main())
    assert (before["status"], before["servedBy"]) == (200, "web-1")
    assert after["status"] == 502
    assert '"error": "ECONNREFUSED", "instance": "172.17.0.3:80"' in after["body"]


def test_a_client_goes_through_the_addresses_of_an_answer(client: Client) -> None:
    client.cluster.netns["client"].sockets.resolve = lambda name: ["172.17.0.3", "172.17.0.4"]  # type: ignore[attr-defined]
    assert outcome(client(rule="round-robin", interval=0.1)) == ["web-1", "web-2", "web-1", "web-2", "web-1"]
    assert outcome(client(rule="first", interval=0.1)) == ["web-1"] * 5


def test_a_rule_that_is_not_there_is_refused(client: Client) -> None:
    with pytest.raises(ValueError, match="first, round-robin"):
        client(rule="random")
