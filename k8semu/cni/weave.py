"""weave: one flat layer 2 over all nodes.

    Pod eth0 ── weave (bridge) ── vethwe-bridge ╌╌ vethwe-datapath ─▶ weaver ─▶ UDP 6784 ─▶ other nodes

Every Pod sees the whole network as on link; the weaver carries frames between the nodes' bridges
and learns which MAC is behind which peer.

Kubernetes: weaveworks/weave router/fastdp.go, net/bridge.go, ipam
Differs: the datapath is a program (`k8semu.apps.weaver`) instead of Open vSwitch, so each frame
crosses into user space; the gossip between peers and its heartbeats are not modelled.
"""

from __future__ import annotations

import hashlib

from k8semu.linux.core.commands import BridgeAdd, Command, IptablesRestore, LinkSet, Sysctl, VethAdd
from k8semu.wire.addr import mac_ntoa

BRIDGE = "weave"
DATAPATH = "vethwe-datapath"
PORT = "vethwe-bridge"
UDP_PORT = 6784
MTU = 1376


def peer_name(node: str) -> bytes:
    """A peer's name is a MAC: here made of the node's name."""
    digest = hashlib.sha256(node.encode()).digest()
    return bytes([digest[0] & 0xFC | 0x02]) + digest[1:6]


def short_ids(nodes: list[str]) -> dict[str, int]:
    """The 12-bit short names that stand in the VNI, each its own."""
    taken: dict[int, str] = {}
    for node in nodes:
        short = int.from_bytes(peer_name(node)[:2], "big") & 0xFFF
        while short in taken:
            short = (short + 1) & 0xFFF
        taken[short] = node
    return {node: short for short, node in taken.items()}


def node_up(node: str, network: str) -> list[Command]:
    """What weave tells its node when it starts: bridge, datapath link, rules."""
    why = "weaver"
    mac = mac_ntoa(peer_name(node))
    return [
        BridgeAdd(name=BRIDGE, address=mac, mtu=MTU, origin=why),
        VethAdd(
            name=PORT, peer=DATAPATH, mtu=MTU, origin=why,
            address=mac_ntoa(bytes([0x02, 1]) + peer_name(node)[2:]),
            peer_address=mac_ntoa(bytes([0x02, 2]) + peer_name(node)[2:]),
        ),
        LinkSet(name=PORT, master=BRIDGE, up=True, origin=why),
        Sysctl(name=f"net.ipv4.conf.{DATAPATH}.arp_ignore", value=8, origin=why),
        LinkSet(name=DATAPATH, up=True, origin=why),
        LinkSet(name=BRIDGE, up=True, origin=why),
        Sysctl(name="net.ipv4.ip_forward", value=1, origin=why),
        IptablesRestore(origin=why, text=(
            "*nat\n:WEAVE - [0:0]\n"
            "-A POSTROUTING -j WEAVE\n"
            f"-A WEAVE -s {network} -d 224.0.0.0/4 -j RETURN\n"
            f"-A WEAVE ! -s {network} -d {network} -j MASQUERADE\n"
            f"-A WEAVE -s {network} ! -d {network} -j MASQUERADE\n"
            "COMMIT\n"
            "*filter\n"
            "-A FORWARD -i weave ! -o weave -j ACCEPT\n"
            "-A FORWARD -o weave -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
            "COMMIT\n"
        )),
    ]  # fmt: skip
