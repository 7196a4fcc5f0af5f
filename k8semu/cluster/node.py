"""A machine: a node with its container runtime and CNI, a Pod, a host outside, the router.

`Machine` is what a command runs on (`ip addr`, `docker ps`); `Node` is also what CNI plugins see.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from k8semu.apps.program import Program
from k8semu.apps.shell.docker import Container
from k8semu.cni.runtime import CniRuntime
from k8semu.linux.core.commands import Command
from k8semu.linux.netns import NetNs
from k8semu.sim.streams import Stream

if TYPE_CHECKING:
    from k8semu.cluster.cluster import Cluster

PAUSE_IMAGE = "pause:3.10"


class Machine:
    """A network namespace with a host name and files. `address` is its own, without a prefix length."""

    def __init__(self, cluster: Cluster, netns_name: str, hostname: str, address: str = "") -> None:
        self.cluster = cluster
        self.netns_name = netns_name
        self.hostname = hostname
        self.address = address
        self._files: dict[str, str] | None = None     # once somebody looks

    @property
    def nodename(self) -> str:
        """Its host name, as programs on it are told. Linux: uname(2)"""
        return self.hostname

    @property
    def fqdn(self) -> str:
        """What its /etc/hosts says of its host name first."""
        return self.nodename

    @property
    def env(self) -> dict[str, str]:
        """The environment of a command that is run on it."""
        from k8semu.kube.kubelet.environment import HOME, PATH

        return {"PATH": PATH, "HOME": HOME}

    @property
    def busybox(self) -> bool:
        """Are its commands those of busybox?"""
        return False

    def env_of(self, container: str) -> dict[str, str]:
        """The environment of a program that is started on it."""
        return self.env

    def program(self, function: str, args: dict[str, Any], container: str = "") -> Program:
        """A program on it. One of the user's own is told what any process would find there."""
        if function.startswith("k8semu."):
            return Program(function=function, args=args)
        return Program(
            function=function, args=args, env=self.env_of(container), hostname=self.nodename, fqdn=self.fqdn,
            address=self.address, files=dict(self.files),
        )  # fmt: skip

    @property
    def files(self) -> dict[str, str]:
        """What can be read on it, by path."""
        if self._files is None:
            own = f"{self.address}\t{self.nodename}\n" if self.address else ""
            self._files = {"/etc/hostname": f"{self.nodename}\n", "/etc/hosts": f"127.0.0.1\tlocalhost\n{own}"}
        return self._files

    @property
    def net(self) -> NetNs:
        return self.cluster.net(self.netns_name)

    @property
    def containers(self) -> list[Container] | None:
        """Only nodes have a container runtime."""
        return None


class Node(Machine):
    """A node of the cluster. `cni` is set once its Pod network is up."""

    def __init__(self, cluster: Cluster, name: str, address: str, pod_cidr: str, labels: dict[str, str]) -> None:
        super().__init__(cluster, name, name, address)
        self.name = name
        self.pod_cidr = pod_cidr
        self.labels = labels
        self.annotations: dict[str, str] = {}
        self.taints: list[dict[str, str]] = []
        self.cni_files: dict[str, str] = {}
        self.cni: CniRuntime | None = None
        self._containers: dict[str, Container] = {}

    @property
    def containers(self) -> list[Container]:
        """Newest last; `docker ps` turns it round. The node is awake from now on."""
        self.cluster.sleepers.wake(self.netns_name)
        return list(self._containers.values())

    def run_container(self, name: str, image: str, command: str, now: int) -> Container:
        """The runtime starts a container, at the time `now`."""
        container = Container(
            id=self.random("container-id").hex(64), image=image, command=command, name=name,
            created=now + len(self._containers), started=now,
        )  # fmt: skip
        self._containers[name] = container
        return container

    def remove_container(self, name: str) -> None:
        self._containers.pop(name, None)

    # --- what CNI plugins see (k8semu.cni.node.Node) -------------------------------------------

    def tell(self, netns: str, command: Command) -> None:
        self.cluster.tell(netns, command)

    def tell_all(self, netns: str, commands: Iterable[Command]) -> None:
        self.cluster.tell_all(netns, commands)

    def netns(self, name: str) -> NetNs:
        return self.cluster.netns[name]

    def random(self, name: str) -> Stream:
        return self.cluster.world.random[f"{self.name}/{name}"]
