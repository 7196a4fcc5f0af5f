"""The reverse proxy beside Debian's nginx, before the same backend: the same status, and the same told to the backend.

Where they differ is said in `k8semu.apps.ingress.head` and `k8semu.kube.ingress.headers` (`Differs:`).
"""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from ingress_lab import Backend, Client, Lab, free_port, ok, run
from ingress_objects import ingress, secret
from real_nginx import NGINX, WHY_NOT, Nginx

pytestmark = pytest.mark.skipif(NGINX is None, reason=WHY_NOT)
OBJECTS = (
    ingress("i", {"a.example": {"/": "web:80", "/dead": "dead:80", "/empty": "empty:80"}}),
    ingress("moved", {"a.example": {"/moved": "web:80"}}, force_ssl_redirect="true"),
    ingress("slow", {"a.example": {"/slow": "web:80"}}, proxy_read_timeout="1", proxy_next_upstream_tries="1"),
)
GET, POST, HOST = b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b"Host: a.example\r\n"


def get(line: bytes) -> bytes:
    """A request with this first line."""
    return line + b"\r\n" + HOST + b"\r\n"


def with_lines(*lines: bytes) -> bytes:
    return GET + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(line: bytes, body: bytes = b"hello") -> bytes:
    """A body that a header line says the length of."""
    return POST + HOST + line + b"\r\n\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"
