"""REJECT: end the packet and say so to its sender.

Linux: net/ipv4/netfilter/ipt_REJECT.c
"""

from __future__ import annotations

from typing import ClassVar

from k8semu.linux.netfilter.reject import nf_send_reset, nf_send_unreach
from k8semu.linux.netfilter.rule import Action, Given, Pkt, Target, UsageError, Verdict

CODES = {
    "icmp-net-unreachable": 0, "icmp-host-unreachable": 1, "icmp-proto-unreachable": 2,
    "icmp-port-unreachable": 3, "icmp-net-prohibited": 9, "icmp-host-prohibited": 10, "icmp-admin-prohibited": 13,
}  # fmt: skip
_SHORT = {
    "net-unreach": "icmp-net-unreachable", "host-unreach": "icmp-host-unreachable",
    "proto-unreach": "icmp-proto-unreachable", "port-unreach": "icmp-port-unreachable",
    "net-prohib": "icmp-net-prohibited", "host-prohib": "icmp-host-prohibited", "tcp-rst": "tcp-reset",
    "admin-prohib": "icmp-admin-prohibited",
}  # fmt: skip


class RejectTarget(Target, frozen=True):
    """`-j REJECT --reject-with KIND`."""

    name: ClassVar[str] = "REJECT"
    options: ClassVar[dict[str, tuple[str, int]]] = {"--reject-with": ("--reject-with", 1)}
    tables: ClassVar[tuple[str, ...]] = ("filter",)
    hooks: ClassVar[tuple[str, ...]] = ("INPUT", "FORWARD", "OUTPUT")

    kind: str = "icmp-port-unreachable"

    @classmethod
    def build(cls, given: Given) -> RejectTarget:
        text = given.get("--reject-with", "icmp-port-unreachable")
        kind = _SHORT.get(text, text)
        if kind not in CODES and kind != "tcp-reset":
            raise UsageError(f'unknown reject type "{text}"')
        return cls(kind)

    def kernel_accepts(self, proto: int) -> bool:
        return self.kind != "tcp-reset" or proto == 6

    def text(self) -> str:
        return f"-j REJECT --reject-with {self.kind}"

    def listing(self) -> str:
        return f"reject-with {self.kind}"

    def compile(self) -> Action:
        code = CODES.get(self.kind)

        def act(p: Pkt) -> Verdict | None:
            if code is None:
                nf_send_reset(p.nf.net, p.skb, p.hook)
            else:
                nf_send_unreach(p.nf.net, p.skb, code, p.hook)
            return Verdict.DROP

        return act
