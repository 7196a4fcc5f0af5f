"""A request through a proxy, over real sockets: what the server sees and what the client gets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import h11
import pytest

from k8semu.apps.http1 import Http1, asks_to_upgrade, headers_of
from k8semu.apps.http_relay import NoAnswer, Relay, Where, forwarded_for

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Behind:
    """A server that does what it is told, and the proxy in front of it."""

    def __init__(self, handler: Handler) -> None:
        self.handler, self.relay, self.connections = handler, Relay(), 0
        self.failed: list[str] = []

    async def __aenter__(self) -> Behind:
        self.server = await asyncio.start_server(self._count, "127.0.0.1", 0)
        self.port: int = self.server.sockets[0].getsockname()[1]
        self.proxy = await asyncio.start_server(self._proxy, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.relay.close()
        self.server.close()
        self.proxy.close()

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.handler(reader, writer)
        finally:
            writer.close()

    async def _proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Http1(reader, writer, h11.SERVER)
        with contextlib.suppress(ConnectionError):
            while isinstance(head := await client.receive(), h11.Request):
                headers = forwarded_for(headers_of(head), client.peer)
                where = Where("127.0.0.1", self.port, head.target.decode(), headers)
                try:
                    pass_on = self.relay.upgrade if asks_to_upgrade(headers) else self.relay.forward
                    await pass_on(client, head.method, where)
                except NoAnswer as error:
                    await client.answer(502, [], str(error).encode())
                except ConnectionError as error:
                    self.failed.append(str(error))
                    break
                if not client.idle:
                    break
        client.close()

    async def talk(self, *said: bytes, until: bytes = b"") -> bytes:
        """What the proxy answers to some bytes, until it closes or `until` has come."""
        reader, writer = await asyncio.open_connection(*self.proxy.sockets[0].getsockname())
        for part in said:
            writer.write(part)
            await writer.drain()
        answer = await (reader.readuntil(until) if until else reader.read())
        writer.close()
        return answer


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the head and body that it saw."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        body = b""
        if b"chunked" in head.lower():
            body = await reader.readuntil(b"0\r\n\r\n")
        elif b"content-length: " in head.lower():
            body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        seen = head + body
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nKeep-Alive: timeout=5\r\n\r\n%s" % (len(seen), seen))


def run(handler: Handler, use: Callable[[Behind], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Behind(handler) as behind:
            await asyncio.wait_for(use(behind), 30)

    asyncio.run(main())


GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n"


def test_the_server_sees_the_client_s_address_and_no_header_of_the_hop() -> None:
    async def use(behind: Behind) -> None:
        said = await behind.talk(GET + b"X-Forwarded-For: 192.0.2.7\r\nTE: x\r\nX-Own: 1\r\n"
                                 b"Connection: close, X-Own\r\n\r\n")  # fmt: skip
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert b"Keep-Alive" not in head
        assert b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n" in body
        assert b"X-Forwarded-For: 192.0.2.7, 127.0.0.1" in body
        assert b"X-Own" not in body
        assert b"TE: x" not in body

    run(echo, use)


def test_requests_of_two_clients_share_a_connection_to_the_server() -> None:
    async def use(behind: Behind) -> None:
        for _ in range(3):
            await behind.talk(GET + b"Connection: close\r\n\r\n")
        assert behind.connections == 1

    run(echo, use)


@pytest.mark.parametrize(
    "body", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
def test_a_body_reaches_the_server(body: bytes) -> None:
    async def use(behind: Behind) -> None:
        said = await behind.talk(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + body)
        assert b"hello" in said.partition(b"\r\n\r\n")[2]

    run(echo, use)


def test_what_a_server_streams_comes_while_it_streams() -> None:
    """A watch through `kubectl proxy`: each line at once, long before the answer ends."""
    go_on = asyncio.Event()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n")
        await go_on.wait()
        writer.write(b"7\r\nsecond\n\r\n0\r\n\r\n")

    async def use(behind: Behind) -> None:
        reader, writer = await asyncio.open_connection(*behind.proxy.sockets[0].getsockname())
        writer.write(GET + b"Connection: close\r\n\r\n")
        assert b"first" in await reader.readuntil(b"first\n")
        go_on.set()
        assert (await reader.read()).endswith(b"second\n\r\n0\r\n\r\n")
        writer.close()

    run(stream, use)


def test_a_client_that_leaves_ends_the_request_to_the_server() -> None:
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        ended.set()

    async def use(behind: Behind) -> None:
        _, writer = await asyncio.open_connection(*behind.proxy.sockets[0].getsockname())
        writer.write(GET + b"\r\n")
        await writer.drain()
        writer.close()
        await ended.wait()
        assert behind.failed == ["the client went away"]

    run(silent, use)


def test_a_server_that_breaks_off_in_its_answer_ends_the_client_s_connection() -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")

    async def use(behind: Behind) -> None:
        assert (await behind.talk(GET + b"\r\n")).endswith(b"half")
        assert [failure[:23] for failure in behind.failed] == ["malformed HTTP response"]

    run(broken, use)


@pytest.mark.parametrize(("answer", "why"), [(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"malformed HTTP"), (b"", b"EOF")])
def test_a_server_that_speaks_no_http_is_no_answer(answer: bytes, why: bytes) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async def use(behind: Behind) -> None:
        said = await behind.talk(GET + b"Connection: close\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 502")
        assert why in said

    run(other, use)


def test_a_server_that_resets_is_no_answer() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)      # the rest is never read: closing then resets
        writer.transport.abort()

    async def use(behind: Behind) -> None:
        said = await behind.talk(GET + b"Connection: close\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 502")
        assert b"connection reset by peer" in said or b"EOF" in said

    run(reset, use)


@pytest.mark.parametrize(("method", "answered"), [(b"GET", True), (b"POST", False)])
def test_a_kept_connection_that_is_closed_when_it_is_used_again_costs_a_get_nothing(
    method: bytes, answered: bool
) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request; a second one on the same connection ends it."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.readuntil(b"\r\n\r\n")

    async def use(behind: Behind) -> None:
        request = b" /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert (await behind.talk(b"GET" + request)).endswith(b"ok")
        said = await behind.talk(method + request)
        assert said.startswith(b"HTTP/1.1 200" if answered else b"HTTP/1.1 502")
        assert behind.connections == (2 if answered else 1)

    run(once, use)


def test_another_protocol_passes_both_ways_after_the_switch() -> None:
    async def upgraded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Upgrade: chat" in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nwelcome")
        writer.write(b"you said " + await reader.readexactly(5))

    async def use(behind: Behind) -> None:
        said = await behind.talk(GET + b"Connection: Upgrade\r\nUpgrade: chat\r\n\r\n", b"hello")
        head, _, rest = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        assert rest == b"welcomeyou said hello"

    run(upgraded, use)


def test_a_server_that_is_not_there_is_named_as_go_names_it() -> None:
    async def use(behind: Behind) -> None:
        behind.port = 1
        said = await behind.talk(GET + b"Connection: close\r\n\r\n")
        assert b"dial tcp 127.0.0.1:1: connect: connection refused" in said

    run(echo, use)
