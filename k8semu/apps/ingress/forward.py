"""One request on its way to a backend, and the answer on its way back.

    body ─ buffered up to 1 MiB ─▶ try an upstream ─▶ head and body out ─▶ the answer, as it comes
                                     │ refused, hung up, too slow (or as said): the next one, up to 3 tries
                                     └─ 502, or 504 after a timeout

A request that may not be repeated (POST, PATCH, LOCK) is tried again only while nothing of it was sent.

nginx: src/http/ngx_http_upstream.c ngx_http_upstream_next(), proxy_next_upstream
Differs: nginx writes bodies of more than 1 MiB to a file before it asks the backend; here they pass through.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import h11
from msgspec import Struct

from k8semu.apps.ingress.access_log import Try
from k8semu.apps.ingress.request import ClientGoneError
from k8semu.apps.ingress.tunnel import tunnel
from k8semu.apps.ingress.upstream import Broken, Connection
from k8semu.kube.ingress.choosing import Asked
from k8semu.kube.ingress.config import Backend, Location, Upstream
from k8semu.kube.ingress.headers import Lines, to_client

if TYPE_CHECKING:
    from k8semu.apps.ingress.program import Proxy
    from k8semu.apps.ingress.request import Request

BUFFERED = 1 << 20
RETRIED = (403, 404, 429, 500, 502, 503, 504)
"""Answers that `proxy-next-upstream` may name (``http_503``)."""
NOT_TWICE = ("POST", "PATCH", "LOCK")


class Body(Struct):
    """A request's body as far as it has been read. `rest`: there is more to come."""

    data: bytes
    rest: bool


