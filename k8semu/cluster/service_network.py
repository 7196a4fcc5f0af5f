"""The Service network: what kube-proxy on each node makes of Services and their endpoints.

    Services, EndpointSlices ─▶ Decisions.of(node) ─▶ iptables | nftables | … ─▶ tell the node
                                                └──▶ what its program answers to health checks

A node that sleeps is told when it wakes, and then only what holds by then.

Kubernetes: cmd/kube-proxy, pkg/proxy/types.go Provider
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from k8semu.cluster.journal import Program
from k8semu.kube.proxy.decisions import Decisions
from k8semu.kube.proxy.model import ProxyConfig, ProxyNode, ProxyState
from k8semu.kube.services import EndpointSlice, Service

if TYPE_CHECKING:
    from k8semu.cluster.cluster import Cluster
    from k8semu.cluster.node import Node
    from k8semu.kube.api.registry import Event
    from k8semu.kube.proxy.iptables_chances import Balance
    from k8semu.linux.core.commands import Command

ZONE_LABEL = "topology.kubernetes.io/zone"
HEALTH_TICK = 3600.0
"""Seconds in which the dates that kube-proxy tells go on: longer than a run takes anywhere."""
KNOWS_NO_POLICY = ("userspace",)
"""Modes older than traffic policies: no health check node ports."""


class ServiceNetworkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the scenario says of the Service network."""

    mode: str
    cidr: str
    seed: int
    proxy: ProxyConfig
    dns_replicas: int
    """CoreDNS Pods; 0 without cluster DNS."""


class _NodeObject(NamedTuple):
    """What kube-proxy heeds of its own Node."""

    labels: dict[str, str]
    eligible: bool = True


class Proxier(Protocol):
    """One way of programming a node."""

    look_again: int | None
    """When it wants to sync though nothing may have changed (ns)."""

    def sync(self, state: ProxyState, now: int = 0) -> list[Command]:
        """What has to be told so that `state` holds; the first time also what is told once."""
    def messages(self) -> Sequence[Any]:
        """What its program on the node has to be told since it was last asked; nothing where it has none."""


class ServiceNetwork:
    """kube-proxy on every node, and what they all watch."""

    def __init__(self, cluster: Cluster, nodes: list[Node], spec: ServiceNetworkSpec) -> None:
        self.cluster = cluster
        self.spec = spec
        self.services: dict[str, Service] = {}
        self.slices: dict[str, EndpointSlice] = {}
        self._nodes = {node.name: node for node in nodes}
        self._proxiers: dict[str, Proxier] = {}
        self._again: dict[str, int] = {}         # node -> when its proxy is asked again though nothing changed
        self._told: dict[str, ProxyState] = {}   # what the health checks of a node are answered by
        self._decisions: Decisions | None = None
        self._objects: dict[str, _NodeObject] = {}   # what a Node says, where one has been heard of
        self._eligible: dict[str, bool] = {}     # what a node's health checks were last told of it

    def take(self, event: Event) -> None:
        """A Service or EndpointSlice came, changed or went; `sync` has the nodes know."""
        self._decisions = None
        if event.object["kind"] == "Service":
            keep(self.services, event, Service)
        else:
            keep(self.slices, event, EndpointSlice)

    def heard(self, node: dict[str, Any]) -> bool:
        """Of a Node: its labels, and whether it is about to go. True if a proxy has to know; then `sync`."""
        from k8semu.kube.proxy.healthcheck import eligible

        meta = node["metadata"]
        said = _NodeObject(meta.get("labels") or {}, eligible(node))
        if meta["name"] not in self._nodes or self._object(self._nodes[meta["name"]]) == said:
            return False
        self._objects[meta["name"]] = said
        return True

    def _object(self, node: Node) -> _NodeObject:
        return self._objects.get(node.name) or _NodeObject(node.labels)

    def start(self) -> None:
        """kube-proxy starts on every node that is awake; on others, when they wake."""
        for name in self._nodes:
            self.cluster.sleepers.later(name, lambda name=name: self._start(name))  # type: ignore[misc]

    def _start(self, name: str) -> None:
        node = self._nodes[name]
        self.cluster.tell_all(node.netns_name, kubelet_rules())
        told = {"tick": HEALTH_TICK, "mode": self.spec.mode}
        health = Program(function="k8semu.kube.proxy.healthcheck:kube_proxy_health", args=told)
        self.cluster.start(node.netns_name, _health_pid(node), health)
        if self.spec.mode == "userspace":
            program = Program(function="k8semu.apps.userspace_proxy:userspace_proxy", args={"seed": self.spec.seed})
            self.cluster.start(node.netns_name, _pid(node), program)
        self._proxiers[name] = PROXIERS[self.spec.mode](node, self.spec)
        self._sync(node)

    def sync(self) -> None:
        """Have every node that is awake know what has changed."""
        for name in self._proxiers:
            self._sync(self._nodes[name])

    def _sync(self, node: Node) -> None:
        proxier, state = self._proxiers[node.name], self.state(node)
        commands = proxier.sync(state, self.cluster.clock.now)
        for message in proxier.messages():
            self.cluster.feed(_pid(node), message)
        self.cluster.tell_all(node.netns_name, commands)
        again = proxier.look_again
        if again is not None and node.name not in self._again:
            self._again[node.name] = again
            self.cluster.clock.post(again - self.cluster.clock.now, self._look_again, node)
        if (eligible := self._object(node).eligible) != self._eligible.get(node.name, True):
            from k8semu.kube.proxy.healthcheck import proxy_health

            self._eligible[node.name] = eligible
            self.cluster.feed(_health_pid(node), proxy_health(node_eligible=eligible))
        if self.spec.mode not in KNOWS_NO_POLICY:
            from k8semu.kube.proxy.healthcheck import messages

            for message in messages(self._told.get(node.name), state):
                self.cluster.feed(_health_pid(node), message)
            self._told[node.name] = state

    def _look_again(self, node: Node) -> None:
        """A proxy asked for it. Kubernetes: graceful_termination.go Run()."""
        self._again.pop(node.name, None)
        if node.name in self._proxiers:
            self._sync(node)

    def state(self, node: Node) -> ProxyState:
        """What kube-proxy on `node` decides."""
        if self._decisions is None:
            self._decisions = Decisions(self.services.values(), self.slices.values())
        zone = self._object(node).labels.get(ZONE_LABEL, "")
        here = ProxyNode(name=node.name, addresses=(node.address,), zone=zone)
        return self._decisions.of(here, self.spec.proxy)

    def balances(self, node: str, origin: str) -> list[Balance]:
        """Who answers to whom at a Service port (``Service default/account-service:http``) on `node`, in all modes."""
        from k8semu.kube.proxy import iptables_chances, ipvs_servers

        ports = self.state(self._nodes[node]).ports if node in self._nodes else ()
        chosen = [info for info in ports if info.name.origin == origin]
        if self.spec.mode == "ipvs":
            scheduler = self.spec.proxy.ipvs_scheduler
            return [found for info in chosen for found in ipvs_servers.balances(info, scheduler)]
        return [found for info in chosen for found in iptables_chances.balances(info)]


