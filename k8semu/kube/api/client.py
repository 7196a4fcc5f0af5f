"""A client of an API server, for programs: requests, watches, and a reflector that keeps a cache of a kind.

    list ─▶ cache ─▶ watch from that version ─▶ each event into the cache, and told
                 ◀─ 410: too old, list again          connection lost: watch again from the last version

Kubernetes: staging/src/k8s.io/client-go/rest, tools/cache/reflector.go
Differs: plain HTTP; after a failure a reflector waits one second, not a growing and random time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import quote, urlencode

import h11
import msgspec

from k8semu.kube.api.cache import JSON, Cache, key_of
from k8semu.kube.api.patch import MERGE
from k8semu.kube.api.registry import Event
from k8semu.kube.api.resources import RESOURCES
from k8semu.kube.api.status import ApiError

AGAIN = 1.0
"""Seconds before a reflector tries again."""
PAGE = 500
"""Objects per answer of a list."""
WATCH_SECONDS = 420
"""How long a reflector has its watch last. Kubernetes: reflector.go, 5 to 10 minutes."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Connection:
    """One connection, one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.http = h11.Connection(h11.CLIENT)

    async def send(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> h11.Response:
        """The head of the answer. ConnectionError if the server is gone."""
        events: list[Any] = [h11.Request(method=method, target=target, headers=headers)]
        if body:
            events.append(h11.Data(data=body))
        events.append(h11.EndOfMessage())
        self.writer.write(b"".join(self.http.send(event) or b"" for event in events))
        await self.writer.drain()
        while not isinstance(event := await self.event(), h11.Response):
            if isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("the API server closed the connection")
        return event

    async def event(self) -> Any:
        try:
            while (event := self.http.next_event()) is h11.NEED_DATA:
                self.http.receive_data(await self.reader.read(65_536))
        except h11.RemoteProtocolError as error:
            raise ConnectionResetError(f"no HTTP from the API server: {error}") from None
        return event

    async def body(self) -> AsyncIterator[bytes]:
        while isinstance(event := await self.event(), h11.Data):
            yield bytes(event.data)

    @property
    def reusable(self) -> bool:
        """Whether another request can be sent; makes the connection ready for it."""
        if self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
        return self.http.our_state is h11.IDLE and not self.writer.is_closing() and not self.reader.at_eof()

    def close(self) -> None:
        self.writer.close()


class Client:
    """Requests to the API server at `host`:`port`. `agent` says who asks, as in ``kube-proxy``."""

    def __init__(self, host: str, port: int, agent: str = "k8semu") -> None:
        self.host, self.port, self.agent = host, port, agent
        self._idle: list[Connection] = []

    async def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json",
                      accept: str = "application/json") -> Any:  # fmt: skip
        """The answer's JSON (or its text); ApiError if the server refuses, OSError if it cannot be reached."""
        data = _encode(body) if body is not None else b""
        connection = self._held() or await self._connect()
        try:
            head = await connection.send(method, path, self._headers(data, content_type, accept), data)
            said = b"".join([part async for part in connection.body()])
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return _answer(head.status_code, said)

    def _held(self) -> Connection | None:
        """A connection that is open and has nothing to do."""
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
            connection.close()
        return None

    async def _connect(self) -> Connection:
        return Connection(*await asyncio.open_connection(self.host, self.port))

    def _headers(
        self, data: bytes, content_type: str, accept: str = "application/json"
    ) -> list[tuple[str, str]]:
        headers = [("host", f"{self.host}:{self.port}"), ("user-agent", self.agent), ("accept", accept)]
        return [*headers, ("content-type", content_type), ("content-length", str(len(data)))] if data else headers

    # --- verbs ------------------------------------------------------------------------------------

    async def get(self, plural: str, namespace: str, name: str) -> JSON:
        found: JSON = await self.request("GET", path_of(plural, namespace, name))
        return found

    async def list(self, plural: str, namespace: str | None = None, **options: str) -> tuple[list[JSON], str]:
        """All objects, page by page, and the version of the list."""
        resource, found, token = RESOURCES[plural], list[JSON](), ""
        while True:
            query = {**options, "limit": str(PAGE), **({"continue": token} if token else {})}
            body = await self.request("GET", f"{path_of(plural, namespace)}?{urlencode(query)}")
            found += [{"apiVersion": resource.api_version, "kind": resource.kind, **each} for each in body["items"]]
            token = body["metadata"].get("continue", "")
            if not token:
                return found, body["metadata"]["resourceVersion"]

    async def create(self, plural: str, obj: JSON) -> JSON:
        made: JSON = await self.request("POST", path_of(plural, _namespace(plural, obj)), obj)
        return made

    async def update(self, plural: str, obj: JSON, subresource: str = "") -> JSON:
        path = path_of(plural, _namespace(plural, obj), obj["metadata"]["name"], subresource)
        kept: JSON = await self.request("PUT", path, obj)
        return kept

    async def patch(
        self, plural: str, namespace: str, name: str, patch: Any, content_type: str = MERGE, subresource: str = ""
    ) -> JSON:
        kept: JSON = await self.request("PATCH", path_of(plural, namespace, name, subresource), patch, content_type)
        return kept

    async def delete(
        self, plural: str, namespace: str, name: str, grace: int | None = None, uid: str = ""
    ) -> JSON:
        options: JSON = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid:
            options["preconditions"] = {"uid": uid}
        gone: JSON = await self.request("DELETE", path_of(plural, namespace, name), options)
        return gone

    async def bind(self, namespace: str, name: str, node: str) -> None:
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "namespace": namespace},
                "target": {"apiVersion": "v1", "kind": "Node", "name": node}}  # fmt: skip
        await self.request("POST", path_of("pods", namespace, name, "binding"), body)

    async def watch(self, plural: str, namespace: str | None = None, **options: str) -> AsyncGenerator[JSON, None]:
        """Events as they come, on a connection of their own, until the server ends the watch."""
        connection = await self._connect()
        try:
            target = f"{path_of(plural, namespace)}?{urlencode({'watch': '1', **options})}"
            head = await connection.send("GET", target, self._headers(b"", ""), b"")
            if head.status_code != 200:
                _answer(head.status_code, b"".join([part async for part in connection.body()]))
            rest = b""
            async for part in connection.body():
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    event: JSON = _decode(line)
                    yield event
        finally:
            connection.close()

    async def stream(self, path: str, accept: str = "*/*") -> AsyncGenerator[bytes, None]:
        """An answer's text as it comes, on a connection of its own. ApiError, OSError"""
        connection = await self._connect()
        try:
            head = await connection.send("GET", path, self._headers(b"", "", accept), b"")
            if head.status_code != 200:
                _answer(head.status_code, b"".join([part async for part in connection.body()]))
            async for part in connection.body():
                yield part
        finally:
            connection.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def path_of(plural: str, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
    """``/apis/apps/v1/namespaces/default/deployments/web``."""
    resource = RESOURCES[plural]
    parts = ["apis" if resource.group else "api", *resource.api_version.split("/")]
    if resource.namespaced and namespace:
        parts += ["namespaces", quote(namespace, safe="")]
    parts += [plural, quote(name, safe=""), subresource]
    return "/" + "/".join(part for part in parts if part)


def _namespace(plural: str, obj: JSON) -> str | None:
    return (obj["metadata"].get("namespace") or "default") if RESOURCES[plural].namespaced else None


def _answer(code: int, said: bytes) -> Any:
    try:
        body = _decode(said) if said else {}
    except msgspec.DecodeError:
        body = said.decode(errors="replace")
    if code < 400:
        return body
    if isinstance(body, dict) and body.get("kind") == "Status":
        raise ApiError.from_status(body)
    raise ApiError(code, "", str(body))


Told = Callable[[Event], None]


class Reflector:
    """Keeps `cache` as the API server has a kind, and tells each change; `run` it as a task.

    `options`: selectors, as ``fieldSelector="spec.nodeName=host1"``.
    """

    def __init__(
        self, client: Client, plural: str, told: Told | None = None, namespace: str | None = None, **options: str
    ) -> None:
        self.client, self.plural, self.namespace = client, plural, namespace
        self.cache = Cache(indexed=plural in ("pods", "endpointslices"))
        self.synced = asyncio.Event()
        self.version = 0
        self._told, self._options = told, options

    async def run(self) -> None:
        """Follow the kind for ever; what fails is tried again."""
        while True:
            try:
                await self._list()
                await self._follow()
            except (OSError, ApiError, msgspec.DecodeError):
                await asyncio.sleep(AGAIN)

    async def _list(self) -> None:
        """Take all objects as they are, and tell how they differ from what was known."""
        found, version = await self.client.list(self.plural, self.namespace, **self._options)
        self.version = int(version)
        names = {key_of(obj) for obj in found}
        for obj in [obj for obj in self.cache if key_of(obj) not in names]:
            self._take("DELETED", obj)
        for obj in found:
            old = self.cache.get(*key_of(obj))
            if old is None:
                self._take("ADDED", obj)
            elif old["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._take("MODIFIED", obj)
        self.synced.set()

    async def _follow(self) -> None:
        """Watch until the version is too old; a watch that ends or breaks goes on from where it was."""
        while True:
            options = {"resourceVersion": str(self.version), "allowWatchBookmarks": "true",
                       "timeoutSeconds": str(WATCH_SECONDS), **self._options}  # fmt: skip
            try:
                async with aclosing(self.client.watch(self.plural, self.namespace, **options)) as events:
                    async for event in events:
                        self._heard(event)
            except ApiError:
                return                                    # 410 Gone: list again
            except OSError:
                await asyncio.sleep(AGAIN)

    def _heard(self, event: JSON) -> None:
        if event["type"] == "ERROR":
            raise ApiError.from_status(event["object"])
        self.version = int(event["object"]["metadata"]["resourceVersion"])
        if event["type"] != "BOOKMARK":
            self._take(event["type"], event["object"])

    def _take(self, kind: str, obj: JSON) -> None:
        old = self.cache.get(*key_of(obj))
        if kind == "DELETED":
            self.cache.remove(key_of(obj))
        else:
            kind = "ADDED" if old is None else "MODIFIED"
            self.cache.put(obj)
        if self._told is not None:
            self._told(Event(kind, obj, old, int(obj["metadata"]["resourceVersion"])))
