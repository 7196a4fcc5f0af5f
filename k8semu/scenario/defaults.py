"""What a scenario file may leave out: nodes, their Pod subnets, the Service network, a machine for the API server.

Raises the ScenarioError of what cannot be filled in.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from k8semu.kube.objects import NodeObject, full_name
from k8semu.scenario.check import NFTABLES_CIDR, as_number, check, interface_at, nearest, network_at
from k8semu.scenario.model import HostSpec, NodeSpec, Step
from k8semu.wire.addr import Interface, Prefix, ip_aton

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8semu.scenario.load import Loaded

DEFAULT_NODES = (("host1", "10.100.0.2/24"), ("host2", "10.100.0.3/24"))
DEFAULT_PLEN = 24
MASTER_AT = 10
"""Which address of the nodes' network the Master has."""
SERVICE_CIDR = "10.96.0.0/12"
API_PORT = r"://[^/:]+:6443(/|$)"
MASTER = "master"
"""The machine of the API server, unless another is named."""


def default_nodes(loaded: Loaded) -> None:
    """Nodes from Node manifests, or the usual two; a Pod subnet for each that has none."""
    spec = loaded.scenario.spec
    objects = [thing for thing in loaded.objects if isinstance(thing, NodeObject)]
    if not spec.nodes:
        spec.nodes = [_node_of(loaded, thing, i) for i, thing in enumerate(objects)] or [
            NodeSpec(name=name, address=address) for name, address in DEFAULT_NODES
        ]
    if spec.control_plane == "wire" or any(map(runs_kubectl, spec.steps)):
        need_api_server(loaded)
    named = {node.name: node for node in spec.nodes}
    for thing in objects:
        if thing.metadata.name not in named:
            path, hint = "metadata.name", nearest(thing.metadata.name, list(named))
            raise loaded.manifest_error(_key(thing), f"no node {thing.metadata.name!r} in spec.nodes", path, hint)
        node = named[thing.metadata.name]
        node.labels = {**thing.metadata.labels, **node.labels}
        node.pod_cidr = node.pod_cidr or thing.spec.pod_cidr
    _pod_cidrs(loaded)
    services = spec.services
    services.cidr = services.cidr or (NFTABLES_CIDR if services.proxy_mode == "nftables" else SERVICE_CIDR)


def runs_kubectl(step: Step) -> bool:
    """Or asks the API server by itself."""
    if step.kubectl is not None:
        return True
    return asks_api(step.exec.command.split() if step.exec else [step.http.url] if step.http else [])


def asks_api(words: Sequence[str]) -> bool:
    """Does a command need an API server: kubectl, or one that names its port, as in `curl http://master:6443/api`?"""
    return words[:1] == ["kubectl"] or any("6443" in word and re.search(API_PORT, word) for word in words)


def need_api_server(loaded: Loaded) -> None:
    """Have a machine for the API server: on the wire a host, else a node, so that it can reach Pods."""
    spec = loaded.scenario.spec
    spec.api_server = spec.api_server or MASTER
    if spec.api_server != MASTER or any(machine.name == MASTER for machine in spec.machines()):
        return
    lan = interface_at(loaded, spec.nodes[0].address, "spec.nodes[0].address").network
    if 1 << 32 - lan.plen < MASTER_AT + 2:
        what, hint = f"{lan} has no room for the Master", "at most /28, or a host `master` in spec.hosts"
        raise loaded.error(what, "spec.nodes[0].address", hint)
    address = str(Interface(_address(as_number(lan.addr) + MASTER_AT), lan.plen))
    if spec.control_plane == "wire":
        spec.hosts.append(HostSpec(name=MASTER, address=address))
    else:
        spec.nodes.append(NodeSpec(name=MASTER, address=address))


def add_api_server(loaded: Loaded) -> None:
    """Give a scenario that was checked an API server, if it has none."""
    if not loaded.scenario.spec.api_server:
        need_api_server(loaded)
        _pod_cidrs(loaded)
        check(loaded)


def _key(thing: NodeObject) -> str:
    return f"{thing.kind} {full_name(thing.metadata)}"


def _node_of(loaded: Loaded, thing: NodeObject, number: int) -> NodeSpec:
    address = thing.internal_ip() or f"10.100.0.{number + 2}"
    try:
        ip_aton(address)
    except ValueError:
        place = loaded.places[_key(thing)]
        raise loaded.error_at(place, f"{address!r} is no address", ".status.addresses", "such as 10.100.0.2") from None
    return NodeSpec(name=thing.metadata.name, address=f"{address}/{DEFAULT_PLEN}")


def _pod_cidrs(loaded: Loaded) -> None:
    """A /24 of the Pod network for each node that names none: the first that is free."""
    spec = loaded.scenario.spec
    cidr = network_at(loaded, spec.pod_network.cidr, "spec.podNetwork.cidr")
    taken = [network_at(loaded, n.pod_cidr, f"spec.nodes[{i}].podCIDR") for i, n in enumerate(spec.nodes) if n.pod_cidr]
    held = {as_number(net.addr) >> 8 for net in taken if net.plen >= 24}
    wide = [net for net in taken if net.plen < 24]
    start, count = as_number(cidr.addr) >> 8, (1 << 32 - cidr.plen) >> 8
    free = (number for number in range(start, start + count) if number not in held)
    for i, node in enumerate(spec.nodes):
        if node.pod_cidr:
            continue
        found = next((n for n in free if not any(_address(n << 8) in net for net in wide)), None)
        if found is None:
            what = f"{cidr} has no /24 left for the Pods of {node.name}"
            raise loaded.error(what, f"spec.nodes[{i}]", "a larger podNetwork.cidr, or a podCIDR for each node")
        node.pod_cidr = f"{Prefix(_address(found << 8), 24)}"


def _address(address: int) -> bytes:
    return address.to_bytes(4, "big")
