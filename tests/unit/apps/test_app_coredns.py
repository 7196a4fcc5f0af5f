"""The DNS server over this machine's own sockets: asked by the real dig, and by bytes that no client sends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from dns_cluster import events

from k8semu.apps.coredns import coredns
from k8semu.apps.feed import Feed, current_feed
from k8semu.kube.dns.forward import ask_tcp, ask_udp
from k8semu.kube.dns.message import RD, Message, Question, Type
from k8semu.kube.dns.names import parse_name
from k8semu.kube.dns.rdata import rdata_text

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind((HOST, 0))
        udp.bind(tcp.getsockname())
        return int(tcp.getsockname()[1])


@asynccontextmanager
async def served(feed: Feed | None = None, **args: Any) -> AsyncIterator[int]:
    """A server with the small cluster; its port."""
    port = free_port()
    if feed is None:
        feed = Feed()
        for event in events():
            feed.put(event)
    current_feed.set(feed)
    args = {"ready_port": 0, "health_port": 0, "loop": False, **args}
    task = asyncio.get_running_loop().create_task(coredns(address=HOST, port=port, **args))
    try:
        while not task.done():
            with contextlib.suppress(OSError):
                (await asyncio.open_connection(HOST, port))[1].close()
                break
            await asyncio.sleep(0)
        yield port
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def run(program: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(program())


def query(name: str, rtype: int = Type.A, number: int = 7) -> Message:
    return Message(number, RD, (Question(parse_name(name), rtype),))


def test_a_service_has_its_cluster_ip_by_udp_and_by_tcp() -> None:
    async def program() -> None:
        async with served() as port:
            for ask in (ask_udp, ask_tcp):
                reply = await ask((HOST, port), query("account-service.default.svc.cluster.local"), 5)
                assert [rdata_text(record) for record in reply.answers] == ["10.96.0.20"]
                assert reply.answers[0].ttl == 30

    run(program)
