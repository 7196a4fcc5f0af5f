"""Statements that iptables has as targets: reject, dnat, snat, masquerade, redirect. They act by the same code.

Linux: net/netfilter/nft_reject.c, nft_nat.c, nft_masq.c, nft_redir.c
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.core.hooks import Hook
from k8semu.linux.netfilter.manip import DST
from k8semu.linux.netfilter.nat import NatRange
from k8semu.linux.netfilter.nft.datatypes import IPV4
from k8semu.linux.netfilter.nft.expr import Expr
from k8semu.linux.netfilter.nft.sources import AnonSet
from k8semu.linux.netfilter.nft.stmt import ACCEPT, BREAK, DROP, Op, Outcome, Stmt, VerdictStmt, guard
from k8semu.linux.netfilter.rule import Action, Pkt, Verdict
from k8semu.linux.netfilter.targets.nat import DnatTarget, MasqueradeTarget, RedirectTarget, SnatTarget
from k8semu.linux.netfilter.targets.reject import RejectTarget

if TYPE_CHECKING:
    from k8semu.linux.netfilter.nft.objects import CompiledRule, Table


def _act(action: Action, rule: CompiledRule) -> Op:
    """One of the targets that iptables has too."""
    origin = rule.rule.origin

    def act(p: Pkt) -> Outcome | bool | None:
        p.origin = origin
        verdict = action(p)
        return DROP if verdict is Verdict.DROP else ACCEPT if verdict is Verdict.ACCEPT else None

    return act


REJECT_KINDS = {
    "net-unreachable": "icmp-net-unreachable", "host-unreachable": "icmp-host-unreachable",
    "prot-unreachable": "icmp-proto-unreachable", "port-unreachable": "icmp-port-unreachable",
    "net-prohibited": "icmp-net-prohibited", "host-prohibited": "icmp-host-prohibited",
    "admin-prohibited": "icmp-admin-prohibited",
}  # fmt: skip


class Reject(Stmt, frozen=True, gc=False):
    """``reject``: ICMP port unreachable unless said otherwise; ``reject with tcp reset``."""

    kind: str = "port-unreachable"

    def text(self) -> str:
        if self.kind == "port-unreachable":
            return "reject"
        return "reject with tcp reset" if self.kind == "tcp reset" else f"reject with icmp {self.kind}"

    def compile(self, table: Table, rule: CompiledRule) -> Op:
        return _act(RejectTarget(REJECT_KINDS.get(self.kind, "tcp-reset")).compile(), rule)


class Nat(Stmt, frozen=True, gc=False):
    """``dnat to 172.17.0.2:80``, ``snat to …``, ``masquerade fully-random``, ``redirect to :8080``."""

    kind: str
    low: bytes | None = None
    high: bytes | None = None
    ports: tuple[int, int] | None = None
    flags: tuple[str, ...] = ()

    @property
    def needs_ct(self) -> bool:
        return True

    def text(self) -> str:
        words = [self.kind]
        address = ""
        if self.low is not None and self.high is not None:
            address = IPV4.text(self.low) + (f"-{IPV4.text(self.high)}" if self.high != self.low else "")
        if self.ports is not None:
            first, last = self.ports
            address += f":{first}" + (f"-{last}" if last != first else "")
        if address:
            words += ["to", address]
        if self.flags:
            words.append(",".join(self.flags))
        return " ".join(words)

    def compile(self, table: Table, rule: CompiledRule) -> Op:
        cls = {"dnat": DnatTarget, "snat": SnatTarget, "masquerade": MasqueradeTarget, "redirect": RedirectTarget}[
            self.kind
        ]
        flags = tuple(f"--{'random-fully' if flag == 'fully-random' else flag}" for flag in self.flags)
        return _act(cls(self.low, self.high, self.ports, flags).compile(), rule)


class NatMap(Stmt, frozen=True, gc=False):
    """``dnat ip to numgen random mod 2 map { 0 : 172.17.0.2 . 80, … }``: the map says where to."""

    expr: Expr
    source: AnonSet

    @property
    def needs_ct(self) -> bool:
        return True

    def text(self) -> str:
        family = " ip" if len(self.source.data) > 1 else ""
        return f"dnat{family} to {self.expr.text()} map {self.source.text()}"

    def compile(self, table: Table, rule: CompiledRule) -> Op:
        get, held, origin = self.expr.compile(), self.source.make(), rule.rule.origin

        def act(p: Pkt) -> Outcome | bool | None:
            value = get(p)
            element = held.find(value, p.nf.net.clock.now) if value is not None else None
            if element is None:
                return BREAK
            assert isinstance(element.data, tuple)
            addr = element.data[0].low
            assert isinstance(addr, bytes)
            port = element.data[1].low if len(element.data) > 1 else None
            ports = (port, port) if isinstance(port, int) else None
            verdict = p.nf.nat.setup(p.skb.ct, NatRange(addr, addr, ports), DST, origin)
            return DROP if verdict is Verdict.DROP else ACCEPT

        return guard(self.expr, act)


def only_tcp(p: Pkt) -> Outcome | bool | None:
    """``reject with tcp reset`` answers TCP alone."""
    return None if p.proto == 6 else BREAK


TERMINAL = (VerdictStmt, Reject, Nat, NatMap)
"""After these nothing of the same rule is reached."""


def hooks_of(stmt: Stmt) -> tuple[Hook, ...]:
    """At which hooks a statement may stand; () for everywhere. Linux: nft_*_validate()."""
    if isinstance(stmt, Reject):
        return (Hook.PREROUTING, Hook.LOCAL_IN, Hook.FORWARD, Hook.LOCAL_OUT)
    if isinstance(stmt, NatMap) or (isinstance(stmt, Nat) and stmt.kind in ("dnat", "redirect")):
        return (Hook.PREROUTING, Hook.LOCAL_OUT)
    if isinstance(stmt, Nat):
        return (Hook.POSTROUTING,) if stmt.kind == "masquerade" else (Hook.POSTROUTING, Hook.LOCAL_IN)
    return ()


def needs_nat(stmt: Stmt) -> bool:
    """May it stand in a chain of type nat only?"""
    return isinstance(stmt, (Nat, NatMap))
