"""The kubelet's server on port 10250: what the API server asks of a node.

    GET  /healthz                        ok
    GET  /pods                           the Pods that run here
    POST /exec/NAMESPACE/POD/CONTAINER   ─▶ the container runtime's streaming server, as it says
    GET  /containerLogs/NAMESPACE/POD/CONTAINER
    POST /portForward/NAMESPACE/POD      ─▶ likewise

Kubernetes: pkg/kubelet/server/server.go
Differs: plain HTTP, no authentication. Not modelled: /attach, /run, /stats, /metrics
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any
from urllib.parse import parse_qs, unquote

import h11

from k8semu.apps.container_log import ContainerLog
from k8semu.apps.feed import next_message
from k8semu.apps.http1 import Headers, Http1, headers_of, response
from k8semu.apps.http_relay import NoAnswer, Relay, Where, forwarded_for
from k8semu.kube.api.locate import KUBELET_PORT
from k8semu.kube.kubelet import logs
from k8semu.kube.kubelet.sandbox import Sandboxes, current_runtime
from k8semu.kube.kubelet.streaming import Exec, Forward, StreamingServer
from k8semu.kube.streaming.upgrade import wants
from k8semu.sim.clock import NS_PER_S
from k8semu.sim.streams import Stream as Numbers

STREAMS = (("input", "stdin"), ("output", "stdout"), ("error", "stderr"))
"""Query parameters, and the streams that they ask for. Kubernetes: api/core/v1 ExecStdinParam and its like."""


class KubeletServer:
    """Connections of the API server."""

    def __init__(self, sandboxes: Sandboxes, runtime: StreamingServer, runtime_port: int) -> None:
        self.sandboxes, self.runtime, self.runtime_port = sandboxes, runtime, runtime_port
        self.relay = Relay()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        self._server = await asyncio.start_server(self._accept, host, port)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.close()
        self.relay.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        client = Http1(reader, writer, h11.SERVER)
        try:
            with contextlib.suppress(ConnectionError, h11.ProtocolError):
                while isinstance(head := await client.receive(), h11.Request):
                    await self._serve(client, head)
                    if not client.idle:
                        break
        finally:
            self._open.discard(writer)
            client.close()

    async def _serve(self, client: Http1, head: h11.Request) -> None:
        target = head.target.decode("latin-1")
        path, _, query = target.partition("?")
        parts = [unquote(part) for part in path.strip("/").split("/")]
        headers = headers_of(head)
        if parts == ["healthz"]:
            await _say(client, 200, "ok")
        elif parts == ["pods"]:
            await _say(client, 200, json.dumps(self._pods()), "application/json")
        elif parts[0] == "exec" and len(parts) == 4:
            await self._exec(client, head.method, headers, parts[1:], query)
        elif parts[0] == "containerLogs" and len(parts) == 4:
            await self._logs(client, parts[1:], query)
        elif parts[0] == "portForward" and len(parts) == 3:
            await self._port_forward(client, head.method, headers, parts[1:])
        else:
            await _say(client, 404, "404 page not found\n")

    def _pods(self) -> dict[str, Any]:
        items = [{"metadata": {"name": each.name, "namespace": each.namespace},
                  "spec": {"containers": [{"name": name} for name in each.containers]}}
                 for each in self.sandboxes.all()]  # fmt: skip
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}

    async def _exec(self, client: Http1, method: bytes, headers: Headers, names: list[str], query: str) -> None:
        sandbox = self.sandboxes.get(*names[:2])
        said = parse_qs(query, keep_blank_values=True)
        command = said.get("command", [])
        streams = [stream for key, stream in STREAMS if said.get(key) == ["1"]]
        if said.get("tty") == ["1"]:
            streams = [*(stream for stream in streams if stream != "stderr"), "resize"]
        if sandbox is None:
            await _say(client, 404, "pod does not exist\n")
        elif names[2] not in sandbox.containers:
            await _say(client, 404, f'container not found ("{names[2]}")')
        elif not command or not streams:
            await _say(client, 400, "you must specify at least 1 of stdin, stdout, stderr, and a command\n")
        else:
            await self._lead_on(client, method, headers, Exec(sandbox, command, names[2], streams))

    async def _logs(self, client: Http1, names: list[str], query: str) -> None:
        """Kubernetes: getContainerLogs()"""
        sandbox = self.sandboxes.get(*names[:2])
        if sandbox is None:
            await _say(client, 404, f'pod "{names[1]}" does not exist\n')
            return
        if names[2] not in sandbox.containers:
            await _say(client, 404, f'container "{names[2]}" not found in pod "{names[1]}"\n')
            return
        try:
            options = logs.Options.read(query, round(asyncio.get_running_loop().time() * NS_PER_S))
        except ValueError as error:
            await _say(client, 422, f"{error}\n")
            return
        if options.previous:
            await _say(client, 400, f'previous terminated container "{names[2]}" in pod "{names[1]}" not found')
            return
        await client.skip_body()
        await self._send_log(client, self.runtime.runtime.log(sandbox, names[2]), options)

    async def _send_log(self, client: Http1, log: ContainerLog | None, options: logs.Options) -> None:
        """Until it is told, or the client is gone."""
        waiting: list[Any] = [response(200, [("Content-Type", "text/plain"), ("Transfer-Encoding", "chunked")])]
        if options.follow:
            await client.send(*waiting)
            waiting = []
        gone = asyncio.ensure_future(client.reader.read(1)) if options.follow else None
        telling = asyncio.ensure_future(self._tell(client, log, options, waiting))
        try:
            await asyncio.wait([each for each in (telling, gone) if each], return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                await telling
        finally:
            for task in (telling, gone):
                if task is not None and not task.done():
                    task.cancel()

    async def _tell(self, client: Http1, log: ContainerLog | None, options: logs.Options, waiting: list[Any]) -> None:
        async for data in logs.read(log, options):
            await client.send(*waiting, h11.Data(data=data))
            waiting = []
        await client.send(*waiting, h11.EndOfMessage())

    async def _port_forward(self, client: Http1, method: bytes, headers: Headers, names: list[str]) -> None:
        sandbox = self.sandboxes.get(*names)
        if sandbox is None:
            await _say(client, 404, "pod does not exist\n")
        else:
            await self._lead_on(client, method, headers, Forward(sandbox))

    async def _lead_on(self, client: Http1, method: bytes, headers: Headers, asked: Exec | Forward) -> None:
        """Have the streaming server serve the client. Kubernetes: proxyStream()."""
        if not wants(headers):
            await _say(client, 400, "Upgrade request required")
            return
        path = self.runtime.path_for(asked)
        where = Where("127.0.0.1", self.runtime_port, path, forwarded_for(headers, client.peer))
        try:
            await self.relay.upgrade(client, method, where)
        except NoAnswer as error:
            await _say(client, 500, str(error))


async def _say(client: Http1, code: int, text: str, kind: str = "text/plain; charset=utf-8") -> None:
    await client.skip_body()
    await client.answer(code, [("Content-Type", kind)], text.encode())


async def kubelet(runtime_port: int = 0, host: str = "0.0.0.0", port: int = KUBELET_PORT, seed: int = 1) -> None:
    """Serve the Pods that the feed tells of, until cancelled. `runtime_port`: the streaming server's."""
    sandboxes = Sandboxes()
    runtime = StreamingServer(current_runtime.get(), Numbers(seed, "streaming-tokens"))
    server = KubeletServer(sandboxes, runtime, await runtime.start(runtime_port))
    await server.start(host, port)
    try:
        while True:
            sandboxes.take(await next_message())
    finally:
        server.close()
        runtime.close()
