"""Connections to backends. What has answered and may be used again waits here for the next request.

    take ─▶ an idle connection to that address (the one used last), or a new one
    give ─▶ it waits; when its backend hangs up, or after `upstream-keepalive-timeout`, it closes

nginx: src/http/modules/ngx_http_upstream_keepalive_module.c
Differs: an interim answer (100, 103) is passed over, where nginx before 1.29 takes it for the answer. What has two
         lengths or one that is no number, a coding other than chunked, a header line without a colon, or no status
         line of HTTP/1 is 502 (nginx from 1.23 on says so of most of these; older ones pass it on).
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import h11

from k8semu.apps.ingress.stream import Reader, connect, within
from k8semu.kube.ingress.config import Upstream
from k8semu.kube.ingress.settings import Globals

READ = 1 << 16
FOLDED = re.compile(rb"\n[ \t]").search
LONGEST_HEAD = 4096
"""Bytes of a response's head: ingress-nginx' `proxy-buffer-size`."""


class Broken(Exception):
    """A backend that answered no HTTP, or hung up. `answered`: something had come by then."""

    def __init__(self, what: str, answered: bool = False) -> None:
        super().__init__(what)
        self.answered = answered


class Connection:
    """A connection to a backend. `used` counts its requests."""

    def __init__(self, upstream: Upstream, reader: Reader, writer: asyncio.StreamWriter) -> None:
        self.upstream, self.reader, self.writer = upstream, reader, writer
        self.used = 0
        self.http = h11.Connection(h11.CLIENT)
        self.expires: asyncio.TimerHandle | None = None
        self._received = 0
        self._head = bytearray()

    @property
    def reusable(self) -> bool:
        """Whether both sides are done, and willing to go on."""
        done = self.http.our_state is h11.DONE and self.http.their_state is h11.DONE
        return done and not self.reader.at_eof() and not self.http.trailing_data[0]

    def begin(self, method: str, target: str, lines: list[tuple[str, str]]) -> bytes:
        """The head of a request, to be sent with `send`."""
        if self.used:
            self.http.start_next_cycle()
        self.used += 1
        self._received = 0
        self._head = bytearray()
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines]
        return self.http.send(h11.Request(method=method, target=target, headers=headers)) or b""

    async def send(self, data: bytes, timeout: float) -> None:
        """Raises OSError, TimeoutError."""
        self.writer.write(data)
        await within(self.writer.drain(), timeout)

    async def event(self, timeout: float) -> Any:
        """The next h11 event. Raises Broken, OSError, TimeoutError (after that long without a byte)."""
        while True:
            try:
                event = self.http.next_event()
            except h11.RemoteProtocolError as error:
                raise Broken(str(error), self._received > 0) from None
            if isinstance(event, h11.Response):
                if self._received - len(self.http.trailing_data[0]) > LONGEST_HEAD:
                    raise Broken("too big a head", True)
                if FOLDED(self._head.partition(b"\n\n")[0].partition(b"\n\r\n")[0]):
                    raise Broken("a header line that goes on", True)
            if isinstance(event, h11.ConnectionClosed):
                raise Broken("hung up", self._received > 0)
            if event is not h11.NEED_DATA:
                return event
            data = await within(self.reader.read(READ), timeout)
            if not data and not self._received:
                raise Broken("hung up before it answered")
            self._received += len(data)
            if len(self._head) <= LONGEST_HEAD:
                self._head += data[: LONGEST_HEAD]
            self.http.receive_data(data)

    @property
    def waiting(self) -> bool:
        """Whether more has come than has been looked at."""
        return bool(self.http.trailing_data[0])

    def close(self) -> None:
        if self.expires is not None:
            self.expires.cancel()
        self.reader.on_eof = None
        if self.writer.transport.get_write_buffer_size():       # for a backend that reads no more
            self.writer.transport.abort()
        else:
            self.writer.close()


class Pool:
    """The idle connections by address, the one used last at the end."""

    def __init__(self) -> None:
        self._idle: dict[Upstream, list[Connection]] = {}
        self._count = 0

    async def take(self, upstream: Upstream, timeout: float) -> Connection:
        """A connection; `used` says whether it has served before. Raises OSError, TimeoutError."""
        idle = self._idle.get(upstream)
        if idle:
            connection = idle.pop()
            self._count -= 1
            if connection.expires is not None:
                connection.expires.cancel()
            connection.reader.on_eof = None
            return connection
        return Connection(upstream, *await within(connect(*upstream), timeout))

    def give(self, connection: Connection, config: Globals) -> None:
        """It has answered: keep it, or close it."""
        most = config.upstream_keepalive_requests
        if not connection.reusable or connection.used >= most or self._count >= config.upstream_keepalive_connections:
            connection.close()
            return
        self._idle.setdefault(connection.upstream, []).append(connection)
        self._count += 1
        connection.reader.on_eof = lambda: self._drop(connection)
        loop = asyncio.get_running_loop()
        connection.expires = loop.call_later(config.upstream_keepalive_timeout, self._drop, connection)

    def _drop(self, connection: Connection) -> None:
        idle = self._idle.get(connection.upstream, [])
        if connection in idle:
            idle.remove(connection)
            self._count -= 1
        connection.close()

    def close(self) -> None:
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()
