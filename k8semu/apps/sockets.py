"""Plain TCP and UDP: echo servers, one-shot clients, and a program that only listens."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from k8semu.apps.http_client import MAX_SHOWN, error_name

MAX_TIME = 30.0


async def tcp_echo(ports: list[int]) -> None:
    """Send back what comes in, until cancelled."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    servers = [await asyncio.start_server(serve, "0.0.0.0", port) for port in ports]
    try:
        await asyncio.gather(*(server.serve_forever() for server in servers))
    finally:
        for server in servers:
            server.close()


class _UdpEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


async def udp_echo(ports: list[int]) -> None:
    """Send back each datagram, until cancelled."""
    loop = asyncio.get_running_loop()
    transports = [(await loop.create_datagram_endpoint(_UdpEcho, ("0.0.0.0", port)))[0] for port in ports]
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        for transport in transports:
            transport.close()


async def tcp_call(
    host: str, port: int, send: str = "", timeout: float = MAX_TIME, close_after: str = "send"
) -> dict[str, Any]:
    """Connect, send a text, close the sending half, and read to the end: `reply`, `bytes`, `error`.

    `close_after`: it is closed at once (``send``), when an answer begins, or when the other side has closed (``end``).
    """

    async def call() -> bytes:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            if send:
                writer.write(send.encode())
            if close_after == "send":
                writer.write_eof()
            reply = await reader.read(65536) if close_after == "answer" else b""
            if close_after == "answer":
                writer.write_eof()
            return reply + await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    try:
        return _answered(await asyncio.wait_for(call(), timeout))
    except (OSError, TimeoutError) as error:
        return _failed(error)


def _answered(reply: bytes) -> dict[str, Any]:
    return {"reply": reply[:MAX_SHOWN].decode("utf-8", "replace"), "bytes": len(reply), "error": ""}


def _failed(error: BaseException) -> dict[str, Any]:
    return {"reply": "", "bytes": 0, "error": error_name(error)}


class _UdpCall(asyncio.DatagramProtocol):
    def __init__(self, answer: asyncio.Future[bytes]) -> None:
        self.answer = answer

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def udp_call(
    host: str, port: int, send: str = "", timeout: float = 2.0, source_port: int = 0
) -> dict[str, Any]:
    """Send one datagram and wait for one: `reply`, `bytes`, `error`. `source_port` 0: any."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    try:
        local = ("0.0.0.0", source_port) if source_port else None
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _UdpCall(answer), local_addr=local, remote_addr=(host, port)
        )
    except OSError as error:
        return _failed(error)
    try:
        transport.sendto(send.encode())
        return _answered(await asyncio.wait_for(answer, timeout))
    except (OSError, TimeoutError) as error:
        return _failed(error)
    finally:
        transport.close()


async def listen(port: int, address: str = "0.0.0.0") -> dict[str, Any]:
    """Try to open a listening port, and let go of it again: `error` is EADDRINUSE if it is taken."""
    try:
        server = await asyncio.start_server(lambda r, w: None, address, port)
    except OSError as error:
        return {"error": error_name(error)}
    server.close()
    await server.wait_closed()
    return {"error": ""}


async def sleep_forever() -> None:
    """What an idle container does."""
    await asyncio.get_running_loop().create_future()
