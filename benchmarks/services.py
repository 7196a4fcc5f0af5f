"""A new connection to a Service: does it cost more where there are many Services?

    client ─▶ host1: KUBE-SERVICES (one rule per Service) ─▶ KUBE-SVC-… ─▶ KUBE-SEP-… ─▶ web

The rules are kube-proxy's own, from its first full sync, with two endpoints per Service. A connection is
a whole one: handshake and end, through bridge, netfilter and TCP of three machines; the Services called
are spread over the whole list.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
from types import TracebackType
from typing import Self

import msgspec

from benchmarks.measure import Result, at_most, seconds, side_by_side
from k8semu.apps.program import Program
from k8semu.kube.proxy.decisions import decide
from k8semu.kube.proxy.iptables import Iptables
from k8semu.kube.proxy.model import LocalDetector, ProxyConfig, ProxyNode
from k8semu.kube.services import EndpointSlice, Service
from k8semu.scenario.load import load
from k8semu.scenario.run import SETTLE, Run
from k8semu.sim.program import current_stack

SCENARIO, NODE, CLIENT, SERVER = "pod-same-node", "host1", "client", "web"
PORTS = (8080, 8081)
MANY, FEW = 10_000, 10
CALLS = 100


def address(n: int) -> str:
    return f"10.{96 + n // 50_000}.{n // 250 % 200}.{n % 250 + 1}"


def services(count: int, pod: str) -> tuple[list[Service], list[EndpointSlice]]:
    """`count` Services, each with both ports of one Pod as its endpoints."""
    found: list[Service] = []
    slices: list[EndpointSlice] = []
    for n in range(count):
        meta = {"name": f"service-{n:05}", "labels": {"kubernetes.io/service-name": f"service-{n:05}"}}
        spec = {"clusterIP": address(n), "ports": [{"port": 80}]}
        head = {"apiVersion": "v1", "kind": "Service", "metadata": meta}
        found.append(msgspec.convert({**head, "spec": spec}, Service))
        for port in PORTS:
            part = {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {**meta, "name": f"service-{n:05}-{port}"}, "ports": [{"port": port}],
                "endpoints": [{"addresses": [pod], "nodeName": NODE}],
            }  # fmt: skip
            slices.append(msgspec.convert(part, EndpointSlice))
    return found, slices


async def answer() -> None:
    """Take connections, and close them when the client does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    servers = [await asyncio.start_server(serve, "0.0.0.0", port) for port in PORTS]
    await asyncio.gather(*(server.serve_forever() for server in servers))


class ServiceNetwork:
    """Two Pods on a node with the rules of `count` Services."""

    def __init__(self, count: int) -> None:
        self.run = Run(load(SCENARIO))
        self.run.build()
        client, server = self.run.built.machine(CLIENT), self.run.built.machine(SERVER)
        cluster = self.run.cluster
        config = ProxyConfig(detector=LocalDetector("CIDR", "172.17.0.0/16"))
        state = decide(*services(count, server.address), ProxyNode(name=NODE, addresses=("10.100.0.2",)), config)
        cluster.tell_all(self.run.built.machine(NODE).netns_name, Iptables(kubelet=False).sync(state))
        cluster.start(server.netns_name, "answer", Program(function="benchmarks.services:answer"))
        cluster.run(asyncio.sleep(SETTLE))
        self._inside = contextvars.copy_context()
        self._inside.run(current_stack.set, client.net.sockets)
        self._targets = [address(count * n // CALLS) for n in range(CALLS)]

    def call(self) -> None:
        """One connection to each of the Services chosen, one after the other."""

        async def each() -> None:
            for target in self._targets:
                _, writer = await asyncio.open_connection(target, 80)
                writer.close()
                await writer.wait_closed()

        loop = self.run.cluster.loop
        loop.run_until_complete(loop.create_task(each(), context=self._inside))
        self.run.cluster.run(asyncio.sleep(1))  # the last frames, and nothing of this in the next measurement

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run.close()


def new_connection_10k_vs_10_services() -> Result:
    """The cost of a new connection with 10,000 Services over that with 10."""
    with ServiceNetwork(MANY) as many, ServiceNetwork(FEW) as few:
        gc.collect()
        gc.freeze()
        gc.disable()  # as a run does
        try:
            much, little = side_by_side(lambda: seconds(many.call), lambda: seconds(few.call))
        finally:
            gc.enable()
            gc.unfreeze()
    detail = f"{much / CALLS * 1e3:.2f} ms against {little / CALLS * 1e3:.2f} ms per connection"
    return at_most("new_connection_10k_vs_10_services", much / little, 1.5, detail)
