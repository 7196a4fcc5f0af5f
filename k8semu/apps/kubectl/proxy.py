"""`kubectl proxy`: whoever reaches this machine's localhost speaks to the API server.

    curl 127.0.0.1:8001/api/v1/namespaces/default/services/web/proxy/ ─▶ kubectl ─▶ API server ─▶ a Pod of web

What Host, path or method says can be refused: a web page that somebody looks at on this machine shall not
command the cluster.

Kubernetes: staging/src/k8s.io/kubectl/pkg/proxy/proxy_server.go
Differs: does not ask for gzip of its own accord.
Not modelled: --www, --unix-socket
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import posixpath
import re
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote, unquote

import h11

from k8semu.apps.http1 import Http1, asks_to_upgrade, headers_of, value_of
from k8semu.apps.http_relay import NoAnswer, Relay, Where, forwarded_for, why_not
from k8semu.apps.kubectl.main import Failed, Session
from k8semu.apps.kubectl.words import Line


class Filter(NamedTuple):
    """Regular expressions; what they let through."""

    accept_paths: list[re.Pattern[str]]
    reject_paths: list[re.Pattern[str]]
    accept_hosts: list[re.Pattern[str]]
    reject_methods: list[re.Pattern[str]]

    @classmethod
    def of(cls, line: Line) -> Filter:
        """As the flags say; Failed if one is no regular expression."""
        names = ("accept-paths", "reject-paths", "accept-hosts", "reject-methods")
        return cls(*(_patterns(line.flags.get(name, "")) for name in names))

    def accepts(self, method: str, path: str, host: str) -> bool:
        """Kubernetes: FilterServer.accept()."""
        if _any(self.reject_paths, path) or _any(self.reject_methods, method):
            return False
        return _any(self.accept_paths, path) and _any(self.accept_hosts, host)


def _patterns(text: str) -> list[re.Pattern[str]]:
    try:
        return [re.compile(part) for part in text.split(",") if part]
    except re.error as error:
        raise Failed(f"error: error parsing regexp: {error}: `{text}`") from None


def _any(patterns: list[re.Pattern[str]], text: str) -> bool:
    return any(pattern.search(text) for pattern in patterns)


def host_of(header: str) -> str:
    """``localhost`` of ``localhost:8001``. Kubernetes: extractHost()."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*):\d*", header)
    return found[1].strip("[]") if found else header


async def proxy(session: Session) -> int:
    """Serve until cancelled."""
    line = session.line
    try:
        port = int(line.flags["port"])
    except ValueError:
        raise Failed(f'error: invalid argument "{line.flags["port"]}" for "-p, --port" flag') from None
    server = _Server(session, Filter.of(line))
    try:
        listening = await asyncio.start_server(server.accept, line.flags["address"], port)
    except OSError as error:
        where = f"{line.flags['address']}:{port}"
        raise Failed(f"error: listen tcp {where}: bind: {why_not(error)}") from None
    host, port = listening.sockets[0].getsockname()[:2]
    session.terminal.print(f"Starting to serve on {host}:{port}")
    try:
        await listening.serve_forever()
    finally:
        listening.close()
        server.relay.close()
    return 0


class _Server:
    def __init__(self, session: Session, let_through: Filter) -> None:
        self.client, self.filter, self.relay = session.client, let_through, Relay()
        prefix = session.line.flags["api-prefix"].strip("/")
        self.prefix = f"/{prefix}/" if prefix else "/"

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Http1(reader, writer, h11.SERVER)
        try:
            with contextlib.suppress(ConnectionError, h11.LocalProtocolError):
                await self._serve(connection)
        finally:
            connection.close()

    async def _serve(self, connection: Http1) -> None:
        while True:
            try:
                head = await connection.receive()
                if not isinstance(head, h11.Request):
                    return
                await self._pass_on(connection, head)
            except h11.RemoteProtocolError as error:
                if connection.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                    connection.writer.write(_no_http(error.error_status_hint or 400))
                return
            if not connection.idle:
                return

    async def _pass_on(self, connection: Http1, head: h11.Request) -> None:
        headers, target = headers_of(head), head.target.decode("latin-1")
        path = target.partition("?")[0]
        method = head.method.decode("latin-1")
        plain = _plain(unquote(path))
        if plain != unquote(path):
            query = target[len(path) :]
            await _moved(connection, quote(plain, safe="/:@!$&'()*+,;=~") + query)
        elif not path.startswith(self.prefix):
            await _say(connection, 404, "404 page not found")
        elif not self.filter.accepts(method, unquote(path), host_of(value_of(headers, "host"))):
            await _say(connection, 403, "Forbidden")
        else:
            there = f"{self.client.host}:{self.client.port}"
            sent = [(name, value) for name, value in headers if name.lower() != "host"]
            sent = forwarded_for([("Host", there), *sent], connection.peer)
            where = Where(self.client.host, self.client.port, target[len(self.prefix) - 1 :], sent)
            try:
                if asks_to_upgrade(headers):
                    await self.relay.upgrade(connection, head.method, where)
                else:
                    await self.relay.forward(connection, head.method, where)
            except NoAnswer as error:
                await _say(connection, 500, str(error))


def _plain(path: str) -> str:
    """Without ``//``, ``.`` and ``..``. Go: net/http cleanPath()"""
    found = posixpath.normpath(f"/{path.lstrip('/')}")
    return f"{found}/" if path.endswith("/") and found != "/" else found


async def _moved(connection: Http1, where: str) -> None:
    """To the same path in its plain form. Go: net/http ServeMux"""
    await connection.skip_body()
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Location", where)]
    await connection.answer(301, headers, f'<a href="{html.escape(where)}">Moved Permanently</a>.\n\n'.encode())


async def _say(connection: Http1, code: int, text: str) -> None:
    """As Go's http.Error(), after what the client still sends."""
    await connection.skip_body()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
    await connection.answer(code, headers, f"{text}\n".encode())


def _no_http(code: int) -> bytes:
    """What Go answers to what is no HTTP. Go: net/http conn.serve()."""
    said = f"{code} {HTTPStatus(code).phrase}"
    return f"HTTP/1.1 {said}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{said}".encode()
