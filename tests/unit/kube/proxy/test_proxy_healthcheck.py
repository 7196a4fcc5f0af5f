"""Whether a node can take traffic: what load balancers hear at its health check ports."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from proxy_objects import endpoints, service, state

from k8semu.apps.feed import Feed, current_feed
from k8semu.apps.http_client import http_get
from k8semu.apps.program import Program
from k8semu.cluster.cluster import Cluster
from k8semu.kube.proxy.healthcheck import kube_proxy_health, local_endpoints, messages, proxy_health
from k8semu.linux.core.commands import AddrAdd, LinkSet, VethAdd

LB = service(
    "shop/web", ["http:80", "https:443"], type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=31000
)  # fmt: skip


def pods(*addresses: str) -> Any:
    return endpoints(*addresses, service="shop/web", ports=["http:8080", "https:8443"])


def test_addresses_that_are_ready_here_count_once_over_all_ports() -> None:
    here = state([LB], [pods("172.17.0.2", "172.17.0.3", "172.17.0.4 notready", "172.17.0.5 ending", "172.17.1.2")])
    assert local_endpoints(here) == {"shop/web": (31000, 2)}
    assert local_endpoints(state([service(type="LoadBalancer", healthCheckNodePort=31000)], [])) == {}


def test_the_program_is_told_of_what_changed() -> None:
    none, one, gone = state([LB], []), state([LB], [pods("172.17.0.2")]), state([], [])
    assert [(m["type"], m["object"]["localEndpoints"]) for m in messages(None, none)] == [("ADDED", 0)]
    assert [(m["type"], m["object"]["localEndpoints"]) for m in messages(none, one)] == [("MODIFIED", 1)]
    assert messages(one, one) == []
    assert [m["type"] for m in messages(one, gone)] == ["DELETED"]


class Node:
    """A node where the program runs, and a load balancer that asks."""

    def __init__(self) -> None:
        self.cluster = cluster = Cluster(seed=1)
        for name in ("lb", "host1"):
            cluster.add_netns(name)
        cluster.tell("lb", VethAdd(name="eth0", peer="eth0", peer_netns="host1"))
        for name, address in (("lb", "10.100.0.1"), ("host1", "10.100.0.2")):
            cluster.tell_all(name, [AddrAdd(dev="eth0", address=f"{address}/24"), LinkSet(name="eth0", up=True)])
        cluster.start("host1", "health", Program(function="k8semu.kube.proxy.healthcheck:kube_proxy_health"))

    def tell(self, *told: dict[str, Any]) -> None:
        for message in told:
            self.cluster.feed("health", message)

    def ask(self, port: int, path: str = "/") -> Any:
        async def main() -> Any:
            await asyncio.sleep(0.001)
            program = Program(
                function="k8semu.apps.sockets:tcp_call",
                args={"host": "10.100.0.2", "port": port, "send": f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"},
            )
            return await self.cluster.call("lb", "ask", program)

        return self.cluster.run(main())


@pytest.fixture
def node() -> Iterator[Node]:
    one = Node()
    yield one
    one.cluster.close()
    assert one.cluster.crashes == []


def test_a_load_balancer_hears_how_many_endpoints_this_node_has(node: Node) -> None:
    node.tell(*messages(None, state([LB], [pods("172.17.0.2", "172.17.0.3")])))
    head, _, body = node.ask(31000)["reply"].partition("\r\n\r\n")
    assert head.split("\r\n") == [
        "HTTP/1.1 200 OK", "Content-Type: application/json", "X-Content-Type-Options: nosniff",
        "X-Load-Balancing-Endpoint-Weight: 2", "Date: Thu, 01 Jan 1970 00:00:00 GMT", f"Content-Length: {len(body)}",
    ]  # fmt: skip
    assert body == (
        '{\n\t"service": {\n\t\t"namespace": "shop",\n\t\t"name": "web"\n\t},\n'
        '\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}'
    )


def test_without_a_ready_endpoint_or_a_healthy_proxy_it_hears_503(node: Node) -> None:
    one, none = state([LB], [pods("172.17.0.2")]), state([LB], [])
    node.tell(*messages(None, none))
    assert node.ask(31000)["reply"].startswith("HTTP/1.1 503 Service Unavailable\r\n")
    node.tell(*messages(none, one), proxy_health(healthy=False))
    reply = node.ask(31000)["reply"]
    assert reply.startswith("HTTP/1.1 503")
    assert '"localEndpoints": 1,\n\t"serviceProxyHealthy": false' in reply


def test_the_port_closes_with_the_service(node: Node) -> None:
    one = state([LB], [pods("172.17.0.2")])
    node.tell(*messages(None, one))
    assert node.ask(31000)["error"] == ""
    node.tell(*messages(one, state([], [])))
    assert node.ask(31000)["error"] == "ECONNREFUSED"


def test_a_port_that_somebody_else_has_is_tried_again_with_the_next_news(node: Node) -> None:
    none, one = state([LB], []), state([LB], [pods("172.17.0.2")])
    node.cluster.start("host1", "other", Program(function="k8semu.apps.sockets:tcp_echo", args={"ports": [31000]}))
    node.ask(31000)
    node.tell(*messages(None, none))
    assert node.ask(31000)["reply"].startswith("GET"), "the other's answer"
    node.cluster.stop("other")
    node.tell(*messages(none, one))
    assert node.ask(31000)["reply"].startswith("HTTP/1.1 200 OK\r\n")
    assert node.ask(10256, "/healthz")["reply"].startswith("HTTP/1.1 200 OK\r\n")


def test_kube_proxy_says_how_it_is_at_10256(node: Node) -> None:
    reply = node.ask(10256, "/healthz")["reply"]
    assert reply.startswith("HTTP/1.1 200 OK\r\n")
    assert reply.endswith(', "nodeEligible": true}')
    assert "lastUpdated" in reply
    node.tell(proxy_health(node_eligible=False))
    assert node.ask(10256, "/healthz")["reply"].startswith("HTTP/1.1 503")
    assert node.ask(10256, "/livez")["reply"].startswith("HTTP/1.1 200")
    node.tell(proxy_health(healthy=False))
    assert node.ask(10256, "/livez")["reply"].startswith("HTTP/1.1 503")
    assert node.ask(10256, "/")["reply"].startswith("HTTP/1.1 404 Not Found")


def test_the_program_runs_on_a_real_machine_too() -> None:
    def free_port() -> int:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
            return port

    async def main() -> list[int]:
        feed = Feed()
        current_feed.set(feed)
        hc, healthz = free_port(), free_port()
        for message in messages(None, state([LB], [pods("172.17.0.2")])):
            feed.put({**message, "object": {**message["object"], "port": hc}})
        task = asyncio.ensure_future(kube_proxy_health(healthz))
        while True:
            await asyncio.sleep(0.005)
            [one] = await http_get(f"http://127.0.0.1:{hc}/")
            if one["status"]:
                break
        [other] = await http_get(f"http://127.0.0.1:{healthz}/healthz")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return [one["status"], other["status"]]

    assert asyncio.run(asyncio.wait_for(main(), 10)) == [200, 200]


def test_on_the_node_itself_kube_proxy_says_how_it_proxies(node: Node) -> None:
    args = {"healthz_port": 10300, "mode": "nftables"}
    program = Program(function="k8semu.kube.proxy.healthcheck:kube_proxy_health", args=args)
    node.cluster.start("host1", "other/kube-proxy", program)
    assert node.ask(10249, "/proxyMode")["error"] == "ECONNREFUSED", "nobody outside may ask"

    async def here(path: str) -> str:
        await asyncio.sleep(0.001)
        args = {"host": "127.0.0.1", "port": 10249, "send": f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"}
        program = Program(function="k8semu.apps.sockets:tcp_call", args=args)
        return str((await node.cluster.call("host1", "ask", program))["reply"])

    assert node.cluster.run(here("/proxyMode")).endswith("\r\n\r\nnftables")
    assert node.cluster.run(here("/healthz")).startswith("HTTP/1.1 200 OK\r\n")
    assert node.cluster.run(here("/nothing")).startswith("HTTP/1.1 404 Not Found\r\n")
