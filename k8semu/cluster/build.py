"""A whole cluster from a scenario's specification and manifests.

    underlay, router ─▶ hosts, nodes ─▶ Pod network ─▶ Pods (scheduled, plugged in, started)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from k8semu.cluster.cluster import Cluster
from k8semu.cluster.kubelet import PodMachine, run_pod, stop_pod
from k8semu.cluster.node import Machine, Node
from k8semu.cluster.pod_network import PodNetworkSpec, setup
from k8semu.cluster.underlay import ROUTER, Underlay
from k8semu.errors import ScenarioError
from k8semu.kube.objects import Pod, Workload
from k8semu.kube.scheduler import schedule
from k8semu.kube.workloads import pods_of
from k8semu.wire.addr import Interface, Prefix

if TYPE_CHECKING:
    from collections.abc import Sequence


class MachineSpec(Protocol):
    """A node or host as the scenario names it."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...


class NodeSpec(MachineSpec, Protocol):
    @property
    def pod_cidr(self) -> str: ...


class Built:
    """A cluster with its machines by name."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.nodes: dict[str, Node] = {}
        self.hosts: dict[str, Machine] = {}
        self.pods: dict[str, PodMachine] = {}
        self.underlay = Underlay(cluster)

    def machine(self, name: str) -> Machine:
        """A node, host or Pod (``name`` or ``namespace/name``; a workload's name means its first Pod)."""
        plain = name.removeprefix("default/").replace("/", ".")
        found: Machine | None = self.nodes.get(plain) or self.hosts.get(plain) or self.pods.get(plain)
        if found is None:
            found = next((pod for key, pod in self.pods.items() if key.startswith(f"{plain}-")), None)
        if found is None:
            known = ", ".join([*self.nodes, *self.hosts, *self.pods])
            raise ScenarioError(f"no node, host or Pod {name!r}", hint=f"there are: {known}")
        return found

    def names(self) -> dict[bytes, str]:
        """Addresses and whose they are: for a capture's name records."""
        names: dict[bytes, str] = {}
        for machine in [*self.nodes.values(), *self.hosts.values(), *self.pods.values()]:
            if machine.address:
                names.setdefault(Interface.parse(machine.address).addr, machine.hostname)
        return names

    def delete_pod(self, name: str) -> None:
        stop_pod(self.cluster, self.pods.pop(name))


def build(
    cluster: Cluster,
    nodes: Sequence[NodeSpec],
    hosts: Sequence[MachineSpec],
    router: bool | None,
    network: PodNetworkSpec,
    pods: list[Pod],
    workloads: list[Workload],
) -> Built:
    """Build everything; errors of the manifests are ScenarioError or CniError."""
    built = Built(cluster)
    _machines(built, nodes, hosts, router, network)
    setup(cluster, network, list(built.nodes.values()))
    for workload in workloads:
        pods = pods + pods_of(workload, list(built.nodes), cluster.world.random["pod-names"])
    labels = {name: node.labels for name, node in built.nodes.items()}
    for pod, node in schedule(pods, labels):
        machine = run_pod(cluster, built.nodes[node], pod)
        key = machine.netns_name if not pod.spec.host_network else pod.metadata.name
        built.pods[key] = machine
        cluster.hosts.setdefault(pod.metadata.name, machine.address)
    return built


def _machines(
    built: Built, nodes: Sequence[NodeSpec], hosts: Sequence[MachineSpec], router: bool | None, network: PodNetworkSpec
) -> None:
    cluster, underlay = built.cluster, built.underlay
    networks: list[Prefix] = []
    for machine in [*nodes, *hosts]:
        prefix = Interface.parse(machine.address).network
        if prefix not in networks:
            networks.append(prefix)
    wanted = len(networks) > 1 or network.plugin == "routed" if router is None else router
    if wanted:
        underlay.router(networks)
        built.hosts[ROUTER] = Machine(cluster, ROUTER, ROUTER)
    for spec in nodes:
        cluster.add_netns(spec.name)
        underlay.plug(spec.name, spec.address, network.node_mtu)
        underlay.default_route(spec.name, spec.address)
        address = spec.address.partition("/")[0]
        labels = {"kubernetes.io/hostname": spec.name}
        built.nodes[spec.name] = Node(cluster, spec.name, address, spec.pod_cidr, labels)
        cluster.hosts[spec.name] = address
    for host in hosts:
        cluster.add_netns(host.name)
        underlay.plug(host.name, host.address)
        underlay.default_route(host.name, host.address)
        address = host.address.partition("/")[0]
        built.hosts[host.name] = Machine(cluster, host.name, host.name, address)
        cluster.hosts[host.name] = address
