"""NetworkPolicies in force: the policy controller of every node, and what they all watch.

    NetworkPolicies, Pods, Namespaces ─▶ policies (once for all nodes) ─▶ Router of each node ─▶ tell the node

A node that sleeps is told when it wakes, and then only what holds by then.

Kubernetes: kube-router pkg/controllers/netpol: OnPodUpdate(), OnNamespaceUpdate(), OnNetworkPolicyUpdate()
Differs: it syncs at once, and not every five minutes besides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from k8semu.kube.netpol.policy import Peer, Policy, peer_of, policies
from k8semu.kube.netpol.router import Router

if TYPE_CHECKING:
    from k8semu.cluster.cluster import Cluster
    from k8semu.cluster.node import Node
    from k8semu.kube.api.registry import Event

JSON = dict[str, Any]
WATCHED = ("pods", "namespaces", "networkpolicies")


class PolicyNetwork:
    """A controller on every one of `nodes`. `services`: the network of ClusterIPs.

    On the wire each node's controller is a program with a PolicyNetwork of its own.
    """

    def __init__(self, cluster: Cluster, nodes: list[Node], services: str) -> None:
        self.cluster = cluster
        self._nodes = {node.name: node for node in nodes}
        self._routers = {node.name: Router(node.address, services, _listing(node)) for node in nodes}
        self._awake: dict[str, None] = {}
        self._pods: dict[str, Peer] = {}
        self._namespaces: dict[str, dict[str, str]] = {}
        self._policies: dict[str, JSON] = {}
        self._changed = True

    def take(self, event: Event) -> None:
        """An object came, changed or went; `sync` has the nodes know."""
        obj, gone = event.object, event.type == "DELETED"
        meta, kind = obj["metadata"], obj["kind"]
        key = f"{meta.get('namespace', '')}/{meta['name']}"
        if kind == "Pod":
            self._keep(self._pods, key, None if gone else peer_of(obj))
        elif kind == "Namespace":
            self._keep(self._namespaces, meta["name"], None if gone else meta.get("labels") or {})
        else:
            self._keep(self._policies, key, None if gone else {"metadata": meta, "spec": obj["spec"]})

    def _keep(self, known: dict[str, Any], key: str, value: Any) -> None:
        """Only what policies depend on is a change. Kubernetes: kube-router isPodUpdateNetPolRelevant()"""
        if known.get(key) == value:
            return
        self._changed = True
        if value is None:
            del known[key]
        else:
            known[key] = value

    def start(self) -> None:
        """The controller starts on every node that is awake; on others, when they wake."""
        for name in self._nodes:
            self.cluster.sleepers.later(name, lambda name=name: self._start(name))  # type: ignore[misc]

    def _start(self, name: str) -> None:
        self.cluster.tell_all(self._nodes[name].netns_name, self._routers[name].start())
        self._awake[name] = None
        self._sync(name, self.policies())

    def sync(self) -> None:
        """Have every node that is awake know what has changed."""
        if not self._changed:
            return
        self._changed = False
        found = self.policies()
        for name in self._awake:
            self._sync(name, found)

    def _sync(self, name: str, found: list[Policy]) -> None:
        commands = self._routers[name].sync(found, list(self._pods.values()), str(self.cluster.clock.now))
        self.cluster.tell_all(self._nodes[name].netns_name, commands)

    def policies(self) -> list[Policy]:
        """What is asked for now."""
        return policies(self._policies.values(), list(self._pods.values()), self._namespaces)


def _listing(node: Node) -> Callable[[str], str]:
    """`iptables -S CHAIN` on a node."""
    return lambda chain: node.net.netfilter.iptables(["-t", "filter", "-S", chain])
