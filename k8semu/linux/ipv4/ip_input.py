"""Receiving: from a frame with an IP packet to a protocol, or on to forwarding.

Linux: net/ipv4/ip_input.c ip_rcv(), ip_rcv_finish(), ip_local_deliver()
RFC: 791
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.hooks import Hook, nf_hook
from k8semu.linux.core.skb import Skb, drop
from k8semu.linux.ipv4.ip_forward import ip_forward
from k8semu.linux.ipv4.route import Refusal
from k8semu.wire.addr import ip_ntoa, mac_ntoa
from k8semu.wire.header import (
    ETH_HLEN,
    IP,
    IP_DADDR,
    IP_FRAG,
    IP_LEN,
    IP_OPTS,
    IP_PROTO,
    IP_SADDR,
    IPPROTO_UDP,
    read_addrs,
)

if TYPE_CHECKING:
    from k8semu.linux.ipv4.stack import Ipv4

from_bytes = int.from_bytes
PREROUTING, LOCAL_IN = Hook.PREROUTING, Hook.LOCAL_IN

_ICMP_UNREACH_CODE = {errno.ENETUNREACH: 0, errno.EHOSTUNREACH: 1, errno.EACCES: 13}


def ip_rcv(ipv4: Ipv4, skb: Skb) -> None:
    """Check the header, then PREROUTING. Linux: ip_rcv_core(), ip_rcv()."""
    data = skb.data
    dev = skb.dev
    assert dev is not None
    if dev.hard_header_len and data[0:6] != dev.addr and not data[0] & 1 and not dev.is_ours(skb):
        drop(skb, Drop.OTHERHOST, f"frame is for {mac_ntoa(bytes(data[0:6]))}")
        return
    end = ETH_HLEN + (data[IP_LEN] << 8 | data[IP_LEN + 1]) if len(data) >= IP_OPTS else 0
    if end != len(data) or end < IP_OPTS or data[IP] != 0x45 or from_bytes(data[IP:IP_OPTS], "big") % 0xFFFF:
        reason = header_fault(data)  # looks closer: options and padding are no faults
        if reason is not None:
            drop(skb, reason[0], reason[1])
            return
        del data[end:]  # Ethernet padding
    skb.iif = dev
    hooks = ipv4.net.hooks
    if hooks.chains[PREROUTING]:
        if (data[IP_FRAG] & 0x3F) | data[IP_FRAG + 1] and ipv4.net.netfilter.needs_defrag:
            whole = ipv4.fragments.defrag(skb, "conntrack")  # Linux: nf_defrag_ipv4.c ipv4_conntrack_defrag()
            if whole is None:
                return
            skb = whole
        if not nf_hook(hooks, PREROUTING, skb, dev, None):
            return
    rcv_finish(ipv4, skb)


def header_fault(data: bytearray) -> tuple[Drop, str] | None:
    """What is wrong with an IP header, if anything. Linux: ip_rcv_core()."""
    size = len(data) - ETH_HLEN
    if size < 20:
        return Drop.HDR_TRUNC, f"{size} bytes are no IP header"
    first = data[IP]
    ihl = (first & 0x0F) << 2
    if first >> 4 != 4 or ihl < 20:
        return Drop.IP_INHDR, f"version {first >> 4}, header length {ihl}"
    if size < ihl:
        return Drop.HDR_TRUNC, "IP options cut short"
    if int.from_bytes(data[IP : IP + ihl], "big") % 0xFFFF:
        return Drop.IP_CSUM, "IP header checksum"
    length = data[IP_LEN] << 8 | data[IP_LEN + 1]
    if size < length:
        return Drop.PKT_TOO_SMALL, f"{size} bytes of {length}"
    if length < ihl:
        return Drop.IP_INHDR, f"total length {length}"
    return options_fault(data[IP + 20 : IP + ihl]) if ihl > 20 else None


def options_fault(options: bytearray) -> tuple[Drop, str] | None:
    """What is wrong with IP options, if anything. Linux: ip_options_compile(), ip_rcv_options().

    Not modelled: record route and timestamps are carried, but nothing is written into them.
    """
    at = 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        size = options[at + 1] if at + 1 < len(options) else 0
        if size < 2 or at + size > len(options):
            return Drop.IP_INHDR, f"IP option {options[at]} has length {size}"
        if options[at] in (131, 137):
            return Drop.IP_INHDR, "source routes are not accepted"
        at += size
    return None


def rcv_finish(ipv4: Ipv4, skb: Skb) -> None:
    """Route a received packet. Linux: ip_rcv_finish_core(), dst_input()."""
    saddr, daddr = read_addrs(skb.data, IP_SADDR)
    iif = skb.iif
    assert iif is not None
    rt = ipv4.routing.input(daddr, saddr, iif, skb.mark)
    if isinstance(rt, Refusal):
        _refuse(ipv4, skb, rt)
        return
    skb.dst = rt
    skb.steps.append(rt.step)
    if rt.type == "unicast":
        ip_forward(ipv4, skb, rt)
    else:
        local_deliver(ipv4, skb)


def _refuse(ipv4: Ipv4, skb: Skb, refusal: Refusal) -> None:
    """Linux: ip_error()."""
    if refusal.step is not None:
        skb.steps.append(refusal.step)
    if refusal.errno in _ICMP_UNREACH_CODE:
        ipv4.icmp.send_error(skb, _ICMP_UNREACH_CODE[refusal.errno])
    drop(skb, refusal.reason, refusal.detail)


def local_deliver(ipv4: Ipv4, skb: Skb) -> None:
    """Put fragments together, then LOCAL_IN. Linux: ip_local_deliver()."""
    data = skb.data
    if (data[IP_FRAG] & 0x3F) | data[IP_FRAG + 1]:
        whole = ipv4.fragments.defrag(skb, "local")
        if whole is None:
            return
        skb = whole
    hooks = ipv4.net.hooks
    if hooks.chains[LOCAL_IN] and not nf_hook(hooks, LOCAL_IN, skb, skb.iif, None):
        return
    local_deliver_finish(ipv4, skb)


def local_deliver_finish(ipv4: Ipv4, skb: Skb) -> None:
    """Hand the packet to its protocol. Linux: ip_protocol_deliver_rcu()."""
    data = skb.data
    protocol = data[IP_PROTO]
    if protocol == IPPROTO_UDP and ipv4.net.udp_encap:
        th = IP + ((data[IP] & 0x0F) << 2)
        if len(data) >= th + 8:
            tunnel = ipv4.net.udp_encap.get(data[th + 2] << 8 | data[th + 3])
            if tunnel is not None:
                tunnel(skb)
                return
    handler = ipv4.protocols.get(protocol)
    if handler is None:
        ipv4.icmp_send(skb, 3, 2)
        drop(skb, Drop.IP_NOPROTO, f"protocol {protocol} to {ip_ntoa(bytes(data[IP_DADDR : IP_DADDR + 4]))}")
        return
    handler(skb)

