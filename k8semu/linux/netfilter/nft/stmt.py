"""What a rule does, statement by statement: match, look up, count, mark, decide (`stmt_nat`: translate, reject).

Each statement prints as nft prints it and compiles to a function of the packet that returns
  None     go on with the next statement
  BREAK    the rule does not match: go on with the next rule
  Outcome  a verdict

Linux: net/netfilter/nft_cmp.c, nft_lookup.c, nft_counter.c, nft_dynset.c, nft_meta.c
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

from k8semu.linux.netfilter.nft.datatypes import Value
from k8semu.linux.netfilter.nft.expr import Expr, Getter
from k8semu.linux.netfilter.nft.sets import Element, VerdictData
from k8semu.linux.netfilter.nft.sources import AnonSet, SetRef, Source, set_of
from k8semu.linux.netfilter.nft.values import Range, key_text
from k8semu.linux.netfilter.rule import Pkt

if TYPE_CHECKING:
    from k8semu.linux.netfilter.nft.objects import Chain, CompiledRule, Table

BREAK: Literal[False] = False
_REMEMBERED = 4096


class Outcome:
    """A verdict. `step`: what a trace says instead of the rule alone (which element decided)."""

    __slots__ = ("chain", "kind", "step")

    def __init__(self, kind: str, chain: Chain | None = None, step: object = None) -> None:
        self.kind, self.chain, self.step = kind, chain, step


Op = Callable[[Pkt], "Outcome | bool | None"]

ACCEPT, DROP, RETURN, CONTINUE = Outcome("accept"), Outcome("drop"), Outcome("return"), Outcome("continue")
_PLAIN = {"accept": ACCEPT, "drop": DROP, "return": RETURN, "continue": CONTINUE}


class Stmt(msgspec.Struct, frozen=True, tag=True, gc=False):
    """One statement. `sets` and `chains` are those that it needs by name."""

    @property
    def needs_ct(self) -> bool:
        return False

    @property
    def sets(self) -> tuple[str, ...]:
        return ()

    @property
    def chains(self) -> tuple[str, ...]:
        return ()

    def text(self) -> str:
        raise NotImplementedError

    def compile(self, table: Table, rule: CompiledRule) -> Op:
        raise NotImplementedError


# --- statements ---------------------------------------------------------------------------------


class Match(Stmt, frozen=True, gc=False):
    """``ip daddr 10.0.0.0/8``, ``tcp dport != 80``, ``ip saddr @affinity-…``, ``ct state new,established``."""

    expr: Expr
    op: str
    """'' (equal, or any of the bits), ==, !=, <, >, <=, >=."""
    value: Range | Source

    @property
    def needs_ct(self) -> bool:
        return self.expr.needs_ct

    @property
    def sets(self) -> tuple[str, ...]:
        return (self.value.name,) if isinstance(self.value, SetRef) else ()

    def text(self) -> str:
        dtype = self.expr.dtypes[0]
        value = self.value.text(dtype) if isinstance(self.value, Range) else self.value.text()
        words = [self.expr.text(), self.op, value]
        return " ".join(word for word in words if word)

    def compile(self, table: Table, rule: CompiledRule) -> Op:
        get = self.expr.compile()
        if isinstance(self.value, Range):
            return guard(self.expr, _compare(get, self.op, self.value, self.expr.dtypes[0].bitmask))
        held, invert = set_of(self.value, table), self.op == "!="

        def contained(p: Pkt) -> Outcome | bool | None:
            value = get(p)
            if value is None or (held.find(value, p.nf.net.clock.now) is None) is not invert:
                return BREAK
            return None

        return guard(self.expr, contained)


def guard(expr: Expr, op: Op) -> Op:
    """`tcp dport` also asks whether it is TCP."""
    proto = expr.proto
    if not proto:
        return op
    return lambda p: op(p) if p.proto == proto else BREAK


def _compare(get: Getter, op: str, value: Range, bitmask: bool) -> Op:
    low, high = value.low, value.high
    if bitmask and op == "":
        assert isinstance(low, int)
        bits = low

        def any_bit(p: Pkt) -> Outcome | bool | None:
            found = get(p)
            return None if found is not None and found & bits else BREAK  # type: ignore[operator]

        return any_bit
    if op in ("<", ">", "<=", ">="):
        return _order(get, op, low)
    invert = op == "!="
    if value.single:

        def equal(p: Pkt) -> Outcome | bool | None:
            found = get(p)
            return None if found is not None and (found == low) is not invert else BREAK

        return equal

    def within(p: Pkt) -> Outcome | bool | None:
        found = get(p)
        if found is None:
            return BREAK
        assert not isinstance(found, tuple)
        inside = value.holds(found) if value.wildcard else low <= found <= high  # type: ignore[operator]
        return None if inside is not invert else BREAK

    return within


def _order(get: Getter, op: str, bound: Value) -> Op:
    def ordered(p: Pkt) -> Outcome | bool | None:
        f = get(p)
        if f is None:
            return BREAK
        a, b = f, bound
        holds = a < b if op == "<" else a > b if op == ">" else a <= b if op == "<=" else a >= b  # type: ignore[operator]
        return None if holds else BREAK

    return ordered


class Vmap(Stmt, frozen=True, gc=False):
    """``ip daddr . meta l4proto . th dport vmap @service-ips``: the element found says what to do."""

    expr: Expr
    source: Source

    @property
    def needs_ct(self) -> bool:
        return self.expr.needs_ct

    @property
    def sets(self) -> tuple[str, ...]:
        return (self.source.name,) if isinstance(self.source, SetRef) else ()

    @property
    def chains(self) -> tuple[str, ...]:
        return self.source.chains if isinstance(self.source, AnonSet) else ()

    def text(self) -> str:
        return f"{self.expr.text()} vmap {self.source.text()}"

    def compile(self, table: Table, rule: CompiledRule) -> Op:
        get, held, chains = self.expr.compile(), set_of(self.source, table), table.chains
        named = isinstance(self.source, SetRef)
        made: dict[object, tuple[Element, Outcome]] = {}

        def look_up(p: Pkt) -> Outcome | bool | None:
            value = get(p)
            element = held.find(value, p.nf.net.clock.now) if value is not None else None
            if element is None:
                return BREAK
            known = made.get(value)
            if known is not None and known[0] is element:
                return known[1]
            data = element.data
            assert isinstance(data, VerdictData)
            text = f"{key_text(element.key, held.spec.types)} : {data.text()}"
            step = rule.element_step(text, element.origin, named)
            outcome = Outcome(data.kind, chains[data.chain] if data.chain else None, step)
            if len(made) >= _REMEMBERED:
                made.clear()
            made[value] = element, outcome
            return outcome

        return guard(self.expr, look_up)


class VerdictStmt(Stmt, frozen=True, gc=False):
    """``accept``, ``drop``, ``return``, ``continue``, ``jump CHAIN``, ``goto CHAIN``."""

    kind: str
    chain: str = ""

    @property
    def chains(self) -> tuple[str, ...]:
        return (self.chain,) if self.chain else ()

    def text(self) -> str:
        return f"{self.kind} {self.chain}" if self.chain else self.kind

    def compile(self, table: Table, rule: CompiledRule) -> Op:
        outcome = Outcome(self.kind, table.chains[self.chain]) if self.chain else _PLAIN[self.kind]
        return lambda p: outcome


class Counter(Stmt, frozen=True, gc=False):
    """``counter``: packets and bytes that came so far in the rule. The figures given are where it starts."""

    packets: int = 0
    octets: int = 0

    def text(self) -> str:
        return f"counter packets {self.packets} bytes {self.octets}"

    def compile(self, table: Table, rule: CompiledRule) -> Op:
        hits = rule.rule.hits

        def count(p: Pkt) -> Outcome | bool | None:
            hits[0] += 1
            hits[1] += len(p.data) - 14
            return None

        return count


class MarkSet(Stmt, frozen=True, gc=False):
    """``meta mark set meta mark | 0x4000``, ``ct mark set 1``: of the packet, or of its connection."""

    target: str
    """meta or ct."""
    source: Expr | int

    @property
    def needs_ct(self) -> bool:
        return self.target == "ct" or (isinstance(self.source, Expr) and self.source.needs_ct)

    def text(self) -> str:
        value = self.source.text() if isinstance(self.source, Expr) else f"0x{self.source:08x}"
        return f"{self.target} mark set {value}"

    def compile(self, table: Table, rule: CompiledRule) -> Op:
        source, to_ct = self.source, self.target == "ct"
        get: Getter = source.compile() if isinstance(source, Expr) else lambda p: source

        def put(p: Pkt) -> Outcome | bool | None:
            value = get(p)
            if value is None:
                return BREAK
            assert isinstance(value, int)
            if not to_ct:
                p.skb.mark = value
            elif p.skb.ct is not None:
                p.skb.ct.mark = value
                p.nf.conntrack.told(p.skb.ct)
            return None

        return put


class SetUpdate(Stmt, frozen=True, gc=False):
    """``update @affinity-… { ip saddr }`` (refreshes), ``add @seen { ip saddr }`` (does not)."""

    op: str
    name: str
    expr: Expr
    timeout: int | None = None

    @property
    def sets(self) -> tuple[str, ...]:
        return (self.name,)

    def text(self) -> str:
        from k8semu.linux.netfilter.nft.show import time_text

        timeout = f" timeout {time_text(self.timeout)}" if self.timeout is not None else ""
        return f"{self.op} @{self.name} {{ {self.expr.text()}{timeout} }}"

    def compile(self, table: Table, rule: CompiledRule) -> Op:
        get, held, op, timeout = self.expr.compile(), table.sets[self.name], self.op, self.timeout

        def update(p: Pkt) -> Outcome | bool | None:
            value = get(p)
            if value is None:
                return BREAK
            if op == "delete":
                return None if held.remove(value) is not None else BREAK
            return None if held.update(value, p.nf.net.clock.now, timeout, op == "update") else BREAK

        return guard(self.expr, update)
