"""Streams over SPDY: each with headers, bytes both ways, and an end of its own in either direction.

    create(headers) ── SYN_STREAM ─▶ accept() ── SYN_REPLY ─▶      write ── DATA ─▶ read      close ── DATA, FIN ─▶

What is sent between two `await`s in a `held()` block leaves in one piece.

Kubernetes: github.com/moby/spdystream, staging/src/k8s.io/streaming/pkg/httpstream/spdy/connection.go
Not modelled: the pings by which idle connections are kept
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from k8semu.kube.streaming.pipes import Pipe
from k8semu.kube.streaming.spdy import (
    CANCEL,
    PROTOCOL_ERROR,
    Data,
    Frame,
    Framer,
    GoAway,
    Ping,
    RstStream,
    SpdyError,
    SynReply,
    SynStream,
)

REPLY_TIMEOUT = 30.0
MOST_HELD = 1 << 20
"""Bytes that a stream keeps for a reader that is slow, before the whole session waits for it."""
MOST_STREAMS = 1000
PIECE = 32 * 1024
"""Bytes of a DATA frame. Go: io.Copy's buffer."""


class Stream:
    """One stream of a session."""

    def __init__(self, session: Session, number: int, headers: dict[str, str]) -> None:
        self.session, self.number, self.headers = session, number, headers
        self._buffer = bytearray()
        self._changed = asyncio.Event()
        self._replied: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.ended = False       # nothing more comes
        self.finished = False    # nothing more goes
        self.was_reset = False

    async def read(self) -> bytes:
        """What has come; b"" at the end."""
        while not self._buffer and not self.ended:
            self._changed.clear()
            await self._changed.wait()
        return self.take_now()

    def take_now(self) -> bytes:
        """What has come so far."""
        data = bytes(self._buffer)
        self._buffer.clear()
        self._changed.set()
        return data

    async def read_all(self) -> bytes:
        parts = []
        while data := await self.read():
            parts.append(data)
        return b"".join(parts)

    async def write(self, data: bytes) -> None:
        """Send; ConnectionResetError if nothing can go any more."""
        if self.finished or self.session.closed.is_set():
            raise ConnectionResetError("the stream is closed")
        for at in range(0, len(data), PIECE):
            self.session.send(Data(self.number, data[at : at + PIECE]))
        await self.session.drain()

    def close(self) -> None:
        """Say that nothing more goes."""
        if not self.finished:
            self.finished = True
            self.session.send(Data(self.number, b"", True))
            self.session.forget(self)

    def reset(self) -> None:
        """Give up both directions. spdystream: Stream.resetStream(): nothing is said of one that was closed."""
        if not self.finished:
            self.finished = True
            self.session.send(RstStream(self.number, CANCEL))
        self.over()
        self.session.forget(self)

    # --- from the session -------------------------------------------------------------------------

    async def take(self, data: bytes) -> None:
        if data and not self.ended:
            self._buffer += data
            self._changed.set()
            while len(self._buffer) > MOST_HELD and not self.ended:
                self.session.activity.set()
                self._changed.clear()
                await self._changed.wait()

    def over(self, was_reset: bool = False) -> None:
        self.ended, self.was_reset = True, self.was_reset or was_reset
        self._changed.set()
        self.replied(False)

    def replied(self, well: bool) -> None:
        if not self._replied.done():
            self._replied.set_result(well)

    async def reply(self) -> None:
        """Wait for the other side's reply; ConnectionResetError if it refused."""
        if not await asyncio.wait_for(self._replied, REPLY_TIMEOUT):
            raise ConnectionResetError("the stream was refused")


