"""All sockets of one network namespace: `net.sockets`.

It is also what the event loop asks for connections (`k8semu.sim.loop.Stack`).

Shown: `ss -tuan`
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from k8semu.linux.core.net import Net
from k8semu.linux.sock.ping import Ping
from k8semu.linux.sock.tcp.table import TcpTable
from k8semu.linux.sock.udp import Udp

if TYPE_CHECKING:
    from k8semu.sim.loop import AddrInfo, Factory, SimLoop

Resolved = str | list[str] | None


class Resolver(Protocol):
    """What the C library does for a name that is no address."""

    async def lookup(self, name: str, family: int = 0) -> list[str]:
        """Its IPv4 addresses; socket.gaierror."""


class SocketInfo(msgspec.Struct, frozen=True):
    """One line of `ss`. For a listener `recv_q` is what waits for accept, `send_q` the backlog."""

    proto: str
    state: str
    local: tuple[bytes, int]
    remote: tuple[bytes, int]
    program: str = ""
    recv_q: int = 0
    send_q: int = 0


class Sockets:
    """The sockets of `net`; registers UDP, ping and TCP with `net.ipv4`.

    `hosts` is /etc/hosts: name to address. `resolve` is asked for every other name; it returns an
    address, several, or None for "no such name", or an awaitable of these. Where there is a `resolver`
    (the C library's), it is asked instead.
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self.hosts: dict[str, str] = {"localhost": "127.0.0.1"}
        self.resolve: Callable[[str], Resolved | Awaitable[Resolved]] | None = None
        self.resolver: Resolver | None = None
        self.udp = Udp(net)
        self.ping = Ping(net)
        self.tcp = TcpTable(net)

    def listing(self) -> list[SocketInfo]:
        """Every socket, UDP first, by port; as `ss -tuan` does."""
        infos = [
            SocketInfo(
                "udp", "ESTABLISHED" if sock.connected else "UNCONN", (sock.rcv_saddr, sock.sport), sock.remote,
                sock.program, sock.rmem,
            )
            for sock in self.udp.all()
        ]  # fmt: skip
        infos += [SocketInfo("tcp", *row) for row in self.tcp.listing()]
        return infos

    # --- what the event loop asks for; asyncio is imported only here -----------------------------

    async def create_connection(self, loop: SimLoop, factory: Factory, host: Any, port: Any, **kwargs: Any) -> Any:
        from k8semu.linux.sock.endpoints import create_connection

        return await create_connection(self, loop, factory, host, port, **kwargs)

    async def create_server(self, loop: SimLoop, factory: Factory, host: Any, port: Any, **kwargs: Any) -> Any:
        from k8semu.linux.sock.endpoints import create_server

        return await create_server(self, loop, factory, host, port, **kwargs)

    async def create_datagram_endpoint(self, loop: SimLoop, factory: Factory, **kwargs: Any) -> Any:
        from k8semu.linux.sock.endpoints import create_datagram_endpoint

        return await create_datagram_endpoint(self, loop, factory, **kwargs)

    async def connect_tun(self, loop: SimLoop, factory: Factory, name: str) -> Any:
        from k8semu.linux.sock.packet import connect_tun

        return connect_tun(self.net, loop, factory, name)

    async def connect_packet(self, loop: SimLoop, factory: Factory, name: str) -> Any:
        from k8semu.linux.sock.packet import connect_packet

        return connect_packet(self.net, loop, factory, name)

    async def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[AddrInfo]:
        from k8semu.linux.sock.names import getaddrinfo

        return await getaddrinfo(self, host, port, family, type, proto, flags)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        from k8semu.linux.sock.names import getnameinfo

        return await getnameinfo(self, sockaddr, flags)
