"""Chains compiled: straight to the rules that can match.

A chain of 10,000 Services is 10,000 rules that each name one destination. Walking them costs
Python milliseconds, so rules that pin destination address, protocol and port are found by
dictionary, and only the candidates are compared, in their order:

    -d 10.96.0.20/32 -p tcp -m tcp --dport 80   key (daddr, 6, 80)
    -d 10.96.0.20/32 -p tcp                     key (daddr, 6)
    -p tcp -m tcp --dport 30080                 key (6, 30080)
    anything else                               always a candidate

The verdict, the rules reported and the count of rules that the kernel would have compared are
those of the linear walk; a property test holds them equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge
from operator import attrgetter

from k8semu.linux.netfilter.rule import Action, Check, Jump, Pkt, Rule
from k8semu.trace.steps import RuleStep

INDEX_FROM = 8
"""Shorter chains are walked."""

_CACHE = 4096


class CompiledRule:
    """One rule, ready to be asked. `number` is its place in the chain, from 1."""

    __slots__ = ("act", "by_flow", "chain", "checks", "goto", "jump", "made_step", "number", "rule", "table")

    def __init__(self, table: str, chain: str, number: int, rule: Rule) -> None:
        self.table, self.chain, self.number, self.rule = table, chain, number, rule
        checks: list[Check] = rule.ip.compile()
        for match in rule.matches:
            check = match.compile()
            if check is not None:
                checks.append(check)
        self.checks: tuple[Check, ...] = tuple(checks)
        target = rule.target
        self.by_flow = target is None or target.by_flow  # what it does; asked only of what is no jump
        self.jump = target.chain if type(target) is Jump else ""
        self.goto = type(target) is Jump and target.goto
        self.act: Action | None = target.compile() if target is not None and not self.jump else None
        self.made_step: RuleStep | None = None

    @property
    def step(self) -> RuleStep:
        """What a trace says of it; made once."""
        step = self.made_step
        if step is None:
            rule = self.rule
            step = self.made_step = RuleStep(self.table, self.chain, self.number, rule.text(self.chain), rule.origin)
        return step


Key = tuple[bytes, int, int]


def _key(rule: Rule) -> Key | None:
    """What a packet must carry for the rule to match: (daddr or b'', protocol, dport or -1).

    A port counts only if nothing with a memory stands before it: such a match must be asked.
    """
    from k8semu.linux.netfilter.matches.ports import PortMatch

    ip = rule.ip
    daddr = ip.dst.addr if ip.dst is not None and ip.dst.host else b""
    if ip.proto_invert or not ip.proto:
        return (daddr, 0, -1) if daddr else None
    for match in rule.matches:
        if not match.pure:
            break
        if isinstance(match, PortMatch) and match.dport is not None and match.dport.one is not None:
            return daddr, ip.proto, match.dport.one
    return (daddr, ip.proto, -1) if daddr else None


class CompiledChain:
    """The rules of a chain, and how to find those that can match a packet."""

    __slots__ = ("_cache", "_generic", "_index", "rules")

    def __init__(self, table: str, chain: str, rules: Sequence[Rule]) -> None:
        self.rules = tuple(CompiledRule(table, chain, at, rule) for at, rule in enumerate(rules, 1))
        self._index: dict[Key, list[CompiledRule]] | None = None
        self._generic: tuple[CompiledRule, ...] = ()
        self._cache: dict[Key, tuple[CompiledRule, ...]] = {}
        if len(rules) >= INDEX_FROM:
            self._build()

    def _build(self) -> None:
        index: dict[Key, list[CompiledRule]] = {}
        generic: list[CompiledRule] = []
        for rule in self.rules:
            key = _key(rule.rule)
            if key is None:
                generic.append(rule)
            else:
                index.setdefault(key, []).append(rule)
        if index:
            self._index, self._generic = index, tuple(generic)

    def by_flow(self, p: Pkt) -> bool:
        """Are all rules that can match asked of what the packets of a flow have in common?"""
        return all(match.by_flow for rule in self.candidates(p) for match in rule.rule.matches)

    def candidates(self, p: Pkt) -> tuple[CompiledRule, ...]:
        """All rules that can match, in order (others may be among them)."""
        index = self._index
        if index is None:
            return self.rules
        key = (p.daddr, p.proto, p.dport)
        found = self._cache.get(key)
        if found is not None:
            return found
        daddr, proto, dport = key
        hits = [
            rules
            for rules in (
                index.get(key),
                index.get((daddr, proto, -1)) if dport >= 0 else None,
                index.get((daddr, 0, -1)) if proto else None,
                index.get((b"", proto, dport)),
            )
            if rules
        ]
        if not hits:
            return self._generic
        merged = tuple(merge(self._generic, *hits, key=attrgetter("number")))
        if len(self._cache) >= _CACHE:
            self._cache.clear()
        self._cache[key] = merged
        return merged
