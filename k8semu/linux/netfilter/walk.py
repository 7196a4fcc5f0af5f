"""A packet through a chain.

Linux: net/ipv4/netfilter/ip_tables.c ipt_do_table()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.netfilter.rule import Pkt, Verdict

if TYPE_CHECKING:
    from k8semu.linux.netfilter.dispatch import CompiledRule
    from k8semu.linux.netfilter.tables import Chain, Table

RETURN = Verdict.RETURN

Decision = tuple[Verdict, "CompiledRule"]


def walk(table: Table, chain: Chain, p: Pkt) -> Decision | None:
    """The verdict and the rule that gave it; None if the packet comes out at the chain's end."""
    compiled = chain.rules.compiled
    hits = chain.hits
    steps = p.skb.steps
    size = len(p.data) - 14
    rec = p.skb.rec
    if rec is not None and not compiled.by_flow(p):
        rec.refuse()
    for rule in compiled.candidates(p):
        for check in rule.checks:
            if not check(p):
                break
        else:
            hit = hits.get(rule.number - 1)
            if hit is None:
                hit = hits[rule.number - 1] = [1, size]
            else:
                hit[0] += 1
                hit[1] += size
            if rec is not None:
                rec.hit(hit, size)
            steps.append(rule.made_step or rule.step)
            if rule.jump:
                decision = walk(table, table.chains[rule.jump], p)
                if decision is not None or rule.goto:
                    p.walked += rule.number
                    return decision
                continue
            if rule.act is None:
                continue
            p.origin = rule.rule.origin
            if rec is not None and not rule.by_flow:
                rec.refuse()
            verdict = rule.act(p)
            if verdict is not None:
                p.walked += rule.number
                return None if verdict is RETURN else (verdict, rule)
    p.walked += len(compiled.rules)
    return None
