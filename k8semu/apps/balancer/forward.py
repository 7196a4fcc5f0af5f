"""Connections and datagrams on their way through the load balancer.

    client ─▶ listener ─▶ [PROXY header] backend:nodePort
           ◀───────────── each direction ends by itself (a FIN is passed on)

The backend sees the load balancer as its client, unless the PROXY protocol says who it was.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from k8semu.apps.balancer.model import Backend, Listener
from k8semu.apps.balancer.proxy_protocol import Peer, header
from k8semu.apps.userspace_proxy import UdpPort

COPY = 32 * 1024
Choose = Callable[[str], Backend | None]
"""The backend for a client's address."""


class TcpListener:
    """One TCP port of a public address. `open_now`: how many connections a backend has."""

    def __init__(self, listener: Listener, choose: Choose, timeout: float, proxy_protocol: str) -> None:
        self.listener, self.choose, self.timeout, self.proxy_protocol = listener, choose, timeout, proxy_protocol
        self.taken: dict[str, int] = {}
        self._server: asyncio.Server | None = None

    async def open(self, address: str) -> None:
        self._server = await asyncio.start_server(self._serve, address, self.listener.port)

    def close(self) -> None:
        """No new connections; those that are open stay."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client: Peer = writer.get_extra_info("peername")[:2]
        ours: Peer = writer.get_extra_info("sockname")[:2]
        backend = self.choose(client[0])
        if backend is None:
            writer.close()
            return
        self.taken[backend.name] = self.taken.get(backend.name, 0) + 1
        try:
            dial = asyncio.open_connection(backend.address, self.listener.node_port)
            there, onward = await asyncio.wait_for(dial, self.timeout)
        except (OSError, TimeoutError):
            writer.close()
            return
        if self.proxy_protocol:
            onward.write(header(self.proxy_protocol, client, ours))
        await asyncio.gather(_copy(reader, onward), _copy(there, writer))
        for end in (onward, writer):
            end.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Bytes until one side ends, which the other is told; if it breaks, so does the other."""
    try:
        while data := await source.read(COPY):
            target.write(data)
            await target.drain()
        target.write_eof()
    except OSError:
        with contextlib.suppress(OSError):
            target.transport.abort()


class _Next:
    """The next backend as `UdpPort` asks for it."""

    def __init__(self, listener: Listener, choose: Choose) -> None:
        self._listener, self._choose = listener, choose

    def next(self, client: str, now: float) -> str | None:
        backend = self._choose(client)
        return f"{backend.address}:{self._listener.node_port}" if backend is not None else None


class UdpListener:
    """One UDP port of a public address: a socket of its own for each client, as long as something passes."""

    def __init__(self, listener: Listener, choose: Choose) -> None:
        self.listener = listener
        self.taken: dict[str, int] = {}
        self._port = UdpPort(_Next(listener, choose))

    async def open(self, address: str) -> None:
        await self._port.open(self.listener.port, address)

    def close(self) -> None:
        self._port.close()
