"""Targets: one small type per `-j NAME`.

    verdict  ACCEPT, DROP, RETURN, LOG         reject  REJECT
    mark     MARK, CONNMARK, NOTRACK, CT       nat     DNAT, SNAT, MASQUERADE, REDIRECT

Linux: net/netfilter/xt_*.c, net/ipv4/netfilter/ipt_REJECT.c
"""

from __future__ import annotations

from k8semu.linux.netfilter.rule import Target
from k8semu.linux.netfilter.targets.mark import ConnmarkTarget, CtTarget, MarkTarget, NotrackTarget
from k8semu.linux.netfilter.targets.nat import DnatTarget, MasqueradeTarget, RedirectTarget, SnatTarget
from k8semu.linux.netfilter.targets.reject import RejectTarget
from k8semu.linux.netfilter.targets.verdict import Accept, DropTarget, LogTarget, Return

TARGETS: dict[str, type[Target]] = {
    cls.name: cls
    for cls in (
        Accept, DropTarget, Return, LogTarget, RejectTarget, MarkTarget, ConnmarkTarget, NotrackTarget, CtTarget,
        DnatTarget, SnatTarget, MasqueradeTarget, RedirectTarget,
    )
}  # fmt: skip

__all__ = ["TARGETS"]
