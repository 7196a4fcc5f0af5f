"""The reverse proxy on loopback sockets: what backends are told, what clients get, and what is kept open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ingress_lab import Backend, Lab, ok, request, run
from ingress_objects import ingress, secret, slice_of

SHOP = ingress("shop", {"a.example": {
    "/": "web:80", "/cart": "cart:80", "/empty": "empty:80", "/dead": "dead:80", "/nobody": "nobody:80",
}})  # fmt: skip
TLS = [{"hosts": ["a.example"], "secretName": "s"}]
CERTIFICATE = secret("s", tls_crt="YQ==", tls_key="YQ==")


def one_path(**annotations: str) -> dict[str, Any]:
    return ingress("one", {"a.example": {"/": "web:80"}}, **annotations)


# --- forwarding ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("a.example/", 200), ("a.example/cart/1", 200), ("a.example/empty", 503), ("a.example/dead", 502),
        ("a.example/nobody", 503), ("b.example/", 404),
    ],
)  # fmt: skip
def test_a_request_gets_the_status_that_nginx_gives(url: str, status: int) -> None:
    async def main() -> None:
        async with Lab(SHOP) as lab:
            reply = await lab.get(url)
            assert reply.status == status
            if status != 200:
                assert reply.header("Content-Type") == "text/html"
                assert reply.body.startswith(b"<html>\r\n<head><title>%d " % status)

    run(main())


def test_a_backend_is_told_whose_request_it_is() -> None:
    async def main() -> None:
        async with Lab(SHOP) as lab:
            mine = ("X-Forwarded-For: 1.2.3.4", "X-Real-IP: 1.2.3.4", "Proxy: http://evil", "TE: trailers",
                    "Connection: keep-alive, X-Hop", "X-Hop: 1", "Cookie: a=b")  # fmt: skip
            await lab.get("a.example/x?y=%20z", *mine)
            method, target, lines, _ = lab.web.requests[0]
            assert (method, target) == ("GET", "/x?y=%20z")
            told = dict(lines)
            assert len(told.pop("X-Request-ID")) == 32
            assert told.pop("X-Forwarded-Port") == str(lab.port)
            assert told == {
                "Host": "a.example", "X-Real-IP": "127.0.0.1", "X-Forwarded-For": "127.0.0.1",
                "X-Forwarded-Host": "a.example", "X-Forwarded-Proto": "http", "X-Forwarded-Scheme": "http",
                "X-Scheme": "http", "X-Original-Forwarded-For": "1.2.3.4", "Cookie": "a=b",
            }  # fmt: skip

    run(main())


def test_a_trusted_proxy_in_front_says_who_the_client_is() -> None:
    async def main() -> None:
        async with Lab(SHOP, settings={"use-forwarded-headers": "true", "compute-full-forwarded-for": "true"}) as lab:
            await lab.get(
                "a.example/", "X-Forwarded-For: 1.2.3.4, 10.0.0.1", "X-Forwarded-Proto: https", "X-Request-ID: q"
            )
            said = [lab.web.told(name) for name in ("X-Real-IP", "X-Forwarded-For", "X-Scheme", "X-Request-ID")]
            assert said == ["1.2.3.4", "1.2.3.4, 10.0.0.1, 127.0.0.1", "https", "q"]

    run(main())


def test_connections_are_kept_on_both_sides() -> None:
    async def main() -> None:
        async with Lab(SHOP) as lab:
            client = await lab.connect()
            for _ in range(3):
                assert (await client.ask(request())).header("Connection") == "keep-alive"
            assert (lab.web.connections, len(lab.web.requests)) == (1, 3)
            reply = await client.ask(request("a.example/", "Connection: close"))
            assert reply.header("Connection") == "close"
            assert await client.ended()

    run(main())


def test_requests_that_come_together_are_answered_in_their_order() -> None:
    async def main() -> None:
        async with Lab(SHOP) as lab:
            client = await lab.connect()
            client.send(
                request("a.example/1") + request("a.example/cart", method="POST", body=b"x") + request("a.example/3")
            )
            assert [(await client.reply()).body for _ in range(3)] == [b"web", b"cart", b"web"]
            client.close()

    run(main())


def test_a_kept_connection_that_its_backend_has_closed_is_not_used() -> None:
    def hang_up(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
        return [*ok(backend, asked, body), b""]

    async def main() -> None:
        async with Lab(SHOP, web=hang_up) as lab:
            client = await lab.connect()
            for _ in range(3):
                assert (await client.ask(request(method="POST", body=b"x"))).status == 200
            assert lab.web.connections == 3
            client.close()

    run(main())


def test_bodies_in_chunks_go_both_ways() -> None:
    def chunks(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        return [head, *(b"%x\r\n%s\r\n" % (len(part), part) for part in (body, body[::-1])), b"0\r\n\r\n"]

    async def main() -> None:
        async with Lab(SHOP, web=chunks) as lab:
            head = b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
            assert (await lab.say(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")).body == b"abcdeedcba"
            assert lab.web.told("Content-Length") == "5"

    run(main())


def test_a_long_body_passes_through_without_waiting_for_its_end() -> None:
    async def main() -> None:
        async with Lab(one_path(proxy_body_size="0")) as lab:
            body = bytes(range(256)) * 20_000
            raw = request(method="POST", body=body)
            client = await lab.connect()
            client.send(raw[:-10])
            while not lab.web.open:
                await asyncio.sleep(0)  # the backend is asked before the last bytes are there
            client.send(raw[-10:])
            assert (await client.reply()).status == 200
            assert lab.web.requests[0][3] == body
            client.close()

    run(main())


def test_an_answer_goes_on_as_it_comes() -> None:
    gate = asyncio.Event()

    async def main() -> None:
        async with Lab(SHOP) as lab:

            async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
                await gate.wait()
                writer.write(b"later")
                writer.close()

            server = await asyncio.start_server(slow, "127.0.0.1", 0)
            lab.tell("MODIFIED", slice_of("web", "127.0.0.1", port=server.sockets[0].getsockname()[1]))
            await asyncio.sleep(0)
            client = await lab.connect()
            client.send(request())
            await client.reader.readuntil(b"\r\n\r\n")
            assert await client.reader.readexactly(5) == b"first"
            gate.set()
            assert await client.reader.readexactly(5) == b"later"
            client.close()
            server.close()

    run(main())


def test_a_client_that_expects_100_gets_it_before_its_body_is_read() -> None:
    async def main() -> None:
        async with Lab(SHOP) as lab:
            client = await lab.connect()
            head = b"POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
            assert (await client.ask(head)).status == 100
            assert (await client.ask(b"hello")).status == 200
            assert (lab.web.requests[0][3], lab.web.told("Expect")) == (b"hello", None)
            client.close()

    run(main())


def test_a_head_has_its_length_and_no_body() -> None:
    async def main() -> None:
        async with Lab(SHOP) as lab:
            client = await lab.connect()
            reply = await client.ask(request(method="HEAD"))
            assert (reply.status, reply.header("Content-Length")) == (200, "3")
            assert (await client.ask(request())).body == b"web"
            assert (await client.ask(request("b.example/", method="HEAD"))).header("Content-Length") == "146"
            client.close()

    run(main())


def test_after_an_upgrade_both_sides_say_what_they_like() -> None:
    def switch(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
        return [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\nwelcome", b""]

    async def main() -> None:
        async with Lab(SHOP, web=switch) as lab:
            client = await lab.connect()
            reply = await client.ask(request("a.example/", "Upgrade: chat", "Connection: Upgrade"))
            assert (reply.status, reply.header("Upgrade")) == (101, "chat")
            assert (lab.web.told("Upgrade"), lab.web.told("Connection")) == ("chat", "upgrade")
            assert await client.reader.readexactly(7) == b"welcome"
            assert await client.ended()

    run(main())


def test_what_is_said_after_an_upgrade_is_passed_on_both_ways_until_one_side_ends() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while data := await reader.read(100):
            writer.write(data.upper())
        writer.close()
        ended.set()

    ended = asyncio.Event()

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with Lab(SHOP) as lab:
            lab.tell("MODIFIED", slice_of("web", "127.0.0.1", port=server.sockets[0].getsockname()[1]))
            client = await lab.connect()
            head = request("a.example/", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
            client.send(head + b"early ")               # what came with the head is passed on, too
            assert (await client.reply()).header("Connection") == "upgrade"
            for word in (b"\x81\x05hello", b"x" * 5000):
                client.send(word)
            got = await client.reader.readexactly(6 + 7 + 5000)
            assert got == b"EARLY \x81\x05HELLO" + b"X" * 5000
            client.close()
            await ended.wait()
        server.close()

    run(main())


# --- redirects and limits -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotations", "tls", "path", "status", "location"),
    [
        ({}, False, "x", 200, None), ({}, True, "x/?y=1", 308, "https://a.example/x/?y=1"),
        ({}, True, "x/", 308, "https://a.example/x"), ({"ssl_redirect": "false"}, True, "x", 200, None),
        ({"preserve_trailing_slash": "true"}, True, "x/", 308, "https://a.example/x/"),
        ({"force_ssl_redirect": "true"}, False, "", 308, "https://a.example"),
        ({"force_ssl_redirect": "true"}, False, ".well-known/acme-challenge/t", 200, None),
        ({"app_root": "/app"}, False, "", 302, "http://a.example/app"), ({"app_root": "/app"}, False, "x", 200, None),
        ({"permanent_redirect": "https://b.example"}, False, "x", 301, "https://b.example"),
        ({"permanent_redirect": "https://b.example", "permanent_redirect_code": "308"}, False, "x", 308,
         "https://b.example"),
        ({"temporal_redirect": "https://b.example"}, False, "x", 302, "https://b.example"),
        ({"proxy_body_size": "nonsense"}, False, "x", 503, None),
    ],
)  # fmt: skip
def test_a_request_is_sent_elsewhere_where_an_annotation_says_so(
    annotations: dict[str, str], tls: bool, path: str, status: int, location: str | None
) -> None:
    async def main() -> None:
        shop = ingress("one", {"a.example": {"/": "web:80"}}, tls=TLS if tls else None, **annotations)
        async with Lab(shop, CERTIFICATE) as lab:
            reply = await lab.get(f"a.example/{path}")
            assert (reply.status, reply.header("Location")) == (status, location)

    run(main())


@pytest.mark.parametrize(
    ("path", "target"),
    [("shop/cart?x=1", "/cart?x=1"), ("shop", "/"), ("shop/", "/"), ("shop/a%20b", "/a%20b"), ("SHOP/x/y", "/x/y")],
)
def test_a_path_is_rewritten_for_the_backend(path: str, target: str) -> None:
    shop = ingress("one", {"a.example": {"/shop(/|$)(.*)": "web:80"}}, kind="ImplementationSpecific",
                   rewrite_target="/$2", x_forwarded_prefix="/shop")  # fmt: skip

    async def main() -> None:
        async with Lab(shop) as lab:
            assert (await lab.get(f"a.example/{path}")).status == 200
            assert lab.web.requests[0][1] == target
            assert lab.web.told("X-Forwarded-Prefix") == "/shop"

    run(main())


def test_a_body_that_is_too_long_is_refused_as_soon_as_that_is_known() -> None:
    async def main() -> None:
        async with Lab(one_path(proxy_body_size="10")) as lab:
            assert (await lab.get(method="POST", body=b"x" * 10)).status == 200
            assert (await lab.get(method="POST", body=b"x" * 11)).status == 413
            chunked = b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n"
            assert (await lab.say(chunked)).status == 413
            assert len(lab.web.requests) == 1

    run(main())


def test_a_body_that_turns_out_to_be_too_long_on_its_way_frees_the_backend() -> None:
    async def main() -> None:
        async with Lab(one_path(proxy_body_size="10", proxy_request_buffering="off")) as lab:
            client = await lab.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            while not lab.web.open:
                await asyncio.sleep(0)
            client.send(b"6\r\nworld!\r\n")
            assert (await client.reply()).status == 413
            while lab.web.open:
                await asyncio.sleep(0)
            assert lab.web.requests == []

    run(main())


def test_a_client_that_breaks_off_its_body_is_no_fault_of_the_backend() -> None:
    async def main() -> None:
        async with Lab(one_path(proxy_request_buffering="off")) as lab:
            client = await lab.connect()
            client.send(request(method="PUT", body=b"hello world")[:-5])
            while not lab.web.open:
                await asyncio.sleep(0)
            client.close()
            while lab.web.open:
                await asyncio.sleep(0)
            assert lab.web.connections == 1

    run(main())


# --- backends that fail -------------------------------------------------------------------------


def test_a_backend_that_hangs_up_or_says_nonsense_is_502_and_the_proxy_goes_on() -> None:
    said: list[list[bytes]] = [[b""], [b"nonsense\r\n\r\n"], [b"HTTP/1.1 200 OK\r\nX: " + b"x" * 5000 + b"\r\n\r\n"]]

    def bad(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
        return said[int(asked.target[1:])] if asked.target != b"/ok" else ok(backend, asked, body)

    async def main() -> None:
        async with Lab(SHOP, web=bad) as lab:
            client = await lab.connect()
            assert [(await client.ask(request(f"a.example/{i}"))).status for i in range(3)] == [502, 502, 502]
            assert (await client.ask(request("a.example/ok"))).status == 200
            client.close()

    run(main())


@pytest.mark.parametrize(("method", "tries"), [("GET", 3), ("PUT", 3), ("POST", 1)])
def test_what_may_be_repeated_is_tried_three_times(method: str, tries: int) -> None:
    async def main() -> None:
        async with Lab(SHOP, web=lambda *_: [b""]) as lab:
            assert (await lab.get(method=method, body=b"x")).status == 502
            assert len(lab.web.requests) == tries

    run(main())


def test_another_endpoint_answers_where_the_first_refuses() -> None:
    async def main() -> None:
        async with Lab(SHOP) as lab:
            dead = slice_of("web", "127.0.0.1", port=1)
            dead["metadata"]["name"] = "web-0"
            lab.tell("ADDED", dead)
            assert [(await lab.get(method="POST", body=b"x")).status for _ in range(4)] == [200] * 4

    run(main())


def test_a_backend_that_is_too_slow_is_504() -> None:
    def never(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
        return [b"HTTP/1.1 200"]

    async def main() -> None:
        async with Lab(one_path(proxy_read_timeout="0", proxy_next_upstream_tries="2"), web=never) as lab:
            assert (await lab.get()).status == 504
            assert len(lab.web.requests) == 2

    run(main())


def test_an_answer_that_breaks_off_ends_the_clients_connection() -> None:
    def half(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
        return [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b""]

    async def main() -> None:
        async with Lab(SHOP, web=half) as lab:
            client = await lab.connect()
            client.send(request())
            got = await client.reader.read(-1)
            assert got.endswith(b"\r\n\r\nhalf")

    run(main())


def test_a_client_that_hangs_up_frees_the_backend() -> None:
    async def main() -> None:
        async with Lab(SHOP, web=lambda *_: [b"HTTP/1.1 200"]) as lab:
            client = await lab.connect()
            client.send(request())
            while not lab.web.requests:
                await asyncio.sleep(0)
            client.close()
            while lab.web.open:
                await asyncio.sleep(0)

    run(main())


# --- changes ------------------------------------------------------------------------------------


def test_what_changes_holds_from_the_next_request_on() -> None:
    async def main() -> None:
        async with Lab(SHOP) as lab:
            client = await lab.connect()
            assert (await client.ask(request("a.example/cart"))).body == b"cart"
            lab.tell("MODIFIED", ingress("shop", {"a.example": {"/": "web:80"}}))
            await asyncio.sleep(0)
            assert (await client.ask(request("a.example/cart"))).body == b"web"
            lab.tell("DELETED", SHOP)
            await asyncio.sleep(0)
            assert (await client.ask(request("a.example/cart"))).status == 404
            client.close()

    run(main())
