"""What `ip -d link` adds: the driver, its settings, and the port of a bridge.

Linux: iproute2 ip/iplink_bridge.c, ip/iplink_bridge_slave.c, ip/iplink_vxlan.c, ip/iptuntap.c
Differs: one transmit queue each (a veth has as many as the machine has processors); the timers of a
bridge stand at nought; a bridge that does not snoop says so, a real one snoops unless it is told not to.
"""

from __future__ import annotations

from k8semu.linux.bridge.bridge import BridgeDevice, Port
from k8semu.linux.core.dev import Iff, NetDevice
from k8semu.linux.drivers.tun import TunDevice
from k8semu.linux.drivers.veth import VethDevice
from k8semu.linux.drivers.vxlan import VxlanDevice
from k8semu.wire.addr import ip_ntoa

TSO_MAX = 524_280
"""Linux: include/linux/netdevice.h GSO_MAX_SIZE; a tun keeps the old limit."""
_BRIDGE_MULTICAST = (
    "mcast_snooping 0 no_linklocal_learn 0 mcast_vlan_snooping 0 mcast_router 1 mcast_query_use_ifaddr 0 "
    "mcast_querier 0 mcast_hash_elasticity 16 mcast_hash_max 4096 mcast_last_member_count 2 "
    "mcast_startup_query_count 2 mcast_last_member_interval 100 mcast_membership_interval 26000 "
    "mcast_querier_interval 25500 mcast_query_interval 12500 mcast_query_response_interval 1000 "
    "mcast_startup_query_interval 3124 mcast_stats_enabled 0 mcast_igmp_version 2 mcast_mld_version 1 "
    "nf_call_iptables 0 nf_call_ip6tables 0 nf_call_arptables 0 "
)


def details(dev: NetDevice, mode: bool) -> list[str]:
    """The end of the link's line, then lines of their own. `mode`: for `ip link`, which says a word more."""
    port = dev.master is not None
    low, high = (68, 65535) if dev.kind not in ("", "dummy") else (0, 0)
    rows = [f" promiscuity {int(port)}  allmulti {int(port)} minmtu {low} maxmtu {high} ", *_driver(dev)]
    if isinstance(dev.master, BridgeDevice):
        rows.append(_bridge_slave(dev.master.ports[dev.name]))
    tso = 65_536 if isinstance(dev, TunDevice) else TSO_MAX
    rows[-1] += (
        f"{'addrgenmode eui64 ' if mode else ''}numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535 "
        f"tso_max_size {tso} tso_max_segs 65535 gro_max_size 65536 "
    )
    return rows


def _driver(dev: NetDevice) -> list[str]:
    if isinstance(dev, VxlanDevice):
        local = f" local {ip_ntoa(dev.local)}" if dev.local else ""
        link = f" dev {dev.link.name}" if dev.link else ""
        learning = "" if dev.learning else " nolearning"
        csum = "udpcsum" if dev.udpcsum else "noudpcsum"
        return [
            f"    vxlan id {dev.vni}{local}{link} srcport 0 0 dstport {dev.dstport}{learning} ttl auto "
            f"ageing {dev.fdb.ageing_time // 10**9} {csum} noudp6zerocsumtx noudp6zerocsumrx "
        ]
    if isinstance(dev, BridgeDevice):
        return [_bridge(dev)]
    if isinstance(dev, TunDevice):
        return ["    tun type tun pi off vnet_hdr off persist on "]
    if isinstance(dev, VethDevice):
        return ["    veth "]
    return [f"    {dev.kind} "] if dev.kind and not dev.flags & Iff.LOOPBACK else []


def _bridge_id(bridge: BridgeDevice) -> str:
    """``8000.2:42:ac:11:0:1``: priority and MAC, as iproute2 writes it."""
    return "8000." + ":".join(f"{octet:x}" for octet in bridge.addr)


def _bridge(bridge: BridgeDevice) -> str:
    me = _bridge_id(bridge)
    return (
        f"    bridge forward_delay 1500 hello_time 200 max_age 2000 ageing_time {bridge.fdb.ageing_time // 10**7} "
        f"stp_state 0 priority 32768 vlan_filtering 0 bridge_id {me} designated_root {me} root_port 0 "
        "root_path_cost 0 topology_change 0 topology_change_detected 0 hello_timer    0.00 tcn_timer    0.00 "
        "topology_change_timer    0.00 gc_timer    0.00 group_fwd_mask 0 group_address 01:80:c2:00:00:00 "
        + _BRIDGE_MULTICAST
    )


def on(value: bool) -> str:
    return "on" if value else "off"


def _bridge_slave(port: Port) -> str:
    me = _bridge_id(port.bridge)
    number = 0x8000 | port.number
    return (
        f"    bridge_slave state {'forwarding' if port.forwarding else 'disabled'} priority 32 cost {path_cost(port)} "
        f"hairpin {on(port.hairpin)} guard off root_block off fastleave off learning {on(port.learning)} "
        f"flood {on(port.flood)} port_id {number:#x} port_no {port.number:#x} designated_port {number} "
        f"designated_cost 0 designated_bridge {me} designated_root {me} hold_timer    0.00 "
        "message_age_timer    0.00 forward_delay_timer    0.00 topology_change_ack 0 config_pending 0 "
        "proxy_arp off proxy_arp_wifi off mcast_router 1 mcast_fast_leave off mcast_flood on bcast_flood on "
        "mcast_to_unicast off neigh_suppress off group_fwd_mask 0 group_fwd_mask_str 0x0 vlan_tunnel off "
        f"isolated {on(port.isolated)} locked off "
    )


def path_cost(port: Port) -> int:
    """By the speed of the device: a veth has 10 Gbit/s, a tunnel says nothing. Linux: br_if.c port_cost()."""
    return 100 if isinstance(port.dev, VxlanDevice) else 2
