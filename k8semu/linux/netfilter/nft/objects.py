"""Tables, chains, and the rules in them, of one namespace.

    Table ip kube-proxy ── Chain nat-prerouting  type nat hook prerouting priority -100
                        ├─ Chain services        jumped to
                        └─ NftSet service-ips

Linux: include/net/netfilter/nf_tables.h struct nft_table, nft_chain, nft_rule
"""

from __future__ import annotations

import msgspec

from k8semu.linux.core.hooks import Hook
from k8semu.linux.netfilter.nft.sets import NftSet
from k8semu.linux.netfilter.nft.stmt import BREAK, Counter, Op, Outcome, Stmt, Vmap
from k8semu.linux.netfilter.nft.stmt_nat import Nat, Reject, hooks_of, needs_nat, only_tcp
from k8semu.linux.netfilter.rule import Pkt
from k8semu.trace.steps import RuleStep

HOOKS = {
    "prerouting": Hook.PREROUTING, "input": Hook.LOCAL_IN, "forward": Hook.FORWARD, "output": Hook.LOCAL_OUT,
    "postrouting": Hook.POSTROUTING,
}  # fmt: skip

assert BREAK is False


class RuleSpec(msgspec.Struct, frozen=True, gc=False):
    """A rule as a value, which namespaces may share."""

    stmts: tuple[Stmt, ...]
    comment: str = ""

    @property
    def needs_ct(self) -> bool:
        return any(stmt.needs_ct for stmt in self.stmts)

    def text(self, hits: list[int] | None = None) -> str:
        """As `nft list` prints it."""
        words = []
        for stmt in self.stmts:
            if hits is not None and isinstance(stmt, Counter):
                stmt = Counter(hits[0], hits[1])
            words.append(stmt.text())
        if self.comment:
            words.append(f'comment "{self.comment}"')
        return " ".join(words)


class Rule:
    """A rule in its chain. `origin`: the object that asked for it; `hits`: packets and bytes of its counter.

    What it leads to (`targets`, `vmaps`), looks into (`sets`) and where it may stand (`hooks`: does it need a
    nat chain, at which hooks) is found out once.
    """

    __slots__ = ("handle", "hits", "hooks", "made", "needs_ct", "origin", "sets", "spec", "targets", "vmaps")

    def __init__(self, spec: RuleSpec, handle: int, origin: str) -> None:
        self.spec, self.handle, self.origin = spec, handle, origin
        start = next((stmt for stmt in spec.stmts if isinstance(stmt, Counter)), None)
        self.hits = [start.packets, start.octets] if start is not None else [0, 0]
        self.made: CompiledRule | None = None
        self.targets = tuple(name for stmt in spec.stmts for name in stmt.chains)
        self.sets = tuple(name for stmt in spec.stmts for name in stmt.sets)
        self.vmaps = tuple(n for stmt in spec.stmts if isinstance(stmt, Vmap) for n in stmt.sets)
        self.needs_ct = spec.needs_ct
        self.hooks = tuple((needs_nat(stmt), at) for stmt in spec.stmts if (at := hooks_of(stmt)))

    def text(self) -> str:
        return self.spec.text(self.hits)


class CompiledRule:
    """A rule ready to be asked. `number` is its place in the chain, from 1; `final` acts once all else holds."""

    __slots__ = ("chain", "final", "number", "ops", "rule", "step", "table")

    def __init__(self, table: Table, chain: Chain, number: int, rule: Rule) -> None:
        self.table, self.chain, self.number, self.rule = table, chain, number, rule
        self.step = RuleStep(str(table), chain.name, number, rule.spec.text(), rule.origin)
        ops = [stmt.compile(table, self) for stmt in rule.spec.stmts]
        self.final: Op | None = None
        last = rule.spec.stmts[-1]
        if isinstance(last, (Reject, Nat)):
            self.final = ops.pop()
            if isinstance(last, Reject) and last.kind == "tcp reset":
                ops.append(only_tcp)
        self.ops: tuple[Op, ...] = tuple(ops)

    def element_step(self, element: str, origin: str, named: bool) -> RuleStep:
        """What a trace says where one element of a map decided."""
        text = self.rule.spec.text()
        text = f"{text} {{ {element} }}" if named else f"{text}: {element}"
        return RuleStep(str(self.table), self.chain.name, self.number, text, origin or self.rule.origin)


class Chain:
    """A chain. Base chains have `hook`; `use`: how many rules and elements lead here."""

    __slots__ = (
        "comment", "compiled", "handle", "hook", "kind", "name", "policy", "priority", "registered", "rules", "table",
        "use",
    )  # fmt: skip

    def __init__(self, table: Table, name: str) -> None:
        self.table, self.name = table, name
        self.kind = ""
        self.hook: Hook | None = None
        self.priority = 0
        self.policy = "accept"
        self.comment = ""
        self.rules: list[Rule] = []
        self.compiled: tuple[CompiledRule, ...] | None = None
        self.handle = 0
        self.use = 0
        self.registered = 0  # the later, the earlier it is asked among chains of its priority

    def compile(self) -> tuple[CompiledRule, ...]:
        """Its rules, made ready when a packet first comes by."""
        self.compiled = tuple(_ready(self, at, rule) for at, rule in enumerate(self.rules, 1))
        return self.compiled


def _ready(chain: Chain, number: int, rule: Rule) -> CompiledRule:
    """A rule that was ready before stays so: what takes turns goes on where it was."""
    if rule.made is None or rule.made.number != number:
        rule.made = CompiledRule(chain.table, chain, number, rule)
    return rule.made


class Table:
    """A table of one family."""

    __slots__ = ("chains", "comment", "ct_rules", "family", "handles", "name", "sets")

    def __init__(self, family: str, name: str) -> None:
        self.family, self.name = family, name
        self.comment = ""
        self.chains: dict[str, Chain] = {}
        self.sets: dict[str, NftSet] = {}
        self.handles = 0
        self.ct_rules = 0  # how many of its rules need connections

    def __str__(self) -> str:
        return f"{self.family} {self.name}"

    def next_handle(self) -> int:
        self.handles += 1
        return self.handles


Decision = tuple[str, RuleStep]
"""accept or drop, and the rule (and element) that said so."""


def walk(chain: Chain, p: Pkt) -> Decision | None:
    """A packet through a chain; None if it comes out at its end. Linux: nft_do_chain()."""
    steps = p.skb.steps
    walked = 0
    rules = chain.compiled
    if rules is None:
        rules = chain.compile()
    for rule in rules:
        walked += 1
        result: Outcome | bool | None = None
        for op in rule.ops:
            result = op(p)
            if result is not None:
                break
        if result is False:
            continue
        step = result.step if isinstance(result, Outcome) and isinstance(result.step, RuleStep) else rule.step
        steps.append(step)
        if result is None:
            if rule.final is None:
                continue
            result = rule.final(p)
        assert isinstance(result, Outcome)
        kind = result.kind
        if kind == "jump" or kind == "goto":
            assert result.chain is not None
            decision = walk(result.chain, p)
            if decision is not None or kind == "goto":
                p.walked += walked
                return decision
        elif kind == "return":
            p.walked += walked
            return None
        elif kind != "continue":
            p.walked += walked
            return kind, step
    p.walked += walked
    return None
