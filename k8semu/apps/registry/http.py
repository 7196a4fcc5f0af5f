"""HTTP/1.1 for registries and their clients: `serve` answers requests by a function, `call` makes one.

A server answers many requests on a connection, and closes when the client has closed or asked for it;
a client makes one request a connection and closes first. Head and body go in one write.

RFC: 9112 (parsed by h11)
Differs: servers send no Date: theirs would be another one in every run.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

MAX_BODY = 1 << 20
"""Bytes of a request's body; more is answered with 413."""
TIMEOUT = 5.0


class Request(msgspec.Struct, frozen=True):
    """A request, whole. Header names are small letters; of a query key that comes twice, the first counts."""

    method: str
    path: str
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: bytes = b""
    peer: str = ""

    @property
    def segments(self) -> list[str]:
        """The parts of the path, each decoded: ``/apps/A%2FB/`` is ``["apps", "A/B"]``."""
        return [unquote(part) for part in self.path.split("/") if part]


class Answer(msgspec.Struct, frozen=True):
    """What to answer. `kind` is the content type; none for an empty body."""

    status: int
    body: bytes = b""
    kind: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class Reply(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


Handler = Callable[[Request], Awaitable[Answer]]


def reason(status: int) -> bytes:
    """``Not Found``"""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


# --- the server ---------------------------------------------------------------------------------


class _Conversation:
    """One connection of a client."""

    def __init__(self, handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import h11

        self.h11, self.handler, self.reader, self.writer = h11, handler, reader, writer
        self.connection = h11.Connection(h11.SERVER)
        self.head: Any = None
        self.body = bytearray()

    async def run(self) -> None:
        """Answer until the client has had enough."""
        h11 = self.h11
        try:
            while True:
                event = self.connection.next_event()
                if event is h11.NEED_DATA:
                    await self._receive()
                elif isinstance(event, h11.Request):
                    self.head, self.body = event, bytearray()
                elif isinstance(event, h11.Data):
                    self.body += event.data
                    if len(self.body) > MAX_BODY:
                        self._send(Answer(413), last=True)
                        return
                elif isinstance(event, h11.EndOfMessage):
                    if not await self._answer():
                        return
                elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                    return
        except h11.RemoteProtocolError:
            if self.connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self._send(Answer(400), last=True)
        except ConnectionError:
            return
        finally:
            self.writer.close()

    async def _receive(self) -> None:
        if self.connection.they_are_waiting_for_100_continue:
            go_on = self.h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self.writer.write(self.connection.send(go_on) or b"")
        self.connection.receive_data(await self.reader.read(65536))

    async def _answer(self) -> bool:
        """Answer the request that is whole now; False if it was the last."""
        wants_close = any(key == b"connection" and b"close" in value.lower() for key, value in self.head.headers)
        answer = await self.handler(self._request())
        last = wants_close or self.connection.their_state is self.h11.MUST_CLOSE
        self._send(answer, last=last)
        await self.writer.drain()
        if last or self.connection.our_state is self.h11.MUST_CLOSE:
            return False
        self.connection.start_next_cycle()
        return True

    def _request(self) -> Request:
        target = urlsplit(self.head.target.decode("latin-1"))
        query: dict[str, str] = {}
        for key, value in parse_qsl(target.query, keep_blank_values=True):
            query.setdefault(key, value)
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in self.head.headers}
        peer = self.writer.get_extra_info("peername")
        return Request(
            self.head.method.decode("latin-1"), target.path, query, headers, bytes(self.body), peer[0] if peer else ""
        )  # fmt: skip

    def _send(self, answer: Answer, *, last: bool) -> None:
        h11, send = self.h11, self.connection.send
        headers = [("Content-Type", answer.kind)] if answer.kind else []
        headers += answer.headers
        if answer.status != 204:
            headers.append(("Content-Length", str(len(answer.body))))
        if last:
            headers.append(("Connection", "close"))
        head = h11.Response(status_code=answer.status, headers=headers, reason=reason(answer.status))
        out = send(head) or b""
        if answer.body and answer.status != 204 and (self.head is None or self.head.method != b"HEAD"):
            out += send(h11.Data(data=answer.body)) or b""
        self.writer.write(out + (send(h11.EndOfMessage()) or b""))


async def start(handler: Handler, port: int, address: str = "0.0.0.0") -> asyncio.Server:
    """A server that listens, and answers with `handler`."""
    return await asyncio.start_server(lambda r, w: _Conversation(handler, r, w).run(), address, port)


async def serve(handler: Handler, port: int, address: str = "0.0.0.0") -> None:
    """Answer with `handler` until cancelled."""
    server = await start(handler, port, address)
    try:
        await server.serve_forever()
    finally:
        server.close()


# --- the client ---------------------------------------------------------------------------------


async def call(
    method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None, timeout: float = TIMEOUT
) -> Reply:
    """Make one request. OSError or TimeoutError if no answer comes."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = {"Host": parts.netloc, "Accept": "*/*"} | (headers or {})
    if body or method in ("POST", "PUT"):
        head["Content-Length"] = str(len(body))
    async with asyncio.timeout(timeout):
        return await _exchange(parts.hostname or "", parts.port or 80, method, target, head, body)


async def _exchange(host: str, port: int, method: str, target: str, head: dict[str, str], body: bytes) -> Reply:
    import h11

    reader, writer = await asyncio.open_connection(host, port)
    try:
        connection = h11.Connection(h11.CLIENT)
        out = connection.send(h11.Request(method=method, target=target, headers=list(head.items()))) or b""
        if body:
            out += connection.send(h11.Data(data=body)) or b""
        writer.write(out + (connection.send(h11.EndOfMessage()) or b""))
        status, answer_headers, answer = 0, {}, bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Response):
                status = event.status_code
                answer_headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in event.headers}
            elif isinstance(event, h11.Data):
                answer += event.data
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                return Reply(status, answer_headers, bytes(answer))
    except h11.RemoteProtocolError:
        raise OSError(errno.EPROTO, "no HTTP") from None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
