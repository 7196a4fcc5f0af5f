"""`kubectl port-forward`: a port of this machine that leads to a port inside one Pod.

    local connection ─▶ two streams, error and data ─▶ WebSocket ─▶ API server ─▶ kubelet ─▶ the Pod's own localhost

Of a Service or workload one Pod is chosen, once, at the start: there is no balancing, and when that Pod is gone
the command ends.

Kubernetes: staging/src/k8s.io/client-go/tools/portforward/{portforward,tunneling_dialer}.go,
            staging/src/k8s.io/kubectl/pkg/cmd/portforward/portforward.go
Differs: listens on 127.0.0.1 only: an emulated machine has no ::1. What went wrong is said without klog's head
         (``E1129 12:57:36.349791   14062 portforward.go:424] "Unhandled Error" err=…``). Where the Pod cannot be
         reached, kubectl closes the local connection at once, and a client that speaks only then is reset; here it
         is heard first, so that it is not chance what the client sees.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

from k8semu.apps.http_relay import NoAnswer, why_not
from k8semu.apps.kubectl.main import Failed, Session, refusal
from k8semu.apps.kubectl.pods import JSON, containers, resolve
from k8semu.kube.api.client import path_of
from k8semu.kube.api.status import ApiError
from k8semu.kube.streaming import session as spdy
from k8semu.kube.streaming.command import PORT, REQUEST_ID, STREAM_TYPE, TUNNEL
from k8semu.kube.streaming.upgrade import ask_websocket

PIECE = 32 * 1024
HEAR = 0.1
"""Seconds that a client has for its first word, before its connection closes because the Pod's could not be made."""


class Ports(msgspec.Struct):
    """`local` 0: any that is free."""

    local: int
    remote: int


async def port_forward(session: Session) -> int:
    """Serve until cancelled, or until the connection to the Pod is lost."""
    line = session.line
    if len(line.rest) < 2:
        raise Failed("error: TYPE/NAME and list of ports are required for port-forward\n"
                     "See 'kubectl port-forward -h' for help and examples")  # fmt: skip
    obj, pod = await resolve(session, line.rest[0])
    ports = [_ports(word, obj, pod) for word in line.rest[1:]]
    phase = pod.get("status", {}).get("phase", "")
    if phase != "Running":
        raise Failed(f"error: unable to forward port because pod is not running. Current status={phase}")
    meta = pod["metadata"]
    path = path_of("pods", meta["namespace"], meta["name"], "portforward")
    client = session.client
    headers = [("Host", f"{client.host}:{client.port}"), ("User-Agent", "kubectl")]
    try:
        pipe, _ = await ask_websocket(client.host, client.port, path, headers, (TUNNEL,), session.random)
    except ApiError as error:
        raise Failed(f"error: error upgrading connection: {refusal(error)}") from None
    except NoAnswer as error:
        raise Failed(f"error: error upgrading connection: {error}") from None
    return await _Forwarder(session, spdy.Session(pipe, server=False), ports).run()


def _ports(word: str, obj: JSON, pod: JSON) -> Ports:
    """``8080:80``, ``80``, ``:80``, ``8080:http``; a Service's port is that of the Pod behind it."""
    local, colon, remote = word.partition(":")
    if not colon:
        remote = local
    number = _remote(remote, obj, pod)
    own = local if colon else (local if local.isdigit() else str(number))
    if not (own or "0").isdigit() or int(own or "0") > 65535:
        why = "value out of range" if own.isascii() and own.isdigit() else "invalid syntax"
        raise Failed(f"error: error parsing local port '{own}': strconv.ParseUint: parsing \"{own}\": {why}")
    return Ports(int(own or "0"), number)


def _remote(text: str, obj: JSON, pod: JSON) -> int:
    """Kubernetes: translateServicePortToTargetPort(), convertPodNamedPortToNumber()."""
    if obj["kind"] == "Service":
        return _target_port(text, obj, pod)
    if text.isascii() and text.isdigit():
        if not 0 < int(text[:6]) < 65536:
            why = f"error parsing remote port '{text}': strconv.ParseUint: parsing \"{text}\": value out of range"
            raise Failed(f"error: {why}" if int(text[:6]) else "error: remote port must be > 0")
        return int(text)
    return _container_port(text, pod)


