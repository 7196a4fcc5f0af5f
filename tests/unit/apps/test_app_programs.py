"""The programs of Pods: in the emulator, and the same ones over this machine's own loopback.

    client 172.17.0.2 ── veth ── server 172.17.0.3
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from k8semu.apps.http_client import http_get
from k8semu.apps.http_echo import http_echo
from k8semu.apps.program import Program
from k8semu.apps.sockets import tcp_call, tcp_echo, udp_call, udp_echo
from k8semu.cluster.cluster import Cluster
from k8semu.linux.core.commands import AddrAdd, LinkSet, VethAdd

SERVER = "172.17.0.3"


class TwoPods:
    """Two namespaces on one wire, and programs in them."""

    def __init__(self) -> None:
        self.cluster = Cluster(seed=1)
        for name in ("client", "server"):
            self.cluster.add_netns(name)
        self.cluster.tell("client", VethAdd(name="eth0", peer="eth0", peer_netns="server"))
        for name, address in (("client", "172.17.0.2/24"), ("server", f"{SERVER}/24")):
            self.cluster.tell(name, AddrAdd(dev="eth0", address=address))
            self.cluster.tell(name, LinkSet(name="eth0", up=True))

    def serve(self, function: str, **args: Any) -> None:
        self.cluster.start("server", "server", Program(function=f"k8semu.apps.{function}", args=args))

    def call(self, function: str, pod: str = "client", **args: Any) -> Any:
        async def main() -> Any:
            await asyncio.sleep(0.001)
            return await self.cluster.call(pod, "client", Program(function=f"k8semu.apps.{function}", args=args))

        return self.cluster.run(main())


@pytest.fixture
def pods() -> Iterator[TwoPods]:
    two = TwoPods()
    yield two
    two.cluster.close()
    assert two.cluster.crashes == []


# --- HTTP ---------------------------------------------------------------------------------------


def test_the_echo_says_who_it_is_and_whom_it_saw(pods: TwoPods) -> None:
    pods.serve("http_echo:http_echo", name="web", ports=[80])
    [call] = pods.call("http_client:http_get", url=f"http://{SERVER}/shop?x=1", headers={"X-Team": "a"})
    assert {key: call[key] for key in ("status", "servedBy", "clientAddress", "error")} == {
        "status": 200, "servedBy": "web", "clientAddress": "172.17.0.2", "error": "",
    }  # fmt: skip
    answer = json.loads(call["body"])
    assert (answer["path"], answer["method"]) == ("/shop?x=1", "GET")
    assert answer["headers"] == {"host": SERVER, "user-agent": "curl/8.5.0", "accept": "*/*", "x-team": "a"}


def test_a_given_host_header_stands_for_curls_own(pods: TwoPods) -> None:
    pods.serve("http_echo:http_echo", name="web", ports=[80])
    [call] = pods.call("http_client:http_get", url=f"http://{SERVER}/", headers={"host": "shop.example"})
    assert json.loads(call["body"])["headers"]["host"] == "shop.example"


def test_as_many_bytes_as_asked_for(pods: TwoPods) -> None:
    pods.serve("http_echo:http_echo", name="web", ports=[80, 8080])
    calls = pods.call("http_client:http_get", url=f"http://{SERVER}:8080/bytes/30001", count=2)
    assert [(call["status"], call["bytes"], call["error"]) for call in calls] == [(200, 30001, "")] * 2
    assert pods.call("http_client:http_get", url=f"http://{SERVER}/bytes/many")[0]["status"] == 400


def test_each_call_has_a_connection_of_its_own_and_leaves_none_open(pods: TwoPods) -> None:
    pods.serve("http_echo:http_echo", name="web", ports=[80])
    pods.call("http_client:http_get", url=f"http://{SERVER}/", count=3)
    pods.cluster.run(asyncio.sleep(0.1))
    states = [info.state for info in pods.cluster.netns["server"].sockets.listing() if info.proto == "tcp"]
    assert states == ["LISTEN"]
    closing = [info.state for info in pods.cluster.netns["client"].sockets.listing()]
    assert set(closing) <= {"TIME_WAIT", "TIME-WAIT"}       # the client closed first, as curl does


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (f"http://{SERVER}:81/", "ECONNREFUSED"), ("http://172.17.0.9/", "EHOSTUNREACH"),
        ("http://10.9.9.9/", "ENETUNREACH"), ("http://nowhere/", "EAI_NONAME"),
    ],
)  # fmt: skip
def test_a_failed_call_is_called_as_the_kernel_calls_it(pods: TwoPods, url: str, error: str) -> None:
    [call] = pods.call("http_client:http_get", url=url)
    assert (call["status"], call["error"]) == (0, error)


def test_a_call_that_nobody_answers_ends_at_its_limit(pods: TwoPods) -> None:
    pods.serve("sockets:udp_echo", ports=[7])
    pods.cluster.tell("server", LinkSet(name="eth0", address="02:00:00:00:00:99"))   # ARP knows another MAC then
    pods.call("sockets:udp_call", host=SERVER, port=7, send="x")
    before = pods.cluster.clock.now
    pods.cluster.tell("server", LinkSet(name="eth0", address="02:00:00:00:00:98"))
    [call] = pods.call("http_client:http_get", url=f"http://{SERVER}/", timeout=3)
    assert call["error"] == "ETIMEDOUT"
    assert (pods.cluster.clock.now - before) / 1e9 == pytest.approx(3, abs=0.1)


def test_what_is_no_http_is_an_error_not_a_crash(pods: TwoPods) -> None:
    pods.serve("sockets:tcp_echo", ports=[80])
    [call] = pods.call("http_client:http_get", url=f"http://{SERVER}/")
    assert (call["status"], call["error"]) == (0, "Received HTTP/0.9 when not allowed")


# --- TCP, UDP, ports, ping -------------------------------------------------------------------------


def test_tcp_and_udp_give_back_what_came(pods: TwoPods) -> None:
    pods.serve("sockets:tcp_echo", ports=[7])
    assert pods.call("sockets:tcp_call", host=SERVER, port=7, send="hello") == {
        "reply": "hello", "bytes": 5, "error": "",
    }  # fmt: skip
    assert pods.call("sockets:tcp_call", host=SERVER, port=8) == {"reply": "", "bytes": 0, "error": "ECONNREFUSED"}


def test_a_datagram_comes_back_or_the_port_is_unreachable(pods: TwoPods) -> None:
    pods.serve("sockets:udp_echo", ports=[7])
    assert pods.call("sockets:udp_call", host=SERVER, port=7, send="hi") == {"reply": "hi", "bytes": 2, "error": ""}
    assert pods.call("sockets:udp_call", host=SERVER, port=8, send="hi")["error"] == "ECONNREFUSED"


def test_a_port_is_bound_once_and_free_in_another_namespace(pods: TwoPods) -> None:
    pods.serve("http_echo:http_echo", name="web", ports=[80])
    assert pods.call("sockets:listen", pod="server", port=80) == {"error": "EADDRINUSE"}
    assert pods.call("sockets:listen", pod="server", port=81) == {"error": ""}
    assert pods.call("sockets:listen", pod="client", port=80) == {"error": ""}


def test_ping_counts_and_says_who_cannot_reach_whom(pods: TwoPods) -> None:
    good = pods.call("ping:ping", host=SERVER, count=3)
    assert (good["sent"], good["received"], good["error"]) == (3, 3, "")
    assert good["lines"][0] == f"PING {SERVER} ({SERVER}) 56(84) bytes of data."
    assert good["lines"][1].startswith(f"64 bytes from {SERVER}: icmp_seq=1 ttl=64 time=0.0")
    assert re.fullmatch(r"rtt min/avg/max/mdev = (0\.\d{3}/){3}0\.\d{3} ms", good["lines"][-1])
    assert good["lines"][-2].startswith("3 packets transmitted, 3 received, 0% packet loss, time 200")
    bad = pods.call("ping:ping", host="172.17.0.9")
    assert (bad["received"], bad["error"]) == (0, "EHOSTUNREACH")
    assert "From 172.17.0.2 icmp_seq=1 Destination Host Unreachable" in bad["lines"]


def test_ping_asks_each_second_whether_or_not_the_last_was_answered(pods: TwoPods) -> None:
    lost = pods.call("ping:ping", host="172.17.0.9", count=3)
    assert lost["errors"] == ["EHOSTUNREACH"] * 3
    assert lost["lines"][1:4] == [f"From 172.17.0.2 icmp_seq={n} Destination Host Unreachable" for n in (1, 2, 3)]
    assert lost["lines"][-2:] == [
        "3 packets transmitted, 0 received, +3 errors, 100% packet loss, time 2000ms", "pipe 3",
    ]  # fmt: skip


def test_ping_to_a_name_that_nobody_has_sends_nothing(pods: TwoPods) -> None:
    result = pods.call("ping:ping", host="nowhere")
    assert (result["sent"], result["error"], result["lines"]) == (
        0, "EAI_NONAME", ["ping: nowhere: Name or service not known"],
    )  # fmt: skip


# --- the same programs over real sockets -------------------------------------------------------------


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def beside(server: Coroutine[Any, Any, None], client: Coroutine[Any, Any, Any]) -> Any:
    """Run a client against a server on this machine; the server is cancelled afterwards."""

    async def main() -> Any:
        task = asyncio.create_task(server)
        for _ in range(50):     # turns of the loop, in which the server opens its ports
            await asyncio.sleep(0)
        try:
            return await asyncio.wait_for(client, 10)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return asyncio.run(main())


def test_the_http_programs_run_on_a_real_machine_too() -> None:
    port = free_port()
    [call] = beside(http_echo("web", [port]), http_get(f"http://127.0.0.1:{port}/"))
    assert (call["status"], call["servedBy"], call["clientAddress"]) == (200, "web", "127.0.0.1")


def test_the_socket_programs_run_on_a_real_machine_too() -> None:
    port = free_port()
    assert beside(tcp_echo([port]), tcp_call("127.0.0.1", port, "hello"))["reply"] == "hello"
    port = free_port(socket.SOCK_DGRAM)
    assert beside(udp_echo([port]), udp_call("127.0.0.1", port, "hello"))["reply"] == "hello"
