"""The API server as a program: the registry over HTTP/1.1.

    connection ─▶ h11 ─┬▶ Api.handle ─▶ JSON, or a stream of events, one line each
                       └▶ Doors ─▶ a Pod, a node, a kubelet

An ordinary asyncio program: it runs on a node of the emulator, and on real sockets.

Kubernetes: staging/src/k8s.io/apiserver/pkg/endpoints/handlers/{get,watch}.go
Differs: plain HTTP, so that what is said can be read in a capture; no authentication; one page of history per kind.
Not modelled: protobuf: `kubectl create deployment` sends it and is refused, `kubectl create -f` sends JSON.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import msgspec

from k8semu.apps.http1 import Http1, response
from k8semu.kube.api.arguments import Request
from k8semu.kube.api.doors import Doors, find_door
from k8semu.kube.api.registry import Registry
from k8semu.kube.api.requests import Answer, Api, Watching
from k8semu.kube.api.resources import BY_KIND
from k8semu.kube.api.status import ApiError
from k8semu.kube.api.surroundings import Draw
from k8semu.kube.api.surroundings import Streams as StreamsProtocol
from k8semu.kube.api.watch import BOOKMARK_EVERY, Stream
from k8semu.sim.clock import NS_PER_S

PORT = 6443
MOST = 3 * 1024 * 1024
"""Bytes of a request's body at most. Kubernetes: --max-request-bytes of etcd and its like."""
WATCH_SECONDS = 1800
"""How long a watch lasts that does not say. Kubernetes: --min-request-timeout."""
_encode = msgspec.json.Encoder().encode


class Server:
    """Connections of an `Api`. `draw` chooses the endpoints of the Services that it leads to."""

    def __init__(self, api: Api, draw: Draw | None = None) -> None:
        self.api = api
        self.doors = Doors(api.registry, draw if draw is not None else api.registry.random["service-proxy"])
        self._open: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> asyncio.Server:
        self._server = await asyncio.start_server(self._accept, host, port)
        return self._server

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = asyncio.current_task()
        try:
            await _Connection(self.api, self.doors, reader, writer).serve()
        except (ConnectionError, h11.LocalProtocolError):
            pass
        finally:
            writer.close()
            self._open.pop(writer, None)

    async def close(self) -> None:
        """Accept no more, and close what is open."""
        if self._server is not None:
            self._server.close()
        tasks = [task for task in self._open.values() if task is not None]
        for writer in list(self._open):
            writer.close()
        self.doors.close()
        if tasks:
            await asyncio.wait(tasks, timeout=1)


