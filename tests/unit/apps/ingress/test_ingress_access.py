"""Who may: passwords, address lists, limits; and the PROXY protocol, which says who asks."""

from __future__ import annotations

import asyncio
import base64
import struct
from typing import Any

import pytest
from ingress_lab import Backend, Lab, free_port, ok, request, run
from ingress_objects import ingress, secret, slice_of

from k8semu.apps.ingress.proxy_protocol import SIGNATURE, BrokenHeader, Said, read

HTPASSWD = "foo:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\nbar:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
"""Both passwords are `secret`."""


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def one(**annotations: str) -> dict[str, Any]:
    return ingress("one", {"a.example": {"/": "web:80", "/cart": "cart:80"}}, **annotations)


def asked(name: str = "users", **more: str) -> dict[str, Any]:
    return one(auth_type="basic", auth_secret=name, auth_realm="who are you", **more)


def login(user: str, password: str = "secret") -> str:
    return f"Authorization: Basic {encoded(f'{user}:{password}')}"


def test_a_password_is_asked_for_and_not_passed_on() -> None:
    async def main() -> None:
        async with Lab(asked(), secret("users", auth=encoded(HTPASSWD))) as lab:
            reply = await lab.get()
            assert (reply.status, reply.header("WWW-Authenticate")) == (401, 'Basic realm="who are you"')
            said = [login("foo"), login("bar"), login("foo", "other"), login("nobody"), "Authorization: Basic *",
                    "Authorization: Bearer x", "Authorization: Basic",
                    f"Authorization: basic {encoded('foo:secret')}"]  # fmt: skip
            assert [(await lab.get("a.example/", line)).status for line in said] == [200, 200, *[401] * 5, 200]
            assert lab.web.told("Authorization") is None

    run(main())


def test_passwords_can_be_a_map_of_users() -> None:
    async def main() -> None:
        users = secret("users", foo=encoded("{PLAIN}secret"))
        async with Lab(asked(auth_secret_type="auth-map"), users) as lab:
            assert [(await lab.get("a.example/", login(user))).status for user in ("foo", "bar")] == [200, 401]

    run(main())


@pytest.mark.parametrize(
    ("shop", "users"),
    [
        (asked("none"), {}), (asked("other/users"), {"auth": ""}), (asked(), {"wrong": ""}), (asked(""), {"auth": ""}),
        (one(auth_type="digest", auth_secret="users"), {"auth": ""}),
        (asked(auth_secret_type="auth-book"), {"auth": ""}),
    ],
)  # fmt: skip
def test_without_a_secret_nobody_gets_in(shop: dict[str, Any], users: dict[str, str]) -> None:
    async def main() -> None:
        async with Lab(shop, secret("users", **users)) as lab:
            assert (await lab.get("a.example/", login("foo"))).status == 503

    run(main())


@pytest.mark.parametrize(
    ("annotations", "status"),
    [
        ({"whitelist_source_range": "127.0.0.0/8,192.0.2.1"}, 200), ({"whitelist_source_range": "192.0.2.0/24"}, 403),
        ({"allowlist_source_range": "192.0.2.0/24"}, 403), ({"denylist_source_range": "127.0.0.1"}, 403),
        ({"denylist_source_range": "192.0.2.0/24"}, 200), ({"whitelist_source_range": "10.0.0.300"}, 503),
    ],
)  # fmt: skip
def test_an_address_is_let_in_or_not(annotations: dict[str, str], status: int) -> None:
    async def main() -> None:
        async with Lab(one(**annotations)) as lab:
            assert (await lab.get()).status == status

    run(main())


def test_more_than_the_rate_and_its_burst_is_refused() -> None:
    async def main() -> None:
        async with Lab(one(limit_rpm="1", limit_burst_multiplier="2")) as lab:
            paths = ("a.example/", "a.example/cart", "a.example/", "a.example/cart")
            assert [(await lab.get(path)).status for path in paths] == [200, 200, 200, 503]
            assert (await lab.get("b.example/")).status == 404

    run(main())


def test_the_status_can_be_another_and_some_addresses_are_free() -> None:
    async def main() -> None:
        async with Lab(one(limit_rps="1", limit_burst_multiplier="1"),
         settings={"limit-req-status-code": "429"}) as lab:
            assert [(await lab.get()).status for _ in range(3)] == [200, 200, 429]
        async with Lab(one(limit_rpm="1", limit_whitelist="127.0.0.0/8")) as lab:
            assert [(await lab.get()).status for _ in range(9)] == [200] * 9

    run(main())


def test_no_more_requests_at_once_than_allowed() -> None:
    gate, asked = asyncio.Event(), asyncio.Event()

    async def main() -> None:
        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await gate.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(slow, "127.0.0.1", 0)
        async with Lab(one(limit_connections="1")) as lab:
            lab.tell("MODIFIED", slice_of("web", "127.0.0.1", port=server.sockets[0].getsockname()[1]))
            first = await lab.connect()
            first.send(request())
            await asked.wait()
            assert (await lab.get()).status == 503
            gate.set()
            assert (await first.reply()).status == 200
            assert (await lab.get()).status == 200
            server.close()

    run(main())


# --- another server's word ----------------------------------------------------------------------


def guarded(lab: Lab, **more: str) -> dict[str, Any]:
    return one(auth_url=f"http://127.0.0.1:{lab.cart.port}/check?x=1", **more)


