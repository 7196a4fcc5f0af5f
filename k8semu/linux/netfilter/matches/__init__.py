"""Matches: one small type per `-m NAME`.

    ports   tcp, udp, sctp, multiport, icmp      ct      conntrack, state, connmark, ipvs
    meta    comment, mark, addrtype, physdev     memory  statistic, recent, limit, set

Linux: net/netfilter/xt_*.c; iptables' extensions/libxt_*.c for the text
"""

from __future__ import annotations

from k8semu.linux.netfilter.matches.ct import ConnmarkMatch, ConntrackMatch, IpvsMatch, StateMatch
from k8semu.linux.netfilter.matches.memory import LimitMatch, RecentMatch, SetMatch, StatisticMatch
from k8semu.linux.netfilter.matches.meta import AddrtypeMatch, CommentMatch, MarkMatch, PhysdevMatch
from k8semu.linux.netfilter.matches.ports import (
    IcmpMatch,
    MultiportMatch,
    SctpMatch,
    TcpMatch,
    UdpMatch,
)
from k8semu.linux.netfilter.rule import Match

MATCHES: dict[str, type[Match]] = {
    cls.name: cls
    for cls in (
        CommentMatch, TcpMatch, UdpMatch, SctpMatch, IcmpMatch, MultiportMatch, ConntrackMatch, StateMatch,
        MarkMatch, ConnmarkMatch, AddrtypeMatch, PhysdevMatch, StatisticMatch, RecentMatch, LimitMatch, SetMatch,
        IpvsMatch,
    )
}  # fmt: skip

__all__ = ["MATCHES"]
