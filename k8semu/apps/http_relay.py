"""A proxy's part in an HTTP exchange: the request goes to another server, its response comes back.

    client ── request ──▶ Relay ── the same, with X-Forwarded-For ──▶ server
           ◀─ response ──       ◀─────────────────────────────────

A connection to the server is kept for the next request. A request that asks for another protocol is
passed on with that wish; once the server has switched, bytes pass both ways until one side has closed.

Go: net/http/httputil ReverseProxy
Kubernetes: staging/src/k8s.io/apimachinery/pkg/util/proxy/upgradeaware.go
Differs: asks for no compression, where Go's client asks for gzip and undoes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from typing import Any

import h11

from k8semu.apps.http1 import CHUNK, Headers, Http1, end_to_end, value_of

DIAL_TIMEOUT = 30.0


class NoAnswer(OSError):
    """The server cannot be reached, or answers nothing that is HTTP; says it as Go does."""


async def dial(host: str, port: int, tls: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection, or NoAnswer. With `tls`, whatever certificate the server has."""
    secure = _any_certificate() if tls else None
    try:
        return await asyncio.wait_for(asyncio.open_connection(host, port, ssl=secure), DIAL_TIMEOUT)
    except TimeoutError:
        raise NoAnswer(f"dial tcp {host}:{port}: i/o timeout") from None
    except OSError as error:
        raise NoAnswer(f"dial tcp {host}:{port}: connect: {why_not(error)}") from None


def why_not(error: OSError) -> str:
    """``connection refused``: as Go says it."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _any_certificate() -> Any:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Where:
    """The server: `host` and `port`, and what is asked there."""

    def __init__(self, host: str, port: int, target: str, headers: Headers, tls: bool = False) -> None:
        self.host, self.port, self.target, self.headers, self.tls = host, port, target, headers, tls


class Relay:
    """Passes requests on, and keeps connections that are idle."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int, bool], list[Http1]] = {}
        self._busy: set[Http1] = set()

    def close(self) -> None:
        for connection in [*self._busy, *(one for many in self._idle.values() for one in many)]:
            connection.close()
        self._idle.clear()

    def _held(self, where: Where) -> Http1 | None:
        """A connection that is open and has nothing to do."""
        held = self._idle.get((where.host, where.port, where.tls), [])
        while held:
            connection = held.pop()
            if connection.idle:
                return connection
            connection.close()
        return None

    # --- plain requests ---------------------------------------------------------------------------

    async def forward(self, client: Http1, method: bytes, where: Where) -> None:
        """Pass on the request whose head `client` has received. NoAnswer, if the client was told nothing yet;
        ConnectionError if either side broke off in the middle. A connection that was kept may turn out to be
        closed: then a request without a body is made again. Go: net/http Request.isReplayable()."""
        asking = _Asking(client, method, where)
        held = self._held(where)
        if held is not None:
            try:
                return await self._exchange(asking, held)
            except NoAnswer:
                if not asking.can_be_repeated:
                    raise
        return await self._exchange(asking, Http1(*await dial(where.host, where.port, where.tls), h11.CLIENT))

    async def _exchange(self, asking: _Asking, server: Http1) -> None:
        client, where = asking.client, asking.where
        self._busy.add(server)
        try:
            await asking.send(server)
            await _Answering(client, server).run()
        except BaseException:
            server.close()
            raise
        finally:
            self._busy.discard(server)
        if server.idle:
            self._idle.setdefault((where.host, where.port, where.tls), []).append(server)
        else:
            server.close()

    async def stream(self, client: Http1, where: Where, refused: Callable[[int, str], Exception]) -> None:
        """Ask a server ourselves, and pass its answer on to `client` as it comes. An answer that is none with
        content is raised, as `refused` makes it of its status and text. NoAnswer, ConnectionError"""
        server = Http1(*await dial(where.host, where.port, where.tls), h11.CLIENT)
        self._busy.add(server)
        try:
            await server.send(h11.Request(method="GET", target=where.target, headers=where.headers), h11.EndOfMessage())
            answer = await server.receive()
            if not isinstance(answer, h11.Response):
                raise NoAnswer("EOF")
            if answer.status_code == 200:
                await _Answering(client, server, answer).run()
                return
            said = []
            while isinstance(event := await server.receive(), h11.Data):
                said.append(bytes(event.data))
            raise refused(answer.status_code, b"".join(said).decode("utf-8", "replace").strip())
        except h11.RemoteProtocolError as error:
            raise NoAnswer(f"malformed HTTP response: {error}") from None
        finally:
            self._busy.discard(server)
            server.close()

    # --- another protocol -------------------------------------------------------------------------

    async def upgrade(self, client: Http1, method: bytes, where: Where) -> None:
        """Pass on a request for another protocol, and then what is said in it. NoAnswer."""
        server = Http1(*await dial(where.host, where.port, where.tls), h11.CLIENT)
        self._busy.add(server)
        try:
            while not isinstance(event := await client.receive(), h11.EndOfMessage):
                if isinstance(event, h11.ConnectionClosed):
                    return
            head = h11.Request(method=method, target=where.target, headers=where.headers)
            try:
                await server.send(head, h11.EndOfMessage())
                answer = await server.receive()
            except ConnectionError as error:
                raise NoAnswer(f"read tcp: read: {why_not(error)}") from None
            if isinstance(answer, h11.InformationalResponse) and answer.status_code == 101:
                await client.send(answer)
                await pump(client, server)
            elif isinstance(answer, h11.Response):
                await _Answering(client, server, answer).run()
            else:
                raise NoAnswer("unexpected EOF")
        except h11.RemoteProtocolError as error:
            raise NoAnswer(f"malformed HTTP response: {error}") from None
        finally:
            self._busy.discard(server)
            server.close()


