"""What the bytes of many streams travel in, after an upgrade: TCP itself, or messages of a WebSocket.

    read ─▶ some bytes, b"" at the end        write ─▶ now        drain ─▶ when the other side keeps up
    finish ─▶ last words, goodbye, and closed when the other side has closed    close ─▶ at once

Kubernetes: staging/src/k8s.io/client-go/tools/portforward/tunneling_connection.go
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from k8semu.apps.http1 import CHUNK, Http1
from k8semu.kube.streaming import websocket
from k8semu.kube.streaming.websocket import BINARY, CLOSE, NORMAL, PING, TEXT, Frames, WebSocketError
from k8semu.sim.streams import Stream

GOODBYE_TIMEOUT = 1.0
"""Seconds that the other side has for its goodbye."""


class Pipe(Protocol):
    """Bytes both ways."""

    async def read(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    async def finish(self, last: bytes = b"") -> None: ...
    def close(self) -> None: ...


class TcpPipe:
    """The connection as it is."""

    def __init__(self, http: Http1) -> None:
        self._reader, self._writer = http.reader, http.writer
        self._rest = http.rest

    async def read(self) -> bytes:
        """b"" also where the connection broke."""
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        try:
            return await self._reader.read(CHUNK)
        except ConnectionError:
            return b""

    def write(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)

    async def drain(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def finish(self, last: bytes = b"") -> None:
        """Closed when the other side, which has heard the last words, has closed."""
        if last:
            self.write(last)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_TIMEOUT):
                while await self.read():
                    pass
        self.close()

    def close(self) -> None:
        self._writer.close()


class WebSocket:
    """Messages over a connection; as a Pipe, each write is one binary message.

    `draw`: a client's stream of numbers to mask with; None for a server.
    """

    def __init__(self, pipe: TcpPipe, draw: Stream | None = None) -> None:
        self._pipe, self._draw = pipe, draw
        self._frames = Frames(from_client=draw is None)
        self._messages: deque[bytes] = deque()
        self._ended = self._said_goodbye = False
        self.heard_goodbye = False

    async def read(self) -> bytes:
        """The next message that has something in it; b"" at the end, or where what came was no WebSocket."""
        while not self._messages:
            if self._ended:
                return b""
            data = await self._pipe.read()
            self._ended = not data
            try:
                for opcode, payload in self._frames.feed(data):
                    self._take(opcode, payload)
            except WebSocketError as error:
                self._goodbye(error.code)
                self._ended = True
        return self._messages.popleft()

    @property
    def pending(self) -> bool:
        """Is a message there already?"""
        return bool(self._messages)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode in (TEXT, BINARY) and payload and not self._ended:
            self._messages.append(payload)
        elif opcode == PING:
            self._send(websocket.PONG, payload)
        elif opcode == CLOSE:
            self._ended = self.heard_goodbye = True
            self._goodbye(NORMAL)

    def _frame(self, opcode: int, data: bytes) -> bytes:
        mask = self._draw.bits(32).to_bytes(4, "big") if self._draw is not None else None
        return websocket.encode(opcode, data, mask)

    def _send(self, opcode: int, data: bytes) -> None:
        self._pipe.write(self._frame(opcode, data))

    def _goodbye(self, code: int) -> None:
        if not self._said_goodbye:
            self._said_goodbye = True
            self._send(CLOSE, code.to_bytes(2, "big"))

    def write(self, data: bytes) -> None:
        self.write_all([data])

    def write_all(self, messages: Iterable[bytes], goodbye: bool = False) -> None:
        """Several messages in one piece; with `goodbye`, the last."""
        if self._said_goodbye:
            return
        frames = [self._frame(BINARY, message) for message in messages]
        if goodbye:
            self._said_goodbye = True
            frames.append(self._frame(CLOSE, NORMAL.to_bytes(2, "big")))
        self._pipe.write(b"".join(frames))

    async def drain(self) -> None:
        await self._pipe.drain()

    async def finish(self, last: bytes = b"") -> None:
        """Say goodbye, and hear it. Then a server closes, and a client waits for that. RFC: 6455 section 7.1.1."""
        self.write_all([last] if last else [], goodbye=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_TIMEOUT):
                while not self._ended:
                    await self.read()
                    self._messages.clear()
                while self._draw is not None and await self._pipe.read():
                    pass
        self._pipe.close()

    def close(self) -> None:
        self._goodbye(NORMAL)
        self._pipe.close()
