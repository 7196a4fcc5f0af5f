"""The kubelets' servers: a program on every node, which is told of the node's Pods.

They run where something may ask for them: where the cluster has an API server that listens.

Kubernetes: pkg/kubelet/server
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from k8semu.apps.program import Program
from k8semu.cluster.runtime import EmulatedRuntime
from k8semu.kube.kubelet.sandbox import current_runtime

if TYPE_CHECKING:
    from k8semu.cluster.cluster import Cluster
    from k8semu.cluster.kubelet import PodMachine
    from k8semu.cluster.node import Node

FIRST_EPHEMERAL, EPHEMERAL = 32768, 28232
"""Linux: net.ipv4.ip_local_port_range"""


class KubeletServers:
    """One per node. The streaming server's port is drawn here, where the real one takes any that is free."""

    def __init__(self, cluster: Cluster, nodes: Iterable[Node], pods: Mapping[str, PodMachine]) -> None:
        """`pods`: those that run."""
        self.cluster, self.pods = cluster, pods
        self._running: set[str] = set()
        for node in nodes:
            cluster.sleepers.later(node.netns_name, lambda node=node: self.start(node))  # type: ignore[misc]

    def start(self, node: Node) -> None:
        random = self.cluster.world.random
        port = FIRST_EPHEMERAL + random[f"{node.name}/streaming-port"].below(EPHEMERAL)
        args = {"runtime_port": port, "seed": random.seed}
        program = Program(function="k8semu.kube.kubelet.server:kubelet", args=args)
        token = current_runtime.set(EmulatedRuntime(self.cluster))
        self.cluster.start(node.netns_name, _pid(node), program)
        current_runtime.reset(token)
        self._running.add(node.name)
        for machine in self.pods.values():
            if machine.node is node:
                self.tell("ADDED", machine)

    def tell(self, what: str, machine: PodMachine) -> None:
        """A Pod has come (ADDED) or goes (DELETED)."""
        node = machine.node
        if node.name not in self._running:
            return
        meta = machine.pod.metadata
        names = [container.name for container in machine.pod.spec.containers]
        sandbox = {
            "namespace": meta.namespace, "name": meta.name, "id": machine.sandbox.id, "netns": machine.netns_name,
            "hostname": machine.nodename, "containers": names, "env": {name: machine.env_of(name) for name in names},
            "files": machine.files, "busybox": machine.busybox,
        }  # fmt: skip
        self.cluster.feed(_pid(node), {"type": what, "sandbox": sandbox})


def _pid(node: Node) -> str:
    return f"{node.name}/kubelet-server"