def keep(known: dict[str, Any], event: Event, kind: type) -> None:
    """Have `known` (by namespace/name) hold what an event says, typed."""
    meta = event.object["metadata"]
    key = f"{meta['namespace']}/{meta['name']}"
    if event.type == "DELETED":
        known.pop(key, None)
    else:
        known[key] = msgspec.convert(event.object, kind)


def kubelet_rules() -> list[Command]:
    """The chains that the kubelet makes on every node."""
    from k8semu.kube.proxy import iptables_fixed

    return iptables_fixed.kubelet_rules()


def _pid(node: Node) -> str:
    return f"{node.name}/kube-proxy"


def _health_pid(node: Node) -> str:
    """A process of its own here; on a real node, the same kube-proxy."""
    return f"{node.name}/health/kube-proxy"


def _iptables(node: Node, spec: ServiceNetworkSpec) -> Proxier:
    from k8semu.kube.proxy.iptables import Iptables

    return Iptables()


def _nftables(node: Node, spec: ServiceNetworkSpec) -> Proxier:
    from k8semu.kube.proxy.nftables import Nftables

    return Nftables((spec.cidr,))


def _userspace(node: Node, spec: ServiceNetworkSpec) -> Proxier:
    from k8semu.kube.proxy.userspace import Userspace

    return Userspace(node.random("kube-proxy"))


def _ipvs(node: Node, spec: ServiceNetworkSpec) -> Proxier:
    """It reads the node's addresses, and how many connections a real server has, from the kernel."""
    from k8semu.kube.proxy.ipvs import Ipvs, addresses_of

    def addresses() -> tuple[str, ...]:
        devs = node.net.devs.values()
        return addresses_of((dev.name, (str(a.iface).partition("/")[0] for a in dev.addresses)) for dev in devs)

    return Ipvs(addresses, node.net.netfilter.ipvs.connections)


PROXIERS: dict[str, Callable[[Node, ServiceNetworkSpec], Proxier]] = {
    "iptables": _iptables, "ipvs": _ipvs, "nftables": _nftables, "userspace": _userspace,
}  # fmt: skip
