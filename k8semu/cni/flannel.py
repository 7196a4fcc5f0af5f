"""flannel: how the Pod subnets of nodes reach each other, as flanneld programs it.

    vxlan     172.17.1.0/24 via 172.17.1.0 dev flannel.1 onlink; neighbour and FDB entry per node
    host-gw   172.17.1.0/24 via 10.100.0.3 dev eth0
    udp       172.17.0.0/16 dev flannel0, a tun device that flanneld reads and carries over UDP 8285

Kubernetes: flannel-io/flannel pkg/backend/{vxlan,hostgw,udp}, pkg/trafficmngr/iptables
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from k8semu.cni.node import Node
from k8semu.linux.core.commands import (
    AddrAdd,
    Command,
    FdbAdd,
    FdbDel,
    IptablesRestore,
    LinkSet,
    NeighAdd,
    NeighDel,
    RouteAdd,
    RouteDel,
    TunAdd,
    VxlanAdd,
)
from k8semu.linux.core.etherdevice import eth_random_addr
from k8semu.wire.addr import Prefix, ip_ntoa, mac_ntoa

VNI = 1
VXLAN_PORT = 8472
UDP_PORT = 8285
VXLAN_OVERHEAD = 50
UDP_OVERHEAD = 28


class Lease(msgspec.Struct, frozen=True):
    """A node's subnet, as every flanneld learns it from the API server. Kubernetes: pkg/lease/lease.go."""

    node: str
    subnet: str
    public_ip: str
    vtep_mac: str = ""


ANNOTATION = "flannel.alpha.coreos.com"


def node_annotations(backend: str, lease: Lease) -> dict[str, str]:
    """What flanneld writes on its Node, so that the others know the lease; the udp backend names no type.

    Kubernetes: pkg/subnet/kube/kube.go AcquireLease()
    """
    vxlan = f'{{"VNI":{VNI},"VtepMAC":"{lease.vtep_mac}"}}' if backend == "vxlan" else "null"
    return {
        f"{ANNOTATION}/backend-data": vxlan,
        f"{ANNOTATION}/backend-type": backend if backend != "udp" else "",
        f"{ANNOTATION}/kube-subnet-manager": "true",
        f"{ANNOTATION}/public-ip": lease.public_ip,
    }


def lease_of(node: str, pod_cidr: str, written: Mapping[str, str]) -> Lease | None:
    """The lease that a Node's annotations tell; None where flanneld has written none.

    Kubernetes: pkg/subnet/kube/kube.go nodeToLease()
    """
    if written.get(f"{ANNOTATION}/kube-subnet-manager") != "true":
        return None
    data = msgspec.json.decode(written[f"{ANNOTATION}/backend-data"]) or {}
    return Lease(node, pod_cidr, written[f"{ANNOTATION}/public-ip"], data.get("VtepMAC", ""))


class FlannelConf(msgspec.Struct, frozen=True, kw_only=True):
    """net-conf.json: the network and the backend."""

    network: str
    backend: str = "vxlan"
    direct_routing: bool = False
    mtu: int = 1500
    """The MTU of the nodes' own network."""
    ip_masq: bool = True
    """flanneld --ip-masq: Pods appear outside under their node's address."""

    @property
    def pod_mtu(self) -> int:
        """FLANNEL_MTU in /run/flannel/subnet.env."""
        if self.backend == "vxlan":
            return self.mtu - VXLAN_OVERHEAD
        return self.mtu - UDP_OVERHEAD if self.backend == "udp" else self.mtu


def subnet_env(conf: FlannelConf, lease: Lease) -> str:
    """/run/flannel/subnet.env, from which the CNI plugin learns what to do."""
    gateway = first_address(lease.subnet)
    plen = lease.subnet.partition("/")[2]
    return (
        f"FLANNEL_NETWORK={conf.network}\nFLANNEL_SUBNET={gateway}/{plen}\n"
        f"FLANNEL_MTU={conf.pod_mtu}\nFLANNEL_IPMASQ={str(conf.ip_masq).lower()}\n"
    )


def first_address(subnet: str) -> str:
    """The gateway of a node's subnet: its first address."""
    prefix = Prefix.parse(subnet)
    return ip_ntoa((int.from_bytes(prefix.addr, "big") + 1).to_bytes(4, "big"))


def base_address(subnet: str) -> str:
    """The address of flannel.1 or flannel0: the subnet's own."""
    return subnet.partition("/")[0]


def vtep_mac(node: Node) -> str:
    """A random MAC, kept across restarts in the node's annotation."""
    return mac_ntoa(eth_random_addr(node.random("flannel-vtep")))


