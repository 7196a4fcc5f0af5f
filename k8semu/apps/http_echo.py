"""An HTTP server that answers who it is and whom it saw: what most containers of a scenario run.

    GET /          {"servedBy": "web", "clientAddress": "172.17.0.2", "headers": {…}}
    GET /bytes/N   N bytes

With `proxy_protocol` each connection has to begin with a PROXY header, and the client is who that says.

It writes head and body in one go, and closes when the client has closed or asked for
`Connection: close`, so the frames of a call are the same on every machine.

RFC: 9112 (parsed by h11)
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from k8semu.apps.terminal import current_terminal

_BYTES = bytes(range(256))
_REASON = {200: b"OK", 400: b"Bad Request"}


def _body(event: Any, name: str, peer: tuple[str, int]) -> tuple[int, str, bytes]:
    """(status, content type, body) for a request."""
    path = event.target.decode("ascii", "replace")
    if path.startswith("/bytes/"):
        count = path[7:]
        if not (count.isascii() and count.isdigit() and len(count) < 10):
            return 400, "text/plain", b"how many bytes?\n"
        return 200, "application/octet-stream", (_BYTES * (int(count) // 256 + 1))[: int(count)]
    headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in event.headers}
    answer = {
        "servedBy": name, "clientAddress": peer[0], "method": event.method.decode(), "path": path, "headers": headers,
    }  # fmt: skip
    return 200, "application/json", msgspec.json.format(msgspec.json.encode(answer), indent=0) + b"\n"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, proxy_protocol: bool) -> None:
    import h11

    connection = h11.Connection(h11.SERVER)
    request: Any = None
    peer = writer.get_extra_info("peername")
    try:
        if proxy_protocol:
            from k8semu.apps.balancer.proxy_protocol import ProxyProtocolError, read_header

            try:
                peer = await read_header(reader) or peer
            except ProxyProtocolError:
                return
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.EndOfMessage):
                status, kind, body = _body(request, name, peer)
                head = [("Content-Type", kind), ("Content-Length", str(len(body)))]
                if connection.their_state is h11.MUST_CLOSE or _wants_close(request):
                    head.append(("Connection", "close"))
                out = connection.send(h11.Response(status_code=status, headers=head, reason=_REASON[status])) or b""
                if request.method != b"HEAD":
                    out += connection.send(h11.Data(data=body)) or b""
                out += connection.send(h11.EndOfMessage()) or b""
                writer.write(out)
                _log(request, peer, status, len(body))
                await writer.drain()
                if connection.our_state is h11.MUST_CLOSE:
                    return
                connection.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                return
    except (h11.RemoteProtocolError, ConnectionError):
        return
    finally:
        writer.close()


def _log(request: Any, peer: tuple[str, int], status: int, size: int) -> None:
    """A line of the access log, if somebody reads it."""
    said = current_terminal.get()
    if said is not None and said.access is not None:
        first = f"{request.method.decode()} {request.target.decode('latin-1')} HTTP/{request.http_version.decode()}"
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        said.access(*peer[:2], first, headers, status, 0 if request.method == b"HEAD" else size)


def _wants_close(request: Any) -> bool:
    return any(key == b"connection" and value.lower() == b"close" for key, value in request.headers)


async def http_echo(
    name: str, ports: list[int], proxy_protocol: bool = False, host: str = "0.0.0.0", certificate: str = "",
    key: str = "",
) -> None:  # fmt: skip
    """Serve on each port of `host` until cancelled; over TLS with a certificate and its key (PEM)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _serve(reader, writer, name, proxy_protocol)

    if certificate:
        from k8semu.apps import tls

        context = tls.server_context(certificate, key)
        servers = [await tls.start_server(serve, host, port, context) for port in ports]
    else:
        servers = [await asyncio.start_server(serve, host, port) for port in ports]
    try:
        await asyncio.gather(*(server.serve_forever() for server in servers))
    finally:
        for server in servers:
            server.close()
