"""A whole cluster from a scenario's specification and manifests.

    underlay, router ─▶ hosts, nodes ─▶ Pod network ─▶ Pods (scheduled, plugged in, started)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from k8semu.cluster.cluster import Cluster, Process
from k8semu.cluster.journal import Program
from k8semu.cluster.kubelet import PodMachine
from k8semu.cluster.kubelets import Kubelets
from k8semu.cluster.master import Master
from k8semu.cluster.node import Machine, Node
from k8semu.cluster.pod_network import PodNetworkSpec, setup
from k8semu.cluster.underlay import ROUTER, UNDERLAY, Underlay
from k8semu.errors import CniError, ContainerConfigError, MountError, SandboxError, ScenarioError
from k8semu.kube import addons
from k8semu.kube.api.cache import controller_of
from k8semu.kube.api.conditions import condition
from k8semu.kube.api.resources import BY_KIND
from k8semu.kube.api.status import ApiError
from k8semu.kube.controllers.scheduler import NOT_SELECTED, PORTS_TAKEN
from k8semu.kube.images import ingress_controller_of
from k8semu.kube.objects import WORKLOADS
from k8semu.linux.core.commands import Sysctl
from k8semu.wire.addr import Interface, Prefix, ip_aton

if TYPE_CHECKING:
    from k8semu.cluster.cloud import CloudMachine
    from k8semu.cluster.service_network import ServiceNetwork, ServiceNetworkSpec
    from k8semu.kube.cloud import CloudSpec

SERVICE_CIDR = "10.96.0.0/12"


class ManifestError(ScenarioError):
    """Something is wrong with a manifest. `key` names it (``Pod default/web``, ``Deployment default/account``)."""

    def __init__(self, key: str, what: str, path: str, hint: str = "") -> None:
        super().__init__(what, path=path, hint=hint)
        self.key = key


class MachineSpec(Protocol):
    """A node or host as the scenario names it."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...


class HostSpec(MachineSpec, Protocol):
    @property
    def files(self) -> dict[str, str]: ...


class NodeSpec(MachineSpec, Protocol):
    @property
    def pod_cidr(self) -> str: ...
    @property
    def labels(self) -> dict[str, str]: ...


class NameServer(NamedTuple):
    """A DNS server outside of the cluster: the machine it is on, and the names that it knows."""

    machine: str
    names: dict[str, str]


class Built:
    """A cluster with its machines by name."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.nodes: dict[str, Node] = {}
        self.hosts: dict[str, Machine] = {}
        self.pods: dict[str, PodMachine] = {}
        self.underlay = Underlay(cluster)
        self.services: ServiceNetwork | None = None
        self.api: Machine | None = None     # where an API server listens
        self.jobs: dict[str, Process] = {}  # what steps left running in the background, by the step's name
        self.cloud: CloudMachine | None = None
        self.master: Master

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

    @property
    def has_ingresses(self) -> bool:
        return any(True for _ in self.master.registry.list("ingresses"))

    def names(self) -> dict[bytes, str]:
        """Addresses and whose they are: for a capture's name records."""
        names: dict[bytes, str] = {}
        for machine in [*self.nodes.values(), *self.hosts.values(), *self.pods.values()]:
            if machine.address:
                names.setdefault(ip_aton(machine.address), machine.hostname)
        for service in self.services.services.values() if self.services is not None else ():
            if (address := service.spec.cluster_ip) not in ("", "None"):
                names.setdefault(ip_aton(address), service.metadata.name)
            for way in service.status.load_balancer.ingress:
                if way.ip:
                    names.setdefault(Interface.parse(way.ip).addr, service.metadata.name)
        for told in self.cloud.spec.listeners if self.cloud is not None else ():
            names.setdefault(Interface.parse(told.address).addr, told.name)
        return names


AT_FAULT = {PORTS_TAKEN: "spec.containers", NOT_SELECTED: "spec.nodeSelector", MountError.WORDS: "spec.volumes",
            ContainerConfigError.REASON: "spec.containers", SandboxError.WORDS: "spec.setHostnameAsFQDN"}  # fmt: skip