class _Connection:
    def __init__(self, api: Api, doors: Doors, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.api, self.doors, self.reader = api, doors, reader
        self.client = Http1(reader, writer, h11.SERVER)
        self.http = self.client.http

    async def serve(self) -> None:
        """One request after the other until the client has enough, or says what is no HTTP."""
        while True:
            try:
                head = await self.client.receive()
                if not isinstance(head, h11.Request):
                    return
                await self._serve(head)
            except h11.RemoteProtocolError as error:
                await self._refuse(error)
                return
            if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
                return
            self.http.start_next_cycle()

    async def _serve(self, head: h11.Request) -> None:
        door = find_door(head.target.decode("latin-1"))
        if door is not None:
            try:
                await self.doors.open(self.client, head, door)
            except ApiError as error:
                await self.client.skip_body()
                await self._answer(Answer(error.code, error.status()))
            return
        request = await self._request(head)
        answer = self.api.handle(request)
        if isinstance(answer, Watching):
            await self._watch(answer)
        else:
            await self._answer(answer)

    async def _request(self, head: h11.Request) -> Request:
        body = bytearray()
        while isinstance(event := await self.client.receive(), h11.Data):
            body += event.data
            if len(body) > MOST:
                raise h11.RemoteProtocolError("Request entity too large", error_status_hint=413)
        if not isinstance(event, h11.EndOfMessage):
            raise ConnectionResetError("the client went away")
        headers = {key.decode(): value.decode("latin-1") for key, value in head.headers}
        return Request(
            head.method.decode("latin-1"), head.target.decode("latin-1"), bytes(body), headers.get("accept", ""),
            headers.get("content-type", ""),
        )  # fmt: skip

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = f"{error.error_status_hint or 400} {error}".encode()
            await self.client.answer(
                error.error_status_hint or 400, [("Content-Type", "text/plain"), ("Connection", "close")], body
            )

    async def _answer(self, answer: Answer) -> None:
        text = isinstance(answer.body, str)
        body = answer.body.encode() if text else _encode(answer.body) + b"\n"
        kind = "text/plain; charset=utf-8" if text else "application/json"
        headers = [("Cache-Control", "no-cache, private"), ("Content-Type", answer.content_type or kind)]
        await self.client.answer(answer.code, headers, body)

    async def _send(self, *events: Any) -> None:
        await self.client.send(*events)

    # --- watches ----------------------------------------------------------------------------------

    async def _watch(self, watching: Watching) -> None:
        """Stream events until the time is over or the client is gone."""
        stream = Stream(self.api.registry, self.api.clock, watching)
        closed = asyncio.ensure_future(self.reader.read(1))
        try:
            headers = [("Cache-Control", "no-cache, private"), ("Content-Type", "application/json"),
                       ("Transfer-Encoding", "chunked")]  # fmt: skip
            await self._send(response(200, headers))
            await self._stream(stream, watching, closed)
            if not closed.done():
                await self._send(h11.EndOfMessage())
        finally:
            stream.close()
            if not closed.done():
                closed.cancel()

    async def _stream(self, stream: Stream, watching: Watching, closed: asyncio.Future[bytes]) -> None:
        loop = asyncio.get_running_loop()
        seconds = watching.seconds if watching.seconds is not None else WATCH_SECONDS
        deadline = loop.time() + seconds
        while not closed.done():
            events = stream.take()
            if events:
                await self._send(*(h11.Data(data=_encode(event) + b"\n") for event in events))
                continue
            left = deadline - loop.time()
            if left <= 0 or stream.ended:
                return
            wait = min(left, BOOKMARK_EVERY) if watching.bookmarks else left
            news = asyncio.ensure_future(stream.news.wait())
            await asyncio.wait((news, closed), timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            if not news.done():
                news.cancel()
                if not closed.done() and watching.bookmarks and loop.time() < deadline:
                    stream.bookmark()


class LoopClock:
    """The event loop's time: the same for all programs of a machine, and in the emulator for all machines."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    @property
    def now(self) -> int:
        return round(self._loop.time() * NS_PER_S)

    def post(self, delay: int, fn: Any, *args: Any) -> None:
        self._loop.call_later(delay / NS_PER_S, fn, *args)


async def apiserver(
    host: str = "0.0.0.0",
    port: int = PORT,
    seed: int = 1,
    service_cidrs: list[str] | None = None,
    controllers: bool = True,
    manifests: list[dict[str, Any]] | None = None,
) -> None:
    """The Master as one program: API server, and controllers and scheduler if asked. Serves until cancelled."""
    from k8semu.kube.api.strategies.table import Ranges
    from k8semu.kube.controllers.plane import ControlPlane
    from k8semu.sim.streams import Streams

    clock = LoopClock()
    random: StreamsProtocol = Streams(seed)
    ranges = Ranges(service_cidrs=tuple(service_cidrs)) if service_cidrs else Ranges()
    registry = Registry(clock, random, ranges, provision=True)
    plane = ControlPlane(registry, clock) if controllers else None
    api = Api(registry, clock, plane.settle if plane is not None else lambda: None)
    for manifest in manifests or []:
        registry.create(BY_KIND[manifest["apiVersion"], manifest["kind"]].plural, manifest)
    api.changed()
    server = Server(api)
    listening = await server.start(host, port)
    try:
        await listening.serve_forever()
    finally:
        await server.close()
