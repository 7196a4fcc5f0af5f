"""HTTP/1.1 over streams: one connection, seen from either end.

    receive ─▶ the next h11 event, as soon as there is one        send ─▶ events, written in one go

RFC: 9112 (parsed by h11), 9110 section 7.6.1 (fields that are for one hop only)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import h11

Headers = list[tuple[str, str]]
"""Names as they were written."""
CHUNK = 65_536
HOP_BY_HOP = frozenset(
    ("connection", "proxy-connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
     "transfer-encoding", "upgrade"))  # fmt: skip
"""What a proxy does not pass on. Go: net/http/httputil hopHeaders."""


class Http1:
    """A connection of an HTTP server (`role` h11.SERVER) or client (h11.CLIENT)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, role: Any) -> None:
        self.reader, self.writer = reader, writer
        self.http = h11.Connection(role, max_incomplete_event_size=CHUNK)
        self._head_only = False

    @property
    def peer(self) -> str:
        """The other end's address."""
        return str(self.writer.get_extra_info("peername")[0])

    async def receive(self) -> Any:
        """The next event; h11.RemoteProtocolError if what comes is no HTTP."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            if self.http.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.http.receive_data(await self.reader.read(CHUNK))
        if isinstance(event, h11.Request):
            self._head_only = event.method == b"HEAD"
        return event

    async def skip_body(self) -> None:
        """Read the rest of a request, so that it can be answered."""
        while self.http.their_state is h11.SEND_BODY:
            await self.receive()

    async def send(self, *events: Any) -> None:
        self.writer.write(b"".join(self.http.send(event) or b"" for event in events))
        await self.writer.drain()

    async def answer(self, code: int, headers: Headers, body: bytes) -> None:
        """A whole response; to HEAD without its body."""
        data = [] if self._head_only else [h11.Data(data=body)]
        await self.send(response(code, [*headers, ("Content-Length", str(len(body)))]), *data, h11.EndOfMessage())

    @property
    def idle(self) -> bool:
        """Can another request be sent? Makes the connection ready for it."""
        if self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
        closing = self.writer.is_closing() or self.reader.at_eof()
        return self.http.our_state is h11.IDLE and not closing

    @property
    def rest(self) -> bytes:
        """What came behind the HTTP, once the protocol has switched."""
        return bytes(self.http.trailing_data[0])

    def close(self) -> None:
        self.writer.close()


def response(code: int, headers: Headers) -> h11.Response:
    """The head of a response, with the usual words for its status."""
    return h11.Response(status_code=code, headers=headers, reason=HTTPStatus(code).phrase.encode())


def headers_of(event: Any) -> Headers:
    """The header lines of a request or response."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers.raw_items()]


def value_of(headers: Iterable[tuple[str, str]], name: str) -> str:
    """All values of a header, as one list."""
    return ", ".join(value for key, value in headers if key.lower() == name)


def words_of(headers: Iterable[tuple[str, str]], name: str) -> list[str]:
    """The members of a header that is a list of words, in small letters."""
    return [word.strip().lower() for word in value_of(headers, name).split(",") if word.strip()]


def asks_to_upgrade(headers: Headers) -> bool:
    """Kubernetes: staging/src/k8s.io/apimachinery/pkg/util/httpstream IsUpgradeRequest()."""
    return "upgrade" in words_of(headers, "connection")


def end_to_end(headers: Headers) -> Headers:
    """The headers that a proxy passes on."""
    named = words_of(headers, "connection")
    return [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP and name.lower() not in named]
