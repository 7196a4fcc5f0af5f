"""What NetworkPolicies ask for, in addresses: which Pods each isolates, and with whom they may talk.

    NetworkPolicy, Pods, Namespaces ─▶ policies ─▶ Policy ─ selected   addresses of the Pods it isolates
                                                          ├ ingress    None, or Rules: all else is refused
                                                          └ egress     None, or Rules
    Rule ─ everyone, or pods (addresses) and blocks (each the entries of a set of networks)
         └ ports, or any

Pods in the host's network, and those without an address, are neither isolated nor anybody's peer.

Kubernetes: staging/src/k8s.io/api/networking/v1/types.go; kube-router pkg/controllers/netpol/policy.go
            buildNetworkPoliciesInfo(), evalPodPeer(), evalIPBlockPeer(), processNetworkPolicyPorts()
Differs: where kube-router allows more, or less, than the API says: a rule with Pods whose named ports nobody has
         allows nothing (kube-router: any port); what is sent to a named port goes to Pods that have it (kube-router:
         to that number everywhere, and to no ipBlock); a hole in one ipBlock is none in another of the same rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from msgspec import Struct

from k8semu.kube.api.selectors import matches

JSON = dict[str, Any]
FINISHED = ("Succeeded", "Failed")


class Peer(NamedTuple):
    """What a controller heeds of a Pod. `ports`: (name, protocol, number)."""

    namespace: str
    name: str
    address: str
    host_ip: str
    labels: dict[str, str]
    ports: tuple[tuple[str, str, int], ...] = ()

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"


class PortRange(Struct, frozen=True):
    """Numbered ports: `port` 0 is any of the protocol; `end`, where given, the last one. `addresses`: only there."""

    protocol: str
    port: int = 0
    end: int = 0
    addresses: tuple[str, ...] | None = None

    @property
    def words(self) -> str:
        if not self.port:
            return f"-p {self.protocol.lower()}"
        last = f":{self.end}" if self.end else ""
        return f"-p {self.protocol.lower()} --dport {self.port}{last}"


class Rule(Struct, frozen=True):
    """One rule: who, and at which ports. `ports` None: any."""

    everyone: bool
    pods: tuple[str, ...] = ()
    blocks: tuple[tuple[str, ...], ...] = ()
    ports: tuple[PortRange, ...] | None = None

    @property
    def numbered(self) -> tuple[PortRange, ...]:
        return tuple(port for port in self.ports or () if port.addresses is None)

    @property
    def named(self) -> tuple[PortRange, ...]:
        return tuple(port for port in self.ports or () if port.addresses is not None)


class Policy(Struct, frozen=True):
    """One NetworkPolicy."""

    namespace: str
    name: str
    selected: tuple[str, ...]
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def origin(self) -> str:
        return f"NetworkPolicy {self.full_name}"


def peer_of(pod: JSON) -> Peer | None:
    """A Pod that takes part; None for one that does not. Kubernetes: kube-router isNetPolActionable()"""
    meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    address = status.get("podIP") or ""
    if not address or spec.get("hostNetwork") or status.get("phase") in FINISHED:
        return None
    ports = tuple(
        (port.get("name") or "", port.get("protocol") or "TCP", port["containerPort"])
        for container in spec.get("containers") or () for port in container.get("ports") or ()
    )  # fmt: skip
    return Peer(meta["namespace"], meta["name"], address, status.get("hostIP") or "", meta.get("labels") or {}, ports)


def policies(objects: Iterable[JSON], pods: list[Peer], namespaces: dict[str, dict[str, str]]) -> list[Policy]:
    """The policies, by namespace and name. `namespaces`: the labels of each."""
    ordered = sorted(objects, key=lambda obj: (obj["metadata"]["namespace"], obj["metadata"]["name"]))
    return [_policy(obj, pods, namespaces) for obj in ordered]


def _policy(obj: JSON, pods: list[Peer], namespaces: dict[str, dict[str, str]]) -> Policy:
    meta, spec = obj["metadata"], obj["spec"]
    world = _World(meta["namespace"], pods, namespaces)
    selected = world.pods(meta["namespace"], spec.get("podSelector") or {})
    types = spec.get("policyTypes") or ("Ingress",)
    ingress = tuple(world.rule(rule, "from", selected) for rule in spec.get("ingress") or ())
    egress = tuple(world.rule(rule, "to", None) for rule in spec.get("egress") or ())
    return Policy(
        meta["namespace"], meta["name"], tuple(pod.address for pod in selected),
        ingress if "Ingress" in types else None, egress if "Egress" in types else None,
    )  # fmt: skip


class _World:
    """Pods and namespaces as the policies of one namespace see them."""

    def __init__(self, own: str, all_pods: list[Peer], namespaces: dict[str, dict[str, str]]) -> None:
        self.own, self.all_pods, self.namespaces = own, all_pods, namespaces

    def pods(self, namespace: str, selector: JSON) -> list[Peer]:
        return [pod for pod in self.all_pods if pod.namespace == namespace and matches(selector, pod.labels)]

    def rule(self, rule: JSON, key: str, selected: list[Peer] | None) -> Rule:
        """`selected`: whose named ports count; None for those of any Pod, as for what is sent."""
        peers = rule.get(key) or ()
        found = [pod for peer in peers for pod in self.of_peer(peer)]
        blocks = _together([entries for peer in peers if (entries := _entries(peer))])
        owners = self.all_pods if selected is None else selected
        ports = rule.get("ports") or ()
        ranges = tuple(each for port in ports for each in _ranges(port, owners)) if ports else None
        return Rule(not peers, tuple(dict.fromkeys(pod.address for pod in found)), blocks, ranges)

    def of_peer(self, peer: JSON) -> list[Peer]:
        """The Pods that a peer means: both selectors together, where it has both."""
        here, there = peer.get("podSelector"), peer.get("namespaceSelector")
        if there is not None:
            spaces = [name for name, labels in self.namespaces.items() if matches(there, labels)]
            return [pod for space in spaces for pod in self.pods(space, here or {})]
        return self.pods(self.own, here) if here is not None else []


def _entries(peer: JSON) -> list[str]:
    """An ipBlock as entries of a hash:net, with its holes: a network of all addresses in two halves."""
    block = peer.get("ipBlock")
    if block is None or ":" in block["cidr"]:
        return []                            # IPv6 is not looked at on a node without it
    nets = [(block["cidr"], ""), *((cidr, " nomatch") for cidr in block.get("except") or ())]
    return [f"{half} timeout 0{hole}" for cidr, hole in nets for half in _halves(cidr)]


def _together(blocks: list[list[str]]) -> tuple[tuple[str, ...], ...]:
    """Networks without holes can be one set; a hole must not cut into another's network."""
    if len(blocks) > 1 and any(len(entries) > 1 and "nomatch" in entries[-1] for entries in blocks):
        return tuple(map(tuple, blocks))
    return (tuple(entry for entries in blocks for entry in entries),) if blocks else ()


def _halves(cidr: str) -> tuple[str, ...]:
    return ("0.0.0.0/1", "128.0.0.0/1") if cidr.endswith("/0") else (cidr,)


def _ranges(port: JSON, owners: list[Peer]) -> list[PortRange]:
    """A numbered port as it is; a named one as each number that it stands for, and the Pods where it does."""
    protocol, number = port.get("protocol") or "TCP", port.get("port")
    if not isinstance(number, str):
        return [PortRange(protocol, number or 0, port.get("endPort") or 0)]
    found: dict[int, list[str]] = {}
    for owner in owners:
        for name, spoken, at in owner.ports:
            if (name, spoken) == (number, protocol):
                found.setdefault(at, []).append(owner.address)
    return [PortRange(protocol, at, 0, tuple(addresses)) for at, addresses in found.items()]
