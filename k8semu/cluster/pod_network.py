"""The Pod network of a cluster: which plugin makes it, and what it tells nodes and router.

    bridge    each node its bridge; nothing leads from node to node
    routed    the same, and a router that knows which node has which Pod subnet
    flannel   host-gw, vxlan or udp
    weave     one layer 2 over all nodes

What a node itself is told waits until it is awake.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from k8semu.cluster.journal import Program
from k8semu.cluster.node import Node
from k8semu.cluster.underlay import ROUTER
from k8semu.cni import flannel
from k8semu.cni.bridge import BridgeConf, BridgePlugin
from k8semu.cni.portmap import PortmapPlugin
from k8semu.cni.runtime import CniRuntime
from k8semu.linux.core.commands import IptablesRestore, RouteAdd, Sysctl
from k8semu.wire.addr import Prefix, ip_aton

if TYPE_CHECKING:
    from k8semu.cluster.cluster import Cluster


class PodNetworkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the scenario says of the Pod network."""

    plugin: str
    backend: str
    bridge: str
    cidr: str
    mtu: int | None
    direct_routing: bool
    hairpin: bool | None = None
    ip_masq: bool = True
    node_mtu: int = 1500


def setup(cluster: Cluster, spec: PodNetworkSpec, nodes: list[Node]) -> None:
    """Bring the Pod network up on all nodes."""
    forward = Sysctl(name="net.ipv4.ip_forward", value=1, origin="the node's set-up")
    for node in nodes:
        cluster.sleepers.later(node.netns_name, partial(cluster.tell, node.netns_name, forward))
    _PLUGINS[spec.plugin](cluster, spec, nodes)


def _masquerade(spec: PodNetworkSpec, node: Node, bridge: str) -> IptablesRestore:
    """Pod to Pod keeps its address; Pod to outside gets the node's. What docker's own rule would do,
    narrowed to destinations outside the Pod network, as every multi-node cluster has to."""
    nat = f"*nat\n-A POSTROUTING -s {node.pod_cidr} ! -d {spec.cidr} ! -o {bridge} -j MASQUERADE\nCOMMIT\n"
    return IptablesRestore(origin=f"masquerade of {node.name}'s Pods", text=(
        f"{nat if spec.ip_masq else ''}"
        "*filter\n"
        f"-A FORWARD -s {spec.cidr} -j ACCEPT\n"
        f"-A FORWARD -d {spec.cidr} -j ACCEPT\n"
        "COMMIT\n"
    ))  # fmt: skip


def _bridge_cni(node: Node, conf: BridgeConf) -> CniRuntime:
    node.cni = CniRuntime(BridgePlugin(node, conf), PortmapPlugin(node, conf.name, conf.bridge))
    return node.cni


def _setup_bridge(cluster: Cluster, spec: PodNetworkSpec, nodes: list[Node]) -> None:
    name = spec.bridge or "docker0"
    for node in nodes:
        conf = BridgeConf(
            name="bridge", bridge=name, subnet=node.pod_cidr, mtu=spec.mtu or spec.node_mtu,
            hairpin_mode=bool(spec.hairpin),
        )  # fmt: skip
        cni = _bridge_cni(node, conf)
        cluster.sleepers.later(node.netns_name, cni.bridge.setup_bridge)
        rules = _masquerade(spec, node, name)
        cluster.sleepers.later(node.netns_name, partial(cluster.tell, node.netns_name, rules))


def _setup_routed(cluster: Cluster, spec: PodNetworkSpec, nodes: list[Node]) -> None:
    _setup_bridge(cluster, spec, nodes)
    for node in nodes:
        cluster.tell(ROUTER, RouteAdd(dst=node.pod_cidr, via=node.address, origin=f"Node {node.name} podCIDR"))


def _setup_flannel(cluster: Cluster, spec: PodNetworkSpec, nodes: list[Node]) -> None:
    conf = flannel.FlannelConf(
        network=spec.cidr, backend=spec.backend, direct_routing=spec.direct_routing, mtu=spec.node_mtu,
        ip_masq=spec.ip_masq,
    )  # fmt: skip
    leases = {
        node.name: flannel.Lease(
            node.name, node.pod_cidr, node.address, flannel.vtep_mac(node) if spec.backend == "vxlan" else ""
        )
        for node in nodes
    }
    bridge = spec.bridge or "docker0"
    for node in nodes:
        lease = leases[node.name]
        node.annotations |= flannel.node_annotations(spec.backend, lease)
        node.files["/run/flannel/subnet.env"] = flannel.subnet_env(conf, lease)
        cluster.sleepers.later(node.netns_name, partial(_flanneld, cluster, conf, node, leases))
        cni = _bridge_cni(node, BridgeConf(
            name="cbr0", bridge=bridge, subnet=node.pod_cidr, mtu=spec.mtu or conf.pod_mtu,
            hairpin_mode=spec.hairpin is not False, routes=(spec.cidr,),
        ))  # fmt: skip
        cluster.sleepers.later(node.netns_name, cni.bridge.setup_bridge)
    if spec.backend == "udp":
        for node in nodes:
            peers = {peer.subnet: peer.public_ip for peer in leases.values() if peer.node != node.name}
            cluster.start(node.netns_name, f"{node.name}/flanneld", Program(
                function="k8semu.apps.flanneld:flanneld",
                args={
                    "tun": "flannel0", "tun_ip": flannel.base_address(node.pod_cidr), "address": node.address,
                    "peers": peers, "ports": [flannel.UDP_PORT],
                },
            ))  # fmt: skip


def _flanneld(cluster: Cluster, conf: flannel.FlannelConf, node: Node, leases: dict[str, flannel.Lease]) -> None:
    """What flanneld tells its node: its own part, and a way to every peer."""
    cluster.tell_all(node.netns_name, flannel.node_up(conf, leases[node.name]))
    for peer in leases.values():
        if peer.node != node.name:
            cluster.tell_all(node.netns_name, flannel.peer_added(conf, peer, _on_link(node, peer.public_ip)))


def _on_link(node: Node, address: str) -> bool:
    """Is another node's address in this node's own network?"""
    return any(ip_aton(address) in own.iface.network for own in node.net.devs["eth0"].addresses)


def _setup_weave(cluster: Cluster, spec: PodNetworkSpec, nodes: list[Node]) -> None:
    from k8semu.cni import weave

    shorts = weave.short_ids([node.name for node in nodes])
    plen = Prefix.parse(spec.cidr).plen
    for node in nodes:
        start = partial(cluster.tell_all, node.netns_name, weave.node_up(node.name, spec.cidr))
        cluster.sleepers.later(node.netns_name, start)
        conf = BridgeConf(
            name="weave", bridge=weave.BRIDGE, subnet=node.pod_cidr, mtu=spec.mtu or weave.MTU,
            hairpin_mode=spec.hairpin is not False, address_plen=plen,
        )  # fmt: skip
        cni = _bridge_cni(node, conf)
        cluster.sleepers.later(node.netns_name, cni.bridge.setup_bridge)
    for node in nodes:
        peers = {peer.address: shorts[peer.name] for peer in nodes if peer is not node}
        cluster.start(node.netns_name, f"{node.name}/weaver", Program(
            function="k8semu.apps.weaver:weaver",
            args={
                "device": weave.DATAPATH, "address": node.address, "own_short": shorts[node.name], "peers": peers,
                "ports": [weave.UDP_PORT],
            },
        ))  # fmt: skip


_PLUGINS = {"bridge": _setup_bridge, "routed": _setup_routed, "flannel": _setup_flannel, "weave": _setup_weave}


