"""The userspace proxy: between emulated Pods, and over this machine's own loopback.

    client 172.17.0.2, a 172.17.0.3, b 172.17.0.4 ── docker0 172.17.0.1 on node, where the proxy runs
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from k8semu.apps.feed import Feed, current_feed
from k8semu.apps.http_client import http_get
from k8semu.apps.http_echo import http_echo
from k8semu.apps.program import Program
from k8semu.apps.sockets import udp_call, udp_echo
from k8semu.apps.userspace_proxy import Balancer, userspace_proxy
from k8semu.cluster.cluster import Cluster
from k8semu.kube.proxy.model import EndpointInfo, ProxyNode, ProxyState, ServicePortInfo, ServicePortName
from k8semu.kube.proxy.userspace import Userspace
from k8semu.linux.core.commands import AddrAdd, BridgeAdd, LinkSet, RouteAdd, Sysctl, VethAdd
from k8semu.sim.streams import Stream

PODS = {"client": "172.17.0.2", "a": "172.17.0.3", "b": "172.17.0.4"}
VIP = "10.96.0.1"


class Node:
    """A bridge with three Pods, and a Service of a and b."""

    def __init__(self) -> None:
        cluster = self.cluster = Cluster(seed=1)
        for name in ("node", *PODS):
            cluster.add_netns(name)
        self.tell("node", BridgeAdd(name="docker0"), LinkSet(name="docker0", up=True))
        self.tell("node", AddrAdd(dev="docker0", address="172.17.0.1/24"), Sysctl(name="net.ipv4.ip_forward", value=1))
        for pod, address in PODS.items():
            self.tell("node", VethAdd(name=f"v{pod}", peer="eth0", peer_netns=pod))
            self.tell("node", LinkSet(name=f"v{pod}", up=True, master="docker0"))
            self.tell(pod, AddrAdd(dev="eth0", address=f"{address}/24"), LinkSet(name="eth0", up=True))
            self.tell(pod, RouteAdd(dst="default", via="172.17.0.1", dev="eth0"))
        self.proxy = Userspace(Stream(1, "proxy ports"))
        cluster.start("node", "kube-proxy", Program(function="k8semu.apps.userspace_proxy:userspace_proxy"))

    def tell(self, netns: str, *commands: Any) -> None:
        self.cluster.tell_all(netns, commands)

    def service(self, *pods: str, protocol: Any = "TCP", affinity: int = 0, node_port: int = 0) -> None:
        """Services and endpoints are now these."""
        ready = tuple(EndpointInfo(ip=PODS.get(pod, pod), port=8080) for pod in pods)
        info = ServicePortInfo(
            name=ServicePortName("default", "web", "", protocol), cluster_ip=VIP, port=80, node_port=node_port,
            affinity_seconds=affinity, all_endpoints=ready,
        )  # fmt: skip
        here = ProxyNode(name="node", addresses=("172.17.0.1",))
        self.tell("node", *self.proxy.sync(ProxyState(node=here, ports=(info,))))
        for message in self.proxy.messages():
            self.cluster.feed("kube-proxy", message)

    def serve(self, *pods: str) -> None:
        for pod in pods:
            args = {"name": pod, "ports": [8080]}
            self.cluster.start(pod, pod, Program(function="k8semu.apps.http_echo:http_echo", args=args))

    def call(self, function: str = "http_client:http_get", pod: str = "client", **args: Any) -> Any:
        if function == "http_client:http_get":
            args.setdefault("url", f"http://{VIP}/")

        async def main() -> Any:
            await asyncio.sleep(0.001)
            return await self.cluster.call(pod, "call", Program(function=f"k8semu.apps.{function}", args=args))

        return self.cluster.run(main())

    def served(self, **args: Any) -> list[str]:
        return [call.get("servedBy") or call["error"] for call in self.call(**args)]


@pytest.fixture
def node() -> Iterator[Node]:
    one = Node()
    yield one
    one.cluster.close()
    assert one.cluster.crashes == []


def test_calls_take_turns_over_the_endpoints_and_the_pod_sees_the_node(node: Node) -> None:
    node.serve("a", "b")
    node.service("a", "b")
    calls = node.call(count=4)
    turns = [call["servedBy"] for call in calls]
    assert turns in (["a", "b", "a", "b"], ["b", "a", "b", "a"])
    assert {call["clientAddress"] for call in calls} == {"172.17.0.1"}


def test_a_pod_may_call_itself_through_its_service(node: Node) -> None:
    node.serve("a")
    node.service("a")
    assert node.served(pod="a") == ["a"]


def test_a_node_port_passes_through_the_proxy_and_its_port_is_held(node: Node) -> None:
    node.serve("a")
    node.service("a", node_port=30080)
    assert node.served(url="http://172.17.0.1:30080/") == ["a"]
    table = node.cluster.netns["node"].sockets
    assert table is not None
    with pytest.raises(OSError, match="in use"):
        node.call("sockets:tcp_echo", pod="node", ports=[30080])


def test_an_endpoint_that_refuses_is_passed_over_at_once(node: Node) -> None:
    node.serve("b")
    node.service("a", "b")
    before = node.cluster.clock.now
    assert node.served(count=4) == ["b"] * 4
    assert node.cluster.clock.now - before < 0.25e9


def test_an_endpoint_that_is_silent_costs_a_quarter_of_a_second(node: Node) -> None:
    node.serve("b")
    node.service("192.0.2.1", "b")
    node.tell("node", RouteAdd(dst="192.0.2.0/24", type="blackhole"), RouteAdd(dst="192.0.2.1", via="172.17.0.2"))
    before = node.cluster.clock.now
    assert node.served(count=2) == ["b", "b"]
    assert 0.25e9 < node.cluster.clock.now - before < 0.75e9


def test_without_endpoints_the_connection_is_accepted_and_closed(node: Node) -> None:
    node.service()
    (call,) = node.call()
    assert (call["error"], call.get("servedBy")) == ("ECONNRESET", None)


def test_a_client_with_affinity_keeps_its_endpoint_until_it_is_gone(node: Node) -> None:
    node.serve("a", "b")
    node.service("a", "b", affinity=60)
    first = node.served(count=3)
    assert len(set(first)) == 1
    other = ({"a", "b"} - set(first)).pop()
    node.service(other, affinity=60)
    assert node.served(count=2) == [other, other]


def test_a_service_that_goes_closes_its_port(node: Node) -> None:
    node.serve("a")
    node.service("a")
    port = node.proxy._told[ServicePortName("default", "web", "", "TCP")]["proxyPort"]
    assert node.served(url=f"http://172.17.0.1:{port}/") == ["a"]
    node.tell("node", *node.proxy.sync(ProxyState(node=ProxyNode(name="node", addresses=("172.17.0.1",)))))
    for message in node.proxy.messages():
        node.cluster.feed("kube-proxy", message)
    assert node.served(url=f"http://172.17.0.1:{port}/") == ["ECONNREFUSED"]


def test_udp_passes_and_a_client_keeps_its_socket_for_a_while(node: Node) -> None:
    for pod in ("a", "b"):
        node.cluster.start(pod, pod, Program(function="k8semu.apps.sockets:udp_echo", args={"ports": [8080]}))
    node.service("a", "b", protocol="UDP")
    for _ in range(3):
        assert node.call("sockets:udp_call", host=VIP, port=80, send="hello")["reply"] == "hello"

    async def later() -> None:
        await asyncio.sleep(1)

    node.cluster.run(later())
    open_now = [s for s in node.cluster.netns["node"].sockets.udp.all() if s.daddr != bytes(4)]
    assert open_now == []


# --- choosing ---------------------------------------------------------------------------------


def test_round_robin_begins_anew_with_a_changed_list_only() -> None:
    balancer = Balancer("web", 1)
    balancer.update(["1:1", "2:1", "3:1"], 0)
    first = [balancer.next("c", 0) for _ in range(4)]
    assert sorted(first[:3]) == ["1:1", "2:1", "3:1"]
    assert first[3] == first[0]
    balancer.update(["3:1", "1:1", "2:1"], 0)
    assert balancer.next("c", 0) == first[1]
    balancer.update(["1:1"], 0)
    assert balancer.next("c", 0) == "1:1"


def test_the_order_depends_on_the_seed() -> None:
    orders = set()
    for seed in range(20):
        balancer = Balancer("web", seed)
        balancer.update(["1:1", "2:1", "3:1"], 0)
        orders.add(tuple(balancer.endpoints))
    assert len(orders) > 3


def test_affinity_ends_after_its_time_without_use() -> None:
    balancer = Balancer("web", 1)
    balancer.update(["1:1", "2:1"], 10)
    first = balancer.next("c", 0)
    assert balancer.next("c", 9) == first
    assert balancer.next("c", 18) == first
    assert balancer.next("c", 29) != first
    assert balancer.next("c", 30, reset=True) == first


# --- on a real machine --------------------------------------------------------------------------


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_the_program_runs_on_a_real_machine_too() -> None:
    async def main() -> tuple[Any, Any]:
        feed = Feed()
        current_feed.set(feed)
        ports = [free_port(), free_port(), free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)]
        for protocol, proxy, backend in (("TCP", ports[0], ports[1]), ("UDP", ports[2], ports[3])):
            told = {
                "kind": "ServicePort", "name": "default/web", "protocol": protocol, "proxyPort": proxy, "nodePort": 0,
                "affinitySeconds": 0, "endpoints": [f"127.0.0.1:{backend}"],
            }  # fmt: skip
            feed.put({"type": "ADDED", "object": told})
        programs = [http_echo("a", [ports[1]]), udp_echo([ports[3]]), userspace_proxy()]
        tasks = [asyncio.ensure_future(program) for program in programs]
        for _ in range(200):
            await asyncio.sleep(0.005)
            if (calls := await http_get(f"http://127.0.0.1:{ports[0]}/", count=2))[0]["status"]:
                break
        answer = await udp_call("127.0.0.1", ports[2], "hello")
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return calls, answer

    calls, answer = asyncio.run(main())
    assert [call["servedBy"] for call in calls] == ["a", "a"]
    assert answer["reply"] == "hello"
