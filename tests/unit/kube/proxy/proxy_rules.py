"""A node's netfilter that is told what kube-proxy tells it, and its rules as text."""

from __future__ import annotations

import re
from typing import Any

from proxy_objects import state

from k8semu.kube.proxy import iptables_fixed
from k8semu.kube.proxy.iptables import Iptables
from k8semu.kube.proxy.iptables_names import endpoint_chain, port_hash
from k8semu.kube.proxy.model import ProxyState
from k8semu.kube.proxy.userspace import Userspace
from k8semu.kube.services import EndpointSlice, Service
from k8semu.linux.core import commands as c
from k8semu.linux.core.net import Net
from k8semu.linux.netfilter.netfilter import Netfilter
from k8semu.sim.streams import Stream
from k8semu.sim.world import World

SHARED = ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL")


class Node:
    """A kernel with its kubelet's rules, and kube-proxy's for `state`."""

    def __init__(self, state: ProxyState | None = None) -> None:
        net = Net(World(1), "host1")
        self.netfilter = net.netfilter = Netfilter(net)
        self.proxy = Iptables()
        self.told: list[c.Command] = []
        self.tell(iptables_fixed.kubelet_rules())
        if state is not None:
            self.sync(state)

    def sync(self, state: ProxyState, now: int = 0, full: bool = False) -> list[c.Command]:
        commands = self.proxy.sync(state, now, full)
        self.tell(commands)
        return commands

    def tell(self, commands: list[c.Command]) -> None:
        self.told += commands
        for cmd in commands:
            if isinstance(cmd, c.IptablesRestore):
                self.netfilter.restore(cmd.text, cmd.noflush, dict(cmd.origins))
            elif isinstance(cmd, c.Iptables):
                self.netfilter.iptables(list(cmd.args), cmd.origin)
            elif isinstance(cmd, c.NftApply):
                self.netfilter.nft.apply(cmd.text, dict(cmd.origins), cmd.origin)
            elif isinstance(cmd, c.ConntrackDel):
                self.netfilter.conntrack_delete(list(cmd.args))

    def save(self, table: str | None = None) -> list[str]:
        return [line for line in self.netfilter.save(table=table).splitlines() if not line.startswith("#")]


class UserspaceNode:
    """A kernel that is told what kube-proxy in userspace mode says."""

    def __init__(self) -> None:
        net = Net(World(1), "host1")
        self.netfilter = net.netfilter = Netfilter(net)
        self.proxy = Userspace(Stream(1, "proxy ports"))
        self.told: list[c.Command] = []

    def sync(self, services: list[Service], slices: list[EndpointSlice]) -> list[dict[str, Any]]:
        self.told = self.proxy.sync(state(services, slices))
        for command in self.told:
            if isinstance(command, c.Iptables):
                self.netfilter.iptables(list(command.args), command.origin)
        return self.proxy.messages()

    def save(self) -> list[str]:
        return [line for line in self.netfilter.save().splitlines() if line.startswith("-A ")]


def own(node: Node, table: str) -> list[str]:
    """The rules that depend on Services, chain by chain from where packets come in; hashes made readable:
    KUBE-SVC-<default/web> instead of KUBE-SVC-LOLE4ISW44XBNF3G."""
    labels = _labels(node)
    lines = []
    for line in node.save(table):
        chain = line[3:].split(" ")[0]
        if line.startswith("-A ") and (chain in SHARED or chain in labels) and "service nodeports; NOTE" not in line:
            lines.append((_place(labels.get(chain, chain)), _HASHED.sub(lambda m: labels[m[0]], line)))
    lines.sort(key=lambda item: item[0])
    return [line for _, line in lines]


_HASHED = re.compile(r"KUBE-(?:SVC|SVL|EXT|FW|SEP)-[A-Z2-7]{16}")
_ORDER = (*SHARED, "KUBE-EXT-", "KUBE-FW-", "KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-")


def _place(chain: str) -> tuple[int, str]:
    at = next(i for i, name in enumerate(_ORDER) if chain == name or (name.endswith("-") and chain.startswith(name)))
    return at, chain


def _labels(node: Node) -> dict[str, str]:
    found = {}
    state = node.proxy.state
    for info in state.ports if state is not None else ():
        for prefix in ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-"):
            found[prefix + port_hash(info.name)] = f"{prefix}<{info.name}>"
        for e in info.all_endpoints:
            found[endpoint_chain(info.name, str(e))] = f"KUBE-SEP-<{info.name} {e}>"
    return found


def rules(text: str) -> list[str]:
    return text.strip().split("\n")


def describe(state: ProxyState) -> str:
    """Both tables' rules that depend on Services, and those around them that depend on the configuration."""
    node = Node(state)
    shared = [
        line for table in ("filter", "nat") for line in node.save(table)
        if line.startswith(("-A KUBE-FORWARD", "-A KUBE-FIREWALL", "-A KUBE-POSTROUTING", "-A KUBE-MARK-MASQ"))
        or "service nodeports; NOTE" in line
    ]  # fmt: skip
    parts = (("filter", own(node, "filter")), ("nat", own(node, "nat")), ("around", shared))
    return "\n".join("\n".join([f"# {title}", *lines, ""]) for title, lines in parts if lines)
