"""A cluster's control plane on loopback sockets, in a thread of its own: what real clients are tried on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

from k8semu.apps.container_log import ContainerLog
from k8semu.apps.http_echo import http_echo
from k8semu.apps.program import Program
from k8semu.cluster.cluster import load_program
from k8semu.kube.api.mirror import Mirror, Now
from k8semu.kube.api.requests import Api
from k8semu.kube.api.server import Server
from k8semu.kube.kubelet.sandbox import Sandbox, Sandboxes
from k8semu.kube.kubelet.server import KubeletServer
from k8semu.kube.kubelet.streaming import StreamingServer
from k8semu.sim.streams import Streams


def told(kind: str, name: str, api: str = "v1", **parts: Any) -> dict[str, Any]:
    namespace = {} if kind in ("Node", "Namespace") else {"namespace": "default"}
    meta = {"name": name, **namespace, "uid": name, "resourceVersion": "7", **parts.pop("meta", {})}
    return {"type": "ADDED", "object": {"apiVersion": api, "kind": kind, "metadata": meta, **parts}}


def service(name: str, port: int, port_name: str = "") -> list[dict[str, Any]]:
    """A Service whose one endpoint, Pod web, is this machine's `port`."""
    target = {"kind": "Pod", "namespace": "default", "name": "web"}
    named = {"name": port_name} if port_name else {}
    return [
        told("Service", name, spec={"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": port, **named}]}),
        told("EndpointSlice", f"{name}-1", "discovery.k8s.io/v1", addressType="IPv4", ports=[{"port": port, **named}],
             meta={"labels": {"kubernetes.io/service-name": name}},
             endpoints=[{"addresses": ["127.0.0.1"], "conditions": {"ready": True}, "targetRef": target}]),
    ]  # fmt: skip


class LocalRuntime:
    """This machine is the Pod."""

    def __init__(self) -> None:
        times = iter(range(7_250_000_000, 1 << 62, 1_000_000_000))
        self.written = ContainerLog(lambda: next(times))
        for text in ("one", "two", "thr\u00e9e"):
            self.written.line(text)

    async def connect(self, netns: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port)

    async def look(self, sandbox: Sandbox, argv: list[str]) -> dict[str, Any]:
        return {"output": f"{' '.join(argv)} in {sandbox.name}\n", "errors": "", "code": 0}

    def log(self, sandbox: Sandbox, container: str) -> ContainerLog | None:
        """Container main has written three lines, a second apart; side writes nothing."""
        return self.written if container == "main" else None

    async def call(self, netns: str, program: Program) -> dict[str, Any]:
        result: dict[str, Any] = await load_program(program.function)(**program.args)
        return result


class LiveCluster:
    """The API server on a free port, and one Pod, `web`, whose address is 127.0.0.1."""

    def __init__(self) -> None:
        self.port = self.pod_port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._thread.start()
        self._ready.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self) -> None:
        self.loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self.pod_port = await self._free_port()
        pod = asyncio.ensure_future(http_echo("web", [self.pod_port]))
        now = Now()
        self.mirror = Mirror(now, Streams(1))
        local = LocalRuntime()
        self.written = local.written
        sandboxes, runtime = Sandboxes(), StreamingServer(local, Streams(1)["tokens"])
        sandboxes.take({"type": "ADDED", "sandbox": {
            "namespace": "default", "name": "web", "id": "0123abcd", "netns": "web", "hostname": "web",
            "containers": ["main", "side"], "files": {"/etc/hosts": "127.0.0.1\tlocalhost\n"},
        }})  # fmt: skip
        kubelet = KubeletServer(sandboxes, runtime, await runtime.start(0))
        self.kubelet_port = await kubelet.start("127.0.0.1", 0)
        for message in self.objects():
            self.mirror.take(message)
        server = Server(Api(self.mirror, now))
        listening = await server.start("127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        self.resting = len(asyncio.all_tasks()) + 1   # and one that looks
        self._ready.set()
        await self._end.wait()
        await server.close()
        kubelet.close()
        runtime.close()
        pod.cancel()

    @staticmethod
    async def _free_port() -> int:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        server.close()
        return port

    def objects(self) -> list[dict[str, Any]]:
        ports = [{"name": "http", "containerPort": self.pod_port}]
        ready = {"type": "Ready", "status": "True"}
        return [
            told("Namespace", "default"),
            told("Node", "host1", status={"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                                          "daemonEndpoints": {"kubeletEndpoint": {"Port": self.kubelet_port}}}),
            told("Pod", "web", meta={"labels": {"app": "web"}},
                 spec={"nodeName": "host1", "containers": [{"name": "main", "image": "nginx", "ports": ports},
                                                            {"name": "side", "image": "busybox"}]},
                 status={"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}],
                         "conditions": [ready]}),
            *service("web", self.pod_port, "http"), *service("dead", 1),
        ]  # fmt: skip

    def tell(self, *messages: dict[str, Any]) -> None:
        """Have the API server hear of more objects."""
        for message in messages:
            self.loop.call_soon_threadsafe(self.mirror.take, message)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def command(self, home: Path) -> list[str]:
        return ["kubectl", f"--server={self.url}", f"--cache-dir={home}"]

    def kubectl(self, home: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """A real kubectl, to its end."""
        done = subprocess.run(
            [*self.command(home), *words], capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "HOME": str(home)},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done
