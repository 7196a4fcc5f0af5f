"""A whole cluster from a scenario's specification and manifests.

    underlay, router ─▶ hosts, nodes ─▶ Pod network ─▶ Pods (scheduled, plugged in, started)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from k8semu.cluster.cluster import Cluster
from k8semu.cluster.kubelet import PodMachine, netns_of, run_pod, stop_pod
from k8semu.cluster.node import Machine, Node
from k8semu.cluster.pod_network import PodNetworkSpec, setup
from k8semu.cluster.service_network import ServiceNetwork, ServiceNetworkSpec
from k8semu.cluster.underlay import ROUTER, UNDERLAY, Underlay
from k8semu.cluster.watchers import Watchers
from k8semu.errors import CniError, ScenarioError
from k8semu.kube.endpoints import Selected, slice_of
from k8semu.kube.objects import Pod, Workload
from k8semu.kube.store import Change, ManifestError, PodError, Store, read
from k8semu.wire.addr import Interface, Prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8semu.cluster.master import Master


class MachineSpec(Protocol):
    """A node or host as the scenario names it."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...


class NodeSpec(MachineSpec, Protocol):
    @property
    def pod_cidr(self) -> str: ...
    @property
    def labels(self) -> dict[str, str]: ...


class Built:
    """A cluster with its machines by name."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.nodes: dict[str, Node] = {}
        self.hosts: dict[str, Machine] = {}
        self.pods: dict[str, PodMachine] = {}
        self.store: Store
        self.underlay = Underlay(cluster)
        self.services: ServiceNetwork | None = None
        self.master: Master
        self.watchers: Watchers

    def machine(self, name: str) -> Machine:
        """A node, host or Pod (``name`` or ``namespace/name``; a workload's name means its first Pod)."""
        plain = name.removeprefix("default/").replace("/", ".")
        found: Machine | None = self.nodes.get(plain) or self.hosts.get(plain) or self.pods.get(plain)
        if found is None:
            found = next((pod for key, pod in self.pods.items() if key.startswith(f"{plain}-")), None)
        if found is None and plain in self.cluster.netns and plain != UNDERLAY:
            found = Machine(self.cluster, plain, plain)     # a container that CNI was called for by hand
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
        for service in self.services.services.values() if self.services is not None else ():
            if (address := service.spec.cluster_ip) not in ("", "None"):
                names.setdefault(Interface.parse(address).addr, service.metadata.name)
        return names

    def publish(self) -> None:
        """Have kube-proxy on every node know of Services and who is behind them."""
        if self.services is not None:
            pods = Selected((machine.pod, machine.address, machine.node.name) for machine in self.pods.values())
            self.services.services = self.master.services()
            made = {f"{k}-": slice_of(s, pods) for k, s in self.services.services.items() if s.spec.selector}
            self.services.slices = {**self.master.slices(), **made}
            self.services.sync()
            self.watchers.update(self.master.objects(self.services.slices.values()))

    def end_programs(self, pod: Pod) -> None:
        """SIGTERM to a Pod's containers: they close what they have open, and their Pod still carries it."""
        for container in pod.spec.containers:
            self.cluster.stop(f"{pod.metadata.namespace}/{pod.metadata.name}/{container.name}")

    def carry_out(self, change: Change) -> None:
        """Stop and start the Pods of a change, as the kubelets would. PodError if the network cannot take one."""
        for placed in change.stop:
            machine = self.pods.pop(pod_key(placed.pod))
            stop_pod(self.cluster, machine)
            if self.cluster.hosts.get(machine.hostname) == machine.address:
                self.cluster.unname(machine.hostname)
        for placed in change.start:
            try:
                machine = run_pod(self.cluster, self.nodes[placed.node], placed.pod)
            except CniError as error:
                why = f"CNI error {error.code}: {error.msg}"
                raise PodError(why, placed.pod, placed.owner, "", f"node {placed.node}") from None
            self.pods[pod_key(placed.pod)] = machine
            if placed.pod.metadata.name not in self.cluster.hosts:
                self.cluster.name(placed.pod.metadata.name, machine.address)


SLEEP_FROM = 100
"""A cluster of so many nodes lets them sleep: most of them never see a packet."""


def pod_key(pod: Pod) -> str:
    """How `Built.pods` knows a Pod: as its netns is named, also where it uses its node's."""
    return netns_of(pod)


def build(
    cluster: Cluster,
    nodes: Sequence[NodeSpec],
    hosts: Sequence[MachineSpec],
    router: bool | None,
    network: PodNetworkSpec,
    pods: list[Pod],
    workloads: list[Workload],
    services: ServiceNetworkSpec | None = None,
    manifests: Sequence[dict[str, Any]] = (),
) -> Built:
    """Build everything; what is wrong with a manifest is a PodError."""
    built = Built(cluster)
    _machines(built, nodes, hosts, router, network)
    if len(nodes) >= SLEEP_FROM:
        for node in built.nodes.values():
            cluster.sleepers.put(node.net)
    setup(cluster, network, list(built.nodes.values()))
    labels = {name: node.labels for name, node in built.nodes.items()}
    built.store = Store(labels, cluster.world.random["pod-names"])
    things: list[Pod | Workload] = [*pods, *workloads]
    for thing in things:
        change = built.store.apply(thing)
        for pending in change.pending:
            raise PodError(pending.reason, pending.pod, pending.owner, pending.path, f"nodes: {', '.join(labels)}")
        built.carry_out(change)
    if services is not None:
        built.services = ServiceNetwork(cluster, list(built.nodes.values()), services)
        from k8semu.cluster.master import KEPT, Master  # most of a small cluster's start-up otherwise

        built.master = Master(cluster, services.cidr)
        for manifest in manifests:
            if manifest["kind"] in KEPT:
                _apply(built.master, manifest)
        built.watchers = Watchers(cluster)
        built.publish()
        if services.dns_replicas:
            _cluster_dns(built, services)
    return built


def _cluster_dns(built: Built, services: ServiceNetworkSpec) -> None:
    """After the Pods of the users, so that those have the first addresses."""
    from k8semu.kube import addons

    built.master.apply(addons.kube_dns(services.cidr))
    built.carry_out(built.store.apply(read(addons.coredns(services.dns_replicas))))
    built.publish()


def _apply(master: Master, manifest: dict[str, Any]) -> None:
    from k8semu.kube.api.status import ApiError

    try:
        master.apply(manifest)
    except ApiError as error:
        meta = manifest["metadata"]
        key = f"{manifest['kind']} {meta.get('namespace', 'default')}/{meta['name']}"
        causes = (error.details or {}).get("causes") or [{}]
        raise ManifestError(key, error.message, causes[0].get("field", "")) from None


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
        labels = {"kubernetes.io/hostname": spec.name, **spec.labels}
        built.nodes[spec.name] = Node(cluster, spec.name, address, spec.pod_cidr, labels)
        cluster.name(spec.name, address)
    for host in hosts:
        cluster.add_netns(host.name)
        underlay.plug(host.name, host.address)
        underlay.default_route(host.name, host.address)
        address = host.address.partition("/")[0]
        built.hosts[host.name] = Machine(cluster, host.name, host.name, address)
        cluster.name(host.name, address)
