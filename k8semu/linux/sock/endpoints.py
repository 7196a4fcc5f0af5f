"""How asyncio's calls become sockets: create_connection, create_server, create_datagram_endpoint.

Arguments, order of things, exceptions and their words are those of asyncio's selector event loop
on Linux; where Pythons differ, the words are those of 3.11 on all. IPv4 only: an IPv6 address is
refused as on a kernel without IPv6.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from k8semu.linux.ipv4.route import RouteError
from k8semu.linux.sock.datagram import DatagramTransport
from k8semu.linux.sock.dgram import os_error
from k8semu.linux.sock.file import StreamSocket
from k8semu.linux.sock.server import Server
from k8semu.linux.sock.transports import StreamTransport
from k8semu.wire.addr import ip_aton

if TYPE_CHECKING:
    from k8semu.linux.sock.sockets import Sockets
    from k8semu.sim.loop import AddrInfo, Factory, SimLoop

SOL_SOCKET, SO_REUSEADDR, SO_BROADCAST, SO_KEEPALIVE, SO_REUSEPORT = 1, 2, 6, 9, 15


def _packed(address: tuple[Any, ...], call: str) -> tuple[bytes, int]:
    host, port = address[:2]
    if not 0 <= port <= 65535:
        raise OverflowError(f"{call}(): port must be 0-65535.")
    return ip_aton(host), port


def _require_ipv4(family: int) -> None:
    if family != socket.AF_INET:
        raise os_error(errno.EAFNOSUPPORT)


async def _resolved(
    sockets: Sockets, address: Any, family: int, kind: int, proto: int = 0, flags: int = 0
) -> list[AddrInfo]:
    infos = await sockets.getaddrinfo(address[0], address[1], family, kind, proto, flags)
    if not infos:
        raise OSError("getaddrinfo() returned empty list")
    return infos


# --- connections ------------------------------------------------------------------------------


def _tls_timeouts(ssl: Any, handshake: float | None, shutdown: float | None) -> dict[str, Any]:
    for name, value in (("ssl_handshake_timeout", handshake), ("ssl_shutdown_timeout", shutdown)):
        if value is not None and not ssl:
            raise ValueError(f"{name} is only meaningful with ssl")
    return {"ssl_handshake_timeout": handshake, "ssl_shutdown_timeout": shutdown}


async def create_connection(
    sockets: Sockets, loop: SimLoop, factory: Factory, host: Any = None, port: Any = None, *,
    ssl: Any = None, family: int = 0, proto: int = 0, flags: int = 0, sock: Any = None, local_addr: Any = None,
    server_hostname: str | None = None, ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None, happy_eyeballs_delay: float | None = None,
    interleave: int | None = None, all_errors: bool = False,
) -> tuple[asyncio.Transport, asyncio.Protocol]:  # fmt: skip
    """Linux: socket(2), bind(2), connect(2)."""
    if server_hostname is not None and not ssl:
        raise ValueError("server_hostname is only meaningful with ssl")
    if server_hostname is None and ssl:
        if not host:
            raise ValueError("You must set server_hostname when using ssl without a host")
        server_hostname = host
    timeouts = _tls_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    if sock is not None:
        raise NotImplementedError("an emulated machine has no real sockets: pass host and port")
    if host is None and port is None:
        raise ValueError("host and port was not specified and no sock specified")
    infos = await _resolved(sockets, (host, port), family, socket.SOCK_STREAM, proto, flags)
    local = None
    if local_addr is not None:
        local = await _resolved(sockets, local_addr, family, socket.SOCK_STREAM, proto, flags)
    stream = await _connect_any(sockets, loop, infos, local, happy_eyeballs_delay, all_errors)
    protocol = factory()
    waiter = loop.create_future()
    transport: Any
    if ssl:
        transport = _tls_transport(loop, stream, protocol, ssl, waiter, server_hostname, timeouts)
    else:
        transport = StreamTransport(loop, stream, protocol, waiter)
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    return transport, protocol


def _tls_transport(
    loop: SimLoop, stream: StreamSocket, protocol: Any, ssl: Any, waiter: Any, hostname: str | None, timeouts: Any
) -> Any:
    from asyncio.sslproto import SSLProtocol

    context = None if isinstance(ssl, bool) else ssl
    tls = SSLProtocol(loop, protocol, context, waiter, False, hostname, **timeouts)  # type: ignore[arg-type]
    loop.log_keys(tls._sslcontext)
    StreamTransport(loop, stream, tls)
    return tls._app_transport


async def _connect_any(
    sockets: Sockets, loop: SimLoop, infos: list[AddrInfo], local: list[AddrInfo] | None,
    happy_eyeballs_delay: float | None, all_errors: bool,
) -> StreamSocket:  # fmt: skip
    """The first address that answers."""
    errors: list[OSError] = []
    if happy_eyeballs_delay is not None and len(infos) > 1:
        from asyncio.staggered import staggered_race

        attempts = [functools.partial(_connect, sockets, loop, info, local, errors) for info in infos]
        winner: StreamSocket | None = (await staggered_race(attempts, happy_eyeballs_delay, loop=loop))[0]
        if winner is not None:
            return winner
    else:
        for info in infos:
            try:
                return await _connect(sockets, loop, info, local, errors)
            except OSError:
                continue
    if all_errors:
        raise ExceptionGroup("create_connection failed", errors)
    if all(str(error) == str(errors[0]) for error in errors):
        raise errors[0]
    raise OSError(f"Multiple exceptions: {', '.join(str(error) for error in errors)}")


async def _connect(
    sockets: Sockets, loop: SimLoop, info: AddrInfo, local: list[AddrInfo] | None, errors: list[OSError]
) -> StreamSocket:
    family, _, _, _, address = info
    stream = None
    try:
        _require_ipv4(family)
        stream = StreamSocket.open(sockets)
        if local is not None:
            _bind_any(stream, local)
        await _connected(loop, stream, address)
        return stream
    except OSError as exc:
        errors.append(os_error(exc.errno or 0) if isinstance(exc, RouteError) else exc)
        if stream is not None:
            stream.close()
        raise
    except BaseException:
        if stream is not None:
            stream.close()
        raise


def _bind_any(stream: StreamSocket, local: list[AddrInfo]) -> None:
    error: OSError | None = None
    for _, _, _, _, address in local:
        try:
            stream.sock.bind(*_packed(address, "bind"))
            return
        except OSError as exc:
            error = _bind_error(exc, address)
    assert error is not None
    raise error


def _bind_error(exc: OSError, address: tuple[Any, ...]) -> OSError:
    words = (exc.strerror or "").lower()
    return OSError(exc.errno, f"error while attempting to bind on address {address!r}: {words}")


async def _connected(loop: SimLoop, stream: StreamSocket, address: tuple[Any, ...]) -> None:
    """Linux: connect(2) on a non-blocking socket, then SO_ERROR."""
    done: asyncio.Future[None] = loop.create_future()

    def outcome(exc: OSError | None) -> None:
        if done.done():
            return
        if exc is None:
            done.set_result(None)
        else:
            done.set_exception(OSError(exc.errno, f"Connect call failed {address}"))

    stream.on_connect = outcome
    try:
        stream.sock.connect(*_packed(address, "connect"))
        await done
    finally:
        stream.on_connect = None
        if done.done() and not done.cancelled():
            done.exception()


# --- servers ----------------------------------------------------------------------------------


async def create_server(
    sockets: Sockets, loop: SimLoop, factory: Factory, host: Any = None, port: Any = None, *,
    family: int = 0, flags: int = socket.AI_PASSIVE, sock: Any = None, backlog: int = 100, ssl: Any = None,
    reuse_address: bool | None = None, reuse_port: bool | None = None, keep_alive: bool | None = None,
    ssl_handshake_timeout: float | None = None, ssl_shutdown_timeout: float | None = None,
    start_serving: bool = True,
) -> Server:  # fmt: skip
    """Linux: socket(2), bind(2), listen(2)."""
    if isinstance(ssl, bool):
        raise TypeError("ssl argument must be an SSLContext or None")
    timeouts = _tls_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    if sock is not None:
        raise NotImplementedError("an emulated machine has no real sockets: pass host and port")
    if host is None and port is None:
        raise ValueError("Neither host/port nor sock were specified")
    hosts = [None] if host == "" else [host] if isinstance(host, str) or not isinstance(host, Iterable) else list(host)
    infos: dict[AddrInfo, None] = {}
    for one in hosts:
        infos.update(dict.fromkeys(await _resolved(sockets, (one, port), family, socket.SOCK_STREAM, 0, flags)))
    streams: list[StreamSocket] = []
    try:
        for info in infos:
            streams.append(_listener(sockets, info, reuse_address, reuse_port, keep_alive))
    except BaseException:
        for stream in streams:
            stream.close()
        raise
    tls = {"ssl": ssl, "timeouts": timeouts} if ssl is not None else None
    if ssl is not None:
        loop.log_keys(ssl)
    server = Server(loop, streams, factory, backlog, tls)
    if start_serving:
        server._start_serving()
        await asyncio.sleep(0)
    return server


def _listener(
    sockets: Sockets, info: AddrInfo, reuse_address: bool | None, reuse_port: bool | None, keep_alive: bool | None
) -> StreamSocket:
    family, _, _, _, address = info
    _require_ipv4(family)
    stream = StreamSocket.open(sockets)
    try:
        wanted = {SO_REUSEADDR: reuse_address is not False, SO_REUSEPORT: reuse_port, SO_KEEPALIVE: keep_alive}
        for option in (option for option, on in wanted.items() if on):
            stream.sock.setsockopt(SOL_SOCKET, option, 1)
        stream.sock.bind(*_packed(address, "bind"))
    except OSError as exc:
        stream.close()
        raise _bind_error(exc, address) from None
    except BaseException:
        stream.close()
        raise
    return stream


# --- datagrams --------------------------------------------------------------------------------


async def create_datagram_endpoint(
    sockets: Sockets, loop: SimLoop, factory: Factory, *, local_addr: Any = None, remote_addr: Any = None,
    family: int = 0, proto: int = 0, flags: int = 0, reuse_port: bool | None = None,
    allow_broadcast: bool | None = None, sock: Any = None, **obsolete: Any,
) -> tuple[DatagramTransport, asyncio.DatagramProtocol]:  # fmt: skip
    """Linux: socket(2), bind(2), connect(2) of SOCK_DGRAM; `proto` IPPROTO_ICMP opens a ping socket."""
    if sock is not None:
        raise NotImplementedError("an emulated machine has no real sockets: pass addresses or a family")
    if not (local_addr or remote_addr) and family == 0:
        raise ValueError("unexpected address family")
    if family not in (0, socket.AF_INET):
        raise os_error(errno.EAFNOSUPPORT)
    local = await _datagram_address(sockets, local_addr, family, proto, flags)
    remote = await _datagram_address(sockets, remote_addr, family, proto, flags)
    if proto not in (0, socket.IPPROTO_UDP, socket.IPPROTO_ICMP):
        raise os_error(errno.EPROTONOSUPPORT)
    opened: Any = sockets.ping.socket() if proto == socket.IPPROTO_ICMP else sockets.udp.socket()
    try:
        opened.reuseport = bool(reuse_port)
        opened.broadcast = bool(allow_broadcast)
        if local is not None:
            opened.bind(*_packed(local, "bind"))
        if remote is not None and not allow_broadcast:
            opened.connect(*_packed(remote, "connect"))
    except BaseException:
        opened.close()
        raise
    protocol = factory()
    waiter = loop.create_future()
    transport = DatagramTransport(loop, sockets, opened, protocol, remote, waiter)
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    return transport, protocol


async def _datagram_address(
    sockets: Sockets, address: Any, family: int, proto: int, flags: int
) -> tuple[str, int] | None:
    if not address:
        return None
    if not (isinstance(address, tuple) and len(address) == 2):
        raise TypeError("2-tuple is expected")
    infos = await _resolved(sockets, address, family, socket.SOCK_DGRAM, proto, flags)
    _require_ipv4(infos[0][0])
    host, port = infos[0][4][:2]
    return host, port