"""What the scheduler says, and what is at fault in the Pod's manifest."""
NO_SYSCTLS: Mapping[str, int | str] = {}
BOOT = "the scenario's sysctls"
SLEEP_FROM = 100
"""A cluster of so many nodes lets them sleep: most of them never see a packet."""


def build(
    cluster: Cluster,
    nodes: Sequence[NodeSpec],
    hosts: Sequence[HostSpec],
    router: bool | None,
    network: PodNetworkSpec,
    manifests: Sequence[dict[str, Any]] = (),
    services: ServiceNetworkSpec | None = None,
    api: str = "",
    wire: bool = False,
    cloud: CloudSpec | None = None,
    name_server: NameServer | None = None,
    enforced: bool = False,
    sysctls: Mapping[str, int | str] = NO_SYSCTLS,
) -> Built:
    """Build everything; what is wrong with a manifest is a ManifestError.

    `api`: the machine on which an API server listens; `wire`: the control plane talks to it over the node network.
    `cloud`: who serves Services of type LoadBalancer, with a machine that is one of `hosts`.
    `name_server`: whom CoreDNS asks for what is not the cluster's. `enforced`: NetworkPolicies are.
    `sysctls`: what every node's kernel is told at its boot.
    """
    built = Built(cluster)
    _machines(built, nodes, hosts, router, network)
    for node in nodes:
        cluster.tell_all(node.name, [Sysctl(name=key, value=value, origin=BOOT) for key, value in sysctls.items()])
    if name_server is not None:
        _name_server(built, name_server, [*nodes, *hosts])
    if len(nodes) >= SLEEP_FROM:
        for node in built.nodes.values():
            cluster.sleepers.put(node.net)
    cluster.keeps_logs = bool(api)
    if api in built.nodes:
        _control_plane(built.nodes[api])
    setup(cluster, network, list(built.nodes.values()))
    cidr = services.cidr if services is not None else SERVICE_CIDR
    master = built.master = Master(cluster, built.nodes, cidr, instant=not wire)
    if api and not wire:
        from k8semu.cluster.recorder import Recorder

        master.plane.on_settled.insert(0, Recorder(master.registry, cluster.clock).write)
    if services is not None and services.dns_replicas:
        cluster.dns_runs, cluster.dns_servers = True, (addons.dns_address(services.cidr),)
    if services is not None:
        from k8semu.cluster.service_network import ServiceNetwork

        built.services = ServiceNetwork(cluster, list(built.nodes.values()), services)
        master.attach(built.services)
    if enforced:
        from k8semu.cluster.policy_network import PolicyNetwork

        master.enforce(PolicyNetwork(cluster, [] if wire else list(built.nodes.values()), cidr))
    _ingresses(master, manifests)
    _check_reserved(manifests, services, bool(api))
    for manifest in manifests:
        _apply(master, manifest)
    master.settle()
    if master.kubelets is not None:
        built.pods = master.kubelets.machines
        _check_pods(master, master.kubelets)
    if services is not None:
        if api and not wire:
            from k8semu.kube.api.bootstrap import publish_api_server

            publish_api_server(master.registry, services.cidr, [built.machine(api).address])
        if wire:
            _on_the_wire(built, built.machine(api), services, enforced)
        if services.dns_replicas:
            _cluster_dns(master, services)
    if api:
        from k8semu.kube.controllers.endpoints import EndpointsController

        master.plane.add(EndpointsController(master.registry.caches, cluster.clock))
        master.settle()
        built.api = built.machine(api)
        if master.kubelets is not None:
            start_api_server(cluster, built.api)
            _kubelet_servers(built, master.kubelets)
    if cloud is not None:
        _cloud(built, cloud)
    return built


