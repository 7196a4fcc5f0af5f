"""An HTTP client that asks once a connection, as `curl URL` does.

RFC: 9112 (parsed by h11)
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from typing import Any
from urllib.parse import urlsplit

USER_AGENT = "curl/8.5.0"
MAX_TIME = 30.0


def error_name(error: BaseException) -> str:
    """``ECONNREFUSED``: what a failed call is called."""
    if isinstance(error, socket.gaierror):
        return "EAI_NONAME"
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    if isinstance(error, TimeoutError):
        return "ETIMEDOUT"
    return type(error).__name__


async def _exchange(
    host: str, port: int, target: str, host_header: str, headers: dict[str, str]
) -> tuple[dict[str, Any], bytes]:
    import h11

    reader, writer = await asyncio.open_connection(host, port)
    try:
        connection = h11.Connection(h11.CLIENT)
        lines = [("Host", host_header), ("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Connection", "close")]
        out = connection.send(h11.Request(method="GET", target=target, headers=[*lines, *headers.items()])) or b""
        writer.write(out + (connection.send(h11.EndOfMessage()) or b""))
        status, body, answer_headers = 0, b"", {}
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Response):
                status = event.status_code
                answer_headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in event.headers}
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                break
        while await reader.read(65536):
            pass  # the server closes first
    finally:
        writer.close()
    return _result(status, body, answer_headers), body


def _result(status: int, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    result: dict[str, Any] = {"status": status, "bytes": len(body), "error": ""}
    if headers.get("content-type") == "application/json":
        answer = json.loads(body)
        result["servedBy"] = answer.get("servedBy", "")
        result["clientAddress"] = answer.get("clientAddress", "")
    return result


async def fetch(
    url: str, timeout: float = MAX_TIME, headers: dict[str, str] | None = None
) -> tuple[dict[str, Any], bytes]:
    """GET `url` once: the result, and the body."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    call = _exchange(parts.hostname or "", parts.port or 80, target, parts.netloc, headers or {})
    try:
        return await asyncio.wait_for(call, timeout)
    except (OSError, TimeoutError) as error:
        return {"status": 0, "bytes": 0, "error": error_name(error)}, b""


async def http_get(
    url: str, count: int = 1, headers: dict[str, str] | None = None, timeout: float = MAX_TIME
) -> list[dict[str, Any]]:
    """GET `url` `count` times, each on a connection of its own; one result per call.

    A result has `status`, `bytes`, `servedBy`, `clientAddress`, and `error` ('' or an errno's name).
    """
    return [(await fetch(url, timeout, headers))[0] for _ in range(count)]
