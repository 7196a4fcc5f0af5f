"""The container runtime's streaming server: where a session into a Pod ends.

    /exec/TOKEN          streams error, stdin, stdout, stderr ─▶ a process in the Pod ─▶ a Status on error
    /portforward/TOKEN   streams error and data per connection ─▶ 127.0.0.1:PORT inside the Pod

A token is good once: the kubelet asks for one, and leads the client's connection on to it.

Kubernetes: staging/src/k8s.io/cri-streaming/pkg/streaming (server.go, portforward/httpstream.go, remotecommand);
            containerd internal/cri/streamingserver, sandbox_portforward_linux.go, container_execsync.go
Not modelled: WebSocket here: the API server has translated it; terminals: resize is read and ignored
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

import h11
import msgspec

from k8semu.apps.http1 import Http1, headers_of
from k8semu.kube.kubelet.execution import NoSuchCommand, execute
from k8semu.kube.kubelet.sandbox import Runtime, Sandbox
from k8semu.kube.streaming.command import (
    FORWARD,
    PORT,
    REQUEST_ID,
    SPDY_PROTOCOLS,
    STREAM_TYPE,
    failure,
    status_of,
)
from k8semu.kube.streaming.pipes import GOODBYE_TIMEOUT
from k8semu.kube.streaming.session import Session, Stream
from k8semu.kube.streaming.upgrade import SPDY_VERSION, choose, grant_spdy, offered, wants
from k8semu.sim.streams import Stream as Numbers

LINGER = 1.0
"""Seconds that one direction of a forwarded connection may go on when the other has ended."""
START = 0.05
"""Seconds that a process takes to start in a container: what runc needs, roughly."""
ENTER = 0.01
"""Seconds until a connection into a Pod is tried: its sandbox is looked up, and its namespace entered."""
CREATION_TIMEOUT = 30.0
"""Seconds in which a client makes its streams."""


class Exec(msgspec.Struct):
    """A command that a token stands for."""

    sandbox: Sandbox
    command: list[str]
    container: str
    streams: list[str]
    """Which of stdin, stdout, stderr (and resize) the client will make."""


class Forward(msgspec.Struct):
    sandbox: Sandbox


class StreamingServer:
    """Serves what `token` was called for."""

    def __init__(self, runtime: Runtime, numbers: Numbers) -> None:
        self.runtime, self._numbers = runtime, numbers
        self._asked: dict[str, Exec | Forward] = {}
        self._open: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> int:
        """Listen on 127.0.0.1; the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.close()

    def path_for(self, asked: Exec | Forward) -> str:
        """Where a client is served that asks for this. Kubernetes: CRI Exec, PortForward."""
        token = self._numbers.hex(8)
        self._asked[token] = asked
        return f"/{'exec' if isinstance(asked, Exec) else 'portforward'}/{token}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = asyncio.current_task()
        client = Http1(reader, writer, h11.SERVER)
        try:
            with contextlib.suppress(ConnectionError, h11.ProtocolError):
                await self._serve(client)
        finally:
            client.close()
            self._open.pop(writer, None)

    async def _serve(self, client: Http1) -> None:
        head = await client.receive()
        if not isinstance(head, h11.Request):
            return
        token = head.target.decode("latin-1").partition("?")[0].rpartition("/")[2]
        asked = self._asked.pop(token, None)
        headers = headers_of(head)
        known = (FORWARD,) if isinstance(asked, Forward) else SPDY_PROTOCOLS
        protocol = choose(offered(headers, SPDY_VERSION), known)
        if asked is None:
            await _refuse(client, 404, "")
        elif wants(headers) != "spdy":
            await _refuse(client, 400, "unable to upgrade: missing upgrade headers in request")
        elif not protocol:
            theirs = ", ".join(offered(headers, SPDY_VERSION))
            await _refuse(client, 403, f"unable to negotiate protocol: client supports [{theirs}], "
                                       f"server accepts [{' '.join(known)}]")  # fmt: skip
        else:
            session = Session(await grant_spdy(client, protocol), server=True)
            try:
                await (self._run(session, asked) if isinstance(asked, Exec) else self._forward(session, asked.sandbox))
            finally:
                session.close()

    # --- exec -------------------------------------------------------------------------------------

    async def _run(self, session: Session, asked: Exec) -> None:
        streams: dict[str, Stream] = {}
        try:
            async with asyncio.timeout(CREATION_TIMEOUT):
                while any(kind not in streams for kind in ("error", *asked.streams)):
                    stream = await session.accept()
                    if stream is None:
                        return
                    streams[stream.headers.get(STREAM_TYPE, "")] = stream
        except TimeoutError:
            return
        gone = asyncio.ensure_future(session.closed.wait())
        work = asyncio.ensure_future(self._ran(asked, streams))
        await asyncio.wait((gone, work), return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not work.done():
            work.cancel()           # the client has gone: its command ends
            return
        text, errors, status = await work
        with contextlib.suppress(ConnectionError), session.held():
            for kind, data in (("stdout", text), ("stderr", errors), ("error", status)):
                if kind in streams and data:
                    await streams[kind].write(data)
            for stream in streams.values():
                stream.close()
        with contextlib.suppress(TimeoutError):     # who asked closes, when it has read all that
            await asyncio.wait_for(session.closed.wait(), GOODBYE_TIMEOUT)

    async def _ran(self, asked: Exec, streams: dict[str, Stream]) -> tuple[bytes, bytes, bytes]:
        """What goes to stdout, to stderr and to error."""
        stdin = await streams["stdin"].read_all() if "stdin" in streams else b""
        await asyncio.sleep(START)
        try:
            done = await execute(self.runtime, asked.sandbox, asked.command, stdin, asked.container)
        except NoSuchCommand as error:
            said = "error executing command in container: failed to exec in container: OCI runtime"
            return b"", b"", failure(f"{said} exec failed: unable to start container process: {error}: unknown")
        return done.text.encode(), done.errors.encode(), status_of(done.code)

    # --- port-forward -----------------------------------------------------------------------------

    async def _forward(self, session: Session, sandbox: Sandbox) -> None:
        waiting: dict[str, dict[str, Stream]] = {}
        async with asyncio.TaskGroup() as tasks:
            while (stream := await session.accept()) is not None:
                number = stream.headers.get(REQUEST_ID, "")
                pair = waiting.setdefault(number, {})
                pair[stream.headers.get(STREAM_TYPE, "")] = stream
                if "error" in pair and "data" in pair:
                    del waiting[number]
                    tasks.create_task(self._connection(session, sandbox, pair["data"], pair["error"]))

    async def _connection(self, session: Session, sandbox: Sandbox, data: Stream, error: Stream) -> None:
        port = data.headers.get(PORT, "")
        try:
            said = await self._carry(sandbox, port, data)
        except ConnectionError:
            said = ""
        with contextlib.suppress(ConnectionError), session.held():
            if said:
                await error.write(f"error forwarding port {port} to pod {sandbox.id}, uid : {said}".encode())
            data.close()
            error.close()

    async def _carry(self, sandbox: Sandbox, text: str, data: Stream) -> str:
        """Carry one connection to its end; what went wrong, or ''."""
        if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
            return f"unable to parse port {text!r}"
        await asyncio.sleep(ENTER)
        if sandbox.gone:
            return f'network namespace for sandbox "{sandbox.id}" is closed'
        try:
            reader, writer = await self.runtime.connect(sandbox.netns, int(text))
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else str(error)
            return (f'failed to execute portforward in network namespace "/var/run/netns/{sandbox.netns}": failed to '
                    f'connect to localhost:{text} inside namespace "{sandbox.id}", IPv4: dial tcp4 127.0.0.1:{text}: '
                    f"connect: {why} IPv6 dial tcp6 [::1]:{text}: "
                    "connect: cannot assign requested address ")  # fmt: skip
        try:
            await _both_ways(data, reader, writer)
        finally:
            writer.close()
        return ""


async def _both_ways(data: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until both directions have ended, or one has and its second is over. The Pod is not told of the first."""

    async def up() -> None:
        with contextlib.suppress(ConnectionError):
            while said := await data.read():
                writer.write(said)
                await writer.drain()

    async def down() -> None:
        with contextlib.suppress(ConnectionError):
            while said := await reader.read(32 * 1024):
                await data.write(said)

    ways = [asyncio.ensure_future(up()), asyncio.ensure_future(down())]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(ways, timeout=LINGER)
    finally:
        for way in ways:
            way.cancel()


async def _refuse(client: Http1, code: int, text: str) -> None:
    await client.answer(code, [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")], text.encode())
