"""One client's connection: a request, its answer, the next request, until one side has enough.

    head ─▶ refused?  400, 405, 414, 494, 501, 505
         ─▶ host, path ─▶ location ─▶ redirect? denied? ─▶ access ─▶ forward ─▶ answer

nginx: src/http/ngx_http_request.c
Differs: a connection of HTTP/1.0 ends with its answer, whatever it asks for. No Date: the clock is another one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import h11

from k8semu.apps.ingress import access_log, auth_request, proxy_protocol
from k8semu.apps.ingress import head as heads
from k8semu.apps.ingress.forward import Failed, Forward
from k8semu.apps.ingress.pace import Pace
from k8semu.apps.ingress.pages import SENT_AS, page, reason
from k8semu.apps.ingress.request import LINGER_TIME, ClientGoneError, Request, TooLargeError
from k8semu.apps.ingress.stream import Reader, within
from k8semu.kube.ingress.choosing import Asked
from k8semu.kube.ingress.config import NO_BACKEND, Location, Server
from k8semu.kube.ingress.headers import Client, Lines, first, real_client, to_backend, usable
from k8semu.kube.ingress.matching import BadPathError, normal_path
from k8semu.kube.ingress.metrics import Done
from k8semu.kube.ingress.rewriting import redirect, rewritten

if TYPE_CHECKING:
    from k8semu.apps.ingress.program import Listener, Proxy

T = TypeVar("T")
READ = 1 << 16
SEND_TIMEOUT = 60.0
LINGER_TIMEOUT = 5.0
"""How long a client that was refused may be silent before we hang up."""


class Conversation:
    """`listener` says how the client came in."""

    def __init__(self, proxy: Proxy, listener: Listener, reader: Reader, writer: asyncio.StreamWriter) -> None:
        self.proxy, self.listener, self.reader, self.writer = proxy, listener, reader, writer
        peer = writer.get_extra_info("peername")
        self.client = str(peer[0]) if peer else ""
        self.requests = 0
        self._buffer = bytearray()
        self._task = asyncio.current_task()
        self._gone = False

    @property
    def last(self) -> bool:
        """Whether no request may follow this one."""
        return self.requests >= self.proxy.config.globals.keep_alive_requests

    # --- bytes ----------------------------------------------------------------------------------

    async def more(self) -> bytes:
        """Bytes of the body; b'' at the end of the connection. Raises OSError, TimeoutError."""
        data = self.take_all()
        return data or await within(self.reader.read(READ), self.proxy.config.globals.client_body_timeout)

    def take_all(self) -> bytes:
        data, self._buffer = bytes(self._buffer), bytearray()
        return data

    def put_back(self, data: bytes) -> None:
        self._buffer[:0] = data

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await within(self.writer.drain(), SEND_TIMEOUT)

    async def _head(self) -> heads.Head | heads.Refused | None:
        """The next head; None when none comes. Empty lines before it are passed over."""
        limit = self.proxy.config.globals.keep_alive if self.requests else self._header_timeout
        while True:
            if self._buffer.startswith((b"\r", b"\n")):
                del self._buffer[:1]
                continue
            end = heads.find_end(self._buffer)
            if end >= 0:
                raw = bytes(self._buffer[:end])
                del self._buffer[:end]
                return heads.read(raw)
            status = heads.hopeless(self._buffer)
            if status:
                return heads.Refused(status)
            data = await within(self.reader.read(READ), limit)
            if not data:
                return None
            if not self._buffer:
                limit = self._header_timeout
            self._buffer += data

    @property
    def _header_timeout(self) -> float:
        return self.proxy.config.globals.client_header_timeout

    # --- requests -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until one side has enough."""
        metrics = self.proxy.metrics
        metrics.accepted += 1
        metrics.active += 1
        try:
            if self.proxy.config.globals.use_proxy_protocol:
                await self._proxy_header()
            while await self._one():
                pass
        except (OSError, TimeoutError, ClientGoneError, proxy_protocol.BrokenHeader):
            pass
        finally:
            metrics.active -= 1
            self.writer.close()

    async def _proxy_header(self) -> None:
        """Who the client is, as a load balancer in front says it."""
        while (said := proxy_protocol.read(bytes(self._buffer))) is None:
            data = await within(self.reader.read(READ), self._header_timeout)
            if not data:
                raise ClientGoneError
            self._buffer += data
        del self._buffer[: said.length]
        self.client = said.address or self.client

    async def _one(self) -> bool:
        self.proxy.metrics.waiting += 1
        try:
            head = await self._head()
        finally:
            self.proxy.metrics.waiting -= 1
        if head is None:
            return False
        self.requests += 1
        self.proxy.metrics.requests += 1
        if isinstance(head, heads.Refused):
            await self._refuse(head.status)
            return False
        try:
            request = Request(self, head)
        except h11.RemoteProtocolError:
            await self._refuse(400)
            return False
        try:
            await self._serve(request)
        except TooLargeError:
            await self._page(request, 413)
        except h11.RemoteProtocolError:
            await self._page(request, 400)
        finally:
            self._count(request)
            access_log.write(request, self.client, self.proxy.config.globals)
        if await request.finish():
            return True
        await self._linger(request.body_ended)
        return False

    def _count(self, request: Request) -> None:
        """Tell the metrics of a request, if its host is one of ours."""
        location = request.location
        host = request.head.host
        if location is None or self.proxy.config.server(host) is self.proxy.config.every_host:
            return
        now = asyncio.get_running_loop().time()
        upstream = request.times
        self.proxy.metrics.record(Done(
            host, request.method, location.path, location.ingress, location.backend.service[1],
            request.status, now - request.began, request.received, request.sent,
            upstream.get("connect"), upstream.get("header"), upstream.get("response"), request.canary,
        ))  # fmt: skip

    async def _refuse(self, status: int) -> None:
        """A request that cannot be read: the answer to it is the last."""
        body, sent = page(status), SENT_AS.get(status, status)
        head = f"HTTP/1.1 {sent} {reason(sent)}\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n"
        await self.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        await self._linger()

    async def _linger(self, said_all: bool = True) -> None:
        """Let the client read our last words before the connection goes. nginx: lingering_close

        While it has not `said_all`, it is heard before we hang up.
        """
        if self.reader.at_eof() or self.writer.is_closing():
            return
        with contextlib.suppress(OSError, TimeoutError):
            if said_all and self.writer.can_write_eof():
                self.writer.write_eof()
            async with asyncio.timeout(LINGER_TIME):
                while await within(self.reader.read(READ), LINGER_TIMEOUT):
                    pass

    async def _page(self, request: Request, status: int, lines: Lines | None = None) -> None:
        """One of nginx' pages, unless an answer has begun."""
        if request.answered:
            request.give_up()
            return
        await request.answer(status, [("Content-Type", "text/html"), *(lines or [])], page(status))

    async def _serve(self, request: Request) -> None:
        config = self.proxy.config
        try:
            path = normal_path(request.target)
        except BadPathError:
            request.pass_over()
            await self._page(request, 400)
            return
        server = config.server(request.head.host)
        location = server.paths.find(path)
        if location is None:
            await self._page(request, 404)
            return
        request.location = location
        most = request.most = location.settings.proxy_body_size
        if most and (request.content_length or 0) > most:
            await self._page(request, 413)
            return
        if location.denied:
            await self._page(request, 503)
            return
        host = next(iter(request.head.values("host")), request.head.host)
        client = Client(self.client, host, self.listener.scheme, self.listener.port)
        moved = redirect(server, location, path, request.target, client, config.globals)
        if moved is not None:
            await self._page(request, moved.status, [("Location", moved.location)])
            return
        address = real_client(request.head.lines, client, config.globals).address
        access = self.proxy.access
        refused, held = access.enter(location, address, config.globals)
        try:
            refused = refused or access.check(location, address, request)
            if refused is not None:
                await self._page(request, refused.status, list(refused.lines))
                return
            more: Lines = []
            if location.settings.auth_url:
                verdict = await self._unless_gone(auth_request.ask(self.proxy, request, client, location.settings))
                if verdict.answer is not None:
                    await self._page(request, verdict.answer.status, list(verdict.answer.lines))
                    return
                more = verdict.lines
            await self._forward(request, server, location, path, client, more)
        finally:
            access.leave(held)

    async def _forward(
        self, request: Request, server: Server, location: Location, path: str, client: Client, more: Lines
    ) -> None:
        config = self.proxy.config.globals
        if config.hsts and self.listener.scheme == "https" and server.certificate is not None:
            request.hsts = f"max-age={config.hsts_max_age}" + "; includeSubDomains" * config.hsts_include_subdomains
        backend = location.backend
        if not backend.upstreams:
            await self._page(request, 404 if backend.why == NO_BACKEND else 503)
            return
        lines = usable(request.head.lines, config.enable_underscores_in_headers)
        if location.users is not None:
            lines = [line for line in lines if line[0].lower() != "authorization"]
        new_id = self.proxy.request_id()
        request.id = first(lines, "x-request-id") or new_id
        told = to_backend(lines, client, new_id, config, location.settings, request.target)
        given = {name.lower() for name, _ in more}
        told = [line for line in told if line[0].lower() not in given] + more
        target = rewritten(location, path, request.target)
        if not target:
            await self._page(request, 500)
            return
        known = real_client(request.head.lines, client, config)
        asked = Asked(
            request.head.lines, request.method, request.target, path, request.head.host, known.address,
            self.listener.scheme,
        )  # fmt: skip
        backend = self.proxy.balancer.backend(location, asked)
        request.canary = backend.name if backend is not location.backend else ""
        mine = location.settings
        if mine.limit_rate:
            request.pace = Pace(mine.limit_rate << 10, mine.limit_rate_after << 10, request.began)
        try:
            forward = Forward(self.proxy, request, location, backend, asked, target, told)
            await self._unless_gone(forward.run())
        except Failed as failed:
            await self._page(request, failed.status)

    async def _unless_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something while the client waits: nobody need work for somebody who has hung up."""
        task = self._task
        assert task is not None

        def gone() -> None:
            self._gone = True
            task.cancel()

        if self.reader.at_eof():
            work.close()
            raise ClientGoneError
        self.reader.on_eof = gone
        try:
            return await work
        except asyncio.CancelledError:
            if not self._gone:
                raise
            task.uncancel()
            raise ClientGoneError from None
        finally:
            self.reader.on_eof = None
