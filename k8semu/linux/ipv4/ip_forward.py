"""Forwarding: one off the TTL, FORWARD, and out.

Linux: net/ipv4/ip_forward.c ip_forward()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.hooks import Hook, nf_hook
from k8semu.linux.core.skb import Skb, drop
from k8semu.linux.ipv4.ip_output import output
from k8semu.linux.ipv4.route import Rtable
from k8semu.wire.header import ETH_HLEN, IP_FRAG, IP_TTL, ip_decrease_ttl

if TYPE_CHECKING:
    from k8semu.linux.ipv4.stack import Ipv4

FORWARD = Hook.FORWARD


def _decrease_ttl(data: bytearray, packet_id: int) -> None:
    ip_decrease_ttl(data)


def ip_forward(ipv4: Ipv4, skb: Skb, rt: Rtable) -> None:
    """Pass a packet on that is not for us. A path MTU learned for our own packets does not count here."""
    data = skb.data
    if data[0] & 1 and skb.iif is not None and skb.iif.hard_header_len:
        drop(skb, Drop.UNICAST_IN_L2_MULTICAST, "a unicast packet in a broadcast frame is not forwarded")
        return
    if data[IP_TTL] <= 1:
        ipv4.icmp_send(skb, 11, 0)
        drop(skb, Drop.IP_INHDR, "TTL expired in transit")
        return
    size = len(data) - ETH_HLEN
    mtu = rt.mtu or rt.dev.mtu
    if size > mtu and data[IP_FRAG] & 0x40 and not 0 < skb.frag_max <= mtu:
        ipv4.icmp_send(skb, 3, 4, mtu)
        drop(skb, Drop.PKT_TOO_BIG, f"{size} bytes with DF, and the MTU of {rt.dev.name} is {mtu}")
        return
    ip_decrease_ttl(data)
    if skb.rec is not None:
        skb.rec.action(_decrease_ttl)
        if rt.redirect:
            skb.rec.refuse()
    if rt.redirect:
        ipv4.icmp.send_redirect(skb, rt)
    hooks = ipv4.net.hooks
    if hooks.chains[FORWARD] and not nf_hook(hooks, FORWARD, skb, skb.iif, rt.dev):
        return
    output(ipv4, skb, skb.dst if skb.ipvs else rt)
