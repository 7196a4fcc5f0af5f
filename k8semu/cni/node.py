"""What a plugin sees of a node, and how it tells its kernel something.

A real plugin runs on the node, reads its kernel by netlink and keeps files below /var/lib/cni.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from k8semu.linux.core.commands import Command
from k8semu.linux.netns import NetNs
from k8semu.sim.streams import Stream


class Node(Protocol):
    """A node, as a plugin sees it."""

    @property
    def name(self) -> str: ...
    @property
    def netns_name(self) -> str:
        """The node's own namespace."""
    @property
    def files(self) -> dict[str, str]:
        """Other files of the node: /run/flannel/subnet.env."""
    @property
    def cni_files(self) -> dict[str, str]:
        """Paths below /var/lib/cni, and what stands in the files."""
    def tell(self, netns: str, command: Command) -> None:
        """Tell the kernel of a namespace something (seam 2)."""
    def tell_all(self, netns: str, commands: Iterable[Command]) -> None: ...
    def netns(self, name: str) -> NetNs:
        """A namespace, to look at (links, addresses, routes), never to change; KeyError if there is none."""
    def random(self, name: str) -> Stream: ...


def netns_or_none(node: Node, name: str) -> NetNs | None:
    """A namespace that may be gone."""
    try:
        return node.netns(name)
    except KeyError:
        return None


def nat_rules(node: Node) -> list[str]:
    """The node's nat table as `iptables-save` prints it: chains (``:NAME …``) and rules (``-A …``)."""
    netfilter = node.netns(node.netns_name).netfilter
    if "nat" not in netfilter.tables:
        return []
    return [row for row in netfilter.save(table="nat").splitlines() if row.startswith((":", "-A "))]


def has_chain(node: Node, chain: str) -> bool:
    """Is there such a chain in the node's nat table?"""
    nat = node.netns(node.netns_name).netfilter.tables.get("nat")
    return nat is not None and chain in nat.chains
