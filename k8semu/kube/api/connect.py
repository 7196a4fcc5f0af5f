"""exec, attach, portforward and log: from a client's connection to the kubelet of the Pod's node.

    client ── SPDY ──────────────────▶ API server ── the same bytes ─────────────▶ kubelet
    client ── WebSocket, SPDY in it ─▶ API server ── SPDY, taken out ────────────▶ kubelet      port-forward
    client ── WebSocket, channels ───▶ API server ── SPDY, a stream a channel ───▶ kubelet      exec

Kubernetes: pkg/registry/core/pod/rest/subresources.go, pkg/registry/core/pod/strategy.go streamLocation(),
            staging/src/k8s.io/apiserver/pkg/util/proxy/{streamtunnel,streamtranslator,websocket}.go
Differs: v4.channel.k8s.io is translated here as v5 is, not by the kubelet; a message that tunnels SPDY holds one
         frame of it, whatever pieces TCP delivers; no empty message on channel 1 says that the connection is up.
Not modelled: attach; base64 channels; WebSocket on to the kubelet (beta in 1.36)
"""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlencode

import h11
import msgspec

from k8semu.apps.http1 import Headers, Http1, end_to_end, headers_of
from k8semu.apps.http_relay import NoAnswer, Relay, Where, first_of, forwarded_for
from k8semu.kube.api import status
from k8semu.kube.api.locate import Location, locate_kubelet
from k8semu.kube.api.registry import Registry
from k8semu.kube.api.status import ApiError
from k8semu.kube.kubelet.logs import Options as LogOptions
from k8semu.kube.streaming import command as c
from k8semu.kube.streaming.pipes import Pipe, WebSocket
from k8semu.kube.streaming.session import Session, Stream
from k8semu.kube.streaming.upgrade import WS_PROTOCOL, ask_spdy, choose, grant_websocket, offered, wants

JSON = dict[str, Any]
TO_KUBELET = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
"""How the API calls a stream, and how the kubelet does."""


class Options(msgspec.Struct):
    """What a client asks of exec. Kubernetes: core/v1 PodExecOptions"""

    container: str
    command: list[str]
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool

    @classmethod
    def read(cls, query: str, pod: JSON) -> Options:
        """ApiError 400 if they make no sense for the Pod."""
        said = parse_qs(query, keep_blank_values=True)

        def on(name: str) -> bool:
            return said.get(name, ["false"])[-1] in ("true", "1", "True", "TRUE", "t", "T")

        names = [container["name"] for container in pod["spec"]["containers"]]
        container = said.get("container", [""])[-1] or names[0]
        if container not in names:
            raise status.bad_request(f"container {container} is not valid for pod {pod['metadata']['name']}")
        tty = on("tty")
        options = cls(
            container, said.get("command", []), on("stdin"), on("stdout"), on("stderr") and not tty, tty
        )
        if not options.command:
            raise status.bad_request("you must specify at least one command for the container")
        if not (options.stdin or options.stdout or options.stderr):
            raise status.bad_request("you must specify at least one of stdin, stdout, stderr")
        return options

    def query(self) -> str:
        """As the kubelet is asked."""
        pairs = [("command", word) for word in self.command]
        flags = {"stdin": self.stdin, "stdout": self.stdout, "stderr": self.stderr, "tty": self.tty}
        return urlencode([*pairs, *((TO_KUBELET[name], "1") for name, on in flags.items() if on)])


