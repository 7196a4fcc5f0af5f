"""A TCP flow from Pod to ClusterIP across a VXLAN tunnel, every device captured: what the datapath benchmarks run.

    podx ─▶ host1 (bridge, DNAT, route, netfilter, VXLAN) ─▶ switch ─▶ host2 (VXLAN, route, netfilter, bridge) ─▶ pody

The rules on both nodes are kube-proxy's own for one Service.
"""

from __future__ import annotations

import asyncio
import contextvars
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from k8semu.apps.program import Program
from k8semu.kube.proxy.decisions import decide
from k8semu.kube.proxy.iptables import Iptables
from k8semu.kube.proxy.model import LocalDetector, ProxyConfig, ProxyNode
from k8semu.kube.services import EndpointSlice, Service
from k8semu.scenario.load import load
from k8semu.scenario.run import SETTLE, Run, open_sink
from k8semu.sim.program import current_stack

SCENARIO = "pod-cross-node-vxlan"
CLIENT, SERVER = "podx", "pody"
NODES = {"host1": "10.100.0.2", "host2": "10.100.0.3"}
CLUSTER_IP, PORT = "10.96.0.10", 5001
CHUNK = 64 * 1024
PAYLOAD = bytes(range(256)) * (CHUNK // 256)    # zeros would be summed up quicker than what programs say


async def swallow() -> None:
    """Answer each chunk with one byte when all of it is there."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readexactly(CHUNK)
                writer.write(b".")
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "0.0.0.0", PORT)
    await server.serve_forever()


def service(pod: str) -> tuple[list[Service], list[EndpointSlice]]:
    """The Service that gives CLUSTER_IP to `pod`."""
    meta = {"name": "swallow", "labels": {"kubernetes.io/service-name": "swallow"}}
    spec = {"clusterIP": CLUSTER_IP, "ports": [{"port": PORT}]}
    part = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "metadata": meta,
        "ports": [{"port": PORT}], "endpoints": [{"addresses": [pod], "nodeName": "host2"}],
    }  # fmt: skip
    head = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    return [msgspec.convert(head, Service)], [msgspec.convert(part, EndpointSlice)]


class Flow:
    """The cluster of the flow, captured into a real file below `out`."""

    def __init__(self, out: Path) -> None:
        self._run = Run(load(SCENARIO))
        self._sink, self.path = open_sink(out, "flow", "pcapng")
        self._run.capture(self._sink)
        self._run.build()
        client, server = self._run.built.machine(CLIENT), self._run.built.machine(SERVER)
        self._eth0 = client.net.devs["eth0"]
        cluster = self._run.cluster
        config = ProxyConfig(detector=LocalDetector("CIDR", "172.17.0.0/16"))
        for node, address in NODES.items():
            state = decide(*service(server.address), ProxyNode(name=node, addresses=(address,)), config)
            cluster.tell_all(self._run.built.machine(node).netns_name, Iptables(kubelet=False).sync(state))
        cluster.start(server.netns_name, "swallow", Program(function="benchmarks.flow:swallow"))
        cluster.run(asyncio.sleep(SETTLE))
        inside = contextvars.copy_context()
        inside.run(current_stack.set, client.net.sockets)
        connect = asyncio.open_connection(CLUSTER_IP, PORT)
        self._reader, self._writer = cluster.loop.run_until_complete(cluster.loop.create_task(connect, context=inside))
        self.send(1)

    def send(self, chunks: int) -> None:
        """Send chunks, each when the one before it has arrived."""

        async def each() -> None:
            for _ in range(chunks):
                self._writer.write(PAYLOAD)
                await self._reader.readexactly(1)

        self._run.cluster.run(each())

    @property
    def frames(self) -> int:
        """Frames that went across so far, both ways."""
        return self._eth0.stats.tx_packets + self._eth0.stats.rx_packets

    @property
    def captured(self) -> int:
        """Sightings that the capture has written so far."""
        assert self._run.session is not None
        return self._run.session.frames

    def flush(self) -> None:
        """Hand what the capture has buffered to its file."""
        self._sink.flush()

    def finish(self) -> None:
        """Complete the capture file."""
        self._run.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._sink.abort()
        self._writer.close()
        self._run.close()
