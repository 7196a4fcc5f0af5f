"""A shop that keeps one connection to its back end open, as clients with a connection pool do.

    GET / ─▶ the same request over the kept connection ─▶ {"servedBy", "connection": "new" | "kept", "error"}

Which Pod the kept connection leads to was decided when it was opened; nobody asks again until it ends. When
the back end hangs up, the pool does so, too, and the next request opens another connection. A request whose
connection breaks is answered with 502.

RFC: 9112 (parsed by h11)
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from k8semu.apps.http_client import error_name
from k8semu.apps.registry.http import Answer, Request, serve

TIMEOUT = 2.0
"""Seconds that the back end has for its answer."""


class _Connection(asyncio.Protocol):
    """An open connection to the back end; it closes itself as soon as the back end does."""

    def __init__(self) -> None:
        import h11

        self.http = h11.Connection(h11.CLIENT)
        self.lost = False
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.http.receive_data(data)
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._news.set()

    async def get(self, host: str) -> bytes:
        """The body of GET /."""
        import h11

        head = h11.Request(method="GET", target="/", headers=[("Host", host), ("Accept", "*/*")])
        self.transport.write((self.http.send(head) or b"") + (self.http.send(h11.EndOfMessage()) or b""))
        body = bytearray()
        while not isinstance(event := self.http.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                body += event.data
            elif event is h11.NEED_DATA:
                if self.lost:
                    raise ConnectionResetError("the back end hung up")
                self._news.clear()
                await self._news.wait()
        self.http.start_next_cycle()
        return bytes(body)


async def pooled_client(url: str, ports: list[int]) -> None:
    """Answer on the first of `ports` with what `url` (``http://10.96.0.20/``) says, over one connection."""
    import h11

    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    loop = asyncio.get_running_loop()
    kept: list[_Connection] = []

    async def ask() -> dict[str, Any]:
        state = "kept"
        if not kept or kept[0].lost:
            _, connection = await loop.create_connection(_Connection, host, port)
            kept[:], state = [connection], "new"
        answer = json.loads(await kept[0].get(host))
        return {"servedBy": answer.get("servedBy", ""), "connection": state, "error": ""}

    async def respond(request: Request) -> Answer:
        try:
            result = await asyncio.wait_for(ask(), TIMEOUT)
        except (OSError, TimeoutError, h11.ProtocolError) as error:
            for connection in kept:
                connection.transport.abort()
            kept.clear()
            result = {"servedBy": "", "connection": "broken", "error": error_name(error)}
        return Answer(502 if result["error"] else 200, json.dumps(result).encode() + b"\n", "application/json")

    try:
        await serve(respond, ports[0])
    finally:
        for connection in kept:
            connection.transport.close()
