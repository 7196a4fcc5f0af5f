"""Real clients of the Ingress program on a loopback socket: curl, wrk, a browser."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from ingress_lab import Backend, Lab, run
from ingress_objects import ingress, secret

CURL, WRK = shutil.which("curl"), shutil.which("wrk")
CHROMIUM = shutil.which("chromium")
needs_curl = pytest.mark.skipif(CURL is None, reason="curl is not installed (Debian: curl)")
SHOP = ingress("shop", {"shop.example.com": {"/": "web:80", "/cart": "cart:80"}})


async def out(*words: str) -> str:
    """What a command prints; it has to end well."""
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, errors = await process.communicate()
    assert process.returncode == 0, (said + errors).decode("utf-8", "replace")
    return said.decode("utf-8", "replace")


async def curl(lab: Lab, url: str, *words: str) -> str:
    """curl, for which shop.example.com is the lab."""
    return await out(
        CURL or "", "-s", "--connect-to", f"shop.example.com:80:127.0.0.1:{lab.port}", *words,
        f"http://shop.example.com{url}"
    )


@needs_curl
def test_curl_gets_pages_sends_forms_and_logs_in() -> None:
    admin = ingress("admin", {"shop.example.com": {"/admin": "web:80"}}, auth_type="basic", auth_secret="users")

    async def main() -> None:
        async with Lab(SHOP, admin, secret("users", auth="Zm9vOntQTEFJTn1iYXI=")) as lab:
            assert await curl(lab, "/") == "web"
            assert await curl(lab, "/cart/1", "-d", "item=tea") == "cart"
            assert lab.cart.requests[0][3] == b"item=tea"
            assert (await curl(lab, "/", "-I")).startswith("HTTP/1.1 200 OK\r\n")
            status = ("-o", "/dev/null", "-w", "%{http_code} %{num_connects}\\n")
            assert await curl(lab, "/admin", *status) == "401 1\n"
            assert await curl(lab, "/admin", *status, "-u", "foo:bar") == "200 1\n"
            assert await curl(lab, "/admin", *status, "--anyauth", "-u", "foo:bar") == "200 1\n"

    run(main(), 60.0)


@needs_curl
def test_curl_sends_a_long_body_in_chunks_and_waits_for_100_continue() -> None:
    async def main() -> None:
        async with Lab(SHOP) as lab:
            body = "x" * 300_000
            process = await asyncio.create_subprocess_exec(
                CURL or "", "-s", "--connect-to", f"shop.example.com:80:127.0.0.1:{lab.port}", "-T", "-",
                "-H", "Expect: 100-continue", "http://shop.example.com/cart", stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            said, _ = await process.communicate(body.encode())
            assert (said, process.returncode) == (b"cart", 0)
            assert lab.cart.requests[0][0] == "PUT"
            assert lab.cart.requests[0][3] == body.encode()

    run(main(), 60.0)


@pytest.mark.skipif(WRK is None, reason="wrk is not installed (Debian: wrk)")
def test_wrk_finds_no_error_among_many_requests_at_once() -> None:
    async def main() -> None:
        async with Lab(SHOP) as lab:
            said = await out(
                WRK or "", "-t1", "-c8", "-d1s", "-H", "Host: shop.example.com", f"http://127.0.0.1:{lab.port}/cart"
            )
            answered = int((re.search(r"(\d+) requests in", said) or [0, 0])[1])
            assert answered > 0
            assert "Non-2xx" not in said, said
            assert "Socket errors" not in said, said
            assert answered <= len(lab.cart.requests) <= answered + 8
            assert lab.cart.connections <= 8

    run(main(), 60.0)


def page(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
    """A page with a script that fetches two things more."""
    parts = {
        b"/": b"<html><body>waiting<script>Promise.all(['/cart/a', '/b.txt'].map(p => fetch(p).then(r => r.text())))"
              b".then(t => document.body.textContent = t.join(' and '))</script></body></html>",
        b"/b.txt": b"text of the web",
    }  # fmt: skip
    text = parts.get(asked.target, b"")
    return [b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)")
def test_a_browser_shows_a_page_whose_parts_come_from_two_services(tmp_path: Path) -> None:
    async def main() -> None:
        async with Lab(SHOP, web=page) as lab:
            said = await out(
                CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                f"--user-data-dir={tmp_path}", "--virtual-time-budget=5000",
                "--dump-dom",
                f"--host-resolver-rules=MAP shop.example.com:80 127.0.0.1:{lab.port}", "http://shop.example.com/",
            )  # fmt: skip
            assert "cart and text of the web" in said
            assert lab.web.told("User-Agent") is not None

    run(main(), 60.0)
