"""Consul's HTTP API, as a program.

    PUT /v1/agent/service/register, /v1/agent/service/deregister/ID
    PUT /v1/agent/check/pass|warn|fail/ID, /v1/agent/check/update/ID
    GET /v1/agent/self, /v1/agent/services, /v1/agent/checks, /v1/status/leader, /v1/status/peers
    GET /v1/catalog/services, /v1/catalog/service/NAME, /v1/catalog/nodes, /v1/catalog/datacenters
    GET /v1/health/service/NAME[?passing], /v1/health/checks/NAME

Catalog and health take ``?index=N&wait=10s``: the answer comes when something is newer than N, or
after the wait; `X-Consul-Index` says what to ask with next.

Consul:  agent/http.go, agent/agent_endpoint.go, agent/health_endpoint.go, agent/catalog_endpoint.go
Shown:   curl http://consul:8500/v1/health/service/account?passing
Differs: a blocking query waits as long as it says, without a random sixteenth more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from k8semu.apps.registry.clock import EPOCH, Clock
from k8semu.apps.registry.consul import CRITICAL, PASSING, REAP_INTERVAL, REAP_MINIMUM, STATUSES, WARNING, Agent, Check
from k8semu.apps.registry.consul_codec import (
    SERF_CHECK,
    VERSION,
    Refusal,
    catalog_json,
    check_json,
    fields_of,
    node,
    read_registration,
    seconds,
    service_json,
    typed,
    written,
)
from k8semu.apps.registry.consul_dns import PORT as DNS_PORT
from k8semu.apps.registry.consul_dns import ConsulDns, serve_dns
from k8semu.apps.registry.http import Answer, Request, call, reason, serve

PORT = 8500
DEFAULT_WAIT, MAX_WAIT = 300.0, 600.0
TEXT = "text/plain; charset=utf-8"
NOWHERE = "Invalid URL path: not a recognized HTTP API endpoint"


# --- the server ---------------------------------------------------------------------------------


class Consul:
    """Answers requests from an agent."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    async def answer(self, request: Request) -> Answer:
        try:
            return await self._answer(request)
        except Refusal as refusal:
            allow = (("Allow", "PUT" if request.method != "PUT" else "GET"),) if refusal.status == 405 else ()
            return Answer(refusal.status, refusal.text.encode("utf-8", "replace"), TEXT, allow)

    async def _answer(self, request: Request) -> Answer:
        agent = self.agent
        match request.segments:
            case ["v1", "agent", "service", "register"]:
                self._method(request, "PUT")
                agent.register(*read_registration(request.body))
                return Answer(200)
            case ["v1", "agent", "service", "deregister", id]:
                self._method(request, "PUT")
                if not agent.deregister(id):
                    hint = "Ensure that the service ID is passed, not the service name."
                    raise Refusal(404, f'Unknown service ID "{id}". {hint}')
                return Answer(200)
            case ["v1", "agent", "check", ("pass" | "warn" | "fail" | "update") as verb, id]:
                self._method(request, "PUT")
                return self._update(request, verb, id)
            case ["v1", "agent", what]:
                self._method(request, "GET")
                return self._agent(what)
            case ["v1", "status", "leader"]:
                return written(f"{agent.address}:8300")
            case ["v1", "status", "peers"]:
                return written([f"{agent.address}:8300"])
            case ["v1", "catalog", "datacenters"]:
                return written([agent.datacenter])
            case ["v1", "catalog" | "health", *_]:
                self._method(request, "GET")
                return await self._query(request)
        raise Refusal(404, NOWHERE)

    def _method(self, request: Request, wanted: str) -> None:
        if request.method != wanted:
            raise Refusal(405, f"method {request.method} not allowed")

    def _update(self, request: Request, verb: str, id: str) -> Answer:
        check = self.agent.checks.get(id)
        if check is None or not check.ttl:
            raise Refusal(404, f'Unknown check ID "{id}". Ensure that the check ID is passed, not the check name.')
        status = {"pass": PASSING, "warn": WARNING, "fail": CRITICAL}.get(verb, "")
        output = request.query.get("note", "")
        if verb == "update":
            try:
                fields = fields_of(json.loads(request.body))
            except (ValueError, RecursionError) as error:
                raise Refusal(400, f"Request decode failed: {error}") from None
            status, output = typed(fields, "status", ""), typed(fields, "output", "")
            if status not in STATUSES:
                raise Refusal(400, f"Invalid check status: '{status}'")
        self.agent.update(id, status, output)
        return Answer(200)

    def _agent(self, what: str) -> Answer:
        agent = self.agent
        if what == "services":
            return written({id: service_json(agent.services[id]) for id in sorted(agent.services)})
        if what == "checks":
            return written({id: check_json(agent, agent.checks[id]) for id in sorted(agent.checks)})
        if what == "self":
            config = {
                "Datacenter": agent.datacenter, "PrimaryDatacenter": agent.datacenter, "NodeName": agent.node,
                "NodeID": agent.node_id, "Server": True, "Version": VERSION,
            }  # fmt: skip
            member = {"Name": agent.node, "Addr": agent.address, "Port": 8301, "Status": 1}
            return written({"Config": config, "Member": member, "Meta": node(agent)["Meta"]})
        raise Refusal(404, NOWHERE)

    # --- queries, which may wait --------------------------------------------------------------

    async def _query(self, request: Request) -> Answer:
        agent = self.agent
        match request.segments[1:]:
            case ["catalog", "services"]:
                return await self._blocking(request, lambda: agent.index, agent.names)
            case ["catalog", "nodes"]:
                return await self._blocking(request, lambda: 1, lambda: [node(agent)])
            case ["catalog", "service", name]:
                tag = request.query.get("tag", "")
                return await self._blocking(
                    request, lambda: agent.index_of(name),
                    lambda: [catalog_json(agent, service) for service in agent.instances(name, tag)],
                )  # fmt: skip
            case ["health", "service", name]:
                return await self._blocking(request, lambda: agent.index_of(name), lambda: self._health(request, name))
            case ["health", "checks", name]:
                return await self._blocking(request, lambda: agent.index_of(name), lambda: self._checks(name))
        raise Refusal(404, NOWHERE)

    async def _blocking(self, request: Request, index: Callable[[], int], value: Callable[[], Any]) -> Answer:
        above = request.query.get("index", "0")
        if not re.fullmatch("[0-9]{1,18}", above):
            raise Refusal(400, "Invalid index")
        try:
            wait = seconds(request.query.get("wait", "") or "0") or DEFAULT_WAIT
        except ValueError:
            raise Refusal(400, "Invalid wait time") from None
        if int(above):
            await self.agent.wait(index, int(above), min(wait, MAX_WAIT))
        return written(value(), index())

    def _checks(self, name: str) -> list[dict[str, Any]]:
        ids = [service.id for service in self.agent.instances(name)]
        return [check_json(self.agent, check) for id in ids for check in self.agent.checks_of(id)]

    def _health(self, request: Request, name: str) -> list[dict[str, Any]]:
        agent, passing = self.agent, request.query.get("passing")
        if passing is not None and passing.lower() not in ("", "1", "t", "true", "0", "f", "false"):
            raise Refusal(400, f"Invalid value for ?passing: {passing}")
        only = passing is not None and passing.lower() not in ("0", "f", "false")
        return [
            {
                "Node": node(agent), "Service": service_json(service),
                "Checks": [check_json(agent, check) for check in (SERF_CHECK, *agent.checks_of(service.id))],
            }
            for service in agent.instances(name, request.query.get("tag", ""))
            if not only or agent.status(service.id) == PASSING
        ]  # fmt: skip


