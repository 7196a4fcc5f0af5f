"""Who asks a node whether it can take traffic: load balancers, at two kinds of ports.

    healthCheckNodePort   200 if this node has a ready endpoint of the Service (policy Local), else 503
    10256 /healthz        200 if kube-proxy works, and the node is not about to go; else 503
          /livez          200 if kube-proxy works
    127.0.0.1:10249 /proxyMode, /healthz: for who is on the node

The program hears what to answer by its feed: watch events whose objects are of kind ServiceHealth (one
per Service with such a port) and ProxyHealth.

Kubernetes: pkg/proxy/healthcheck/{service_health,proxy_health}.go
Differs: dates count from 1970-01-01 by the program's own clock, in steps of `tick` seconds: with a coarse one
         two runs say the same, although one machine is slower than the other. Ports are open on all addresses.
Not modelled: /metrics at 10249.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
from collections.abc import Callable
from typing import Any

from k8semu.apps.feed import next_message
from k8semu.kube.proxy.model import ProxyState

HEALTHZ_PORT = 10256
METRICS_PORT = 10249
TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"
"""The taint of a node that the cluster autoscaler is about to take away."""

# --- what the program is told -------------------------------------------------------------------


def local_endpoints(state: ProxyState) -> dict[str, tuple[int, int]]:
    """Service -> (its health check node port, how many addresses on this node are ready for it)."""
    found: dict[str, tuple[int, dict[str, None]]] = {}
    for info in state.ports:
        if info.health_check_node_port:
            _, addresses = found.setdefault(info.name.service, (info.health_check_node_port, {}))
            addresses |= dict.fromkeys(e.ip for e in info.all_endpoints if e.ready and state.node.runs(e))
    return {service: (port, len(addresses)) for service, (port, addresses) in found.items()}


def messages(old: ProxyState | None, new: ProxyState) -> list[dict[str, Any]]:
    """What the program has to be told of the way from `old` to `new`."""
    before = local_endpoints(old) if old is not None else {}
    after = local_endpoints(new)
    found = [_message("DELETED", service, *before[service]) for service in before if service not in after]
    for service, told in after.items():
        if service not in before:
            found.append(_message("ADDED", service, *told))
        elif before[service] != told:
            found.append(_message("MODIFIED", service, *told))
    return found


def _message(event: str, service: str, port: int, count: int) -> dict[str, Any]:
    namespace, _, name = service.partition("/")
    health = {"kind": "ServiceHealth", "namespace": namespace, "name": name, "port": port, "localEndpoints": count}
    return {"type": event, "object": health}


def eligible(node: dict[str, Any]) -> bool:
    """May load balancers still send to this Node: is it neither being deleted nor about to be?

    Kubernetes: proxy_health.go SyncNode()
    """
    taints = (node.get("spec") or {}).get("taints") or ()
    return not node["metadata"].get("deletionTimestamp") and all(taint["key"] != TO_BE_DELETED for taint in taints)


def proxy_health(healthy: bool = True, node_eligible: bool = True) -> dict[str, Any]:
    """The message on kube-proxy itself; `node_eligible` False: the node is being deleted."""
    health = {"kind": "ProxyHealth", "healthy": healthy, "nodeEligible": node_eligible}
    return {"type": "MODIFIED", "object": health}


# --- the program --------------------------------------------------------------------------------

Answer = tuple[int, dict[str, str], str]
"""Status, headers, body."""

_JSON = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}
_TEXT = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}


class Health:
    """What is known of the node's proxy and of its Services."""

    def __init__(self, tick: float = 0.0) -> None:
        self.healthy = self.node_eligible = True
        self.services: dict[str, dict[str, Any]] = {}
        self._tick, self._zero = tick, _now() if tick else 0.0
        self.started = self.now()

    def now(self) -> float:
        """Seconds of the date that is told."""
        return (_now() - self._zero) // self._tick * self._tick if self._tick else _now()

    def of_service(self, service: str, path: str) -> Answer:
        told = self.services[service]
        count = told["localEndpoints"]
        answer = {
            "service": {"namespace": told["namespace"], "name": told["name"]},
            "localEndpoints": count, "serviceProxyHealthy": self.healthy,
        }  # fmt: skip
        headers = {**_JSON, "X-Load-Balancing-Endpoint-Weight": str(count)}
        return (200 if count and self.healthy else 503), headers, json.dumps(answer, indent="\t")

    def of_proxy(self, path: str) -> Answer:
        if path not in ("/healthz", "/livez"):
            return 404, _TEXT, "404 page not found\n"
        now = self.now()
        last = now if self.healthy else self.started
        body = f'"lastUpdated": "{_go_time(last)}","currentTime": "{_go_time(now)}"'
        healthy = self.healthy
        if path == "/healthz":
            healthy = healthy and self.node_eligible
            body += f', "nodeEligible": {"true" if self.node_eligible else "false"}'
        return (200 if healthy else 503), _JSON, f"{{{body}}}"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _date(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _go_time(seconds: float) -> str:
    """As Go prints a time."""
    return f"{_date(seconds):%Y-%m-%d %H:%M:%S.%f} +0000 UTC"


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[str], Answer],
    now: Callable[[], float],
) -> None:  # fmt: skip
    """Requests of one connection, answered with Go's order of headers."""
    import h11

    from k8semu.apps.http1 import Http1

    client = Http1(reader, writer, h11.SERVER)
    try:
        while isinstance(request := await client.receive(), h11.Request):
            await client.skip_body()
            status, headers, body = answer(request.target.decode("ascii", "replace").partition("?")[0])
            stamp = f"{_date(now()):%a, %d %b %Y %H:%M:%S GMT}"
            await client.answer(status, [*headers.items(), ("Date", stamp)], body.encode())
            if not client.idle:
                return
    except (h11.RemoteProtocolError, ConnectionError):
        return
    finally:
        client.close()


async def kube_proxy_health(healthz_port: int = HEALTHZ_PORT, tick: float = 0.0, mode: str = "") -> None:
    """Answer at the ports that the feed names, and at kube-proxy's own, until cancelled. `mode`: how it proxies.

    A port that somebody else has is tried again when there is news.
    """
    health = Health(tick)
    servers: dict[str, asyncio.Server] = {}

    def of_mode(path: str) -> Answer:
        found = {"/proxyMode": mode, "/healthz": "ok"}.get(path)
        return (200, _TEXT, found) if found is not None else (404, _TEXT, "404 page not found\n")

    async def listen(name: str, port: int, answer: Callable[[str], Answer], address: str = "0.0.0.0") -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _serve(reader, writer, answer, health.now)

        with contextlib.suppress(OSError):
            servers[name] = await asyncio.start_server(serve, address, port)

    try:
        while True:
            if "" not in servers:
                await listen("", healthz_port, health.of_proxy)
            if mode and "metrics" not in servers:
                await listen("metrics", METRICS_PORT, of_mode, "127.0.0.1")
            message = await next_message()
            told = message["object"]
            if told["kind"] == "ProxyHealth":
                health.healthy, health.node_eligible = told["healthy"], told["nodeEligible"]
                continue
            service = f"{told['namespace']}/{told['name']}"
            old = health.services.get(service)
            if service in servers and (message["type"] == "DELETED" or (old or told)["port"] != told["port"]):
                servers.pop(service).close()
            if message["type"] == "DELETED":
                health.services.pop(service, None)
                continue
            health.services[service] = told
            if service not in servers:
                await listen(service, told["port"], lambda path, s=service: health.of_service(s, path))  # type: ignore[misc]
    finally:
        for server in servers.values():
            server.close()
