"""From HTTP to another protocol, on the same connection: asking for it, and granting it.

    GET … Upgrade: websocket, Sec-WebSocket-Protocol: v5.channel.k8s.io      ─▶ 101, the protocol that was chosen
    POST … Upgrade: SPDY/3.1, X-Stream-Protocol-Version: portforward.k8s.io  ─▶ 101, likewise

Kubernetes: staging/src/k8s.io/streaming/pkg/httpstream/{httpstream.go,spdy/upgrade.go,spdy/roundtripper.go}
RFC: 9110 section 7.8, 6455 section 4
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import h11
import msgspec

from k8semu.apps.http1 import Headers, Http1, headers_of, value_of, words_of
from k8semu.apps.http_relay import NoAnswer, dial
from k8semu.kube.api.status import ApiError
from k8semu.kube.streaming.command import SPDY
from k8semu.kube.streaming.pipes import TcpPipe, WebSocket
from k8semu.kube.streaming.websocket import accept_key
from k8semu.sim.streams import Stream

SPDY_VERSION = "x-stream-protocol-version"
WS_PROTOCOL = "sec-websocket-protocol"


def wants(headers: Headers) -> str:
    """``websocket``, ``spdy`` or ''."""
    if "upgrade" not in words_of(headers, "connection"):
        return ""
    upgrade = value_of(headers, "upgrade").lower()
    return {"websocket": "websocket", SPDY.lower(): "spdy"}.get(upgrade, "")


def offered(headers: Headers, name: str) -> list[str]:
    """The protocols that a client names, as it writes them."""
    return [word.strip() for word in value_of(headers, name).split(",") if word.strip()]


def choose(theirs: Sequence[str], ours: Sequence[str]) -> str:
    """The first of the client's that the server knows, or ''. Kubernetes: negotiateProtocol()."""
    return next((protocol for protocol in theirs if protocol in ours), "")


# --- granting -------------------------------------------------------------------------------------


async def grant_spdy(client: Http1, protocol: str) -> TcpPipe:
    """Switch to SPDY."""
    headers = [("Connection", "Upgrade"), ("Upgrade", SPDY)]
    if protocol:
        headers.append(("X-Stream-Protocol-Version", protocol))
    await _switch(client, headers)
    return TcpPipe(client)


async def grant_websocket(client: Http1, headers: Headers, protocol: str) -> WebSocket:
    """Switch to WebSocket."""
    answer = [("Upgrade", "websocket"), ("Connection", "Upgrade"),
              ("Sec-WebSocket-Accept", accept_key(value_of(headers, "sec-websocket-key")))]  # fmt: skip
    if protocol:
        answer.append(("Sec-WebSocket-Protocol", protocol))
    await _switch(client, answer)
    return WebSocket(TcpPipe(client))


async def _switch(client: Http1, headers: Headers) -> None:
    await client.skip_body()
    switched = h11.InformationalResponse(status_code=101, headers=headers, reason=b"Switching Protocols")
    await client.send(switched)


# --- asking ---------------------------------------------------------------------------------------


async def ask_spdy(host: str, port: int, target: str, headers: Headers, protocols: Sequence[str]) -> TcpPipe:
    """SPDY to a server; NoAnswer, or ApiError as the server says it."""
    asked = [*headers, ("Connection", "Upgrade"), ("Upgrade", SPDY),
             *(("X-Stream-Protocol-Version", protocol) for protocol in protocols)]  # fmt: skip
    return TcpPipe((await _ask(host, port, b"POST", target, [*asked, ("Content-Length", "0")]))[0])


async def ask_websocket(
    host: str, port: int, target: str, headers: Headers, protocols: Sequence[str], draw: Stream
) -> tuple[WebSocket, str]:
    """WebSocket to a server, and the protocol that it chose; NoAnswer, or ApiError as the server says it."""
    key = base64.b64encode(draw.bits(128).to_bytes(16, "big")).decode()
    asked = [*headers, ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", key),
             ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Protocol", ", ".join(protocols))]  # fmt: skip
    http, answer = await _ask(host, port, b"GET", target, asked)
    said = headers_of(answer)
    if value_of(said, "sec-websocket-accept") != accept_key(key):
        http.close()
        raise NoAnswer("websocket: bad handshake")
    return WebSocket(TcpPipe(http), draw), value_of(said, WS_PROTOCOL)


async def _ask(host: str, port: int, method: bytes, target: str, headers: Headers) -> tuple[Http1, Any]:
    """The connection, and the 101 that it was answered."""
    server = Http1(*await dial(host, port), h11.CLIENT)
    try:
        await server.send(h11.Request(method=method, target=target, headers=headers), h11.EndOfMessage())
        answer = await server.receive()
        if isinstance(answer, h11.InformationalResponse) and answer.status_code == 101:
            return server, answer
        if not isinstance(answer, h11.Response):
            raise NoAnswer("unexpected EOF")
        body = b""
        while isinstance(event := await server.receive(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError as error:
        server.close()
        raise NoAnswer(f"malformed HTTP response: {error}") from None
    except BaseException:
        server.close()
        raise
    server.close()
    raise _refusal(answer.status_code, body)


def _refusal(code: int, body: bytes) -> ApiError:
    try:
        status = msgspec.json.decode(body)
        if isinstance(status, dict) and status.get("kind") == "Status":
            return ApiError.from_status(status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    said = body.decode("utf-8", "replace").strip()
    return ApiError(code, {404: "NotFound", 403: "Forbidden"}.get(code, ""), said or f"unable to upgrade: {code}")
