"""asyncio's streams, whose owner is told at once when the other side ends: also while nobody reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

LIMIT = 1 << 16
"""Bytes that wait to be read before the other side is slowed down."""


class Reader(asyncio.StreamReader):
    """`on_eof` is called when the stream ends, or breaks."""

    on_eof: Callable[[], None] | None = None

    def feed_eof(self) -> None:
        super().feed_eof()
        self._told()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self._told()

    def _told(self) -> None:
        told, self.on_eof = self.on_eof, None
        if told is not None:
            told()


async def within(awaitable: Awaitable[T], seconds: float) -> T:
    """Its result, or TimeoutError. Unlike `wait_for` before Python 3.12, no cancellation is lost on the way."""
    async with asyncio.timeout(seconds):
        return await awaitable


async def connect(host: str, port: int, secure: bool = False) -> tuple[Reader, asyncio.StreamWriter]:
    """A connection; `secure`: over TLS, with whoever is there. Raises OSError.

    nginx: proxy_ssl_verify and proxy_ssl_server_name are off
    """
    loop = asyncio.get_running_loop()
    reader = Reader(limit=LIMIT, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    if secure:
        from k8semu.apps import tls

        return reader, await tls.connect(protocol, reader, host, port, tls.client_context(insecure=True))
    transport, _ = await loop.create_connection(lambda: protocol, host, port)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


Serve = Callable[[Reader, asyncio.StreamWriter], Awaitable[None]]


Wrap = Callable[[asyncio.BaseProtocol], asyncio.BaseProtocol]


async def listen(serve: Serve, address: str, port: int, below: Wrap | None = None) -> asyncio.Server:
    """Serve connections to a port; `below` makes a protocol for what lies between (TLS). Raises OSError."""
    loop = asyncio.get_running_loop()

    def protocol() -> asyncio.BaseProtocol:
        reader = Reader(limit=LIMIT, loop=loop)
        above = asyncio.StreamReaderProtocol(reader, serve, loop=loop)  # type: ignore[arg-type]
        return above if below is None else below(above)

    return await loop.create_server(protocol, address, port)
