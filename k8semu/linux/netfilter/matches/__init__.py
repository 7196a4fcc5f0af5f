"""Matches: one small type per `-m NAME`, loaded when a rule first names it, as Linux loads its modules.

    ports   tcp, udp, sctp, multiport, icmp      ct      conntrack, state, connmark, ipvs
    meta    comment, mark, addrtype, physdev     memory  statistic, recent, limit, set
    packet  iprange, mac, length, ttl, tos, dscp, tcpmss    sender  owner, rpfilter

Linux: net/netfilter/xt_*.c; iptables' extensions/libxt_*.c for the text
"""

from __future__ import annotations

from k8semu.linux.netfilter.extensions import Extensions
from k8semu.linux.netfilter.rule import Match

MATCHES: Extensions[type[Match]] = Extensions(__name__, {
    "comment": "meta:CommentMatch", "mark": "meta:MarkMatch", "addrtype": "meta:AddrtypeMatch",
    "physdev": "meta:PhysdevMatch", "tcp": "ports:TcpMatch", "udp": "ports:UdpMatch", "sctp": "ports:SctpMatch",
    "icmp": "ports:IcmpMatch", "multiport": "ports:MultiportMatch", "conntrack": "ct:ConntrackMatch",
    "state": "ct:StateMatch", "connmark": "ct:ConnmarkMatch", "ipvs": "ct:IpvsMatch",
    "statistic": "memory:StatisticMatch", "recent": "memory:RecentMatch", "limit": "memory:LimitMatch",
    "set": "memory:SetMatch",
    "iprange": "packet:IprangeMatch", "mac": "packet:MacMatch", "length": "packet:LengthMatch",
    "ttl": "packet:TtlMatch", "tos": "packet:TosMatch", "dscp": "packet:DscpMatch", "tcpmss": "packet:TcpmssMatch",
    "owner": "sender:OwnerMatch", "rpfilter": "sender:RpfilterMatch",
})  # fmt: skip

__all__ = ["MATCHES"]
