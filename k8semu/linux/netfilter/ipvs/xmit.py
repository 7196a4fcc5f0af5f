"""A packet is sent to a real server, or an answer goes on to its client.

Linux: net/netfilter/ipvs/ip_vs_xmit.c ip_vs_nat_xmit(), ip_vs_nfct.c ip_vs_update_conntrack()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.hooks import Hook, nf_hook
from k8semu.linux.core.skb import CtInfo, Skb, drop
from k8semu.linux.netfilter.conntrack.entry import CONFIRMED, DYING
from k8semu.linux.netfilter.ipvs.conn import OUT
from k8semu.linux.netfilter.manip import DST, SRC, manip_quoted
from k8semu.trace.steps import NatStep
from k8semu.wire.addr import ip_is_loopback, ip_ntoa
from k8semu.wire.checksum import checksum, csum_replace
from k8semu.wire.header import (
    IP_CSUM,
    IP_DADDR,
    IP_FRAG,
    IP_SADDR,
    IP_TTL,
    ip_decrease_ttl,
    read_u16,
    read_u32,
    write_u16,
    write_u32,
)

if TYPE_CHECKING:
    from k8semu.linux.core.net import Net
    from k8semu.linux.ipv4.route import Rtable
    from k8semu.linux.netfilter.ipvs.conn import Conn

_ORIGINAL = frozenset({CtInfo.NEW, CtInfo.ESTABLISHED, CtInfo.RELATED})


def nat_xmit(net: Net, skb: Skb, conn: Conn) -> bool:
    """On to the real server: True if that is this machine itself. Linux: ip_vs_nat_xmit()."""
    received = skb.iif is not None
    rt = get_out_rt(net, skb, conn)
    if rt is None:
        return False
    local = rt.type == "local"
    if local and received and ip_is_loopback(conn.dest.address):
        _end(skb, Drop.NETFILTER_DROP, "ipvs: a real server on the loopback address is only for the machine itself")
        return False
    conn.manip_in.apply(skb)
    return _send_or_cont(net, skb, conn, rt)


def icmp_xmit(net: Net, skb: Skb, conn: Conn) -> bool:
    """A client's ICMP error goes to the real server that it is about. Linux: ip_vs_icmp_xmit()."""
    rt = get_out_rt(net, skb, conn)
    if rt is None:
        return False
    nat_icmp(skb, conn, 1 - OUT)
    return _send_or_cont(net, skb, conn, rt)


def get_out_rt(net: Net, skb: Skb, conn: Conn) -> Rtable | None:
    """The way to the real server; None, and the packet has ended, if there is none. Linux: __ip_vs_get_out_rt()."""
    ipv4, data = net.ipv4, skb.data
    try:
        rt = ipv4.route_output(conn.dest.address)
    except OSError:
        ipv4.icmp_send(skb, 3, 1)
        _end(skb, Drop.IP_OUTNOROUTES, f"ipvs: no route to real server {conn.dest.at}")
        return None
    if rt.type == "local":
        return rt
    if data[IP_TTL] <= 1:
        ipv4.icmp_send(skb, 11, 0)
        _end(skb, Drop.IP_INHDR, "ipvs: TTL expired in transit")
        return None
    ip_decrease_ttl(data)
    mtu = ipv4.mtu(rt, conn.dest.address)
    if len(data) - 14 > mtu and data[IP_FRAG] & 0x40 and data[23] != 1:
        ipv4.icmp_send(skb, 3, 4, mtu)
        _end(skb, Drop.PKT_TOO_BIG, f"ipvs: {len(data) - 14} bytes with DF, and the MTU is {mtu}")
        return None
    return rt


def _end(skb: Skb, reason: Drop, detail: str) -> None:
    """The packet ends, and whoever sent it is not told by an errno."""
    skb.ipvs = True
    drop(skb, reason, detail)


def _send_or_cont(net: Net, skb: Skb, conn: Conn, rt: Rtable) -> bool:
    """Linux: ip_vs_nat_send_or_cont()."""
    skb.ipvs = True
    if conn.nfct:
        update_conntrack(skb, conn)
    else:
        notrack(skb)
    if rt.type == "local":
        return True
    skb.dst = rt
    if nf_hook(net.hooks, Hook.LOCAL_OUT, skb, None, rt.dev):
        skb.steps.append(rt.step)
        net.ipv4.output(skb, rt)
    return False


def update_conntrack(skb: Skb, conn: Conn) -> None:
    """A new entry of connection tracking expects the real server's answer. Linux: ip_vs_update_conntrack()."""
    ct = skb.ct
    if ct is None or ct.status & (CONFIRMED | DYING) or skb.ctinfo not in _ORIGINAL or ct.proto != conn.proto:
        return
    old = ct.reply
    ct.reply = conn.dest.address + old[4:8] + conn.answer[8:10] + old[10:13]


def notrack(skb: Skb) -> None:
    """net.ipv4.vs.conntrack is 0: no rule about connections, and no NAT, for it. Linux: ip_vs_notrack()."""
    if skb.ct is not None:
        skb.ct = None
        skb.ctinfo = CtInfo.UNTRACKED


def reroute(net: Net, skb: Skb, hook: Hook) -> bool:
    """An answer now comes from the virtual server: its way is that of the machine's own. Linux: ip_route_me_harder()"""
    if hook is not Hook.FORWARD or skb.bridge_port is not None:
        return True  # what the machine itself sends is routed again anyway
    saddr, daddr = bytes(skb.data[IP_SADDR:IP_DADDR]), bytes(skb.data[IP_DADDR : IP_DADDR + 4])
    source = saddr if net.ipv4.addr_type(saddr) == "local" else None
    try:
        skb.dst = net.ipv4.route_output(daddr, source, None, skb.mark)
    except OSError:
        drop(skb, Drop.IP_OUTNOROUTES, "ipvs: no route for the answer")
        return False
    return True


def nat_icmp(skb: Skb, conn: Conn, direction: int) -> None:
    """Translate an ICMP error and the packet that it quotes. Linux: ip_vs_nat_icmp()."""
    data = skb.data
    th = 14 + ((data[14] & 15) << 2)
    at, addr = (IP_SADDR, conn.vaddr) if direction == OUT else (IP_DADDR, conn.dest.address)
    manip_quoted(data, th + 8, conn.key if direction == OUT else conn.answer, DST if direction == OUT else SRC)
    write_u16(data, th + 2, 0)
    write_u16(data, th + 2, checksum(memoryview(data)[th:]))
    (old,) = read_u32(data, at)
    new = int.from_bytes(addr, "big")
    write_u32(data, at, new)
    (check,) = read_u16(data, IP_CSUM)
    write_u16(data, IP_CSUM, csum_replace(check, old, new))
    word = "src" if direction == OUT else "dst"
    what = f"icmp error: {word} {ip_ntoa(old.to_bytes(4, 'big'))} -> {ip_ntoa(addr)}"
    skb.steps.append(NatStep(what, conn.service.origin))
