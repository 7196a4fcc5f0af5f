"""Changes to nf_tables, each of which leaves a way back.

    put, take_out     tables, chains and sets by their names     set_rules, count   a chain's rules
    set_attr          one property                               clear, merge, hold a set's elements

Linux: net/netfilter/nf_tables_api.c struct nft_trans, nf_tables_abort()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from k8semu.linux.netfilter.nft.objects import Chain, Rule, Table
from k8semu.linux.netfilter.nft.sets import Element, NftSet, VerdictData
from k8semu.linux.netfilter.nft.values import merge

K = TypeVar("K")
V = TypeVar("V")


class Undo:
    """The ways back, taken last first."""

    def __init__(self) -> None:
        self._ways: list[Callable[[], object]] = []

    def note(self, way: Callable[[], object]) -> None:
        """What was just done is undone so."""
        self._ways.append(way)

    def go_back(self) -> None:
        while self._ways:
            self._ways.pop()()

    def put(self, among: dict[K, V], key: K, value: V) -> None:
        """A new one."""
        among[key] = value
        self.note(lambda: among.pop(key))

    def take_out(self, among: dict[K, V], key: K) -> None:
        """It goes; on the way back it stands where it stood."""
        before = list(among.items())
        del among[key]

        def undo() -> None:
            among.clear()
            among.update(before)

        self.note(undo)

    def set_attr(self, of: object, name: str, value: object) -> None:
        was = getattr(of, name)
        setattr(of, name, value)
        self.note(lambda: setattr(of, name, was))

    # --- rules --------------------------------------------------------------------------------------

    def set_rules(self, chain: Chain, rules: list[Rule]) -> None:
        was = chain.rules
        chain.rules, chain.compiled = rules, None

        def undo() -> None:
            chain.rules, chain.compiled = was, None

        self.note(undo)

    def append_rule(self, chain: Chain, rule: Rule) -> None:
        """The same as `set_rules` with one more at the end, without a copy of all."""
        chain.rules.append(rule)
        self.note(lambda: chain.rules.remove(rule))
        chain.compiled = None

    def count(self, table: Table, rule: Rule, by: int) -> None:
        """Chains and sets know how many rules lead to them."""
        _count(table, rule, by)
        self.note(lambda: _count(table, rule, -by))

    # --- elements -----------------------------------------------------------------------------------

    def clear(self, held: NftSet) -> None:
        was = held.elements
        held.clear()
        self.note(lambda: held.restore(was))

    def merge(self, held: NftSet) -> None:
        """Neighbouring and overlapping intervals become one (`auto-merge`)."""
        was = held.elements
        dtype = held.spec.types[0]
        held.clear()
        for part in merge((element.key[0] for element in was.values()), dtype):
            held.put(was.get((part,), Element((part,))))
        self.note(lambda: held.restore(was))

    def hold(self, table: Table, element: Element, by: int) -> None:
        """A chain knows how many elements of verdict maps lead to it."""
        data = element.data
        if isinstance(data, VerdictData) and data.chain:
            chain = table.chains[data.chain]
            self.set_attr(chain, "use", chain.use + by)


def _count(table: Table, rule: Rule, by: int) -> None:
    for name in rule.targets:
        table.chains[name].use += by
    for name in rule.sets:
        table.sets[name].use += by
    table.ct_rules += by * rule.needs_ct
