"""Whatever bytes a client or a backend sends, the Ingress proxy answers or hangs up, and goes on serving."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingress_lab import Backend, Lab, request, run
from ingress_objects import ingress

from k8semu.apps.ingress import head
from k8semu.kube.ingress.htpasswd import fits, parse
from k8semu.kube.ingress.matching import BadPathError, normal_path
from k8semu.kube.ingress.settings import Settings, global_settings
from k8semu.kube.ingress.settings import settings as read_settings

SHOP = ingress("shop", {"a.example": {"/": "web:80"}})
NAMES = st.sampled_from([
    b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"Upgrade", b"X-Y", b"TE",
    b"Cookie", b"",
])  # fmt: skip
VALUES = st.sampled_from([
    b"a.example", b"5", b"0", b"-1", b"5, 5", b"chunked", b"gzip, chunked", b"close", b"keep-alive",
    b"100-continue", b"h2c",
    b"", b"x" * 9000, b"\xff", b"a\x00b", b" 5 ",
])  # fmt: skip
LINES = st.lists(st.tuples(NAMES, VALUES, st.sampled_from([b"\r\n", b"\n", b"\r\n ", b""])), max_size=6)
FIRST = st.sampled_from([b"GET / HTTP/1.1", b"POST /x HTTP/1.1", b"HEAD /../ HTTP/1.0",
 b"GET http://a.example/%zz HTTP/1.1",
                         b"get / HTTP/1.1", b"PUT /%00 HTTP/1.1", b"", b"GET / HTTP/9.9"])  # fmt: skip
BODIES = st.sampled_from([b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"ffffffffffffffffffff\r\n",
 b"5\r\nhel", b"0\n\n"])


def written(first: bytes, lines: list[tuple[bytes, bytes, bytes]], body: bytes) -> bytes:
    return first + b"\r\n" + b"".join(name + b": " + value + end for name, value, end in lines) + b"\r\n" + body


REQUESTS = st.one_of(st.builds(written, FIRST, LINES, BODIES), st.binary(max_size=200))
STATUSES = {100, 200, 400, 404, 405, 408, 413, 414, 501, 502, 503, 504, 505}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(REQUESTS, min_size=1, max_size=12))
def test_broken_clients_get_a_status_or_nothing_and_others_are_served(raws: list[bytes]) -> None:
    async def main() -> None:
        async with Lab(SHOP) as lab:
            for raw in raws:
                client = await lab.connect()
                client.send(raw)
                client.writer.write_eof()
                said = await client.reader.read()
                if said:
                    assert said.startswith(b"HTTP/1.1 "), said[:50]
                    assert int(said[9:12]) in STATUSES
                client.close()
            assert (await lab.get()).status == 200

    run(main())


PIECES = st.sampled_from([
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 101 X\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"Content-Length: 5\r\n",
    b"\r\n", b"hello",
    b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"HTTP/1.0 200\r\n\r\n", b"\xff\x00",
    b"X: y\r\n z\r\n",
    b"Connection: close\r\n", b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 999 ?\r\n\r\n", b"X" * 5000,
])  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(PIECES, max_size=6), min_size=1, max_size=6))
def test_broken_backends_are_502_or_cut_off_and_others_are_asked(answers: list[list[bytes]]) -> None:
    left: list[list[bytes]] = []

    def answer(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
        return [*left[0], b""]

    async def main() -> None:
        two = ingress("two", {"a.example": {"/": "web:80", "/cart": "cart:80"}})
        async with Lab(two, web=answer) as lab:
            for pieces in answers:
                left[:] = [pieces]
                client = await lab.connect()
                client.send(request("a.example/", "Connection: close, upgrade", "Upgrade: x"))
                said = await asyncio.wait_for(client.reader.read(), 5)
                assert said == b"" or said.startswith(b"HTTP/1.1 "), said[:50]
                client.close()
            assert (await lab.get("a.example/cart")).body == b"cart"

    run(main())


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_are_refused(data: bytes) -> None:
    for raw in (data, b"GET / HTTP/1.1\r\n" + data + b"\r\n\r\n"):
        found = head.read(raw)
        assert isinstance(found, head.Refused) or found.clean.endswith(b"\r\n\r\n")


@given(st.text(max_size=60))
def test_any_text_is_a_path_an_entry_and_a_setting_or_is_refused(text: str) -> None:
    with contextlib.suppress(BadPathError):
        assert normal_path(text).startswith("/")
    assert fits(text[:40], "x") in (True, False)
    parse(text)
    names = [name.replace("_", "-") for name in Settings.__struct_fields__]
    read_settings({f"nginx.ingress.kubernetes.io/{name}": text for name in names}, Settings())
    global_settings(dict.fromkeys(["use-proxy-protocol", "keep-alive", "limit-req-status-code", *names], text))
