"""A namespace's tables and chains. Rules are shared values; counters are the namespace's own.

    Tables ── Table raw | mangle | nat | filter ── Chain ── RuleList (immutable, shared, compiled once)
                                                        └── counters (only of rules that were hit)

Linux: net/ipv4/netfilter/ip_tables.c, iptable_{raw,mangle,nat,filter}.c
"""

from __future__ import annotations

from collections.abc import Iterable

from k8semu.linux.core.hooks import Hook, Priority
from k8semu.linux.netfilter.dispatch import CompiledChain
from k8semu.linux.netfilter.rule import Jump, Rule

CHAIN_HOOK = {
    "PREROUTING": Hook.PREROUTING, "INPUT": Hook.LOCAL_IN, "FORWARD": Hook.FORWARD, "OUTPUT": Hook.LOCAL_OUT,
    "POSTROUTING": Hook.POSTROUTING,
}  # fmt: skip

BUILTIN: dict[str, tuple[str, ...]] = {
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}
"""Built-in chains, in the order in which iptables-save (nft) prints tables and chains."""

PRIORITY = {"raw": Priority.RAW, "mangle": Priority.MANGLE, "filter": Priority.FILTER}


class RuleList:
    """The rules of one chain: never changed, only replaced, so that namespaces can share it."""

    __slots__ = ("_compiled", "_jumps", "_needs_ct", "chain", "rules", "table")

    def __init__(self, table: str, chain: str, rules: Iterable[Rule] = ()) -> None:
        self.table, self.chain = table, chain
        self.rules: tuple[Rule, ...] = tuple(rules)
        self._compiled: CompiledChain | None = None
        self._jumps: dict[str, int] | None = None
        self._needs_ct: bool | None = None

    @property
    def jumps(self) -> dict[str, int]:
        """The chains that the rules jump to, and how often."""
        if self._jumps is None:
            self._jumps = {}
            for rule in self.rules:
                if type(rule.target) is Jump:
                    self._jumps[rule.target.chain] = self._jumps.get(rule.target.chain, 0) + 1
        return self._jumps

    @property
    def needs_ct(self) -> bool:
        """Does a rule make the kernel track connections?"""
        if self._needs_ct is None:
            self._needs_ct = any(rule.needs_ct for rule in self.rules)
        return self._needs_ct

    @property
    def compiled(self) -> CompiledChain:
        if self._compiled is None:
            self._compiled = CompiledChain(self.table, self.chain, self.rules)
        return self._compiled


class Chain:
    """One chain of one namespace. `policy` None: a user's chain. `hits`: index -> [packets, bytes].

    `counting`: the policy counts, which it does once the chain was given with counters, as with
    iptables on nf_tables.
    """

    __slots__ = ("counting", "hits", "name", "octets", "packets", "policy", "rules")

    def __init__(self, name: str, rules: RuleList, policy: str | None) -> None:
        self.name, self.rules, self.policy = name, rules, policy
        self.packets = self.octets = 0
        self.counting = False
        self.hits: dict[int, list[int]] = {}

    def copy(self) -> Chain:
        twin = Chain(self.name, self.rules, self.policy)
        twin.packets, twin.octets, twin.counting = self.packets, self.octets, self.counting
        if self.hits:
            twin.hits = {at: hit.copy() for at, hit in self.hits.items()}
        return twin

    def _replace(self, rules: Iterable[Rule]) -> None:
        self.rules = RuleList(self.rules.table, self.name, rules)

    def insert(self, at: int, rule: Rule, counters: tuple[int, int] = (0, 0)) -> None:
        """Put a rule before position `at` (0-based); counters move along."""
        rules = self.rules.rules
        self.hits = {i + (i >= at): hit for i, hit in self.hits.items()}
        self._replace((*rules[:at], rule, *rules[at:]))
        if counters != (0, 0):
            self.hits[at] = list(counters)

    def extend(self, rules: Iterable[Rule]) -> None:
        """Put rules at the end."""
        self._replace((*self.rules.rules, *rules))

    def delete(self, at: int) -> None:
        rules = self.rules.rules
        self.hits = {i - (i > at): hit for i, hit in self.hits.items() if i != at}
        self._replace((*rules[:at], *rules[at + 1 :]))

    def flush(self) -> None:
        self._replace(())
        self.hits = {}

    def zero(self, at: int | None = None) -> None:
        """`iptables -Z`."""
        if at is not None:
            self.hits.pop(at, None)
            return
        self.hits = {}
        self.packets = self.octets = 0

    def find(self, rule: Rule) -> int | None:
        """Where an equal rule stands."""
        return next((at for at, r in enumerate(self.rules.rules) if r.same(rule)), None)

    def counters(self, at: int) -> tuple[int, int]:
        hit = self.hits.get(at)
        return (hit[0], hit[1]) if hit is not None else (0, 0)


class Table:
    """One table of one namespace."""

    __slots__ = ("chains", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.chains: dict[str, Chain] = {
            chain: Chain(chain, RuleList(name, chain), "ACCEPT") for chain in BUILTIN[name]
        }

    def copy(self) -> Table:
        twin = Table.__new__(Table)
        twin.name = self.name
        twin.chains = {name: chain.copy() for name, chain in self.chains.items()}
        return twin

    def ordered(self) -> list[Chain]:
        """Built-in chains, then the others by name, as iptables-save prints them."""
        builtin = [self.chains[name] for name in BUILTIN[self.name]]
        return builtin + [self.chains[name] for name in sorted(self.chains) if name not in BUILTIN[self.name]]

    def references(self, name: str) -> int:
        """How many rules jump to a chain."""
        return sum(chain.rules.jumps.get(name, 0) for chain in self.chains.values())

    def loop(self) -> bool:
        """Could a packet come from a built-in chain to a chain that it is already in?"""
        chains = self.chains
        done: set[str] = set()
        for start in BUILTIN[self.name]:
            stack = [(start, iter(chains[start].rules.jumps))]
            path = {start}
            while stack:
                name, rest = stack[-1]
                step = next(rest, None)
                if step is None:
                    stack.pop()
                    path.discard(name)
                    done.add(name)
                elif step in path:
                    return True
                elif step in chains and step not in done:
                    jumps = chains[step].rules.jumps
                    if done.issuperset(jumps):
                        done.add(step)
                        continue
                    path.add(step)
                    stack.append((step, iter(jumps)))
        return False

    @property
    def needs_ct(self) -> bool:
        return self.name == "nat" or any(chain.rules.needs_ct for chain in self.chains.values())