class Failed(Exception):
    """No upstream answered."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Forward:
    """`request` on its way to a `backend` of `location`, with these header lines. `asked`: what the choice looks at."""

    def __init__(
        self, proxy: Proxy, request: Request, location: Location, backend: Backend, asked: Asked, target: str,
        lines: Lines,
    ) -> None:  # fmt: skip
        self.proxy, self.request, self.location, self.backend = proxy, request, location, backend
        self.asked, self.target, self.lines = asked, target, lines
        self.mine = location.settings
        self._cookie = ""
        self._failed: list[Upstream] = []
        self.sent = False
        """Whether anything has gone to the backend that may have had an effect."""
        self.upstream: Upstream | None = None
        self._began = 0.0
        self._length = 0
        """Bytes of the answer's body, as the backend sent them."""

    async def run(self) -> int:
        """Ask, and pass the answer on; its status. Raises Failed, and what reading the client's body raises."""
        body = await self._read_body()
        connection, response = await self._ask(body)
        self._took("header")
        try:
            await self._answer(connection, response)
        except BaseException:
            connection.close()
            raise
        self._took("response")
        self._tried(int(response.status_code))
        if self.mine.load_balance == "ewma" and self.upstream is not None:
            times = self.request.times
            seconds = times.get("connect", 0.0) + times["response"]
            self.proxy.balancer.latencies.took(self.upstream, asyncio.get_running_loop().time(), seconds)
        return int(response.status_code)

    def _took(self, what: str) -> None:
        """So long after the last try began, the backend had done that."""
        self.request.times[what] = asyncio.get_running_loop().time() - self._began

    def _tried(self, status: int) -> None:
        """For the access log: what the last try came to."""
        if self.upstream is not None:
            seconds = asyncio.get_running_loop().time() - self._began
            self.request.tries.append(Try(f"{self.upstream.host}:{self.upstream.port}", status, self._length, seconds))

    async def _read_body(self) -> Body:
        """All of it, unless it is long, or `proxy-request-buffering` is off."""
        request = self.request
        data = bytearray()
        if not request.has_body:
            await request.say_continue()
            return Body(b"", False)
        if not self.mine.proxy_request_buffering:
            return Body(b"", True)
        while (part := await request.read_body()) is not None:
            data += part
            if len(data) > BUFFERED:
                return Body(bytes(data), True)
        return Body(bytes(data), False)

    # --- tries ----------------------------------------------------------------------------------

    async def _ask(self, body: Body) -> tuple[Connection, Any]:
        tries = self.mine.proxy_next_upstream_tries or 1 << 30
        status = 502
        while tries > 0:
            self._began = asyncio.get_running_loop().time()
            upstream, cookie = self.proxy.balancer.pick(
                self.backend, self.location, self.asked, self._began, self._failed
            )
            self.upstream, self._cookie = upstream, cookie
            connection = None
            kept = False
            try:
                connection = await self.proxy.pool.take(upstream, self.mine.proxy_connect_timeout)
                self._took("connect")
                kept = connection.used > 0
                response = await self._exchange(connection, body)
                status, failure = int(response.status_code), f"http_{response.status_code}"
                if tries == 1 or status not in RETRIED or not self._may_repeat(failure, body):
                    return connection, response
            except TimeoutError:
                status, failure = 504, "timeout"
            except OSError:
                status, failure = 502, "error"
            except Broken as broken:
                status, failure = 502, "error" if not broken.answered else "invalid_header"
            except BaseException:  # the client's fault, or the end
                if connection is not None:
                    connection.close()
                raise
            if connection is not None:
                connection.close()
            self._tried(status)
            if not kept or failure != "error":
                self._failed.append(upstream)
                tries -= 1  # that a kept connection had ended says nothing of its backend
            if not self._may_repeat(failure, body):
                break
        raise Failed(status)

    def _may_repeat(self, failure: str, body: Body) -> bool:
        allowed = self.mine.proxy_next_upstream
        if failure not in allowed or "off" in allowed or (body.rest and self.sent):
            return False
        return not self.sent or self.request.method not in NOT_TWICE or "non_idempotent" in allowed

    async def _exchange(self, connection: Connection, body: Body) -> Any:
        """Send the request; the head of the answer."""
        framing: Lines = []
        if body.rest:
            length = self.request.content_length
            framing = [("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))]
        elif self.request.says_length:
            framing = [("Content-Length", str(len(body.data)))]
        out = connection.begin(self.request.method, self.target, self.lines + framing)
        if body.data:
            out += connection.http.send(h11.Data(data=body.data)) or b""
        if not body.rest:
            out += connection.http.send(h11.EndOfMessage()) or b""
        self.sent = True
        await connection.send(out, self.mine.proxy_send_timeout)
        if body.rest:
            await self._stream_body(connection)
        while True:
            event = await connection.event(self.mine.proxy_read_timeout)
            if isinstance(event, h11.Response) or getattr(event, "status_code", 0) == 101:
                return event

    async def _stream_body(self, connection: Connection) -> None:
        while (part := await self._next_part()) is not None:
            await connection.send(connection.http.send(h11.Data(data=part)) or b"", self.mine.proxy_send_timeout)
        await connection.send(connection.http.send(h11.EndOfMessage()) or b"", self.mine.proxy_send_timeout)

    async def _next_part(self) -> bytes | None:
        """The next part of the client's body. What goes wrong with that is not the backend's fault."""
        try:
            return await self.request.read_body()
        except (OSError, TimeoutError):
            raise ClientGoneError from None

    # --- the answer -----------------------------------------------------------------------------

    async def _answer(self, connection: Connection, response: Any) -> None:
        lines = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in response.headers.raw_items()]
        if response.status_code == 101:
            await self._upgrade(connection, lines)
            return
        said = {key.lower(): value for key, value in lines}
        length = said.get("content-length") if "transfer-encoding" not in said else None
        head = [*([("Set-Cookie", self._cookie)] if self._cookie else []), *to_client(lines, self.request.hsts)]
        out = self.request.begin(response.status_code, response.reason.decode("latin-1"), head, length)
        while True:
            try:
                event = await connection.event(self.mine.proxy_read_timeout)
            except (Broken, OSError, TimeoutError):
                await self.request.write(out)
                self.request.give_up()
                connection.close()
                return
            if isinstance(event, h11.Data):
                self._length += len(event.data)
                out += self.request.part(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                break
            if not connection.waiting:
                await self.request.write(out)
                out = b""
        self.proxy.pool.give(connection, self.proxy.config.globals)
        await self.request.write(out + self.request.end())

    async def _upgrade(self, connection: Connection, lines: Lines) -> None:
        """The two sides speak another protocol from now on."""
        first = connection.http.trailing_data[0]
        await self.request.write(self.request.switch(lines))
        reader, writer, waiting = self.request.raw()
        try:
            idle = self.mine.proxy_read_timeout
            await tunnel((reader, writer, waiting), (connection.reader, connection.writer, first), idle)
        finally:
            connection.close()
            self.request.give_up()
