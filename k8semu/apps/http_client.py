"""An HTTP client that asks once a connection, as `curl URL` does: it sends what curl sends, and closes first.

RFC: 9112 (parsed by h11)
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from k8semu.apps.https import Trust

USER_AGENT = "curl/8.5.0"
MAX_TIME = 30.0
MAX_SHOWN = 4096
"""Bytes of a text that a result holds,"""
BODY_SHOWN = 1 << 16
"""and of a text body of HTTP."""


_GAI = {-3: "EAI_AGAIN", -4: "EAI_FAIL", -5: "EAI_NODATA"}


def error_name(error: BaseException) -> str:
    """``ECONNREFUSED``: what a failed call is called."""
    if isinstance(error, socket.gaierror):
        return _GAI.get(error.errno or 0, "EAI_NONAME")
    if isinstance(error, OSError) and error.errno is None and str(error):
        return str(error)                       # of TLS and HTTP: in curl's words
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    if isinstance(error, TimeoutError):
        return "ETIMEDOUT"
    return type(error).__name__


class HttpError(OSError):
    """What curl says of an answer that is none, or is cut short; `code` is its exit status.

    Linux: curl lib/http.c, lib/transfer.c
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Answer(msgspec.Struct, frozen=True):
    """A response as it came: names of `headers` as the server writes them."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes


Connected = Callable[[asyncio.BaseTransport], None]
Shaken = Callable[[asyncio.StreamWriter], None]


async def exchange(
    host: str, port: int, target: str, lines: list[tuple[str, str]], method: str = "GET",
    connected: Connected | None = None, body: bytes = b"", tls: tuple[str, Trust] | None = None,
    shaken: Shaken | None = None,
) -> Answer:  # fmt: skip
    """Connect, ask once with the header `lines`, read the answer, and close. OSError.

    `connected` is told of the connection; with `tls` (the server's name, and whom the client trusts) `shaken` is
    told of it, too, once it is encrypted. What `body` needs of headers is in `lines`.
    """
    import h11

    if tls is None:
        reader, writer = await asyncio.open_connection(host, port)
        if connected is not None:
            connected(writer.transport)
    else:
        from k8semu.apps import https

        reader, writer = await https.open_connection(host, port, *tls, connected, shaken)
    try:
        connection = h11.Connection(h11.CLIENT)
        out = connection.send(h11.Request(method=method, target=target, headers=lines)) or b""
        if body:
            out += connection.send(h11.Data(data=body)) or b""
        writer.write(out + (connection.send(h11.EndOfMessage()) or b""))
        answer = Answer(0, "", [], b"")
        first, got = b"", bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(65536)
                first = (first + data)[:5]
                connection.receive_data(data)
            elif isinstance(event, h11.Response):
                headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in event.headers.raw_items()]
                answer = Answer(event.status_code, event.reason.decode("latin-1"), headers, b"")
            elif isinstance(event, h11.Data):
                got += event.data
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                break
    except h11.RemoteProtocolError:
        raise _broken(first, answer, len(got), reader.at_eof()) from None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return Answer(answer.status, answer.reason, answer.headers, bytes(got))


def _broken(first: bytes, answer: Answer, got: int, ended: bool) -> HttpError:
    """What is wrong with an answer. `first`: its first five bytes; `got`: bytes of its body; `ended`: no more comes."""
    if not answer.status:
        if first != b"HTTP/"[: len(first)]:
            return HttpError(1, "Received HTTP/0.9 when not allowed")
        return HttpError(52, "Empty reply from server") if ended else HttpError(8, "Weird server reply")
    said = {name.lower(): value for name, value in answer.headers}
    if not ended:
        return HttpError(56, "Illegal or missing hexadecimal sequence in chunked-encoding")
    if "content-length" in said and "transfer-encoding" not in said:
        return HttpError(18, f"transfer closed with {int(said['content-length']) - got} bytes remaining to read")
    return HttpError(18, "transfer closed with outstanding read data remaining")


def header_lines(host_header: str, headers: dict[str, str], agent: str = USER_AGENT) -> list[tuple[str, str]]:
    """curl's own header lines, and those asked for, which stand for its own of that name."""
    said = {name.lower() for name in headers}
    own = [("Host", host_header), ("User-Agent", agent), ("Accept", "*/*")]
    return [(name, value) for name, value in own if name.lower() not in said] + list(headers.items())


class Call(msgspec.Struct, frozen=True):
    """What to ask. `method` '' is GET, or POST with a `body`; `user` is ``name:password``."""

    url: str
    headers: dict[str, str] = {}
    timeout: float = MAX_TIME
    method: str = ""
    body: str = ""
    user: str = ""
    ca: str = ""
    """Certificates (PEM) that are trusted."""
    insecure: bool = False

    def lines(self, host: str) -> list[tuple[str, str]]:
        """The header lines, as curl has them."""
        said = {name.lower() for name in self.headers}
        more: dict[str, str] = {}
        if self.user and "authorization" not in said:
            more["Authorization"] = "Basic " + base64.b64encode(self.user.encode()).decode()
        more |= self.headers
        if self.body and "content-length" not in said:
            more["Content-Length"] = str(len(self.body.encode()))
        if self.body and "content-type" not in said:
            more["Content-Type"] = "application/x-www-form-urlencoded"
        return header_lines(host, more)


async def _call(call: Call) -> tuple[dict[str, Any], bytes]:
    parts = urlsplit(call.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    method = call.method or ("POST" if call.body else "GET")
    host, port, tls = parts.hostname or "", parts.port or 80, None
    if parts.scheme == "https":
        from k8semu.apps.https import Trust

        port, tls = parts.port or 443, (host, Trust(call.ca, call.insecure))
    answer = await exchange(host, port, target, call.lines(parts.netloc), method, body=call.body.encode(), tls=tls)
    return _result(answer.status, answer.body, {k.lower(): v for k, v in answer.headers}), answer.body


def _result(status: int, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    result: dict[str, Any] = {"status": status, "bytes": len(body), "error": "", "headers": headers}
    kind = headers.get("content-type", "")
    if kind.startswith(("text/", "application/json")):
        result["body"] = body[:BODY_SHOWN].decode("utf-8", "replace")
    if kind == "application/json":
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            answer = msgspec.json.decode(body)
            if isinstance(answer, dict):
                result.update({key: answer[key] for key in ("servedBy", "clientAddress") if key in answer})
    return result


async def fetch(
    url: str, timeout: float = MAX_TIME, headers: dict[str, str] | None = None
) -> tuple[dict[str, Any], bytes]:
    """GET `url` once: the result, and the body."""
    return await _once(Call(url, headers or {}, timeout))


async def _once(call: Call) -> tuple[dict[str, Any], bytes]:
    try:
        return await asyncio.wait_for(_call(call), call.timeout)
    except (OSError, TimeoutError) as error:
        return {"status": 0, "bytes": 0, "error": error_name(error)}, b""


async def http_get(
    url: str, count: int = 1, headers: dict[str, str] | None = None, timeout: float = MAX_TIME, method: str = "",
    body: str = "", user: str = "", ca: str = "", insecure: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """Ask for `url` `count` times, each on a connection of its own; one result per call.

    A result has `status`, `bytes`, `headers`, `body` (of a text), what an echo says (`servedBy`,
    `clientAddress`), and `error` ('' or an errno's name, or what curl says of TLS and of what is no HTTP).
    """
    call = Call(url, headers or {}, timeout, method, body, user, ca, insecure)
    return [(await _once(call))[0] for _ in range(count)]