async def probe(check: Check) -> tuple[str, str]:
    """An HTTP or TCP check, made once. Consul: checks.CheckHTTP, checks.CheckTCP."""
    if check.http:
        try:
            reply = await call("GET", check.http, headers={"User-Agent": "Consul Health Check"}, timeout=check.timeout)
        except (OSError, TimeoutError, ValueError) as error:
            return CRITICAL, f'Get "{check.http}": {error}'
        said = reply.body[:4096].decode("utf-8", "replace")
        output = f"HTTP GET {check.http}: {reply.status} {reason(reply.status).decode()} Output: {said}"
        return PASSING if 200 <= reply.status < 300 else WARNING if reply.status == 429 else CRITICAL, output
    target = urlsplit(f"tcp://{check.tcp}")
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(target.hostname, target.port), check.timeout)
    except (OSError, TimeoutError, ValueError) as error:
        return CRITICAL, f"dial tcp {check.tcp}: {error}"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return PASSING, f"TCP connect {check.tcp}: Success"


async def consul(
    port: int = PORT, node: str = "consul", address: str = "127.0.0.1", datacenter: str = "dc1",
    reap_interval: float = REAP_INTERVAL, reap_minimum: float = REAP_MINIMUM, dns_port: int = DNS_PORT,
    epoch: int = EPOCH, tick: float = 1.0,
) -> None:  # fmt: skip
    """Serve until cancelled. `address` is the agent's own; seconds, the defaults are Consul's."""
    clock = Clock(epoch, tick)
    agent = Agent(
        clock.now, node=node, address=address, datacenter=datacenter, reap_minimum=reap_minimum, probe=probe
    )

    async def reap() -> None:
        while True:
            await asyncio.sleep(reap_interval)
            agent.reap()

    dns = ConsulDns(agent, lambda: clock.stamp() // 1000)
    beside = [asyncio.ensure_future(reap()), asyncio.ensure_future(serve_dns(dns, dns_port))]
    try:
        await serve(Consul(agent).answer, port)
    finally:
        for task in beside:
            task.cancel()
        agent.close()
