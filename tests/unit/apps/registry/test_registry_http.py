"""HTTP/1.1 on the wire: what goes in, what comes out, with both ends on one emulated machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from k8semu.apps.registry.http import MAX_BODY, Answer, Request, call, serve
from k8semu.cluster.cluster import Cluster
from k8semu.cluster.journal import Program

URL = "http://127.0.0.1:80"


async def mirror(request: Request) -> Answer:
    """Says what it was asked."""
    if request.path == "/empty":
        return Answer(204)
    said = f"{request.method} {'|'.join(request.segments)} {request.query} {len(request.body)}"
    return Answer(200, said.encode(), "text/plain", (("X-Peer", request.peer),))


async def mirror_server() -> None:
    await serve(mirror, 80)


async def raw(text: bytes) -> bytes:
    """Send bytes, and read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", 80)
    writer.write(text)
    answer = await reader.read()
    writer.close()
    return answer


Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs a coroutine beside the server."""
    cluster = Cluster()
    cluster.add_netns("pod")
    cluster.start("pod", "mirror", Program(function=f"{__name__}:mirror_server"))

    async def main(coro: Coroutine[Any, Any, Any]) -> Any:
        await asyncio.sleep(0.1)
        _PENDING.append(coro)
        return await cluster.call("pod", "client", Program(function=f"{__name__}:next_one"))

    yield lambda coro: cluster.run(main(coro))
    cluster.close()
    assert not cluster.crashes


_PENDING: list[Coroutine[Any, Any, Any]] = []


async def next_one() -> Any:
    return await _PENDING.pop()


def test_a_request_arrives_with_its_parts_decoded(run: Run) -> None:
    reply = run(call("PUT", f"{URL}/apps/A%2FB/?a=1&b=%20&a=2", b"body"))
    assert (reply.status, reply.body) == (200, b"PUT apps|A/B {'a': '1', 'b': ' '} 4")
    assert reply.headers["x-peer"] == "127.0.0.1"


def test_an_empty_answer_has_no_length(run: Run) -> None:
    reply = run(call("GET", f"{URL}/empty"))
    assert (reply.status, reply.body) == (204, b"")
    assert "content-length" not in reply.headers


def test_many_requests_go_over_one_connection_until_the_client_says_close(run: Run) -> None:
    one = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"
    answer = run(raw(one % 1 + one % 2 + b"GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.count(b"Connection: close") == 1


def test_a_chunked_body_is_put_together_and_a_careful_client_told_to_go_on(run: Run) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
    answer = run(raw(head + b"Expect: 100-continue\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
    assert answer.endswith(b"POST  {} 5")


def test_a_head_request_is_answered_without_the_body(run: Run) -> None:
    answer = run(raw(b"HEAD /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
    assert b"Content-Length: 11" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_what_is_no_http_is_a_bad_request(run: Run) -> None:
    assert run(raw(b"\x16\x03\x01\r\n\r\n")).startswith(b"HTTP/1.1 400 Bad Request")


def test_a_body_that_is_too_long_is_refused(run: Run) -> None:
    reply = run(call("PUT", f"{URL}/", bytes(MAX_BODY + 1)))
    assert reply.status == 413


def test_nobody_there_is_an_oserror(run: Run) -> None:
    with pytest.raises(ConnectionRefusedError):
        run(call("GET", "http://127.0.0.1:81/"))
