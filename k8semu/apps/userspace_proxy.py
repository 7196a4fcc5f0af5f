"""kube-proxy's userspace mode: the program through which connections to Services pass.

    client ─▶ proxy port ─▶ next endpoint (round robin, or the client's own) ─▶ Pod

It hears of service ports by its feed: ``{"type": "ADDED" | "MODIFIED" | "DELETED", "object": {"kind":
"ServicePort", "name", "protocol", "proxyPort", "nodePort", "affinitySeconds", "endpoints"}}``. A changed
list of endpoints is shuffled. Connections of one service port are dialled one after the other, so a dead
endpoint holds up those behind it; where one direction of a connection ends, both are closed.

Kubernetes: pkg/proxy/userspace/{proxysocket,roundrobin}.go
Differs: the shuffle is by a hash, so that the same seed gives the same order everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import Any, Protocol

from k8semu.apps.feed import next_message

DIAL_TIMEOUTS = (0.25, 0.5, 1.0, 2.0)
"""Seconds for each endpoint that is tried."""
UDP_IDLE = 0.25
"""Seconds after which a silent UDP client's socket is closed."""
COPY = 32 * 1024


class Balancer:
    """Which endpoint is next. Kubernetes: LoadBalancerRR"""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.seed = name, seed
        self.endpoints: list[str] = []
        self.affinity_seconds = 0
        self._index = self._updates = 0
        self._clients: dict[str, tuple[str, float]] = {}   # client -> its endpoint, last used

    def update(self, endpoints: list[str], affinity_seconds: int) -> None:
        """A list with other members is shuffled, and begun anew."""
        self.affinity_seconds = affinity_seconds
        if sorted(endpoints) == sorted(self.endpoints):
            return
        self._updates += 1
        self._clients = {c: kept for c, kept in self._clients.items() if kept[0] in endpoints}
        self.endpoints = sorted(endpoints, key=self._draw)
        self._index = 0

    def _draw(self, endpoint: str) -> bytes:
        return hashlib.sha256(f"{self.seed}/{self.name}/{self._updates}/{endpoint}".encode()).digest()

    def next(self, client: str, now: float, reset: bool = False) -> str | None:
        """The endpoint for a connection of `client`; `reset`: not the one it had."""
        if not self.endpoints:
            return None
        if self.affinity_seconds and not reset and client in self._clients:
            endpoint, used = self._clients[client]
            if int(now - used) < self.affinity_seconds:
                self._clients[client] = (endpoint, now)
                return endpoint
        endpoint = self.endpoints[self._index]
        self._index = (self._index + 1) % len(self.endpoints)
        if self.affinity_seconds:
            self._clients[client] = (endpoint, now)
        return endpoint


class Chooser(Protocol):
    """Who says where a client's datagrams go: an endpoint (``172.17.0.2:53``), or None."""

    def next(self, client: str, now: float) -> str | None: ...