def masquerade_rules(conf: FlannelConf, subnet: str) -> str:
    """FLANNEL-POSTRTG and FLANNEL-FWD. Kubernetes: pkg/trafficmngr/iptables/iptables.go."""
    say = '-m comment --comment "flanneld masq"'
    net = conf.network
    forward = (
        "*filter\n:FLANNEL-FWD - [0:0]\n"
        '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD\n'
        f'-A FLANNEL-FWD -s {net} -m comment --comment "flanneld forward" -j ACCEPT\n'
        f'-A FLANNEL-FWD -d {net} -m comment --comment "flanneld forward" -j ACCEPT\n'
        "COMMIT\n"
    )
    if not conf.ip_masq:
        return forward
    return (
        f"{forward}"
        "*nat\n:FLANNEL-POSTRTG - [0:0]\n"
        f"-A POSTROUTING {say} -j FLANNEL-POSTRTG\n"
        f"-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 {say} -j RETURN\n"
        f"-A FLANNEL-POSTRTG -s {subnet} -d {net} {say} -j RETURN\n"
        f"-A FLANNEL-POSTRTG -s {net} -d {subnet} {say} -j RETURN\n"
        f"-A FLANNEL-POSTRTG ! -s {net} -d {subnet} {say} -j RETURN\n"
        f"-A FLANNEL-POSTRTG -s {net} ! -d 224.0.0.0/4 {say} -j MASQUERADE --random-fully\n"
        f"-A FLANNEL-POSTRTG ! -s {net} -d {net} {say} -j MASQUERADE --random-fully\n"
        "COMMIT\n"
    )


def node_up(conf: FlannelConf, lease: Lease, dev: str = "eth0") -> list[Command]:
    """What flanneld tells its own node when it starts."""
    why = "flanneld"
    commands: list[Command] = []
    if conf.backend == "vxlan":
        name = f"flannel.{VNI}"
        commands += [
            VxlanAdd(
                name=name, vni=VNI, dstport=VXLAN_PORT, local=lease.public_ip, dev=dev, learning=False,
                address=lease.vtep_mac, mtu=conf.pod_mtu, origin=why,
            ),
            AddrAdd(dev=name, address=f"{base_address(lease.subnet)}/32", broadcast="", origin=why),
            LinkSet(name=name, up=True, origin=why),
        ]  # fmt: skip
    elif conf.backend == "udp":
        commands += [
            TunAdd(name="flannel0", mtu=conf.pod_mtu, origin=why),
            LinkSet(name="flannel0", mtu=conf.pod_mtu, origin=why),
            AddrAdd(dev="flannel0", address=f"{base_address(lease.subnet)}/32", broadcast="", origin=why),
            LinkSet(name="flannel0", up=True, origin=why),
            RouteAdd(dst=conf.network, dev="flannel0", origin=why),
        ]
    commands.append(IptablesRestore(text=masquerade_rules(conf, lease.subnet), origin=why))
    return commands


def _is_direct(conf: FlannelConf, same_network: bool) -> bool:
    return conf.backend == "host-gw" or (conf.backend == "vxlan" and conf.direct_routing and same_network)


def peer_added(conf: FlannelConf, peer: Lease, same_network: bool) -> list[Command]:
    """What flanneld tells its node about another one, in flanneld's order."""
    why = f"flanneld: Node {peer.node} {peer.subnet}"
    if _is_direct(conf, same_network):
        again = conf.backend == "vxlan"
        return [RouteAdd(dst=peer.subnet, via=peer.public_ip, dev="eth0", replace=again, origin=why)]
    if conf.backend == "vxlan":
        name, gateway = f"flannel.{VNI}", base_address(peer.subnet)
        return [
            NeighAdd(dev=name, address=gateway, lladdr=peer.vtep_mac, origin=why),
            FdbAdd(dev=name, mac=peer.vtep_mac, dst=peer.public_ip, origin=why),
            RouteAdd(dst=peer.subnet, via=gateway, dev=name, onlink=True, replace=True, origin=why),
        ]
    return []


def peer_removed(conf: FlannelConf, peer: Lease, same_network: bool) -> list[Command]:
    """What flanneld tells its node when another one is gone: as when it came, in the same order.

    Kubernetes: pkg/backend/vxlan/vxlan_network.go handleSubnetEvents(), pkg/backend/route_network.go
    """
    why = f"flanneld: Node {peer.node} is gone"
    if _is_direct(conf, same_network):
        return [RouteDel(dst=peer.subnet, via=peer.public_ip, dev="eth0", origin=why)]
    if conf.backend == "vxlan":
        name, gateway = f"flannel.{VNI}", base_address(peer.subnet)
        return [
            NeighDel(dev=name, address=gateway, origin=why),
            FdbDel(dev=name, mac=peer.vtep_mac, dst=peer.public_ip, origin=why),
            RouteDel(dst=peer.subnet, via=gateway, dev=name, origin=why),
        ]
    return []
