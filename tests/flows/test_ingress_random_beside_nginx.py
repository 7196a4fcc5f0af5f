"""Random requests, most of them broken, to the reverse proxy and to Debian's nginx: the same answers, and the same at
the backend, also where one request hides another.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ingress_lab import Lab, free_port, run
from ingress_objects import ingress
from real_nginx import NGINX, WHY_NOT, Nginx

pytestmark = pytest.mark.skipif(NGINX is None, reason=WHY_NOT)
FIRST = [
    b"GET / HTTP/1.1", b"POST /x HTTP/1.1", b"HEAD /a HTTP/1.1", b"PUT /p HTTP/1.0",
    b"GET /a/./b/../c?x=%41#f HTTP/1.1", b"TRACE / HTTP/1.1",
    b"GET /%2e%2e/x HTTP/1.1", b"DELETE /a%2Fb HTTP/1.1", b"GET http://a.example/y HTTP/1.1", b"GET /?a b HTTP/1.1",
    b"GET http://b.example/y HTTP/1.1", b"POST / HTTP/1.0", b"GET /a\tb HTTP/1.1", b"GET\t/ HTTP/1.1",
    b"GET / HTTP/1.01", b"GET / HTTP/01.1", b"GET / HTTP/1.", b"GET / HTTP/1.1x", b"GET /a//b HTTP/1.1",
    b"GET http://a.example:x/ HTTP/1.1", b"GET http://u@a.example/ HTTP/1.1", b"PRI * HTTP/2.0", b"GET / HTTP/2.0",
    b"GET /.. HTTP/1.1", b"GET /a/.. HTTP/1.1", b"GET /x?%zz HTTP/1.1",
]  # fmt: skip
NAMES = [
    b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"TE", b"Cookie", b"X-A", b"content-LENGTH",
    b"Upgrade", b"Keep-Alive", b"Range", b"If-Modified-Since", b"Authorization", b"Via", b"Proxy-Connection",
    b"X-Forwarded-Port", b"x_under", b"X-Original-Forwarded-For", b"X-Forwarded-Prefix", b"Host",
]  # fmt: skip
VALUES = [
    b"0", b"5", b"05", b" 5 ", b"5\t", b"chunked", b"Chunked", b"close", b"keep-alive", b"keep-alive, close",
    b"100-continue", b"100-Continue", b"x", b"", b"websocket", b"trailers", b"a.example", b"b.example", b"a" * 3000,
    b"\xe4", b"1, 2", b"gzip", b"identity", b"5, 5",
]  # fmt: skip
BETWEEN, ENDS = [b": ", b":", b":  ", b":\t", b" : "], [b"\r\n"] * 12 + [b"\n", b"\r\n\t", b"\r\r\n"]
BODIES = [
    b"", b"hello", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"5;x=\"y\"\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"0x5\r\nhello\r\n",
    b"00005\r\nhello\r\n000\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n",
]  # fmt: skip
LAST = b"GET /last HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
"""So that nobody need wait for more, unless it is taken for a part of a body."""


def made(random: Random) -> bytes:
    """A request, and what comes behind it."""
    lines = [random.choice(NAMES) + random.choice(BETWEEN) + random.choice(VALUES) for _ in range(random.randrange(4))]
    hosts = [b"a.example"] * 6 + [b"A.EXAMPLE:80", b"a.example:"]
    if not any(line.startswith(b"Transfer") for line in lines):         # nginx would look into a body that nobody gets
        hosts.append(b"b.example")
    lines += [b"Host" + random.choice(BETWEEN[:4]) + random.choice(hosts)] if random.random() < 0.93 else []
    random.shuffle(lines)
    head = b"".join(line + random.choice(ENDS) for line in (random.choice(FIRST), *lines))
    return head + b"\r\n" + random.choice(BODIES) + LAST


async def fares(lab: Lab, port: int, raw: bytes, patience: float = 0.2) -> tuple[Any, ...]:
    """The statuses, whether it goes on after each, whether it hangs up, and what the backend was told."""
    before = len(lab.web.requests)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    said = b""
    ended = False
    try:
        async with asyncio.timeout(patience):
            while data := await reader.read(65536):
                said += data
        ended = True
    except TimeoutError:
        pass
    except ConnectionError:
        ended = True
    writer.close()
    asked = [(asked[0], asked[1], sorted(usual(asked[2], port)), asked[3]) for asked in lab.web.requests[before:]]
    return re.findall(rb"HTTP/1\.1 (\d+)", said), re.findall(rb"Connection: (\S+)", said), ended, asked


def usual(lines: list[tuple[str, str]], port: int) -> list[tuple[str, str]]:
    """Header lines without what is another in each proxy."""
    kept = [line for line in lines if line[0] not in ("X-Request-ID",)]
    return [(name, "port" if (name, value) == ("X-Forwarded-Port", str(port)) else value) for name, value in kept]


@pytest.mark.parametrize("seed", range(2))
def test_a_random_request_fares_as_with_nginx(seed: int, tmp_path: Path) -> None:
    async def main() -> None:
        objects = ingress("i", {"a.example": {"/": "web:80"}}, proxy_next_upstream_tries="1")
        async with Lab(objects) as lab, Nginx(tmp_path, free_port(), lab.web.port) as nginx:
            random = Random(seed)
            for _ in range(100):
                raw = made(random)
                theirs, ours = await fares(lab, nginx.port, raw), await fares(lab, lab.port, raw)
                if theirs != ours:                        # somebody may have been slow
                    theirs, ours = await fares(lab, nginx.port, raw, 2.0), await fares(lab, lab.port, raw, 2.0)
                assert theirs == ours, raw[:600]

    run(main(), 120.0)