CASES: dict[str, list[bytes]] = {
    "usual": [
        get(b"GET / HTTP/1.1"), get(b"GET /x?y=1 HTTP/1.1"), get(b"HEAD / HTTP/1.1"), get(b"FOO /x HTTP/1.1"),
        get(b"OPTIONS /x HTTP/1.1"), get(b"GET //a/../b HTTP/1.1"), get(b"GET / HTTP/1.0"), b"GET / HTTP/1.0\r\n\r\n",
        b"\r\n\r\n" + get(b"GET / HTTP/1.1"), b"GET / HTTP/1.1\nHost: a.example\n\n", get(b"GET  / HTTP/1.1"),
        get(b"GET /  HTTP/1.1"), get(b"GET / HTTP/1.1 "), get(b"GET / HTTP/1.2"), get(b"GET / HTTP/1.15"),
    ],
    "statuses": [
        get(b"GET /dead HTTP/1.1"), get(b"GET /empty HTTP/1.1"), get(b"GET /slow HTTP/1.1"),
        get(b"GET /moved/x HTTP/1.1"),
        GET + b"Host: b.example\r\n\r\n", b"POST /empty HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
        b"POST /dead HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    ],
    "hosts": [GET + b"Host:" + host + b"\r\n\r\n" for host in (
        b"", b" ", b"a b", b"a/b", b"a..example", b".", b"a.example:80", b"a.example:x", b"A.Example", b"a.example.",
        b"a.example\r\nHost: a.example", b"[::1]", b"b.example:80:90",
    )] + [GET + b"\r\n"] + [b"GET " + url + b" HTTP/1.1\r\nHost: b.example\r\n\r\n" for url in (
        b"http://a.example/abs", b"http://a.example", b"http://a.example?x", b"http:///x", b"ftp://a.example/",
    )],
    "request lines": [get(line) for line in (
        b"OPTIONS * HTTP/1.1", b"CONNECT a.example:80 HTTP/1.1", b"CONNECT /x HTTP/1.1", b"TRACE / HTTP/1.1",
        b"get / HTTP/1.1", b"G-T / HTTP/1.1", b"G1T / HTTP/1.1", b" GET / HTTP/1.1", b"GET / HTTP/2.0",
        b"GET / HTTP/0.9",
        b"GET / HTTX/1.1", b"GET / http/1.1", b"GET /\x01 HTTP/1.1", b"GET /%zz HTTP/1.1", b"GET /%00 HTTP/1.1",
        b"GET /../x HTTP/1.1", b"GET /a/../../x HTTP/1.1", b"GET /a b HTTP/1.1", b"GET x HTTP/1.1",
        b"GET /" + b"a" * 8170 + b" HTTP/1.1", b"GET /" + b"a" * 8180 + b" HTTP/1.1",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1",
    )],
    "header lines": [
        with_lines(b"X: 1", b" folded"), with_lines(b"X : 1"), with_lines(b"X"), with_lines(b": 1"),
        with_lines(b"X: a\x00b"),
        with_lines(b"X_y: 1", b"X!y: 2", b"X/y: 3", b"X-y: 4"), with_lines(b"X: \xe4"), with_lines(b"X:", b"Y: 1"),
        with_lines(b"X: " + b"a" * 8100), with_lines(b"X: " + b"a" * 8187), with_lines(b"X: " + b"a" * 8200),
        with_lines(b"X: " + b"a" * 90_000), with_lines(*(b"X%d: " % i + b"a" * 1000 for i in range(30))),
        with_lines(*(b"X%d: " % i + b"a" * 1000 for i in range(35))), with_lines(b"Connection: close"),
        with_lines(b"Connection: keep-alive", b"Keep-Alive: timeout=5", b"TE: trailers", b"Proxy: x"),
        with_lines(b"Upgrade: h2c", b"Connection: Upgrade"), with_lines(b"Cookie: a=b", b"Cookie: c=d", b"Accept: */*"),
        with_lines(b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Host: evil", b"X-Forwarded-Proto: https", b"X-Real-IP: 9",
                   b"X-Request-ID: abc", b"X-Scheme: q", b"User-Agent: u"),
    ],
    "bodies": [
        post(b"Content-Length: 5"), POST + HOST + b"\r\n", post(b"Content-Length: 0", b""), post(b"X: y", b""),
        post(CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"), post(CHUNKED, b"0\r\n\r\n"),
        with_lines(b"Content-Length: 5") + b"hello",
        post(b"Transfer-Encoding: CHUNKED", b"0\r\n\r\n"), post(CHUNKED, b"5;e=1\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n"),
        post(b"Content-Length: 2000000"), post(b"Content-Length: 1048577"),
        post(b"Content-Length: 99999999999999999999"),
    ],
    "smuggling": [
        post(b"Content-Length: 5\r\nContent-Length: 5"), post(b"Content-Length: 5\r\nContent-Length: 6"),
        post(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n"), post(CHUNKED + b"\r\nContent-Length: 5", b"0\r\n\r\n"),
        post(b"Content-Length: -5"), post(b"Content-Length: +5"), post(b"Content-Length: 5,5"),
        post(b"Content-Length: 0x5"),
        post(b"Content-Length:"), post(b"Content-Length: 5 5"), post(b"Transfer-Encoding: gzip", b""),
        post(b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"), post(b"Transfer-Encoding: identity", b""),
        post(CHUNKED + b"\r\n" + CHUNKED, b"0\r\n\r\n"), post(b"Transfer-Encoding: xchunked", b"0\r\n\r\n"),
        post(b"Transfer-Encoding : chunked", b"0\r\n\r\n"), post(b"Transfer-Encoding:\x0bchunked", b"0\r\n\r\n"),
        post(CHUNKED, b"5\nhello\n0\n\n"), post(CHUNKED, b"fffffffffffffffff\r\n"), post(CHUNKED, b"200000\r\nx"),
        post(CHUNKED, b"zz\r\n"), post(CHUNKED, b"5\r\nhelloX\r\n0\r\n\r\n"), post(CHUNKED, b"-1\r\n\r\n"),
        post(CHUNKED, b" 5\r\nhello\r\n0\r\n\r\n"), post(CHUNKED, b"\r\n"),
        b"POST / HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n\r\n0\r\n\r\n",
    ],
}  # fmt: skip


OK = b"HTTP/1.1 200 OK\r\n"
ANSWERED = {
    "204": b"HTTP/1.1 204 No Content\r\n\r\n", "304": b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',
    "chunks": OK + CHUNKED + b"\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n",
    "to-the-end": OK + b"Connection: close\r\n\r\nok", "http-1.0": b"HTTP/1.0 200 OK\r\n\r\nok",
    "length-twice": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "length-and-chunks": OK + b"Content-Length: 9\r\n" + CHUNKED + b"\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "more-than-its-length": OK + b"Content-Length: 2\r\n\r\nokEXTRA",
    "folded": OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "line-feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "no-reason": b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    "999": b"HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok",
    "500": b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno",
    "http-1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "space-in-name": OK + b"X Y: 1\r\nContent-Length: 2\r\n\r\nok",
    "odd-names": OK + b"X_Y: 1\r\nX!y: 2\r\nX-Latin: \xe4\r\nX-E:\r\nContent-Length: 2\r\n\r\nok",
    "long-head": OK + b"X: " + b"a" * 3900 + b"\r\nContent-Length: 2\r\n\r\nok",
    "too-long-head": OK + b"X: " + b"a" * 4100 + b"\r\nContent-Length: 2\r\n\r\nok",
    "nul": OK + b"X: a\0b\r\nContent-Length: 2\r\n\r\nok",
    "cookies": OK + b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok",
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: http://web/x\r\nRefresh: 3; url=http://web/\r\nContent-Length: 0"
                 b"\r\n\r\n",
    "for-nginx": OK + b"X-Accel-Buffering: no\r\nX-Accel-Expires: 5\r\nContent-Length: 2\r\n\r\nok",
    "usual-lines": OK + b"Content-Type: text/x\r\nContent-Encoding: gzip\r\nVary: A\r\nCache-Control: x\r\n"
                   b"Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\nExpires: 0\r\nContent-Length: 2\r\n\r\nok",
    "password": b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 2\r\n\r\nok",
    "too-large": b"HTTP/1.1 413 Too\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
    "no-type": OK + b"Content-Type:\r\nContent-Length: 2\r\n\r\nok", "nothing": b"",
}  # fmt: skip
"""What backends answer, by path; then they hang up, unless the answer says how long it is."""


def answer(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
    told = ANSWERED.get(asked.target.decode("latin-1").removeprefix("/answer/"))
    if told is not None:
        return [told] if b"Length" in told else [told, b""]
    return [b"HTTP/1.1 200 OK\r\n"] if asked.target.startswith(b"/slow") else ok(backend, asked, body)


USERS = "foo:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\nbar:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
ACCESS = (
    ingress(
        "secret", {"a.example": {"/secret": "web:80"}}, auth_type="basic", auth_secret="users", auth_realm="who are you"
    ),
    secret("users", auth=base64.b64encode(USERS.encode()).decode()),
    ingress("nobody", {"a.example": {"/nobody": "web:80"}}, whitelist_source_range="192.0.2.0/24"),
    ingress("limited", {"a.example": {"/limited": "web:80"}}, limit_rps="1", limit_burst_multiplier="2"),
)


def login(text: str, kind: str = "Basic") -> bytes:
    said = base64.b64encode(text.encode()).decode()
    return f"GET /secret HTTP/1.1\r\nHost: a.example\r\nAuthorization: {kind} {said}\r\n\r\n".encode()


def test_the_same_are_let_in(tmp_path: Path) -> None:
    async def main() -> None:
        asked = [
            login(text)
            for text in ("foo:secret", "bar:secret", "foo:other", "nobody:secret", "foo", ":", "foo:secret:x")
        ]
        asked += [login("foo:secret", "basic"), login("foo:secret", "Bearer"), get(b"GET /secret HTTP/1.1")]
        asked += [get(b"GET /nobody HTTP/1.1"), *[get(b"GET /limited HTTP/1.1")] * 4]
        async with (
            Lab(*OBJECTS, *ACCESS) as lab, Nginx(tmp_path, free_port(), lab.web.port, USERS) as nginx,
        ):  # fmt: skip
            answers = []
            for port in (nginx.port, lab.port):
                got = [await seen(lab, port, raw) for raw in asked]
                for one in got:
                    # nginx sends the password on; ingress-nginx clears it
                    one["backend"] = [
                        (*call[:2], [line for line in call[2] if line[0] != "Authorization"], call[3])
                        for call in one["backend"]
                    ]
                answers.append(got)
            assert answers[0] == answers[1]
            assert [one["status"] for one in answers[1]] == [
                200,
                200,
                401,
                401,
                401,
                401,
                401,
                200,
                401,
                401,
                403,
                200,
                200,
                200,
                503,
            ]

    run(main(), 60.0)


async def seen(lab: Lab, port: int, raw: bytes) -> dict[str, Any]:
    """What the client got, whether the connection went on, and what the backend was told."""
    before = len(lab.web.requests)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Client(reader, writer)
    try:
        reply = await client.ask(raw)
        lines = sorted((name, value) for name, value in reply.headers if name not in ("Date", "Server"))
        asked = [
            (method, target, told(headers, port), body) for method, target, headers, body in lab.web.requests[before:]
        ]
        goes_on = reply.header("Connection") == "keep-alive"
        if goes_on:
            goes_on = (await client.ask(get(b"GET /second HTTP/1.1"))).status == 200
    finally:
        client.close()
    return {"status": reply.status, "headers": lines, "body": reply.body, "goes on": goes_on, "backend": asked}


def told(lines: list[tuple[str, str]], port: int) -> list[tuple[str, str]]:
    """Header lines in their order, without what is another in each proxy."""
    free = {"X-Request-ID": lambda value: value if len(value) < 32 else "new",
            "X-Forwarded-Port": lambda value: value.replace(str(port), "port")}  # fmt: skip
    return [(name, free[name](value) if name in free else value) for name, value in lines]


@pytest.mark.parametrize("group", CASES)
def test_a_request_fares_as_with_nginx(group: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Lab(*OBJECTS, web=answer) as lab, Nginx(tmp_path, free_port(), lab.web.port) as nginx,
        ):  # fmt: skip
            different = []
            for raw in CASES[group]:
                theirs, ours = await seen(lab, nginx.port, raw), await seen(lab, lab.port, raw)
                if theirs != ours:
                    different.append(
                        (raw[:200], {key: (theirs[key], ours[key]) for key in ours if theirs[key] != ours[key]})
                    )
            assert different == []

    run(main(), 60.0)


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_an_answer_fares_as_with_nginx(method: bytes, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Lab(*OBJECTS, web=answer) as lab, Nginx(tmp_path, free_port(), lab.web.port) as nginx,
        ):  # fmt: skip
            different = []
            for name in ANSWERED:
                raw = get(method + b" /answer/" + name.encode() + b" HTTP/1.1")
                theirs, ours = await seen(lab, nginx.port, raw), await seen(lab, lab.port, raw)
                if any(theirs[key] != ours[key] for key in ("status", "headers", "body")):
                    different.append((name, theirs, ours))
            assert different == []

    run(main(), 60.0)
