"""What a long text for iptables-restore does to any table.

    made      chains of users that it declares: afterwards they hold its rules, whatever they held before
    added     rules for the end of other chains
    needed    chains that have to be there for it: those are jumped to, or appended to

kube-proxy gives its text to every node, and what nodes hold beside its chains differs: a plan is made
once, and its chains are shared by all namespaces that are given the text.

Linux: iptables/iptables/xtables-restore.c xtables_restore_parse_line(), iptables/nft.c nft_cmd_chain_restore()
"""

from __future__ import annotations

from k8semu.linux.netfilter.command import Refused, check_rule
from k8semu.linux.netfilter.restore import Block, ChainLine, RuleLine
from k8semu.linux.netfilter.rule import Jump, Rule, UsageError
from k8semu.linux.netfilter.tables import BUILTIN, Chain, RuleList, Table


class Plan:
    """`jump`: the last line that jumps, after which loops are looked for."""

    __slots__ = ("added", "jump", "made", "needed")

    def __init__(self, table: str, made: dict[str, list[Rule]], added: dict[str, list[Rule]]) -> None:
        self.made = {name: RuleList(table, name, rules) for name, rules in made.items()}
        self.added = {name: RuleList(table, name, rules) for name, rules in added.items()}
        self.needed: set[str] = set(added)
        self.jump: RuleLine | None = None

    def fits(self, table: Table) -> bool:
        """Is all there that it needs?"""
        return table.chains.keys() >= self.needed

    def carry_out(self, table: Table) -> None:
        """Change a table that it fits."""
        chains = table.chains
        for name, rules in self.made.items():
            chains[name] = Chain(name, rules, None)
        for name, rules in self.added.items():
            chain = chains[name]
            if chain.rules.rules:
                chain.extend(rules.rules)
            else:
                chain.rules = rules


def make_plan(block: Block) -> Plan | None:
    """None where a line does anything else, brings counters, or is refused by all tables."""
    made: dict[str, list[Rule]] = {}
    added: dict[str, list[Rule]] = {}
    outside: set[str] = set()
    jump: RuleLine | None = None
    anywhere = Table(block.table)
    for line in block.lines:
        if isinstance(line, ChainLine):
            if line.policy != "-" or line.name in added:
                return None
            if line.name not in BUILTIN[block.table]:
                made[line.name] = []
            continue
        c = line.command
        if c.op != "A" or c.counters != (0, 0):
            return None
        held = made.get(c.chain)
        if held is None:
            held = added.setdefault(c.chain, [])
        for rule in c.rules:
            if type(rule.target) is Jump:
                jump = line
                if rule.target.chain not in made:
                    outside.add(rule.target.chain)
            elif not _may_stand(anywhere, c.chain, rule):
                return None
            held.append(rule)
    plan = Plan(block.table, made, added)
    plan.needed |= outside
    plan.jump = jump
    return plan


def _may_stand(table: Table, chain: str, rule: Rule) -> bool:
    try:
        check_rule(table, chain, rule)
    except (UsageError, Refused):
        return False
    return True
