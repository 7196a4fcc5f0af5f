"""Targets: one small type per `-j NAME`, loaded when a rule first names it, as Linux loads its modules.

    verdict  ACCEPT, DROP, RETURN, LOG, NFLOG  reject  REJECT
    mark     MARK, CONNMARK, NOTRACK, CT       nat     DNAT, SNAT, MASQUERADE, REDIRECT
    mangle   TCPMSS, TTL, TOS, DSCP, CHECKSUM

Linux: net/netfilter/xt_*.c, net/ipv4/netfilter/ipt_REJECT.c
"""

from __future__ import annotations

from k8semu.linux.netfilter.extensions import Extensions
from k8semu.linux.netfilter.rule import Target

TARGETS: Extensions[type[Target]] = Extensions(__name__, {
    "ACCEPT": "verdict:Accept", "DROP": "verdict:DropTarget", "RETURN": "verdict:Return", "LOG": "verdict:LogTarget",
    "NFLOG": "verdict:NflogTarget",
    "REJECT": "reject:RejectTarget", "MARK": "mark:MarkTarget", "CONNMARK": "mark:ConnmarkTarget",
    "NOTRACK": "mark:NotrackTarget", "CT": "mark:CtTarget", "DNAT": "nat:DnatTarget", "SNAT": "nat:SnatTarget",
    "MASQUERADE": "nat:MasqueradeTarget", "REDIRECT": "nat:RedirectTarget",
    "TCPMSS": "mangle:TcpmssTarget", "TTL": "mangle:TtlTarget", "TOS": "mangle:TosTarget",
    "DSCP": "mangle:DscpTarget", "CHECKSUM": "mangle:ChecksumTarget",
})  # fmt: skip

__all__ = ["TARGETS"]
