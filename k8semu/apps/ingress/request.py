"""A request on its client's connection: its body as it comes, and its answer.

Each has an h11 connection of its own, which reads the head that `head` has passed, and the body.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import h11

from k8semu.apps.ingress import head as heads
from k8semu.apps.ingress.chunks import Chunks
from k8semu.apps.ingress.pace import Pace
from k8semu.apps.ingress.pages import CLOSES, SENT_AS, reason
from k8semu.apps.ingress.stream import Reader
from k8semu.kube.ingress.headers import Lines

if TYPE_CHECKING:
    from k8semu.apps.ingress.access_log import Try
    from k8semu.apps.ingress.conversation import Conversation
    from k8semu.kube.ingress.config import Location

LINGER_TIME = 30.0
"""How long a client may go on talking whom we have nothing more to say to."""
H11_LIMIT = 1 << 16


class TooLargeError(Exception):
    """A body of more than `proxy-body-size`."""


class ClientGoneError(Exception):
    """The client has hung up."""


class Request:
    """A request on its connection: its body as it comes, and its answer."""

    def __init__(self, conversation: Conversation, head: heads.Head) -> None:
        self.conversation, self.head = conversation, head
        self.method, self.target = head.method, head.target
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=H11_LIMIT)
        self.http.receive_data(head.clean)
        self.http.next_event()
        length = head.values("content-length")
        self.content_length = int(length[0]) if length else None
        chunked = bool(head.values("transfer-encoding"))
        self.has_body, self.says_length = chunked or bool(self.content_length), chunked or length != []
        self._chunks = Chunks() if chunked else None
        self.most = 0
        """Bytes that the body may have; 0: any."""
        self.hsts = ""
        self.pace: Pace | None = None
        """How fast the answer goes out."""
        self.answered = False
        self.ended = False
        """The connection cannot be used for another request."""
        self._read = 0
        self._broken = False
        self.location: Location | None = None
        self.canary = ""
        """The name of the canary that it went to."""
        self.began = asyncio.get_running_loop().time()
        self.times: dict[str, float] = {}
        """Seconds that the backend took to `connect`, for its `header`, for the whole `response`."""
        self.status = 499
        """What the client got; nginx' own number until it has got anything."""
        self.sent = self.head_sent = 0
        self.tries: list[Try] = []
        self.id = ""
        """What X-Request-ID says of it, once it goes to a backend."""

    @property
    def received(self) -> int:
        """Bytes of the request, nearly: with the body's own, not those of its chunks' frames."""
        return self.head.size + self._read

    # --- the body -------------------------------------------------------------------------------

    async def read_body(self) -> bytes | None:
        """The next part of the body; None at its end. Raises TooLargeError, h11.RemoteProtocolError, OSError."""
        if self.http.they_are_waiting_for_100_continue:
            await self.write(self.http.send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue")))
        while True:
            event = self.http.next_event()
            if isinstance(event, h11.Data):
                self._read += len(event.data)
                if self.most and self._read > self.most:
                    raise TooLargeError
                return bytes(event.data)
            if event is h11.NEED_DATA:
                self.http.receive_data(self._followed(await self.conversation.more()))
            elif isinstance(event, h11.EndOfMessage):
                return None
            else:
                raise ConnectionResetError("the client hung up")

    async def say_continue(self) -> None:
        """Have a client go on that waits for that, even where it has no body to send. nginx: ngx_http_test_expect()"""
        if self.head.version >= (1, 1) and "100-continue" in [one.lower() for one in self.head.values("expect")]:
            await self.write(self.http.send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue")))

    def _followed(self, data: bytes) -> bytes:
        """What has come of a body, as h11 is to see it."""
        if self._chunks is None:
            return data
        try:
            data = self._chunks.feed(data)
        except h11.RemoteProtocolError:
            self._broken = True
            raise
        if self.most and self._chunks.total > self.most:
            raise TooLargeError
        return data

    def raw(self) -> tuple[Reader, asyncio.StreamWriter, bytes]:
        """The connection itself, and what has come on it already."""
        waiting = self.http.trailing_data[0] + self.conversation.take_all()
        return self.conversation.reader, self.conversation.writer, waiting

    # --- the answer -----------------------------------------------------------------------------

    def begin(self, status: int, phrase: str, lines: Lines, length: str | None) -> bytes:
        """The head of the answer; without a `length` the body comes in chunks."""
        self.answered = True
        self.status = status
        kind = [line for line in lines if line[0].lower() == "content-type"]
        rest = [line for line in lines if line[0].lower() != "content-type"]
        if length is not None:
            kind.append(("Content-Length", length))
        if not self._goes_on:
            kind.append(("Connection", "close"))
        else:
            kind.append(("Connection", "keep-alive"))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kind + rest]
        response = h11.Response(status_code=status, headers=headers, reason=phrase.encode("latin-1"))
        out = self.http.send(response) or b""
        if self.method == "HEAD":
            out = out.replace(b"Transfer-Encoding: chunked\r\n", b"")
        self.head_sent = len(out)
        return out

    @property
    def _goes_on(self) -> bool:
        """Whether the connection is for further requests, as far as is known."""
        return not self.ended and self.head.version >= (1, 1) and not self.conversation.last and "close" not in (
            word.strip().lower() for value in self.head.values("connection") for word in value.split(",")
        )  # fmt: skip

    def part(self, data: bytes) -> bytes:
        return self.http.send(h11.Data(data=data)) or b""

    def end(self) -> bytes:
        return self.http.send(h11.EndOfMessage()) or b""

    def switch(self, lines: Lines) -> bytes:
        """The answer 101. nginx: src/http/ngx_http_header_filter_module.c writes Connection itself."""
        self.answered, self.status = True, 101
        dropped = ("server", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection")
        kept = [("Connection", "upgrade"), *(line for line in lines if line[0].lower() not in dropped)]
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept]
        event = h11.InformationalResponse(status_code=101, headers=headers, reason="Switching Protocols")
        return self.http.send(event) or b""

    async def write(self, data: bytes | None) -> None:
        """Raises OSError, TimeoutError."""
        if data:
            self.sent += len(data)
            if self.pace is not None:
                await self.pace.write(data, self.conversation.write)
            else:
                await self.conversation.write(data)

    async def answer(self, status: int, lines: Lines, body: bytes) -> None:
        """A whole answer of the proxy's own."""
        if status in CLOSES:
            self.ended = True
        sent = SENT_AS.get(status, status)
        out = self.begin(sent, reason(sent), lines, str(len(body)))
        if self.method != "HEAD":
            out += self.part(body)
        await self.write(out + self.end())

    @property
    def body_ended(self) -> bool:
        return not self.has_body or self._broken or self.http.their_state is not h11.SEND_BODY

    def pass_over(self) -> None:
        """Its body is of no interest: the request makes no sense."""
        self._broken = True

    def give_up(self) -> None:
        """What was begun cannot be ended: the connection goes."""
        self.ended = True

    async def finish(self) -> bool:
        """Read what is left of the body; whether the connection can go on, with what has come of the next request."""
        if self.ended or self.http.they_are_waiting_for_100_continue:
            return False
        with contextlib.suppress(h11.RemoteProtocolError, OSError, TimeoutError):
            async with asyncio.timeout(LINGER_TIME):
                self.most = 0
                while self.http.their_state is h11.SEND_BODY:
                    await self.read_body()
                if self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
                    self.conversation.put_back(self.http.trailing_data[0])
                    return True
        return False