class Session:
    """All streams of a connection, from its upgrade on. The side that asked for the upgrade is the client."""

    def __init__(self, pipe: Pipe, server: bool) -> None:
        self.pipe = pipe
        self.closed = asyncio.Event()
        self.activity = asyncio.Event()
        """Set when something has come; for whoever looks at several streams."""
        self._framer = Framer()
        self._streams: dict[int, Stream] = {}
        self._incoming: asyncio.Queue[Stream | None] = asyncio.Queue()
        self._next, self._parity, self._last = (2, 1, 0) if server else (1, 0, 0)
        self._held: list[bytes] | None = None
        self._goes_away = False     # the other side has said so
        self._task = asyncio.ensure_future(self._run())

    # --- for programs -----------------------------------------------------------------------------

    async def create(self, headers: dict[str, str]) -> Stream:
        """A new stream, once the other side has taken it."""
        stream = self.start(headers)
        await self.drain()
        await stream.reply()
        return stream

    def start(self, headers: dict[str, str]) -> Stream:
        """A new stream that the other side has not taken yet: see `Stream.reply`."""
        if self.closed.is_set():
            raise ConnectionResetError("the connection is closed")
        stream = Stream(self, self._next, headers)
        self._next += 2
        self._streams[stream.number] = stream
        self.send(SynStream(stream.number, headers))
        return stream

    async def accept(self) -> Stream | None:
        """The next stream that the other side made; None when the session is over."""
        return await self._incoming.get()

    def close(self) -> None:
        """Reset what is open, say goodbye, and close."""
        if not self.closed.is_set():
            self.pipe.write(self._last_words())
            self._task.cancel()
            self._over()

    async def finish(self) -> None:
        """The same, but close when the other side has closed."""
        if self.closed.is_set():
            return
        last = self._last_words()
        self.closed.set()
        self._task.cancel()
        await asyncio.wait((self._task,))
        await self.pipe.finish(last)
        self._over()

    def _last_words(self) -> bytes:
        outer, self._held = self._held, []
        for stream in list(self._streams.values()):
            stream.reset()
        self.send(GoAway(self._last))
        last, self._held = b"".join(self._held), outer
        return last

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is sent within leaves in one piece."""
        if self._held is not None:
            yield
            return
        self._held = []
        try:
            yield
        finally:
            data, self._held = b"".join(self._held), None
            if data:
                self.pipe.write(data)

    # --- frames -----------------------------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        if self.closed.is_set():
            return
        data = self._framer.encode(frame)
        if self._held is not None:
            self._held.append(data)
        else:
            self.pipe.write(data)

    async def drain(self) -> None:
        await self.pipe.drain()

    def forget(self, stream: Stream) -> None:
        """A stream that has ended both ways is no more."""
        if stream.finished and stream.ended:
            self._streams.pop(stream.number, None)

    async def _run(self) -> None:
        """Take frames until the other side has closed, or what comes is no SPDY."""
        try:
            while data := await self.pipe.read():
                for frame in self._framer.feed(data):
                    await self._take(frame)
                self.activity.set()
                if self._goes_away and not self._streams:
                    break
        except SpdyError:
            self.send(GoAway(self._last, PROTOCOL_ERROR))
        self._over()

    def _over(self) -> None:
        self.closed.set()
        self.activity.set()
        self.pipe.close()
        self._incoming.put_nowait(None)
        for stream in list(self._streams.values()):
            stream.over(was_reset=True)
        self._streams.clear()

    async def _take(self, frame: Frame) -> None:
        if isinstance(frame, SynStream):
            self._opened(frame)
            return
        if isinstance(frame, Ping):
            if frame.number % 2 == self._parity:
                self.send(frame)
            return
        self._goes_away |= isinstance(frame, GoAway)
        stream = self._streams.get(frame.stream)
        if stream is None or isinstance(frame, GoAway):
            return
        if isinstance(frame, SynReply):
            stream.replied(True)
        elif isinstance(frame, Data):
            await stream.take(frame.data)
        elif isinstance(frame, RstStream):
            stream.finished = True
            stream.over(was_reset=True)
        if isinstance(frame, (SynReply, Data)) and frame.fin:
            stream.over()
        self.forget(stream)

    def _opened(self, frame: SynStream) -> None:
        """Kubernetes: spdystream validateStreamId(): numbers rise, and have the other side's parity."""
        if frame.stream % 2 != self._parity or frame.stream <= self._last or len(self._streams) >= MOST_STREAMS:
            self.send(RstStream(frame.stream, PROTOCOL_ERROR))
            return
        self._last = frame.stream
        stream = self._streams[frame.stream] = Stream(self, frame.stream, frame.headers)
        if frame.fin:
            stream.over()
        self.send(SynReply(frame.stream))
        self._incoming.put_nowait(stream)
