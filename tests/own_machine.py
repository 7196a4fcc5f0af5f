"""A program that knows nothing of k8semu: it tells a peer, over HTTP, what it was told of its machine."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import socket
from pathlib import Path
from socket import gethostname as by_another_name
from typing import Any

AT_IMPORT = (socket.gethostname(), os.environ.get("USER"))


def facts() -> dict[str, Any]:
    names = [socket.gethostname(), by_another_name(), platform.node(), os.uname().nodename, socket.getfqdn()]
    return {
        "env": dict(os.environ), "names": names, "address": socket.gethostbyname(socket.gethostname()),
        "home": str(Path.home()), "import": list(AT_IMPORT), "file": Path("/etc/hostname").read_text(),
    }  # fmt: skip


async def serve(port: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"mine": facts(), "yours": head.split()[1].decode()}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "0.0.0.0", port)
    await server.serve_forever()


async def ask() -> dict[str, Any]:
    """Find the peer by the environment, and tell it who asks."""
    mine = facts()
    os.environ["SEEN"] = str(int(os.environ.get("SEEN", "0")) + 1)      # of this process alone
    host, port = os.environ["PEER_SERVICE_HOST"], int(os.environ["PEER_SERVICE_PORT"])
    reader, writer = await asyncio.open_connection(host, port)
    path = f"/{socket.gethostname()}/{os.environ['WHO']}/{os.environ['SEEN']}"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: peer\r\nUser-Agent: {platform.node()}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return {"mine": mine, "theirs": json.loads(answer.partition(b"\r\n\r\n")[2])}


async def who() -> dict[str, Any]:
    return facts()


async def read(path: str) -> str:
    return Path(path).read_text()
