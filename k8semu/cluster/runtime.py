"""The container runtime's hands in the emulator: what `kube.kubelet` does inside a Pod.

Kubernetes: containerd, runc
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from k8semu.apps.program import Program
from k8semu.apps.shell.commands import answer
from k8semu.kube.kubelet.sandbox import Sandbox
from k8semu.sim.program import current_stack

if TYPE_CHECKING:
    from k8semu.apps.container_log import ContainerLog
    from k8semu.apps.shell.docker import Container
    from k8semu.cluster.cluster import Cluster
    from k8semu.linux.netns import NetNs


class _Inside:
    """A Pod as the shell's commands see it."""

    containers: list[Container] | None = None

    def __init__(self, net: NetNs, sandbox: Sandbox) -> None:
        self.net, self.nodename, self.files, self.busybox = net, sandbox.hostname, sandbox.files, sandbox.busybox
        self.env: dict[str, str] = {}   # what looks at it is answered without the machine


class EmulatedRuntime:
    """Goes into a Pod's namespace by name. See `k8semu.kube.kubelet.sandbox.Runtime`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def connect(self, netns: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        token = current_stack.set(self.cluster.net(netns).sockets)
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        finally:
            current_stack.reset(token)

    async def look(self, sandbox: Sandbox, argv: list[str]) -> dict[str, Any]:
        said = answer(_Inside(self.cluster.net(sandbox.netns), sandbox), argv)
        return {"output": said.text, "errors": said.errors, "code": said.code}

    def log(self, sandbox: Sandbox, container: str) -> ContainerLog | None:
        return self.cluster.logs.get(f"{sandbox.namespace}/{sandbox.name}/{container}")

    async def call(self, netns: str, program: Program) -> dict[str, Any]:
        name = program.function.partition(":")[0].rpartition(".")[2]
        result: dict[str, Any] = await self.cluster.run_program(netns, name, program)
        return result
