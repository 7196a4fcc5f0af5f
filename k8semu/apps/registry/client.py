"""A client that finds its servers in a registry and shares its calls over them itself: Ribbon, as a program.

    fetch the list ─▶ choose ─▶ call ──fails──▶ choose the next ─▶ call      (once, unless told otherwise)
         └── again every 30 s: until then, an instance that has died is still in the list

Ribbon:  com.netflix.loadbalancer.PollingServerListUpdater, com.netflix.client.RequestSpecificRetryHandler
Differs: nothing is pinged (Ribbon's default, too); what failed stays in the list until it is fetched anew.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

from k8semu.apps.http_client import error_name
from k8semu.apps.registry.balancer import Balancer
from k8semu.apps.registry.http import call
from k8semu.apps.registry.protocols import PROTOCOLS, ConsulProtocol, NacosProtocol, Protocol, Server, servers_of

REFRESH = 30.0
TIMEOUT = 1.0
"""Seconds for a call: Ribbon's ConnectTimeout and ReadTimeout."""
NO_SERVER = "NO_SERVER"
"""The list is empty: Ribbon's "Load balancer does not have available server for client"."""


class Client:
    """A list that is kept fresh, and a balancer over it."""

    def __init__(self, registry: Protocol, balancer: Balancer, refresh: float, retries: int, timeout: float) -> None:
        self.registry, self.balancer = registry, balancer
        self.refresh, self.retries, self.timeout = refresh, retries, timeout
        self.servers: list[Server] = []
        self.fetched = asyncio.get_running_loop().time()
        self.error = ""

    async def fetch(self) -> None:
        """Ask the registry; the old list stays if it does not answer."""
        try:
            self.servers = await self.registry.fetch()
            self.fetched, self.error = asyncio.get_running_loop().time(), ""
        except (OSError, TimeoutError) as error:
            self.error = error_name(error)

    async def keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(self.refresh)
            await self.fetch()

    async def get(self, path: str) -> dict[str, Any]:
        """A call, and what came of it."""
        tried: list[str] = []
        result: dict[str, Any] = {}
        age = asyncio.get_running_loop().time() - self.fetched
        for _ in range(self.retries + 1):
            server = self.balancer.choose(self.servers)
            if server is None:
                result = {"status": 0, "servedBy": "", "error": self.error or NO_SERVER, "instance": ""}
                break
            tried.append(server.name)
            result = await call_instance(server.at, path, self.timeout)
            if not result["error"]:
                break
        return {**result, "tried": tried, "listAge": f"{age * 1000:.0f} ms"}


async def call_instance(at: str, path: str, timeout: float, **headers: str) -> dict[str, Any]:
    """GET from an instance (``172.17.0.3:8080``): `status`, `servedBy` (what an echo says), `error`, `instance`."""
    result = {"status": 0, "servedBy": "", "error": "", "instance": at}
    try:
        reply = await call("GET", f"http://{at}{path}", headers=headers, timeout=timeout)
    except (OSError, TimeoutError) as error:
        return {**result, "error": error_name(error)}
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError):
        said = None
    who = said.get("servedBy", "") if isinstance(said, dict) else ""
    return {**result, "status": reply.status, "servedBy": who}


async def discover(
    kind: str, registry: str, service: str, count: int = 1, interval: float = 0.0, rule: str = "round-robin",
    zone: str = "", refresh: float = REFRESH, retries: int = 1, timeout: float = TIMEOUT, path: str = "/",
) -> dict[str, Any]:  # fmt: skip
    """Fetch the list, then call `count` times, `interval` seconds apart.

    `calls` has for each `servedBy`, `error`, `instance` (of the last try), `tried`, and how old the list
    was; `shares` how many calls each served, `errors` how many failed of what, `instances` the list.
    """
    client = Client(PROTOCOLS[kind](registry, service), Balancer(rule, zone), refresh, retries, timeout)
    await client.fetch()
    refresher = asyncio.ensure_future(client.keep_fresh())
    calls = []
    try:
        for number in range(count):
            if number:
                await asyncio.sleep(interval)
            calls.append(await client.get(path))
    finally:
        refresher.cancel()
    return {**summary(calls), "instances": [server.name for server in client.servers], "error": ""}


def summary(calls: list[dict[str, Any]]) -> dict[str, Any]:
    """Calls, how many each instance served, and how many failed of what."""
    shares = Counter(call["servedBy"] for call in calls if not call["error"])
    errors = Counter(call["error"] for call in calls if call["error"])
    return {"calls": calls, "shares": dict(sorted(shares.items())), "errors": dict(sorted(errors.items()))}


async def watch(registry: str, service: str, wait: float = 60.0) -> dict[str, Any]:
    """Consul: fetch the list, and wait until it changes: `before`, `after`."""
    consul = ConsulProtocol(registry, service)
    try:
        before = await consul.fetch()
        after = await consul.wait(wait)
    except (OSError, TimeoutError) as error:
        return {"before": [], "after": [], "error": error_name(error)}
    return {"before": [s.name for s in before], "after": [s.name for s in after], "error": ""}


class _Pushed(asyncio.DatagramProtocol):
    def __init__(self, message: asyncio.Future[bytes]) -> None:
        self.message = message

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self.message.done():
            self.message.set_result(data)


async def subscribe(
    registry: str, service: str, address: str, udp_port: int = 7848, wait: float = 60.0
) -> dict[str, Any]:
    """Nacos: fetch the list and be sent the next one in a datagram: `before`, `after`, of healthy instances."""
    loop = asyncio.get_running_loop()
    message: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Pushed(message), ("0.0.0.0", udp_port))
    nacos = NacosProtocol(registry, service)
    try:
        before = await nacos.hosts({"clientIP": address, "udpPort": str(udp_port)})
        pushed = json.loads(json.loads(await asyncio.wait_for(message, wait))["data"])
        healthy = [host for host in pushed["hosts"] if host["healthy"]]
    except (OSError, TimeoutError) as error:
        return {"before": [], "after": [], "error": error_name(error)}
    finally:
        transport.close()
    after = servers_of({"hosts": healthy})
    return {"before": [s.name for s in before], "after": [s.name for s in after], "error": ""}
