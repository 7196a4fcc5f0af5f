"""Every reason a packet can end for, by the kernel's own names.

Linux: include/net/dropreason-core.h, include/net/dropreason-qdisc.h
Shown: `perf trace -e skb:kfree_skb`, `dropwatch`
Differs: LOOP_LIMIT is ours: a real bridge loop never ends.
"""

from __future__ import annotations

from enum import StrEnum


class Drop(StrEnum):
    """A drop reason; the value is what a trace and a capture say."""

    NEIGH_FAILED = "NEIGH_FAILED"
    NEIGH_QUEUEFULL = "NEIGH_QUEUEFULL"
    NEIGH_DEAD = "NEIGH_DEAD"
    DEV_READY = "DEV_READY"                      # the device is down
    DEV_HDR = "DEV_HDR"
    PKT_TOO_SMALL = "PKT_TOO_SMALL"
    PKT_TOO_BIG = "PKT_TOO_BIG"
    HDR_TRUNC = "HDR_TRUNC"
    OTHERHOST = "OTHERHOST"
    UNHANDLED_PROTO = "UNHANDLED_PROTO"
    IP_CSUM = "IP_CSUM"
    IP_INHDR = "IP_INHDR"
    IP_RPFILTER = "IP_RPFILTER"
    IP_OUTNOROUTES = "IP_OUTNOROUTES"
    IP_INNOROUTES = "IP_INNOROUTES"
    IP_INADDRERRORS = "IP_INADDRERRORS"
    IP_LOCAL_SOURCE = "IP_LOCAL_SOURCE"
    IP_INVALID_SOURCE = "IP_INVALID_SOURCE"
    IP_LOCALNET = "IP_LOCALNET"
    IP_NOPROTO = "IP_NOPROTO"
    IP_FORWARDING = "IP_FORWARDING"              # ip_forward is 0
    UNICAST_IN_L2_MULTICAST = "UNICAST_IN_L2_MULTICAST"
    NETFILTER_DROP = "NETFILTER_DROP"
    FRAG_REASM_TIMEOUT = "FRAG_REASM_TIMEOUT"
    FRAG_TOO_FAR = "FRAG_TOO_FAR"
    DUP_FRAG = "DUP_FRAG"
    ICMP_CSUM = "ICMP_CSUM"
    INVALID_PROTO = "INVALID_PROTO"
    UDP_CSUM = "UDP_CSUM"
    NO_SOCKET = "NO_SOCKET"
    SOCKET_RCVBUFF = "SOCKET_RCVBUFF"
    SOCKET_CLOSE = "SOCKET_CLOSE"
    TCP_CSUM = "TCP_CSUM"
    TCP_FLAGS = "TCP_FLAGS"
    TCP_OLD_DATA = "TCP_OLD_DATA"
    TCP_OLD_SEQUENCE = "TCP_OLD_SEQUENCE"
    TCP_INVALID_SEQUENCE = "TCP_INVALID_SEQUENCE"
    TCP_INVALID_ACK_SEQUENCE = "TCP_INVALID_ACK_SEQUENCE"
    TCP_RESET = "TCP_RESET"
    TCP_ZEROWINDOW = "TCP_ZEROWINDOW"
    TCP_OVERWINDOW = "TCP_OVERWINDOW"
    TCP_RFC7323_PAWS = "TCP_RFC7323_PAWS"
    TCP_LISTEN_OVERFLOW = "TCP_LISTEN_OVERFLOW"
    BRIDGE_INGRESS_STP_STATE = "BRIDGE_INGRESS_STP_STATE"
    BRIDGE_NO_EGRESS_PORT = "BRIDGE_NO_EGRESS_PORT"
    VXLAN_INVALID_HDR = "VXLAN_INVALID_HDR"
    VXLAN_VNI_NOT_FOUND = "VXLAN_VNI_NOT_FOUND"
    VXLAN_NO_REMOTE = "VXLAN_NO_REMOTE"
    VXLAN_ENTRY_EXISTS = "VXLAN_ENTRY_EXISTS"
    MAC_INVALID_SOURCE = "MAC_INVALID_SOURCE"
    IP_TUNNEL_ECN = "IP_TUNNEL_ECN"
    TAP_TXFILTER = "TAP_TXFILTER"
    FULL_RING = "FULL_RING"                      # nobody reads the tun device
    QDISC_DROP = "QDISC_DROP"                    # the link loses it: the scenario's `loss`
    RECURSION_LIMIT = "RECURSION_LIMIT"
    NOMEM = "NOMEM"
    LOOP_LIMIT = "LOOP_LIMIT"                    # ours: the packet has been copied or carried too often
