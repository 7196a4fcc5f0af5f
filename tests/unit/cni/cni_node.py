"""A node of one emulated kernel, for plugins to work on."""

from __future__ import annotations

from typing import Any, ClassVar

from k8semu.cluster.cluster import Cluster
from k8semu.cluster.journal import Tell
from k8semu.cluster.node import Node
from k8semu.cni.network import network
from k8semu.cni.runtime import CniRuntime
from k8semu.cni.spec import Args, ConfigList, Result
from k8semu.linux.netns import NetNs


class Rig:
    """A cluster of one node, and containers without anything in them. Closed after the test."""

    made: ClassVar[list[Rig]] = []

    def __init__(self, *containers: str) -> None:
        self.made.append(self)
        self.cluster = Cluster()
        self.cluster.add_netns("node")
        self.node = Node(self.cluster, "node", "10.100.0.2", "", {})
        for name in containers:
            self.cluster.add_netns(name)

    def runtime(self, *plugins: dict[str, Any], version: str = "1.1.0") -> CniRuntime:
        return network(self.node, ConfigList(cni_version=version, name="net", plugins=plugins))

    def container(self, name: str) -> NetNs:
        return self.cluster.netns[name]

    @property
    def net(self) -> NetNs:
        return self.node.net

    def told(self) -> list[str]:
        """Every command so far, with its namespace."""
        return [f"{e.netns}: {e.command}" for e in self.cluster.journal.entries if isinstance(e, Tell)]


def args(container: str, *ports: tuple[int, int, str, str]) -> Args:
    return Args(container, container, "eth0", ports)


def bridge(**options: Any) -> dict[str, Any]:
    ipam = options.pop("ipam", {"type": "host-local", "ranges": [[{"subnet": "172.17.0.0/24"}]]})
    return {"type": "bridge", "bridge": "docker0", "isDefaultGateway": True, **options, "ipam": ipam}


PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}


def addresses(result: Result) -> list[str]:
    return [ip.address for ip in result.ips]
