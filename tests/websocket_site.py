"""A site on a loopback socket: a page, the WebSocket that its script opens, and a place to tell what came of it.

    GET /            the page
    GET /echo        a WebSocket: what is said comes back          (wsproto)
    GET /closed      a WebSocket that is refused: 403
    POST /told       what the page has seen

`asked`: the heads of all requests, as they came. `closed`: code and reason of each WebSocket that a client has closed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, Request, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

BIG = 300_000
"""Bytes of a message that fits neither a frame of 16 bits nor one read of a socket."""
PAGE = b"""<!DOCTYPE html><title>waiting</title><script>
const big = new Uint8Array(%d).map((_, i) => i * i %% 251), seen = [];
const socket = new WebSocket('ws://' + location.host + '/echo', ['chat', 'echo']);
socket.binaryType = 'arraybuffer';
socket.onopen = () => { socket.send('gr\\u00fc\\u00df dich'); socket.send(big); };
socket.onerror = () => seen.push('error');
socket.onmessage = ({data}) => {
  if (typeof data === 'string') { seen.push(data); return; }
  const back = new Uint8Array(data);
  seen.push(back.length + ' bytes, ' + (back.every((byte, i) => byte === big[i]) ? 'the same' : 'others'));
  socket.close(4001, 'enough');
};
socket.onclose = ({code, reason, wasClean}) => {
  seen.push(`closed ${code} ${reason} ${wasClean ? 'cleanly' : 'broken off'}`, socket.protocol, socket.extensions);
  fetch('/told', {method: 'POST', body: seen.join('\\n')});
};
</script>""" % BIG


class Site:
    """`port` once it is up; `told` is done with what a page tells."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, list[tuple[str, str]]]] = []
        self.closed: list[tuple[int, str]] = []
        self.told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.port = 0

    async def __aenter__(self) -> Site:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def heads(self, target: str) -> list[list[tuple[str, str]]]:
        """The header lines of the requests for `target`."""
        return [lines for _, asked, lines in self.asked if asked == target]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether another one may come."""
        head = await reader.readuntil(b"\r\n\r\n")
        http = h11.Connection(h11.SERVER)
        http.receive_data(head)
        request: Any = http.next_event()
        lines = [(name.decode(), value.decode()) for name, value in request.headers.raw_items()]
        target = request.target.decode()
        self.asked.append((request.method.decode(), target, lines))
        said = {name.lower(): value for name, value in lines}
        if said.get("upgrade") == "websocket":
            await _echo(head, reader, writer, self.closed, refuse=target == "/closed")
            return False
        body = await reader.readexactly(int(said.get("content-length", 0)))
        if target == "/told":
            self.told.set_result(body.decode())
        page = PAGE if target == "/" else b""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page))
        await writer.drain()
        return True


async def _echo(
    head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, closed: list[tuple[int, str]], refuse: bool
) -> None:
    """Give back whole messages, as long as the client likes."""
    socket = WSConnection(ConnectionType.SERVER)
    message: list[Any] = []
    data = head
    while True:
        try:
            socket.receive_data(data or None)
        except RemoteProtocolError as error:                 # no handshake: 400 or 426
            if error.event_hint is not None:
                writer.write(socket.send(error.event_hint))
            return
        answer = b""
        for event in socket.events():
            if isinstance(event, Request):
                asked = event.subprotocols
                answer += socket.send(RejectConnection(status_code=403) if refuse else AcceptConnection(
                    subprotocol="echo" if "echo" in asked else None, extensions=[PerMessageDeflate()],
                ))  # fmt: skip
            elif isinstance(event, TextMessage | BytesMessage):
                message.append(event.data)
                if event.message_finished:
                    whole = message[0][:0].join(message)
                    answer += socket.send(type(event)(data=whole))
                    message.clear()
            elif isinstance(event, Ping):
                answer += socket.send(event.response())
            elif isinstance(event, CloseConnection):
                closed.append((event.code, event.reason or ""))
                if event.code != CloseReason.ABNORMAL_CLOSURE:
                    answer += socket.send(event.response())
                writer.write(answer)
                return
        writer.write(answer)
        await writer.drain()
        if refuse or not data:
            return
        data = await reader.read(65536)
