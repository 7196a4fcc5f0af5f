"""Does a scenario make sense? Names, addresses and subnets that do not clash, steps that name what is there.

Raises the ScenarioError of the first thing that does not; the order is that of the file.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec import Struct

from k8semu.errors import InputError, near
from k8semu.kube.addons import own_labels
from k8semu.kube.images import ARGS_ANNOTATION, PROGRAM_ANNOTATION, own_program
from k8semu.kube.objects import PodSpec, Workload, full_name
from k8semu.scenario.check_steps import check_program, check_steps
from k8semu.scenario.convert import WrongValue, convert
from k8semu.wire.addr import IP_ANY, Interface, Prefix, ip_aton, ip_is_loopback, ip_is_multicast, ip_ntoa

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8semu.errors import ScenarioError
    from k8semu.kube.objects import Container
    from k8semu.scenario.load import Loaded

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
DEVICE = re.compile(r"[-_.A-Za-z0-9]{1,15}")
TAKEN = ("lo", "eth", "flannel", "veth", ".", "-")
"""What a bridge cannot be called: other devices of a node."""
NFTABLES_CIDR = "10.96.0.0/16"
"""Of Services, unless another is given, where kube-proxy is in nftables mode."""
ROUTER = "router"
RESERVED = ("underlay", ROUTER)
"""Machines that the network between machines is made of."""


class Subnet(Struct, frozen=True):
    """A range of addresses and what it is for."""

    first: int
    last: int
    network: Prefix
    what: str
    path: str


def as_number(address: bytes) -> int:
    return int.from_bytes(address, "big")


def check(loaded: Loaded) -> None:
    """Raise the error of the first thing that makes no sense."""
    machines = _check_machines(loaded)
    _check_names(loaded, machines)
    _check_api_server(loaded)
    _check_name_server(loaded)
    _check_subnets(loaded)
    _check_sysctls(loaded)
    _check_plugin(loaded)
    _check_pods(loaded, machines)
    _check_volumes(loaded)
    _check_node_ports(loaded)
    check_steps(loaded)


def _check_node_ports(loaded: Loaded) -> None:
    """Where node ports are open. Kubernetes: pkg/proxy/apis/config/validation validateKubeProxyNodePortAddress()"""
    said, path = loaded.scenario.spec.services, "spec.services.nodePortAddresses"
    for number, text in enumerate(said.node_port_addresses):
        if text != "primary":
            network_at(loaded, text, f"{path}[{number}]")
        elif len(said.node_port_addresses) > 1:
            raise loaded.error("primary stands alone", f"{path}[{number}]", "or networks, such as 10.100.0.0/24")
    if said.node_port_addresses and said.proxy_mode == "userspace":
        raise loaded.error("userspace mode opens node ports on all addresses", path, "another proxyMode")


def network_at(loaded: Loaded, text: str, path: str) -> Prefix:
    if text == "default":       # which is one in a route only
        raise loaded.error("'default' is no network", path, "such as 172.17.0.0/16")
    try:
        return Prefix.parse(text)
    except ValueError as error:
        raise loaded.error(f"{text!r} is no network: {error}", path, "such as 172.17.0.0/16") from None


def interface_at(loaded: Loaded, text: str, path: str) -> Interface:
    try:
        iface = Interface.parse(text)
    except ValueError as error:
        raise loaded.error(f"{text!r} is no address: {error}", path, "such as 10.100.0.2/24") from None
    if "/" not in text or iface.plen > 30:
        raise loaded.error(f"{text!r} has no network", path, "such as 10.100.0.2/24")
    ip, network = iface.addr, iface.network
    if ip in (network.addr, network.broadcast):
        raise loaded.error(f"{text!r} is no host address", path, "neither the first nor the last of its network")
    if ip_is_multicast(ip) or ip_is_loopback(ip) or ip == IP_ANY or ip[0] >> 4 == 0xF:
        raise loaded.error(f"{text!r} is no host address", path, "such as 10.100.0.2/24")
    return iface


def _check_machines(loaded: Loaded) -> dict[str, str]:
    """Names and addresses of nodes and hosts; each name with its path."""
    spec = loaded.scenario.spec
    names: dict[str, str] = {}
    addresses: dict[str, str] = {}
    routed = has_router(loaded)
    for path, machine in spec.machine_paths():
        name, address = machine.name, machine.address
        if not NAME.fullmatch(name):
            raise loaded.error(f"{name!r} is no name", f"{path}.name", "small letters, digits and dashes, at most 63")
        if name in RESERVED:
            raise loaded.error(f"{name!r} is taken by the network between machines", f"{path}.name", "another name")
        if name in names:
            raise loaded.error(f"{name!r} is there already", f"{path}.name", f"see {names[name]}")
        iface = interface_at(loaded, address, f"{path}.address")
        ip = ip_ntoa(iface.addr)
        if ip in addresses:
            raise loaded.error(f"{ip} is there already", f"{path}.address", f"{addresses[ip]} has it")
        if routed and as_number(iface.addr) == as_number(iface.network.addr) + 1:
            raise loaded.error(f"{ip} is the router's address", f"{path}.address", f"another of {iface.network}")
        names[name], addresses[ip] = path, name
    return names


def _check_volumes(loaded: Loaded) -> None:
    """Files from Secrets and ConfigMaps: where the control plane is instant."""
    if loaded.scenario.spec.control_plane == "instant":
        return
    owners = [("Pod", pod.metadata, pod.spec) for pod in loaded.pods]
    owners += [(work.kind, work.metadata, work.spec.template.spec) for work in loaded.workloads]
    for kind, meta, spec in owners:
        for i, volume in enumerate(spec.volumes):
            if volume.secret is not None or volume.config_map is not None:
                what = "files from Secrets and ConfigMaps are not modelled where the control plane is on the wire"
                key = f"{kind} {meta.namespace}/{meta.name}"
                raise loaded.manifest_error(key, what, f"spec.volumes[{i}]", "controlPlane: instant")


def _check_names(loaded: Loaded, machines: dict[str, str]) -> None:
    """`spec.names`: names of nobody else, for addresses."""
    for name, address in loaded.scenario.spec.names.items():
        path = "spec.names"
        if not NAME.fullmatch(name):
            raise loaded.error(f"{name!r} is no name", path, "such as shop.example.com")
        if name in machines:
            raise loaded.error(f"{name!r} is a machine's name", path, f"see {machines[name]}")
        try:
            ip_aton(address)
        except ValueError:
            raise loaded.error(f"{address!r} is no address", f"{path}.{name}", "such as 10.100.0.2") from None


def _check_name_server(loaded: Loaded) -> None:
    spec = loaded.scenario.spec
    names = [machine.name for machine in spec.machines()] + ([ROUTER] if has_router(loaded) else [])
    if spec.name_server and spec.name_server not in names:
        raise loaded.error(f"no node or host {spec.name_server!r}", "spec.nameServer", f"there are: {', '.join(names)}")


def _check_api_server(loaded: Loaded) -> None:
    spec = loaded.scenario.spec
    names = [machine.name for machine in spec.machines()]
    if spec.api_server and spec.api_server not in names:
        hint = f"there are: {', '.join(names)}"
        raise loaded.error(f"no node or host {spec.api_server!r}", "spec.apiServer", hint)


def has_services(loaded: Loaded) -> bool:
    """Is there a Service network: a Service in the file or in a step, or a control plane on the wire?"""
    spec = loaded.scenario.spec
    later = (manifest for step in spec.steps for manifest in step.apply or ())
    return spec.control_plane == "wire" or any(m.get("kind") == "Service" for m in (*loaded.manifests, *later))


def has_policies(loaded: Loaded) -> bool:
    """Is there a NetworkPolicy in the file or in a step?"""
    later = (manifest for step in loaded.scenario.spec.steps for manifest in step.apply or ())
    said = [(m.get("apiVersion"), m.get("kind")) for m in (*loaded.manifests, *later)]
    return ("networking.k8s.io/v1", "NetworkPolicy") in said


def enforces_policies(loaded: Loaded) -> bool:
    """Does a controller enforce them? Unless said, as soon as there is one."""
    said = loaded.scenario.spec.network_policy
    return said == "kube-router" or (not said and has_policies(loaded))


def has_router(loaded: Loaded) -> bool:
    """Is there a router between the machines? Where there are Services, nodes need a default route as they have
    anywhere else: a packet to a ClusterIP is routed before it is translated. Unless a machine has the address."""
    spec = loaded.scenario.spec
    if spec.router is not None:
        return spec.router
    networks = {m.address.rpartition("/")[2] and _lan(m.address) for m in spec.machines()}
    if len(networks) > 1 or spec.pod_network.plugin == "routed" or spec.name_server == ROUTER:
        return True
    return has_services(loaded) and all(not _at_routers_address(m.address) for m in spec.machines())


def _at_routers_address(address: str) -> bool:
    try:
        iface = Interface.parse(address)
    except ValueError:
        return False
    return as_number(iface.addr) == as_number(iface.network.addr) + 1


def _lan(address: str) -> str:
    try:
        return str(Interface.parse(address).network)
    except ValueError:
        return address


def _subnet(network: Prefix, what: str, path: str) -> Subnet:
    return Subnet(as_number(network.addr), as_number(network.broadcast), network, what, path)


def _check_subnets(loaded: Loaded) -> None:
    """Pod subnets within the Pod network, and no two ranges that share an address."""
    spec = loaded.scenario.spec
    cidr = network_at(loaded, spec.pod_network.cidr, "spec.podNetwork.cidr")
    pods: list[Subnet] = []
    for i, node in enumerate(spec.nodes):
        path = f"spec.nodes[{i}].podCIDR"
        subnet = network_at(loaded, node.pod_cidr, path)
        if not subnet.subnet_of(cidr):
            raise loaded.error(f"{subnet} is not in the Pod network", path, f"a part of {cidr}")
        if subnet.plen > 30:
            raise loaded.error(f"{subnet} has no room for Pods", path, "at most /30")
        pods.append(_subnet(subnet, f"the Pods of {node.name}", path))
    _no_overlap(loaded, pods)
    service = network_at(loaded, spec.services.cidr, "spec.services.cidr")
    if service.plen > 28:     # Kubernetes: cmd/kubeadm validation ValidateIPNetFromString()
        what = f"{service} has no room for Services: cluster DNS has its eleventh address"
        raise loaded.error(what, "spec.services.cidr", "at most /28")
    ranges = [_subnet(cidr, "the Pod network", "spec.podNetwork.cidr")]
    lans: dict[Prefix, Subnet] = {}
    for path, machine in spec.machine_paths():
        lan = Interface.parse(machine.address).network
        lans.setdefault(lan, _subnet(lan, f"the network of {machine.name}", f"{path}.address"))
    # The usual Service range, 10.96.0.0/12, holds the document's node network: it is only a pool of ClusterIPs.
    _no_overlap(loaded, [*ranges, _subnet(service, "the Services", "spec.services.cidr")])
    for held in lans.values():
        if spec.services.proxy_mode == "nftables" and held.network.overlaps(service):
            what = f"{service} (the Services) overlaps {held.network} ({held.what})"
            hint = f"such as {NFTABLES_CIDR}: in nftables mode kube-proxy drops what goes to an unallocated ClusterIP"
            raise loaded.error(what, "spec.services.cidr", hint)
    _no_overlap(loaded, [*ranges, *lans.values()])


def _no_overlap(loaded: Loaded, subnets: list[Subnet]) -> None:
    """The later one in the file is the one at fault."""
    order = sorted(range(len(subnets)), key=lambda i: (subnets[i].first, subnets[i].last))
    for a, b in pairwise(order):
        if subnets[b].first <= subnets[a].last:
            first, second = subnets[min(a, b)], subnets[max(a, b)]
            what = f"{second.network} ({second.what}) overlaps {first.network} ({first.what})"
            raise loaded.error(what, second.path, "ranges of their own")


def _check_plugin(loaded: Loaded) -> None:
    spec = loaded.scenario.spec
    network = spec.pod_network
    if network.bridge and not DEVICE.fullmatch(network.bridge):
        what = f"{network.bridge!r} is no name of a device"
        raise loaded.error(what, "spec.podNetwork.bridge", "docker0 or cni0; at most 15 characters")
    if network.bridge.startswith(TAKEN):
        raise loaded.error(f"{network.bridge!r} is another device", "spec.podNetwork.bridge", "docker0 or cni0")
    if network.plugin != "flannel" and network.backend != "vxlan":
        what = f"{network.plugin} has no backends"
        raise loaded.error(what, "spec.podNetwork.backend", f"plugin: flannel, which has {network.backend}")
    if network.direct_routing and (network.plugin, network.backend) != ("flannel", "vxlan"):
        what = "there is no tunnel to do without"
        raise loaded.error(what, "spec.podNetwork.directRouting", "plugin: flannel, backend: vxlan")
    if network.plugin == "routed" and spec.router is False:
        raise loaded.error("routed needs a router", "spec.router", "leave it out, or true")
    lans = {_lan(node.address): node.name for node in spec.nodes}
    if network.plugin == "flannel" and network.backend == "host-gw" and len(lans) > 1:
        what = f"host-gw needs all nodes in one network, and {' and '.join(lans.values())} are not"
        raise loaded.error(what, "spec.podNetwork.backend", "vxlan, with directRouting: true where it can be had")
    if network.plugin == "weave" and not network.ip_masq:
        raise loaded.error("weave without masquerading is not modelled", "spec.podNetwork.ipMasq", "true")


def _check_sysctls(loaded: Loaded) -> None:
    """Settings that a node has as soon as it is up, with its eth0."""
    said = loaded.scenario.spec.sysctls
    if not said:
        return
    from k8semu.linux.core.sysctl import DevConf, NeighConf, SysctlTable

    table = SysctlTable()
    table.add_dev("eth0", DevConf(), NeighConf())
    for name, value in said.items():
        try:
            table.set(name, value)
        except InputError as error:
            raise loaded.error(error.what, "spec.sysctls", "such as net.bridge.bridge-nf-call-iptables: 0") from None


def _check_pods(loaded: Loaded, machines: dict[str, str]) -> None:
    labels = {node.name: {**own_labels(node.name), **node.labels} for node in loaded.scenario.spec.nodes}
    for pod in loaded.pods:
        key, name = f"Pod {full_name(pod.metadata)}", pod.metadata.name
        if pod.metadata.namespace == "default" and (name in machines or name in RESERVED):
            where = machines.get(name, "the network between machines")
            raise loaded.manifest_error(key, f"{name!r} is a machine's name", "metadata.name", f"see {where}")
        _check_pod(loaded, key, pod.spec, labels)
        _check_programs(loaded, key, pod.spec, pod.metadata.annotations)
    for work in loaded.workloads:
        _check_pod(loaded, f"{work.kind} {full_name(work.metadata)}", work.spec.template.spec, labels)
        _check_selector(loaded, work)
        template = work.spec.template
        _check_programs(loaded, f"{work.kind} {full_name(work.metadata)}", template.spec, template.metadata.annotations)


def _check_pod(loaded: Loaded, key: str, spec: PodSpec, labels: dict[str, dict[str, str]]) -> None:
    def wrong(what: str, path: str, hint: str) -> ScenarioError:
        return loaded.manifest_error(key, what, path, hint)

    if spec.node_name and spec.node_name not in labels:
        raise wrong(f"no node {spec.node_name!r}", "spec.nodeName", nearest(spec.node_name, list(labels)))
    selector = spec.node_selector.items()
    if selector and not spec.node_name and not any(selector <= have.items() for have in labels.values()):
        shown = ",".join(f"{k}={v}" for k, v in selector)
        raise wrong(f"no node has the labels {shown}", "spec.nodeSelector", "spec.nodes[…].labels, or a Node manifest")
    names: set[str] = set()
    for i, container in enumerate(spec.containers):
        if container.name in names:
            path = f"spec.containers[{i}].name"
            raise wrong(f"container {container.name!r} is there already", path, "names of their own")
        names.add(container.name)
        if container.names_objects:
            _check_env(container, f"spec.containers[{i}]", wrong)
    for i, alias in enumerate(spec.host_aliases):
        _check_typed("HostAlias", alias, f"spec.hostAliases[{i}]", wrong)


def _check_env(container: Container, path: str, wrong: Callable[[str, str, str], ScenarioError]) -> None:
    """The types of what the kubelet reads when it starts the container."""
    for i, variable in enumerate(container.env):
        if variable.value_from is not None:
            _check_typed("EnvSource", variable.value_from, f"{path}.env[{i}].valueFrom", wrong)
    for i, source in enumerate(container.env_from):
        _check_typed("EnvFrom", source, f"{path}.envFrom[{i}]", wrong)


def _check_typed(name: str, value: object, path: str, wrong: Callable[[str, str, str], ScenarioError]) -> None:
    from k8semu.kube.api.shapes import environment  # late: few manifests have any of these

    try:
        convert(value, getattr(environment, name))
    except WrongValue as error:
        raise wrong(error.what, f"{path}{error.path}", error.hint) from None


def _check_programs(loaded: Loaded, key: str, spec: PodSpec, annotations: dict[str, str]) -> None:
    """Programs that annotations name are there, and take the arguments that annotations give."""
    keys = {"function": PROGRAM_ANNOTATION, "args": ARGS_ANNOTATION}

    def wrong(what: str, part: str, hint: str) -> ScenarioError:
        return loaded.manifest_error(key, what, f"metadata.annotations.{keys[part]}", hint)

    for container in spec.containers:
        try:
            own = own_program(container.name, annotations)
        except InputError as error:
            raise wrong(error.what, "args", error.hint) from None
        if own is not None:
            check_program(own.function, own.args, wrong)


def _check_selector(loaded: Loaded, work: Workload) -> None:
    """A selector that does not select the template's Pods is refused, as the API server does."""
    wanted = work.spec.selector.get("matchLabels")
    labels = work.spec.template.metadata.labels
    if isinstance(wanted, dict) and not wanted.items() <= labels.items():
        key = f"{work.kind} {full_name(work.metadata)}"
        raise loaded.error_at(
            loaded.places[key], "selector does not match the template's labels", ".spec.selector",
            f"the template has {labels or 'none'}",
        )  # fmt: skip


def nearest(word: str, known: list[str]) -> str:
    close = near(word, known, 1)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(known[:20])}"