class Connector:
    """Leads clients to kubelets."""

    def __init__(self, registry: Registry, relay: Relay) -> None:
        self.registry, self.relay = registry, relay

    async def open(self, client: Http1, head: h11.Request, kind: str, pod_name: tuple[str, str], query: str) -> None:
        """Serve a request; ApiError while nothing was answered."""
        pod = self.registry.get("pods", *pod_name)
        if kind == "attach":
            raise ApiError(501, "NotImplemented", "attach is not modelled: a container's process has no terminal")
        if kind == "log":
            await self._log(client, head, pod, query)
            return
        location = locate_kubelet(self.registry, pod)
        names = "/".join(quote(name, safe="") for name in pod_name)
        headers = headers_of(head)
        if not wants(headers):
            raise status.bad_request("Upgrade request required")
        try:
            if kind == "exec":
                options = Options.read(query, pod)
                target = f"/exec/{names}/{quote(options.container, safe='')}?{options.query()}"
                await self._exec(client, head, headers, location, target, options)
            else:
                await self._port_forward(client, head, headers, location, f"/portForward/{names}")
        except NoAnswer as error:
            raise status.internal_error(f"error dialing backend: {error}") from None

    async def _raw(self, client: Http1, head: h11.Request, headers: Headers, location: Location, target: str) -> None:
        """The client speaks SPDY: its bytes are the kubelet's."""
        where = Where(location.host, location.port, target, forwarded_for(headers, client.peer))
        await self.relay.upgrade(client, head.method, where)

    # --- log --------------------------------------------------------------------------------------

    async def _log(self, client: Http1, head: h11.Request, pod: JSON, query: str) -> None:
        """What the kubelet answers, as it comes. Kubernetes: pkg/registry/core/pod/rest/log.go"""
        if head.method not in (b"GET", b"HEAD"):
            raise status.method_not_allowed()
        about, spec = pod["metadata"], pod["spec"]
        said = dict(parse_qsl(query, keep_blank_values=True))
        container = said.pop("container", "") or _only_container(pod)
        if container not in [each["name"] for key in ("containers", "initContainers") for each in spec.get(key) or ()]:
            raise status.bad_request(f"container {container} is not valid for pod {about['name']}")
        try:
            LogOptions.read(query, 0)
        except ValueError as error:
            raise ApiError(422, "Invalid", f'PodLogOptions "{about["name"]}" is invalid: {error}') from None
        await client.skip_body()
        if not spec.get("nodeName"):
            await client.answer(200, [("Content-Type", "text/plain")], b"")
            return
        location = locate_kubelet(self.registry, pod)
        names = "/".join(quote(name, safe="") for name in (about["namespace"], about["name"], container))
        asked = {key: said[key] for key in sorted(said) if key in PASSED_ON}
        target = f"/containerLogs/{names}{'?' if asked else ''}{urlencode(asked)}"
        headers = [("Host", f"{location.host}:{location.port}"), ("User-Agent", "kube-apiserver")]
        try:
            await self.relay.stream(client, Where(location.host, location.port, target, headers), _refused)
        except NoAnswer as error:
            asked_url = f"http://{location.host}:{location.port}{target}"
            raise status.internal_error(f'Get "{asked_url}": {error}') from None

    # --- port-forward -----------------------------------------------------------------------------

    async def _port_forward(
        self, client: Http1, head: h11.Request, headers: Headers, location: Location, target: str
    ) -> None:
        if wants(headers) == "spdy":
            await self._raw(client, head, headers, location, target)
            return
        if c.TUNNEL not in offered(headers, WS_PROTOCOL):
            raise status.bad_request("unable to upgrade: no tunneling spdy protocols provided")
        backend = await ask_spdy(*location[:2], target, _for_kubelet(headers, client), (c.FORWARD,))
        front = await grant_websocket(client, headers, c.TUNNEL)
        await _tunnel(front, backend)

    # --- exec -------------------------------------------------------------------------------------

    async def _exec(
        self, client: Http1, head: h11.Request, headers: Headers, location: Location, target: str, options: Options
    ) -> None:
        if wants(headers) == "spdy":
            await self._raw(client, head, headers, location, target)
            return
        protocol = choose(offered(headers, WS_PROTOCOL), (c.V5, c.V4))
        if not protocol:
            raise status.bad_request(f"unable to upgrade: no protocol of {c.V5}, {c.V4}")
        front = await grant_websocket(client, headers, protocol)
        try:
            backend = await ask_spdy(*location[:2], target, _for_kubelet(headers, client), c.SPDY_PROTOCOLS)
        except (NoAnswer, ApiError) as error:
            said = f"Internal error occurred: error dialing backend: {error}"
            if isinstance(error, ApiError):
                said = f"unable to upgrade connection: {error.message}"
            front.write_all([bytes([c.ERROR]) + c.failure(said)], goodbye=True)
            await front.finish()
            return
        await _Translation(front, Session(backend, server=False), options).run()


PASSED_ON = ("follow", "limitBytes", "previous", "sinceSeconds", "sinceTime", "tailLines", "timestamps")


def _only_container(pod: JSON) -> str:
    """Where none is named. Kubernetes: pkg/registry/core/pod/strategy.go LogLocation()"""
    names = [str(each["name"]) for each in pod["spec"]["containers"]]
    if len(names) == 1:
        return names[0]
    name, known = pod["metadata"]["name"], " ".join(names)
    raise status.bad_request(f"a container name must be specified for pod {name}, choose one of: [{known}]")