def _address(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.rpartition(":")
    return host, int(port)


# --- TCP ----------------------------------------------------------------------------------------


class TcpPort:
    """A TCP service port. Kubernetes: tcpProxySocket"""

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer
        self._dialling = asyncio.Lock()
        self._server: asyncio.Server | None = None

    async def open(self, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, "0.0.0.0", port)

    def close(self) -> None:
        """No new connections; those that are open stay."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = writer.get_extra_info("peername")[0]
        async with self._dialling:
            dialled = await self._dial(client)
        if dialled is None:
            writer.close()
            return
        ends = (writer, dialled[1])
        await asyncio.gather(_copy(reader, dialled[1], ends), _copy(dialled[0], writer, ends))

    async def _dial(self, client: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """The first endpoint that answers. Kubernetes: tryConnect()."""
        for attempt, timeout in enumerate(DIAL_TIMEOUTS):
            endpoint = self.balancer.next(client, asyncio.get_running_loop().time(), reset=attempt > 0)
            if endpoint is None:
                return None
            with contextlib.suppress(OSError, TimeoutError):
                return await asyncio.wait_for(asyncio.open_connection(*_address(endpoint)), timeout)
        return None


async def _copy(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, ends: tuple[asyncio.StreamWriter, ...]
) -> None:
    """Bytes until one side ends; then both are closed. Kubernetes: copyBytes()."""
    with contextlib.suppress(OSError):
        while data := await source.read(COPY):
            target.write(data)
            await target.drain()
    for end in ends:
        end.close()


# --- UDP ----------------------------------------------------------------------------------------


class _Backend(asyncio.DatagramProtocol):
    """One client's socket towards its endpoint; it goes when nothing has passed for a while."""

    def __init__(self, port: UdpPort, client: tuple[str, int]) -> None:
        self.port, self.client = port, client
        self.waiting: list[bytes] = []
        self.transport: Any = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        for data in self.waiting:
            self.send(data)
        self.waiting.clear()

    def send(self, data: bytes) -> None:
        if self.transport is None:
            self.waiting.append(data)
            return
        self.transport.sendto(data)
        self._touch()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._touch()
        self.port.reply(data, self.client)

    def error_received(self, exc: Exception) -> None:
        """The endpoint refuses: the client's socket goes."""
        self.close()

    def _touch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(UDP_IDLE, self.close)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.port.forget(self)
        if self.transport is not None:
            self.transport.close()


class UdpPort(asyncio.DatagramProtocol):
    """A UDP service port. Kubernetes: udpProxySocket"""

    def __init__(self, balancer: Chooser) -> None:
        self.balancer = balancer
        self._clients: dict[tuple[str, int], _Backend] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: Any = None

    async def open(self, port: int, address: str = "0.0.0.0") -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, (address, port))

    def close(self) -> None:
        """The clients' sockets go with it."""
        for backend in list(self._clients.values()):
            backend.close()
        self._transport.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        client = (addr[0], addr[1])
        backend = self._clients.get(client)
        if backend is None:
            now = asyncio.get_running_loop().time()
            endpoint = self.balancer.next(client[0], now)
            if endpoint is None:
                return
            backend = self._clients[client] = _Backend(self, client)
            task = asyncio.ensure_future(self._connect(backend, endpoint))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        backend.send(data)

    async def _connect(self, backend: _Backend, endpoint: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_datagram_endpoint(lambda: backend, remote_addr=_address(endpoint))
        except OSError:
            self.forget(backend)

    def reply(self, data: bytes, client: tuple[str, int]) -> None:
        self._transport.sendto(data, client)

    def forget(self, backend: _Backend) -> None:
        if self._clients.get(backend.client) is backend:
            del self._clients[backend.client]


# --- the program --------------------------------------------------------------------------------


class _Held(asyncio.DatagramProtocol):
    """A node port that is only held: its packets are redirected before they reach it."""

    def __init__(self) -> None:
        self._held: Any = None

    async def open(self, port: int, protocol: str) -> None:
        loop = asyncio.get_running_loop()
        if protocol == "UDP":
            self._held, _ = await loop.create_datagram_endpoint(lambda: self, ("0.0.0.0", port))
        else:
            self._held = await asyncio.start_server(lambda _, writer: writer.close(), "0.0.0.0", port)

    def close(self) -> None:
        if self._held is not None:
            self._held.close()


class _ServicePort:
    """A service port that is open."""

    def __init__(self, name: str, protocol: str, seed: int) -> None:
        self.protocol = protocol
        self.balancer = Balancer(name, seed)
        self.listener: TcpPort | UdpPort = (UdpPort if protocol == "UDP" else TcpPort)(self.balancer)
        self.node_port = 0
        self._held = _Held()

    async def apply(self, told: dict[str, Any], opened: bool) -> None:
        self.balancer.update(told["endpoints"], told["affinitySeconds"])
        if not opened:
            await self.listener.open(told["proxyPort"])
        if told["nodePort"] != self.node_port:
            self._held.close()
            self._held, self.node_port = _Held(), told["nodePort"]
            if self.node_port:
                await self._held.open(self.node_port, self.protocol)

    def close(self) -> None:
        self._held.close()
        self.listener.close()


async def userspace_proxy(seed: int = 1) -> None:
    """Listen for what the feed says, until cancelled."""
    ports: dict[tuple[str, str], _ServicePort] = {}
    try:
        while True:
            message = await next_message()
            told = message["object"]
            key = (told["name"], told["protocol"])
            if message["type"] == "DELETED":
                if key in ports:
                    ports.pop(key).close()
                continue
            opened = key in ports
            port = ports.setdefault(key, _ServicePort(*key, seed))
            await port.apply(told, opened)
    finally:
        for port in ports.values():
            port.close()
