"""What a rule does, statement by statement: match, look up, count, mark, translate, decide.

Each statement prints as nft prints it and compiles to a function of the packet that returns
  None     go on with the next statement
  BREAK    the rule does not match: go on with the next rule
  Outcome  a verdict

Linux: net/netfilter/nft_cmp.c, nft_lookup.c, nft_counter.c, nft_dynset.c, nft_nat.c, nft_masq.c
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

from k8semu.linux.core.hooks import Hook
from k8semu.linux.netfilter.manip import DST
from k8semu.linux.netfilter.nat import NatRange
from k8semu.linux.netfilter.nft.datatypes import IPV4, DataTypes, Value
from k8semu.linux.netfilter.nft.expr import Expr, Getter
from k8semu.linux.netfilter.nft.sets import Data, Element, NftSet, SetSpec, VerdictData
from k8semu.linux.netfilter.nft.values import Key, Range, key_text, merge, sort_value
from k8semu.linux.netfilter.rule import Action, Pkt, Verdict
from k8semu.linux.netfilter.targets.nat import DnatTarget, MasqueradeTarget, RedirectTarget, SnatTarget
from k8semu.linux.netfilter.targets.reject import RejectTarget

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


# --- what is compared with ----------------------------------------------------------------------


class AnonSet(msgspec.Struct, frozen=True, gc=False):
    """``{ 80, 443 }``: the set of one rule. Ranges are merged, elements sorted, as nft does."""

    types: DataTypes
    items: tuple[tuple[Key, Data], ...]
    data: DataTypes = ()

    @classmethod
    def of(cls, types: DataTypes, items: list[tuple[Key, Data]], data: DataTypes = ()) -> AnonSet:
        intervals = any(not part.single for key, _ in items for part in key)
        if intervals and len(types) == 1 and all(d is None and not key[0].wildcard for key, d in items):
            items = [((part,), None) for part in merge((key[0] for key, _ in items), types[0])]
        found = {key: (key, value) for key, value in items}
        if not (intervals and len(types) > 1):
            return cls(types, tuple(sorted(found.values(), key=lambda kv: sort_value(kv[0], types))), data)
        return cls(types, tuple(found.values()), data)

    def text(self) -> str:
        parts = []
        for key, data in self.items:
            text = key_text(key, self.types)
            if isinstance(data, VerdictData):
                text += f" : {data.text()}"
            elif data is not None:
                text += f" : {key_text(data, self.data)}"
            parts.append(text)
        return f"{{ {', '.join(parts)} }}"

    @property
    def chains(self) -> tuple[str, ...]:
        return tuple(d.chain for _, d in self.items if isinstance(d, VerdictData) and d.chain)

    def make(self) -> NftSet:
        """The set itself."""
        interval = any(not part.single for key, _ in self.items for part in key)
        spec = SetSpec(self.types, self.data, any(isinstance(d, VerdictData) for _, d in self.items),
                       ("interval",) if interval else ())  # fmt: skip
        made = NftSet("", spec)
        for key, data in self.items:
            made.put(Element(key, data))
        return made


class SetRef(msgspec.Struct, frozen=True, gc=False):
    """``@cluster-ips``."""

    name: str

    def text(self) -> str:
        return f"@{self.name}"


Source = AnonSet | SetRef


def _set_of(source: Source, table: Table) -> NftSet:
    return table.sets[source.name] if isinstance(source, SetRef) else source.make()


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
            return _guard(self.expr, _compare(get, self.op, self.value, self.expr.dtypes[0].bitmask))
        held, invert = _set_of(self.value, table), self.op == "!="

        def contained(p: Pkt) -> Outcome | bool | None:
            value = get(p)
            if value is None or (held.find(value, p.nf.net.clock.now) is None) is not invert:
                return BREAK
            return None

        return _guard(self.expr, contained)


def _guard(expr: Expr, op: Op) -> Op:
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
        get, held, chains = self.expr.compile(), _set_of(self.source, table), table.chains
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

        return _guard(self.expr, look_up)


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

        return _guard(self.expr, update)


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

        return _guard(self.expr, act)


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