@pytest.mark.parametrize(
    ("said", "annotations", "status", "location"),
    [
        (b"204 No Content", {}, 200, None), (b"401 Unauthorized", {}, 401, None), (b"403 Forbidden", {}, 403, None),
        (b"302 Found", {}, 500, None), (b"500 Oh", {}, 500, None),
        (b"401 Unauthorized", {"auth_signin": "https://login.example/start"}, 302,
         "https://login.example/start?rd=http://a.example%2Fx%3Fy%3D1"),
        (b"403 Forbidden", {"auth_signin": "https://login.example/start"}, 403, None),
    ],
)  # fmt: skip
def test_another_server_is_asked_whether_a_request_may_pass(
    said: bytes, annotations: dict[str, str], status: int, location: str | None
) -> None:
    def word(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
        return [b"HTTP/1.1 " + said + b"\r\nX-User: anna\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n"]

    async def main() -> None:
        async with Lab() as lab:
            lab.cart.answer = word
            lab.tell("ADDED", guarded(lab, auth_response_headers="X-User, X-Other", **annotations))
            await asyncio.sleep(0)
            reply = await lab.get("a.example/x?y=1", "Cookie: a=b", "X-User: somebody", method="POST", body=b"form")
            assert (reply.status, reply.header("Location")) == (status, location)
            method, target, lines, sent = lab.cart.requests[0]
            told = dict(lines)
            assert (method, target, sent) == ("GET", "/check?x=1", b"")
            assert (told["X-Original-URL"], told["X-Original-Method"]) == ("http://a.example/x?y=1", "POST")
            assert told["Cookie"] == "a=b"
            if status == 200:
                assert (lab.web.told("X-User"), lab.web.requests[0][3]) == ("anna", b"form")
            else:
                assert lab.web.requests == []
            if status == 401:
                assert reply.header("WWW-Authenticate") == "Bearer"

    run(main())


def test_nobody_passes_while_that_server_is_gone() -> None:
    async def main() -> None:
        async with Lab(one(auth_url="http://127.0.0.1:1/check")) as lab:
            assert (await lab.get()).status == 500
        async with Lab(one(auth_url="ftp://x")) as lab:
            assert (await lab.get()).status == 503

    run(main())


# --- the PROXY protocol -------------------------------------------------------------------------

V1 = b"PROXY TCP4 203.0.113.10 198.51.100.1 54321 80\r\n"
V2 = SIGNATURE + b"\x21\x11" + struct.pack("!H", 12) + bytes([203, 0, 113, 10, 198, 51, 100, 1]) + b"\xd4\x31\0P"


@pytest.mark.parametrize("header", [V1, V2])
def test_a_load_balancer_says_who_its_client_is(header: bytes) -> None:
    async def main() -> None:
        shop = one(denylist_source_range="127.0.0.1")
        async with Lab(shop, settings={"use-proxy-protocol": "true"}) as lab:
            client = await lab.connect()
            client.send(header[:9])
            await asyncio.sleep(0)
            assert (await client.ask(header[9:] + request())).status == 200
            assert (lab.web.told("X-Real-IP"), lab.web.told("X-Forwarded-For")) == ("203.0.113.10", "203.0.113.10")
            bare = await lab.connect()
            bare.send(request())
            assert await bare.ended()

    run(main())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (V1, Said("203.0.113.10", len(V1))), (V2 + b"GET", Said("203.0.113.10", 28)),
        (b"PROXY UNKNOWN\r\nx", Said("", 15)),
        (SIGNATURE + b"\x20\x00\0\0", Said("", 16)), (V1[:20], None), (V2[:20], None), (b"", None), (b"\r\n", None),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", Said("2001:db8::1", 40)),
    ],
)  # fmt: skip
def test_a_header_is_read_once_it_is_whole(data: bytes, said: Said | None) -> None:
    assert read(data) == said


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n", b"PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n", b"PROXY TCP4\r\n", b"PROXY " + b"x" * 200,
     SIGNATURE + b"\x11\x11\0\x0c" + b"x" * 12, SIGNATURE + b"\x21\x11\0\x01x"],
)  # fmt: skip
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenHeader):
        read(data)


# --- metrics ------------------------------------------------------------------------------------


def test_requests_are_counted_by_what_they_were_for() -> None:
    def answer(backend: Backend, said: Any, body: bytes) -> list[bytes]:
        return ok(backend, said, body) if said.target == b"/" else [b""]

    async def main() -> None:
        port = free_port()
        labels = {"controller_pod": "me"}
        async with Lab(one(), web=answer, metrics_port=port, labels=labels) as lab:
            for url in ("a.example/", "a.example/", "a.example/cart/1", "a.example/broken", "b.example/"):
                await lab.get(url)
            lab.port = port
            assert (await lab.get("x/healthz")).body == b"ok"
            assert (await lab.get("x/other")).status == 404
            text = (await lab.get("x/metrics")).body.decode()
        rows = dict(row.rpartition(" ")[::2] for row in text.splitlines() if not row.startswith("#"))

        head = 'nginx_ingress_controller_requests{canary="",controller_pod="me",host="a.example",ingress="one"'
        head += ',method="GET"'
        assert {name: value for name, value in rows.items() if "_requests{canary" in name} == {
            f'{head},namespace="default",path="/",service="web",status="200"}}': "2",
            f'{head},namespace="default",path="/",service="web",status="502"}}': "1",
            f'{head},namespace="default",path="/cart",service="cart",status="200"}}': "1",
        }  # fmt: skip
        assert rows['nginx_ingress_controller_nginx_process_requests_total{controller_pod="me"}'] == "5"
        infinite = [value for name, value in rows.items() if "request_size_bucket" in name and '"+Inf"' in name]
        assert infinite == ["2", "1", "1"]

    run(main())