def _name_server(built: Built, spec: NameServer, machines: Sequence[MachineSpec]) -> None:
    """Start it, and have all machines' resolv.conf name it, by the address that is in their network if it is the
    router."""
    server = built.machine(spec.machine)
    program = Program(function="k8semu.apps.name_server:name_server", args={"names": dict(spec.names)})
    built.cluster.start(server.netns_name, f"{server.netns_name}/named", program)
    for machine in machines:
        gateway = built.underlay.gateways.get(Interface.parse(machine.address).network, "")
        address = gateway if spec.machine == ROUTER else server.address
        built.machine(machine.name).files["/etc/resolv.conf"] = f"nameserver {address}\n"


CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
"""Label and taint of the API server's node. Kubernetes: cmd/kubeadm/app/phases/markcontrolplane"""


NO_LOAD_BALANCER = "node.kubernetes.io/exclude-from-external-load-balancers"


def _control_plane(node: Node) -> None:
    node.labels = {**node.labels, CONTROL_PLANE: "", NO_LOAD_BALANCER: ""}
    node.taints = [{"key": CONTROL_PLANE, "effect": "NoSchedule"}]


def _kubelet_servers(built: Built, kubelets: Kubelets) -> None:
    from k8semu.cluster.kubelet_servers import KubeletServers

    servers = KubeletServers(built.cluster, built.nodes.values(), built.pods)
    kubelets.on_pod.append(servers.tell)


def start_api_server(cluster: Cluster, machine: Machine) -> None:
    """An API server that follows the Master, on `machine`."""
    from k8semu.kube.api.mirror import KINDS

    pid = f"{machine.netns_name}/kube-apiserver"
    program = Program(function="k8semu.kube.api.mirror:apiserver", args={"seed": cluster.world.random.seed})
    cluster.start(machine.netns_name, pid, program)
    assert cluster.on_watch is not None
    cluster.on_watch(pid, KINDS)


def _cloud(built: Built, spec: CloudSpec) -> None:
    """Load balancers outside the cluster, on a machine between the public network and the nodes'."""
    from k8semu.cluster.cloud import CloudMachine
    from k8semu.kube.controllers.service_lb import ServiceController

    machine = built.hosts[spec.machine]
    dev = built.underlay.plug(spec.machine, spec.inside) if spec.inside else "eth0"
    cloud = built.cloud = CloudMachine(built.cluster, machine, dev, spec)
    cloud.start()
    plane = built.master.plane
    plane.add(ServiceController(built.master.registry.caches, built.cluster.clock, cloud))
    built.master.settle()


def _on_the_wire(built: Built, host: Machine, services: ServiceNetworkSpec, enforced: bool) -> None:
    """Components that talk to each other over the node network."""
    from k8semu.cluster.wire import Wire
    from k8semu.kube.api.bootstrap import publish_api_server
    cluster, master = built.cluster, built.master
    if not cluster.compared:
        cluster.api_url = f"http://{addons.api_address(services.cidr)}:443"
    publish_api_server(master.registry, services.cidr, [host.address])
    master.settle()
    components = Wire(cluster, master, host, built.nodes, services, enforced)
    built.pods = components.machines
    components.start()


def _cluster_dns(master: Master, services: ServiceNetworkSpec) -> None:
    """After the Pods of the users, so that those have the first addresses."""
    master.create(addons.kube_dns(services.cidr))
    master.create(addons.coredns(services.dns_replicas))
    master.settle()


def _ingresses(master: Master, manifests: Sequence[dict[str, Any]]) -> None:
    """Where a file has a controller and no IngressClass, its usual class is there, as its installation brings it.
    And it says on each Ingress where that can be reached."""
    controller = _ingress_controller(manifests)
    if controller is None:
        return
    if all(manifest["kind"] != "IngressClass" for manifest in manifests):
        master.create(addons.ingress_class(controller))
    from k8semu.kube.controllers.ingress_status import IngressStatusController

    master.plane.add(IngressStatusController(master.registry.caches, master.clock))


