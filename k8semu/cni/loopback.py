"""The loopback plugin: lo is up. Runtimes call it for every container, before the network's own plugins.

Kubernetes: containernetworking/plugins plugins/main/loopback/loopback.go
Differs: no ::1 in its result; there is no IPv6.
"""

from __future__ import annotations

from k8semu.cni.node import Node, netns_or_none
from k8semu.cni.spec import VERSION, Args, Code, Interface, IpConfig, Result
from k8semu.errors import CniError
from k8semu.linux.core.commands import LinkSet

LO = "lo"


class LoopbackPlugin:
    """The plugin on one node."""

    capabilities: frozenset[str] = frozenset()

    def __init__(self, node: Node, cni_version: str = VERSION) -> None:
        self.node = node
        self.cni_version = cni_version

    def add(self, args: Args, previous: Result | None = None) -> Result:
        """Set lo up; what the plugins before said goes through."""
        sandbox = netns_or_none(self.node, args.netns)
        if sandbox is None:
            what = f'failed to Statfs "{args.path}": no such file or directory'
            raise CniError(Code.INTERNAL, f'failed to open netns "{args.path}": {what}')
        if not sandbox.devs[LO].up:
            self.node.tell(args.netns, LinkSet(name=LO, up=True))
        if previous is not None:
            return previous
        return Result(
            cni_version=self.cni_version,
            interfaces=[Interface(name=LO, mac="00:00:00:00:00:00", sandbox=args.path)],
            ips=[IpConfig(interface=0, address=str(own.iface)) for own in sandbox.devs[LO].addresses[:1]],
        )

    def check(self, args: Args, previous: Result | None) -> None:
        """Is lo up?"""
        sandbox = netns_or_none(self.node, args.netns)
        if sandbox is None or not sandbox.devs[LO].up:
            raise CniError(Code.INTERNAL, "loopback interface is down")

    def delete(self, args: Args, previous: Result | None) -> None:
        """Set lo down."""
        sandbox = netns_or_none(self.node, args.netns)
        if sandbox is not None and sandbox.devs[LO].up:
            self.node.tell(args.netns, LinkSet(name=LO, up=False))

    def status(self) -> None:
        """The plugin always says yes."""
