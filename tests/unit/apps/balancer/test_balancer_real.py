"""The load balancer's program over real sockets: it is an ordinary asyncio program.

    client 127.0.0.1 ─▶ load balancer 127.0.0.1:LISTEN ─▶ backends 127.0.0.1, 127.0.0.2, port WEB
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import msgspec
import pytest

from k8semu.apps.balancer.main import load_balancer
from k8semu.apps.balancer.model import Backend, Check, Listener, LoadBalancer
from k8semu.apps.feed import Feed, current_feed
from k8semu.apps.http_client import fetch
from k8semu.apps.http_echo import http_echo
from k8semu.apps.sockets import tcp_call, tcp_echo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
ONE, OTHER = "127.0.0.1", "127.0.0.2"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((ONE, 0))
        return int(sock.getsockname()[1])


class Real:
    """Ports, and the program that is told."""

    def __init__(self) -> None:
        self.listen, self.web, self.stats = free_port(), free_port(), free_port()
        self.feed = Feed()
        self.changes: list[tuple[str, bool]] = []
        self.feed.reported = lambda said: self.changes.append((said["backend"], said["well"]))

    def told(self, **how: Any) -> LoadBalancer:
        how = {"check": Check("TCP", self.web), "backends": (Backend("one", ONE), Backend("other", OTHER)), **how}
        listeners = (Listener(self.listen, "TCP", self.web),)
        return LoadBalancer(name="default/web", address=ONE, listeners=listeners, **how)

    def tell(self, verb: str, told: LoadBalancer) -> None:
        self.feed.put({"type": verb, "object": msgspec.to_builtins(told)})

    async def until(self, *changes: tuple[str, bool]) -> None:
        """Until these are all that has been reported."""
        async with asyncio.timeout(10):
            while sorted(self.changes) != sorted(changes):
                await asyncio.sleep(0.005)

    async def until_said(self, text: str) -> None:
        """Until the program's state has this text."""
        async with asyncio.timeout(10):
            while text not in await self.state():
                await asyncio.sleep(0.005)

    async def state(self) -> str:
        return (await fetch(f"http://{ONE}:{self.stats}/"))[1].decode()

    @contextlib.asynccontextmanager
    async def running(self, *servers: Coroutine[Any, Any, Any], told: LoadBalancer) -> AsyncIterator[None]:
        current_feed.set(self.feed)
        tasks = [asyncio.ensure_future(server) for server in servers]
        async with asyncio.timeout(10):
            while servers and (await tcp_call(ONE, self.web))["error"]:
                await asyncio.sleep(0.005)
        tasks.append(asyncio.ensure_future(load_balancer(ONE, self.stats)))
        self.tell("ADDED", told)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def test_calls_take_turns_and_each_byte_passes() -> None:
    real = Real()

    async def main() -> None:
        servers = http_echo("web", [real.web])
        async with real.running(servers, told=real.told()):
            await real.until(("one", True), ("other", True))
            answers = [await fetch(f"http://{ONE}:{real.listen}/bytes/300000") for _ in range(4)]
            assert [(result["status"], len(body)) for result, body in answers] == [(200, 300_000)] * 4
            assert (await real.state()).count("2 connections") == 2

    asyncio.run(main())


def test_the_end_of_one_direction_is_not_the_end_of_the_other() -> None:
    real = Real()

    async def main() -> None:
        async with real.running(tcp_echo([real.web]), told=real.told()):
            await real.until(("one", True), ("other", True))
            text = "x" * 100_000
            result = await tcp_call(ONE, real.listen, text)   # it closes its half before the answer comes
            assert (result["bytes"], result["error"]) == (100_000, "")

    asyncio.run(main())


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_pod_hears_who_calls(version: str) -> None:
    real = Real()

    async def main() -> None:
        servers = http_echo("web", [real.web], proxy_protocol=True)
        backends = (Backend("other", OTHER),)
        async with real.running(servers, told=real.told(proxy_protocol=version, backends=backends)):
            await real.until(("other", True))
            result, _ = await fetch(f"http://{ONE}:{real.listen}/")
            assert result["clientAddress"] == ONE
            assert (await fetch(f"http://{ONE}:{real.web}/"))[0]["error"], "no header, no answer"

    asyncio.run(main())


def test_a_backend_that_dies_is_left_out_after_two_checks_and_taken_back_after_two() -> None:
    real = Real()

    async def main() -> None:
        told = real.told(check=Check("TCP", real.web, healthy=2, unhealthy=2))
        server = await asyncio.start_server(lambda r, w: w.close(), ONE, real.web)
        async with real.running(told=told):
            await real.until(("one", True), ("other", False))
            assert "(connected)" in await real.state()
            second = await asyncio.start_server(lambda r, w: w.close(), OTHER, real.web)
            real.changes.clear()
            real.feed.put({"type": "CHECK", "interval": 2.0})
            await real.until_said("down  weight 1  0 connections  (connected)")
            assert real.changes == [], "one check is not enough"
            real.feed.put({"type": "CHECK", "interval": 2.0})
            await real.until(("other", True))
            second.close()
            server.close()

    asyncio.run(main())


def test_nobody_is_well_and_the_connection_is_closed() -> None:
    real = Real()

    async def main() -> None:
        async with real.running(told=real.told()):
            await real.until(("one", False), ("other", False))
            result = await tcp_call(ONE, real.listen, "", 5.0)
            assert (result["reply"], result["error"]) == ("", "")
            real.tell("DELETED", real.told())
            async with asyncio.timeout(10):
                while (await tcp_call(ONE, real.listen, "", 5.0))["error"] != "ECONNREFUSED":
                    await asyncio.sleep(0.005)
            assert await real.state() == ""

    asyncio.run(main())
