"""Sending: from a complete IP packet to a frame on a device.

    local_out ─▶ LOCAL_OUT ─▶ (route again if NAT changed it) ─▶ output
    forwarded ────────────────────────────────────────────────▶ output ─▶ POSTROUTING ─▶ fragment ─▶ neighbour

Linux: net/ipv4/ip_output.c ip_local_out(), ip_output(), ip_finish_output(), ip_finish_output2()
       net/ipv4/netfilter.c ip_route_me_harder()
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from k8semu.linux.core.dev import dev_queue_xmit
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.hooks import Hook, nf_hook
from k8semu.linux.core.neighbour import Nud
from k8semu.linux.core.skb import Skb, drop
from k8semu.linux.ipv4.route import RouteError, Rtable
from k8semu.trace.steps import DropStep
from k8semu.wire.header import ETH_HLEN, IP_DADDR, IP_SADDR, read_addrs

if TYPE_CHECKING:
    from k8semu.linux.core.neighbour import Neighbour
    from k8semu.linux.core.recording import Recording
    from k8semu.linux.ipv4.stack import Ipv4

LOCAL_OUT, POSTROUTING = Hook.LOCAL_OUT, Hook.POSTROUTING

REACHABLE, PERMANENT, NOARP = Nud.REACHABLE, Nud.PERMANENT, Nud.NOARP


def local_out(ipv4: Ipv4, skb: Skb, rt: Rtable) -> int:
    """Send a packet made here; 0, or the errno a socket call would return."""
    skb.dst = rt
    hooks = ipv4.net.hooks
    if hooks.chains[LOCAL_OUT]:
        before = (bytes(skb.data[IP_SADDR : IP_DADDR + 4]), skb.mark)
        if not nf_hook(hooks, LOCAL_OUT, skb, None, rt.dev):
            return errno.EPERM if skb.ended and not skb.ipvs else 0
        if before != (bytes(skb.data[IP_SADDR : IP_DADDR + 4]), skb.mark):
            return _route_me_harder(ipv4, skb)
    skb.steps.append(rt.step)
    return output(ipv4, skb, rt) or _outcome(skb)


def _outcome(skb: Skb) -> int:
    """EMSGSIZE if the packet turned out too long on the way; everything else that goes wrong is not told."""
    last = skb.steps[-1]
    return errno.EMSGSIZE if type(last) is DropStep and last.reason_name == Drop.PKT_TOO_BIG else 0


def _route_me_harder(ipv4: Ipv4, skb: Skb) -> int:
    """The LOCAL_OUT hook changed addresses or mark: the way may be another now."""
    saddr, daddr = read_addrs(skb.data, IP_SADDR)
    source = saddr if ipv4.addr_type(saddr) == "local" else None
    try:
        rt = ipv4.route_output(daddr, source, None, skb.mark)
    except RouteError as error:
        if error.step is not None:
            skb.steps.append(error.step)
        drop(skb, Drop.IP_OUTNOROUTES, "no route after NAT")
        return error.errno or errno.ENETUNREACH
    skb.dst = rt
    skb.steps.append(rt.step)
    return output(ipv4, skb, rt) or _outcome(skb)


def output(ipv4: Ipv4, skb: Skb, rt: Rtable) -> int:
    """POSTROUTING, fragmentation, next hop; EPERM if a rule ended it. Linux: ip_output(), ip_mc_output()."""
    dev = rt.dev
    hooks = ipv4.net.hooks
    skb.dev = dev
    if rt.type != "unicast" and rt.type != "local":
        _loop_back_copy(ipv4, skb, rt)
    if hooks.chains[POSTROUTING] and not nf_hook(hooks, POSTROUTING, skb, skb.iif, dev):
        return errno.EPERM if skb.ended else 0
    finish_output(ipv4, skb, rt)
    return 0


def finish_output(ipv4: Ipv4, skb: Skb, rt: Rtable) -> None:
    """Cut what is too long, then send. Linux: ip_finish_output()."""
    data = skb.data
    mtu = rt.mtu or rt.dev.mtu
    if skb.rec is not None and ipv4.pmtu:  # which ends without notice
        skb.rec.refuse()
    if ipv4.pmtu and skb.iif is None:  # Linux: ip_forward_use_pmtu is 0
        mtu = ipv4.mtu(rt, bytes(data[IP_DADDR : IP_DADDR + 4]))
    if len(data) - ETH_HLEN > mtu or skb.frag_max:
        ipv4.fragments.cut(skb, rt, mtu)
        return
    finish_output2(ipv4, skb, rt)


def finish_output2(ipv4: Ipv4, skb: Skb, rt: Rtable) -> None:
    """Find the next hop's MAC and hand the frame to the device. Linux: ip_finish_output2(), neigh_output()."""
    dev = rt.dev
    data = skb.data
    neigh = rt.neigh
    if neigh is None or neigh.dead:
        if dev.hard_header_len == 0 or rt.type == "local":
            data[0:14] = b"\0\0\0\0\0\0\0\0\0\0\0\0\x08\x00"
            dev_queue_xmit(skb, dev)
            return
        neigh = ipv4.arp.neighbour(dev, rt.gateway or bytes(data[IP_DADDR : IP_DADDR + 4]))
        rt.neigh = neigh
    state = neigh.state
    fresh = state is REACHABLE and ipv4.net.clock.now <= neigh.confirmed + neigh.reachable
    if not fresh and state is not PERMANENT and state is not NOARP and not neigh.table.resolve(neigh, skb):
        return
    skb.steps.append(neigh.use_step)
    data[0:12] = hh = neigh.hh
    if skb.rec is not None:
        _record(skb.rec, neigh, hh)
    dev_queue_xmit(skb, dev)


def _record(rec: Recording, neigh: Neighbour, hh: bytes) -> None:
    """The frame got its link header from `neigh`."""

    def header(data: bytearray, packet_id: int) -> None:
        data[0:12] = hh

    if neigh.state is REACHABLE:
        rec.holds(lambda: neigh.confirmed + neigh.reachable)
    elif neigh.state is not PERMANENT and neigh.state is not NOARP:
        rec.used(neigh)
    rec.action(header)


def _loop_back_copy(ipv4: Ipv4, skb: Skb, rt: Rtable) -> None:
    """A broadcast also reaches the sender's own sockets. Linux: ip_mc_output(), ip_dev_loopback_xmit()."""
    if rt.type != "broadcast":
        return
    copy = skb.copy()
    copy.dev = ipv4.net.devs["lo"]
    ipv4.net.clock.post(0, ipv4.deliver_copy, copy, rt)