def _refused(code: int, text: str) -> ApiError:
    """Kubernetes: staging/src/k8s.io/apiserver/pkg/registry/generic/rest/response_checker.go"""
    if code == 400:
        return status.bad_request(text)
    if code == 500:
        return status.internal_error(text)
    return ApiError(code, "NotFound" if code == 404 else "", text)


def _for_kubelet(headers: Headers, client: Http1) -> Headers:
    """What of a WebSocket request goes on to the kubelet. Kubernetes: createSPDYRequest()."""
    kept = [(name, value) for name, value in end_to_end(headers) if not name.lower().startswith("sec-websocket-")]
    return forwarded_for(kept, client.peer)


# --- SPDY in WebSocket ----------------------------------------------------------------------------


class _Cutter:
    """Cuts a SPDY connection's bytes into its frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        self._held += data
        frames = []
        while len(self._held) >= 8:
            size = 8 + int.from_bytes(self._held[5:8], "big")
            if len(self._held) < size:
                break
            frames.append(bytes(self._held[:size]))
            del self._held[:size]
        return frames


async def _tunnel(front: WebSocket, backend: Pipe) -> None:
    """Until one side has closed."""

    async def down() -> None:
        cutter = _Cutter()
        while data := await backend.read():
            front.write_all(cutter.feed(data))
            await front.drain()

    async def up() -> None:
        while data := await front.read():
            backend.write(data)
            await backend.drain()

    await first_of(up(), down())
    if front.heard_goodbye:
        await backend.finish()
    backend.close()
    await front.finish()


# --- channels -------------------------------------------------------------------------------------


class _Translation:
    """A client's channels, as streams to the kubelet. Kubernetes: StreamTranslatorHandler.ServeHTTP()."""

    def __init__(self, front: WebSocket, session: Session, options: Options) -> None:
        self.front, self.session, self.options = front, session, options
        self.streams: dict[str, Stream] = {}

    async def run(self) -> None:
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._make_streams()
                await first_of(self._up(), self._down())
        finally:
            await self.session.finish()
            await self.front.finish()

    async def _make_streams(self) -> None:
        """In the order of the real client. Kubernetes: remotecommand/{v2,v3}.go createStreams()."""
        wanted = {"error": True, "stdin": self.options.stdin, "stdout": self.options.stdout,
                  "stderr": self.options.stderr, "resize": self.options.tty}  # fmt: skip
        for kind, on in wanted.items():
            if on:
                self.streams[kind] = await self.session.create({c.STREAM_TYPE: kind})

    async def _up(self) -> None:
        """From the client, until it closes: then the command has no more reader."""
        while message := await self.front.read():
            with self.session.held():
                await self._said(message)
                while self.front.pending:
                    await self._said(await self.front.read())

    async def _said(self, message: bytes) -> None:
        channel, data = message[0], message[1:]
        closes = channel == c.CLOSE and bool(data)
        stream = self.streams.get({c.STDIN: "stdin", c.RESIZE: "resize"}.get(data[0] if closes else channel, ""))
        if stream is None:
            return
        if closes:
            stream.close()
        elif data:
            with contextlib.suppress(ConnectionError):
                await stream.write(data)

    async def _down(self) -> None:
        """From the command, until its status is told. What came together goes on together."""
        outputs = [(number, self.streams[kind]) for kind, number in (("stdout", c.STDOUT), ("stderr", c.STDERR))
                   if kind in self.streams]  # fmt: skip
        streams = [self.streams["error"], *(stream for _, stream in outputs)]
        said = b""
        while True:
            self.session.activity.clear()
            messages = [bytes([number]) + data for number, stream in outputs if (data := stream.take_now())]
            said += streams[0].take_now()
            if all(stream.ended for stream in streams):
                self.front.write_all([*messages, bytes([c.ERROR]) + _retold(said)], goodbye=True)
                return
            if messages:
                self.front.write_all(messages)
                await self.front.drain()
            await self.session.activity.wait()


def _retold(said: bytes) -> bytes:
    """The kubelet's Status as the API server tells it. Kubernetes: codeExitToStatusError()."""
    code, wrong = c.ended(said)
    if wrong:
        return c.failure(f"Internal error occurred: {wrong}")
    return c.status_of(code, f"command terminated with non-zero exit code: command terminated with exit code {code}")