class _Asking:
    """A request on its way: head and body, as they come from the client."""

    def __init__(self, client: Http1, method: bytes, where: Where) -> None:
        self.client, self.where = client, where
        headers = end_to_end(where.headers)
        chunked = "chunked" in value_of(where.headers, "transfer-encoding").lower()
        if chunked and not value_of(headers, "content-length"):
            headers.append(("Transfer-Encoding", "chunked"))
        self.head = h11.Request(method=method, target=where.target, headers=headers)
        self._had_body = self._whole = False

    @property
    def can_be_repeated(self) -> bool:
        return self._whole and not self._had_body and self.head.method in (b"GET", b"HEAD", b"OPTIONS", b"TRACE")

    async def send(self, server: Http1) -> None:
        """Send it to `server`; NoAnswer if that breaks off."""
        events: list[Any] = [self.head]
        while not self._whole:
            event = await self.client.receive()
            if not isinstance(event, (h11.Data, h11.EndOfMessage)):
                raise ConnectionResetError("the client went away")
            self._had_body |= isinstance(event, h11.Data)
            self._whole = isinstance(event, h11.EndOfMessage)
            await self._write(server, *events, event)
            events = []
        if events:
            await self._write(server, *events, h11.EndOfMessage())

    async def _write(self, server: Http1, *events: Any) -> None:
        try:
            await server.send(*events)
        except ConnectionError as error:
            raise NoAnswer(f"write tcp: write: {why_not(error)}") from None


class _Answering:
    """A response on its way back; given up when the client goes away."""

    def __init__(self, client: Http1, server: Http1, head: h11.Response | None = None) -> None:
        self.client, self.server = client, server
        self._ready: list[Any] = [_passed_on(head)] if head is not None else []
        self._heard = self._begun = False

    async def run(self) -> None:
        gone = asyncio.ensure_future(self.client.reader.read(CHUNK))
        try:
            while not await self._take():
                data = asyncio.ensure_future(self.server.reader.read(CHUNK))
                try:
                    await asyncio.wait((data, gone), return_when=asyncio.FIRST_COMPLETED)
                    if not data.done() and not gone.result():
                        raise ConnectionResetError("the client went away")
                    await self._hear(data)
                finally:
                    data.cancel()
        except h11.RemoteProtocolError as error:
            if self._begun:
                raise ConnectionResetError(f"malformed HTTP response: {error}") from None
            raise NoAnswer(f"malformed HTTP response: {error}" if self._heard else "EOF") from None
        finally:
            if not gone.done():
                gone.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await gone
            elif not gone.cancelled() and gone.exception() is None and gone.result():
                self.client.http.receive_data(gone.result())   # its next request

    async def _hear(self, data: asyncio.Future[bytes]) -> None:
        try:
            self._heard |= bool(await data)
        except ConnectionError as error:
            if self._begun:
                raise
            raise NoAnswer(f"read tcp: read: {why_not(error)}") from None
        self.server.http.receive_data(data.result())

    async def _take(self) -> bool:
        """Pass on all that has come; whether that was the end."""
        events, self._ready = self._ready, []
        while (event := self.server.http.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response):
                events.append(_passed_on(event))
            elif isinstance(event, (h11.Data, h11.EndOfMessage)):
                events.append(event)
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("unexpected EOF")
            self._begun |= bool(events)
            if isinstance(event, h11.EndOfMessage):
                await self.client.send(*events)
                return True
        if events:
            await self.client.send(*events)
        return False


def _passed_on(head: h11.Response) -> h11.Response:
    raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers.raw_items()]
    headers = end_to_end(raw)
    if not value_of(headers, "content-length"):
        headers.append(("Transfer-Encoding", "chunked"))
    return h11.Response(status_code=head.status_code, headers=headers, reason=head.reason)


async def pump(one: Http1, other: Http1) -> None:
    """Bytes both ways, until one side has closed. Kubernetes: upgradeaware.go tryUpgrade()."""

    async def copy(source: Http1, target: Http1) -> None:
        with contextlib.suppress(ConnectionError):
            if source.rest:
                target.writer.write(source.rest)
            while data := await source.reader.read(CHUNK):
                target.writer.write(data)
                await target.writer.drain()

    try:
        await first_of(copy(one, other), copy(other, one))
    finally:
        one.close()
        other.close()


async def first_of(*ways: Coroutine[Any, Any, None]) -> None:
    """Go all ways at once, until one is at its end; the others are given up."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def forwarded_for(headers: Headers, peer: str) -> Headers:
    """With the caller's address added to X-Forwarded-For. Go: ReverseProxy.ServeHTTP."""
    before = value_of(headers, "x-forwarded-for")
    kept = [(name, value) for name, value in headers if name.lower() != "x-forwarded-for"]
    return [*kept, ("X-Forwarded-For", f"{before}, {peer}" if before else peer)]