def _target_port(text: str, service: JSON, pod: JSON) -> int:
    for port in service["spec"].get("ports") or ():
        if str(port["port"]) == text or port.get("name") == text:
            if service["spec"].get("clusterIP") == "None" and text.isdigit():
                return int(port["port"])            # headless: its name is the Pods', and so are its ports
            target = port.get("targetPort", port["port"])
            return target if isinstance(target, int) else _container_port(target, pod)
    name = service["metadata"]["name"]
    raise Failed(f"error: Service {name} does not have a service port {text}")


def _container_port(name: str, pod: JSON) -> int:
    for container in containers(pod):
        for port in container.get("ports") or ():
            if port.get("name") == name:
                return int(port["containerPort"])
    raise Failed(f"error: Pod '{pod['metadata']['name']}' does not have a named port '{name}'")


class _Forwarder:
    def __init__(self, session: Session, streams: spdy.Session, ports: list[Ports]) -> None:
        self.session, self.streams, self.ports = session, streams, ports
        self._number = 0
        self._lost = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> int:
        ends: list[asyncio.Task[Any]] = []
        try:
            for ports in self.ports:
                await self._listen(ports)
            ends = [asyncio.ensure_future(end.wait()) for end in (self._lost, self.streams.closed)]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            raise Failed("error: lost connection to pod")
        except asyncio.CancelledError:
            return 0                        # it is meant to be ended by Ctrl-C
        finally:
            for server in self._servers:
                server.close()
            for task in [*self._tasks, *ends]:
                task.cancel()
            await self.streams.finish()

    async def _listen(self, ports: Ports) -> None:
        address = self.session.line.flags["address"]
        host = "127.0.0.1" if address == "localhost" else address
        try:
            server = await asyncio.start_server(lambda *ends: self._accept(ports, *ends), host, ports.local)
        except OSError as error:
            why = f"unable to create listener: Error listen tcp4 {host}:{ports.local}: bind: {why_not(error)}"
            self.session.terminal.error(
                f"Unable to listen on port {ports.local}: Listeners failed to create with the following errors: [{why}]"
            )
            asked = f"[{{{ports.local} {ports.remote}}}]"
            raise Failed(f"error: unable to listen on any of the requested ports: {asked}") from None
        ports.local = server.sockets[0].getsockname()[1]
        self._servers.append(server)
        self.session.terminal.print(f"Forwarding from {host}:{ports.local} -> {ports.remote}")

    async def _accept(self, ports: Ports, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            self.session.terminal.print(f"Handling connection for {ports.local}")
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.CancelledError):
                await self._handle(ports, reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _handle(self, ports: Ports, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Kubernetes: PortForwarder.handleConnection()."""
        number, self._number = self._number, self._number + 1
        headers = {PORT: str(ports.remote), REQUEST_ID: str(number)}
        error = await self.streams.create({STREAM_TYPE: "error", **headers})
        with self.streams.held():
            error.close()                   # nothing is written to this one
            data = self.streams.start({STREAM_TYPE: "data", **headers})
        await data.reply()
        heard = asyncio.Event()

        async def up() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    said = await reader.read(PIECE)
                    heard.set()
                    if not said:
                        break
                    await data.write(said)
            data.close()

        async def down() -> None:
            with contextlib.suppress(ConnectionError):
                while said := await data.read():
                    writer.write(said)
                    await writer.drain()

        sending = asyncio.ensure_future(up())
        try:
            await down()
            if not error.ended:             # what is unsent must not hold up the other stream
                data.reset()
            wrong = (await error.read_all()).decode("utf-8", "replace")
            if wrong and not heard.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(heard.wait(), HEAR)
        finally:
            sending.cancel()
        if wrong:
            said = f"an error occurred forwarding {ports.local} -> {ports.remote}: {wrong}"
            self.session.terminal.error(said)
            self._lost.set()
        else:
            data.reset()
