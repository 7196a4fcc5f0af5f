"""A TCP flow from Pod to Pod across a VXLAN tunnel, every device captured: what the datapath benchmarks run.

    podx ─▶ host1 (bridge, route, netfilter, VXLAN) ─▶ switch ─▶ host2 (VXLAN, route, bridge) ─▶ pody
"""

from __future__ import annotations

import asyncio
import contextvars
from pathlib import Path
from types import TracebackType
from typing import Self

from k8semu.apps.program import Program
from k8semu.scenario.load import load
from k8semu.scenario.run import SETTLE, Run, open_sink
from k8semu.sim.program import current_stack

SCENARIO = "pod-cross-node-vxlan"
CLIENT, SERVER = "podx", "pody"
PORT = 5001
CHUNK = 64 * 1024


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
        cluster.start(server.netns_name, "swallow", Program(function="benchmarks.flow:swallow"))
        cluster.run(asyncio.sleep(SETTLE))
        inside = contextvars.copy_context()
        inside.run(current_stack.set, client.net.sockets)
        connect = asyncio.open_connection(server.address, PORT)
        self._reader, self._writer = cluster.loop.run_until_complete(cluster.loop.create_task(connect, context=inside))
        self.send(1)

    def send(self, chunks: int) -> None:
        """Send chunks, each when the one before it has arrived."""

        async def each() -> None:
            for _ in range(chunks):
                self._writer.write(bytes(CHUNK))
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
