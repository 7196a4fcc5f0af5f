"""WebSockets through the Ingress program on a loopback socket: a browser's, and beside Debian's nginx."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from ingress_lab import Client, Lab, free_port, run
from ingress_objects import ingress, slice_of
from real_nginx import NGINX, WHY_NOT, Nginx
from websocket_site import BIG, Site

CHROMIUM = shutil.which("chromium")
ALL = ingress("all", {"a.example": {"/": "web:80"}})
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""RFC: 6455 section 1.3"""
HANDSHAKE = ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"]
PROXYS_OWN = ("Date", "Server", "X-Request-ID", "X-Forwarded-Port", "Sec-WebSocket-Key")
"""Header lines that two proxies, or two calls, have of their own."""


def before(site: Site) -> Lab:
    """The Ingress in front of the site."""
    lab = Lab(ALL)
    lab.objects = (*lab.objects, slice_of("web", "127.0.0.1", port=site.port))
    return lab


@contextlib.asynccontextmanager
async def chromium(folder: Path, port: int) -> Any:
    """A browser on the page of http://a.example/, which is at `port`."""
    process = await asyncio.create_subprocess_exec(
        CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={folder}", f"--host-resolver-rules=MAP a.example:80 127.0.0.1:{port}",
        "http://a.example/", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)")
@pytest.mark.skipif(NGINX is None, reason=WHY_NOT)
def test_a_browser_says_and_hears_the_same_over_a_websocket_as_with_nginx(tmp_path: Path) -> None:
    async def visit(site: Site, port: int, name: str) -> tuple[str, list[tuple[str, str]]]:
        """What the page has told, and what the WebSocket's server was asked."""
        async with chromium(tmp_path / name, port):
            told = await site.told
        (head,) = site.heads("/echo")
        return told, [(key, value.replace(str(port), "port")) for key, value in head if key not in PROXYS_OWN]

    async def main() -> None:
        async with Site() as site, before(site) as lab:
            told, asked = await visit(site, lab.port, "ingress")
            *seen, extensions = told.split("\n")
            assert seen == ["grüß dich", f"{BIG} bytes, the same", "closed 4001 enough cleanly", "echo"]
            assert extensions.startswith("permessage-deflate")
            assert site.closed == [(4001, "enough")]
            assert ("Upgrade", "websocket") in asked
            assert ("X-Forwarded-For", "127.0.0.1") in asked
            assert ("Origin", "http://a.example") in asked
        (tmp_path / "etc").mkdir()
        async with Site() as site, Nginx(tmp_path / "etc", free_port(), site.port) as nginx:
            assert await visit(site, nginx.port, "nginx") == (told, asked)

    run(main(), 90.0)


async def handshake(site: Site, port: int, target: str, lines: list[str]) -> Any:
    """What a client gets that asks for a WebSocket, what it hears then, and what the server was asked."""
    asked = len(site.asked)
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    try:
        raw = "\r\n".join([f"GET {target} HTTP/1.1", "Host: a.example", *lines, "", ""]).encode()
        reply = await client.ask(raw)
        heard = b""
        if reply.status == 101:
            client.send(b"\x81\x85\0\0\0\0hello\x88\x82\0\0\0\0\x03\xe8")     # text, then close with 1000
            heard = await client.reader.read()
    finally:
        client.close()
    told = [(*call[:2], [line for line in call[2] if line[0] not in PROXYS_OWN]) for call in site.asked[asked:]]
    return reply.status, sorted(line for line in reply.headers if line[0] not in PROXYS_OWN), heard, told


@pytest.mark.skipif(NGINX is None, reason=WHY_NOT)
def test_a_handshake_is_answered_as_with_nginx(tmp_path: Path) -> None:
    cases = [
        ("/echo", HANDSHAKE),
        ("/echo", [*HANDSHAKE, "Sec-WebSocket-Protocol: chat, echo", "Sec-WebSocket-Extensions: permessage-deflate"]),
        ("/echo", [line.replace("Upgrade: web", "upgrade: web") for line in HANDSHAKE]),
        ("/echo", [line.replace("Connection: Upgrade", "Connection: keep-alive, Upgrade") for line in HANDSHAKE]),
        ("/echo", [line for line in HANDSHAKE if not line.startswith("Connection")]),
        ("/echo", [line for line in HANDSHAKE if not line.startswith("Upgrade")]),
        ("/echo", [line.replace("Version: 13", "Version: 12") for line in HANDSHAKE]),
        ("/closed", HANDSHAKE),
    ]  # fmt: skip

    async def main() -> None:
        async with (
            Site() as site, before(site) as lab, Nginx(tmp_path, free_port(), site.port) as nginx,
        ):  # fmt: skip
            for case in cases:
                ours, nginxs = [await handshake(site, port, *case) for port in (lab.port, nginx.port)]
                assert ours == nginxs, case
            first = await handshake(site, lab.port, *cases[0])
            assert first[:3] == (
                101, [("Connection", "upgrade"), ("Sec-WebSocket-Accept", ACCEPT), ("Upgrade", "websocket")],
                b"\x81\x05hello\x88\x02\x03\xe8",
            )  # fmt: skip
            statuses = [(await handshake(site, lab.port, *case))[0] for case in cases]
            assert statuses == [101, 101, 101, 101, 101, 200, 426, 403]

    run(main(), 60.0)