def _ingress_controller(manifests: Sequence[dict[str, Any]]) -> str | None:
    """What the classes of the first Ingress controller of a file name; None without one."""
    for manifest in manifests:
        if manifest["kind"] not in ("Pod", *WORKLOADS):     # of any other kind, nobody knows what its fields hold
            continue
        spec = manifest.get("spec") or {}
        spec = (spec.get("template") or {}).get("spec") or spec
        for container in spec.get("containers") or []:
            controller = ingress_controller_of(container.get("image") or "")
            if controller is not None:
                return controller
    return None


def _check_reserved(manifests: Sequence[dict[str, Any]], services: ServiceNetworkSpec | None, api: bool) -> None:
    """No Service may have an address that one of the cluster's own has, in the words of the API server."""
    if services is None:
        return
    own = {addons.dns_address(services.cidr): "kube-dns"} if services.dns_replicas else {}
    if api:
        own[addons.api_address(services.cidr)] = "kubernetes"
    for manifest in manifests:
        spec, meta = manifest.get("spec") or {}, manifest["metadata"]
        if manifest["kind"] != "Service" or (address := spec.get("clusterIP")) not in own:
            continue
        what = (
            f'Service "{meta["name"]}" is invalid: spec.clusterIPs: Invalid value: ["{address}"]: '
            f"failed to allocate IP {address}: provided IP is already allocated"
        )
        key = f"Service {meta.get('namespace', 'default')}/{meta['name']}"
        raise ManifestError(key, what, "spec.clusterIP", f"Service {own[address]} has it")


def _apply(master: Master, manifest: dict[str, Any]) -> None:
    try:
        master.apply(manifest)
    except ApiError as error:
        meta = manifest["metadata"]
        key = f"{manifest['kind']} {meta.get('namespace', 'default')}/{meta['name']}"
        causes = (error.details or {}).get("causes") or [{}]
        raise ManifestError(key, error.message, causes[0].get("field", "")) from None


def _check_pods(master: Master, kubelets: Kubelets) -> None:
    """Every Pod of the file has to run; ManifestError says which cannot, and why."""
    for pod in master.registry.list("pods"):
        meta = pod["metadata"]
        error = kubelets.failed.get((meta["namespace"], meta["name"]))
        if error is not None:
            why, hint = error.what, error.hint
            if isinstance(error, ContainerConfigError):
                why = f"{error.REASON}: {why}"
            elif isinstance(error, CniError):
                why, hint = f"CNI error {error.code}: {error.msg}", f"node {pod['spec']['nodeName']}"
        elif not pod["spec"].get("nodeName"):
            held = condition(pod, "PodScheduled") or {}
            why, hint = held.get("message", "no node takes it"), f"nodes: {', '.join(kubelets.nodes)}"
        else:
            continue
        maker = _maker(master, pod)
        path = next((path for said, path in AT_FAULT.items() if said in why), "")
        if path and not maker.startswith("Pod "):
            path = f"spec.template.{path}"
        raise ManifestError(maker, f"Pod {meta['name']}: {why}", path, hint)


def _maker(master: Master, pod: dict[str, Any]) -> str:
    """The manifest that a Pod comes from: its own, or that of the workload at the top of its owners."""
    obj, kind = pod, "Pod"
    while (owner := controller_of(obj)) is not None:
        kind = owner["kind"]
        plural = BY_KIND[owner["apiVersion"], kind].plural
        obj = master.registry.get(plural, obj["metadata"]["namespace"], owner["name"])
    return f"{kind} {obj['metadata']['namespace']}/{obj['metadata']['name']}"


def _machines(
    built: Built, nodes: Sequence[NodeSpec], hosts: Sequence[HostSpec], router: bool | None, network: PodNetworkSpec
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
        labels = {**addons.own_labels(spec.name), **spec.labels}
        built.nodes[spec.name] = Node(cluster, spec.name, address, spec.pod_cidr, labels)
        cluster.name(spec.name, address)
    for host in hosts:
        cluster.add_netns(host.name)
        underlay.plug(host.name, host.address)
        underlay.default_route(host.name, host.address)
        address = host.address.partition("/")[0]
        outside = built.hosts[host.name] = Machine(cluster, host.name, host.name, address)
        outside.files.update(host.files)
        cluster.name(host.name, address)
