"""The Ingress controller on real loopback sockets, between raw clients and backends that tests see into.

    async with Lab(ingress(…), …) as lab:
        reply = await lab.say(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        lab.web.requests       what the backend of Service web got
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import h11
from ingress_objects import NGINX, service, slice_of

from k8semu.apps.feed import Feed, current_feed
from k8semu.apps.ingress.program import ingress_controller

JSON = dict[str, Any]
Answer = Callable[["Backend", Any, bytes], "list[bytes]"]
ENDPOINTS: JSON = {
    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"service-upstream": "false"},
}  # fmt: skip


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Reply:
    """A response as it came."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def ok(backend: Backend, request: Any, body: bytes) -> list[bytes]:
    """200, with the backend's name."""
    text = backend.name.encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nX-Backend: yes\r\n\r\n" % len(text)
    return [head + (b"" if request.method == b"HEAD" else text)]


class Backend:
    """An HTTP server: `answer` gives the pieces that it writes; b'' in them hangs up, None waits for ever."""

    def __init__(self, name: str, answer: Answer = ok) -> None:
        self.name, self.answer = name, answer
        self.requests: list[tuple[str, str, list[tuple[str, str]], bytes]] = []
        self.connections = 0
        self.open = 0
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        http = h11.Connection(h11.SERVER)
        request: Any = None
        body = b""
        try:
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    http.receive_data(await reader.read(65536))
                elif isinstance(event, h11.Request):
                    request, body = event, b""
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    lines = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in request.headers.raw_items()]
                    self.requests.append((request.method.decode(), request.target.decode("latin-1"), lines, body))
                    for piece in self.answer(self, request, body):
                        if not piece:
                            return
                        writer.write(piece)
                        await writer.drain()
                    http = h11.Connection(h11.SERVER)
                else:
                    return
        except (OSError, h11.RemoteProtocolError):
            pass
        finally:
            self.open -= 1
            writer.close()

    def told(self, name: str) -> str | None:
        """What the last request says in a header."""
        return next((value for key, value in self.requests[-1][2] if key.lower() == name.lower()), None)

    def close(self) -> None:
        self._server.close()


class Lab:
    """`objects` beside the Services `web` and `cart`, whose backends are `web` and `cart`."""

    def __init__(self, *objects: JSON, web: Answer = ok, settings: dict[str, str] | None = None, **args: Any) -> None:
        self.objects, self.args = objects, args
        self.web, self.cart = Backend("web", web), Backend("cart")
        self.settings = {**ENDPOINTS, "data": {**ENDPOINTS["data"], **(settings or {})}}
        self.port = 0
        self.clients: list[Client] = []

    async def __aenter__(self) -> Self:
        await self.web.start()
        await self.cart.start()
        self.port = free_port()
        self.unhandled: list[JSON] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: self.unhandled.append(what))
        self.feed = Feed()
        mine = [
            service("web", "10.96.0.20"), slice_of("web", "127.0.0.1", port=self.web.port),
            service("cart", "10.96.0.21"), slice_of("cart", "127.0.0.1", port=self.cart.port),
            service("empty", "10.96.0.22"), service("dead", "10.96.0.23"), slice_of("dead", "127.0.0.1", port=1),
        ]  # fmt: skip
        for thing in (NGINX, self.settings, *mine, *self.objects):
            self.tell("ADDED", thing)
        self.feed.put({"type": "BOOKMARK"})
        context = contextvars.copy_context()
        context.run(current_feed.set, self.feed)
        program = ingress_controller(
            http_port=self.port, address="127.0.0.1", config_map="default/settings", **{"metrics_port": 0, **self.args}
        )
        self.task = asyncio.get_running_loop().create_task(program, context=context)
        while True:
            try:
                (await asyncio.open_connection("127.0.0.1", self.port))[1].close()
                return self
            except OSError:
                await asyncio.sleep(0)
                if self.task.done():
                    self.task.result()

    def tell(self, kind: str, thing: JSON) -> None:
        self.feed.put({"type": kind, "object": thing})

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self.clients:
            client.close()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await asyncio.sleep(0)                            # what is closed goes on the loop's next turn
        self.web.close()
        self.cart.close()
        assert self.unhandled == []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def say(self, raw: bytes) -> Reply:
        """One request on a connection of its own."""
        client = await self.connect()
        try:
            return await client.ask(raw)
        finally:
            client.close()

    async def get(self, url: str = "a.example/", *lines: str, method: str = "GET", body: bytes = b"") -> Reply:
        return await self.say(request(url, *lines, method=method, body=body))


def request(url: str = "a.example/", *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    """``host/path`` as a request."""
    host, _, path = url.partition("/")
    rows = [f"{method} /{path} HTTP/1.1", f"Host: {host}", *lines]
    if body:
        rows.append(f"Content-Length: {len(body)}")
    return "\r\n".join(rows).encode("latin-1") + b"\r\n\r\n" + body


class Client:
    """A connection that says what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def ask(self, raw: bytes) -> Reply:
        self.send(raw)
        return await self.reply(raw.startswith(b"HEAD "))

    async def reply(self, head_only: bool = False) -> Reply:
        """The next response (an interim one, too)."""
        rows = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(rows[0].split(" ")[1])
        headers = [(name, value.strip()) for name, _, value in (row.partition(":") for row in rows[1:] if row)]
        said = {name.lower(): value for name, value in headers}
        body = b""
        if head_only or status < 200 or status in (204, 304):
            pass
        elif said.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        elif "content-length" in said:
            body = await self.reader.readexactly(int(said["content-length"]))
        else:
            body = await self.reader.read()
        return Reply(status, headers, body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readline()).split(b";")[0], 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body

    async def ended(self) -> bool:
        """Whether the other side has hung up, without another word."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.writer.close()


def run(main: Awaitable[Any], limit: float = 20.0) -> Any:
    """Run a test's coroutine; a hang is a failure."""

    async def bounded() -> Any:
        return await asyncio.wait_for(main, limit)

    return asyncio.run(bounded())
