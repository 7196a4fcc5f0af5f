"""All that a text says, or nothing: each change leaves a way back, taken if a later one is refused.

Linux: net/netfilter/nf_tables_api.c nf_tables_newrule(), …, nf_tables_abort(); nftables src/evaluate.c
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from k8semu.linux.netfilter.nft import cmd as c
from k8semu.linux.netfilter.nft import stmt as s
from k8semu.linux.netfilter.nft.lexer import NftError, as_command_error
from k8semu.linux.netfilter.nft.objects import HOOKS, Chain, Rule, Table
from k8semu.linux.netfilter.nft.sets import DYNAMIC_SIZE, Element, NftSet, VerdictData
from k8semu.linux.netfilter.nft.typed import check_types, element_data, element_key, end_of, same, with_sign
from k8semu.linux.netfilter.nft.undo import Undo
from k8semu.linux.netfilter.nft.validate import fault_of

Numbered = tuple[int, c.Cmd]
Tables = dict[tuple[str, str], Table]

_NO_ENTRY = "Could not process rule: No such file or directory"
_MISSING = "No such file or directory"
_EXISTS = "Could not process rule: File exists"
_BUSY = "Could not process rule: Device or resource busy"
_UNSUPPORTED = "Could not process rule: Operation not supported"


class Transaction:
    """One text on its way into the tables. `serial` numbers base chains in the order they were made."""

    def __init__(
        self, tables: Tables, text: str, origins: Mapping[str, str], origin: str, now: int, serial: int
    ) -> None:
        self.tables, self.text, self.origins, self.origin, self.now = tables, text, origins, origin, now
        self.serial = serial
        self._undo = Undo()
        self._above = 0
        self._made: dict[int, Numbered] = {}  # id of a new rule -> what made it
        self._check: dict[tuple[str, str], Numbered] = {}

    def run(self, cmds: Iterable[tuple[int, c.Cmd]]) -> None:
        """Do it all; CommandError as nft prints it, and nothing is done."""
        try:
            for above, command in cmds:
                self._above = above
                self._do(command)
            for key, made in self._check.items():
                if key in self.tables:
                    self._validate(self.tables[key], made)
        except NftError as error:
            self._undo.go_back()
            raise as_command_error(error, self.text, self._above) from None

    def _validate(self, table: Table, last: Numbered) -> None:
        fault = fault_of(table)
        if fault is not None:
            rule, message = fault
            self._above, command = self._made.get(id(rule), last)
            raise NftError(command.at, message, command.to.after)

    def _do(self, command: c.Cmd) -> None:
        verb = "delete" if command.verb == "destroy" else command.verb
        handler = _HANDLERS.get((verb, command.kind))
        if handler is None:
            raise NftError(command.at, f"k8semu cannot {command.verb} a {command.kind}", command.to)
        try:
            handler(self, command)
        except _Gone as error:
            if command.verb != "destroy":
                raise NftError(error.at, error.message) from None

    def _origin(self, command: c.Cmd) -> str:
        return self.origins.get(command.line, self.origin)

    # --- what commands name -------------------------------------------------------------------------

    def _table(self, command: c.Cmd, kernel: bool = False) -> Table:
        table = self.tables.get((command.family, command.table))
        if table is None:
            assert command.table_at is not None
            raise _Gone(command.table_at, _NO_ENTRY if kernel else _MISSING)
        return table

    def _chain(self, table: Table, command: c.Cmd) -> Chain:
        chain = table.chains.get(command.name)
        if chain is None:
            assert command.name_at is not None
            raise _Gone(command.name_at, _NO_ENTRY)
        return chain

    def _held(self, table: Table, command: c.Cmd, message: str = _MISSING) -> NftSet:
        held = table.sets.get(command.name)
        if held is None:
            assert command.name_at is not None
            raise _Gone(command.name_at, message)
        return held

    # --- tables -------------------------------------------------------------------------------------

    def add_table(self, command: c.Cmd) -> None:
        key = (command.family, command.table)
        if key in self.tables:
            if command.verb == "create":
                assert command.table_at is not None
                raise NftError(command.table_at, _EXISTS)
            return
        table = Table(command.family, command.table)
        table.comment = command.comment
        self._undo.put(self.tables, key, table)

    def delete_table(self, command: c.Cmd) -> None:
        table = self._table(command, kernel=True)
        self._undo.take_out(self.tables, (table.family, table.name))

    def flush_table(self, command: c.Cmd) -> None:
        table = self._table(command, kernel=True)
        for chain in table.chains.values():
            self._flush(chain)

    def flush_ruleset(self, command: c.Cmd) -> None:
        for key in list(self.tables):
            self._undo.take_out(self.tables, key)

    # --- chains -------------------------------------------------------------------------------------

    def add_chain(self, command: c.Cmd) -> None:
        table, spec = self._table(command), command.chain
        assert spec is not None
        if spec.kind == "nat" and (spec.hook == "forward" or spec.priority <= -200):
            raise NftError(command.at, _UNSUPPORTED, command.to.after)
        if spec.kind == "route":
            raise NftError(command.at, "k8semu has chains of type filter and nat, none of type route", command.to)
        chain = table.chains.get(command.name)
        if chain is not None:
            self._again(chain, command, spec)
            return
        chain = Chain(table, command.name)
        chain.comment = spec.comment
        chain.handle = table.next_handle()
        if spec.kind:
            chain.kind, chain.hook, chain.priority = spec.kind, HOOKS[spec.hook], spec.priority
            chain.policy = spec.policy or "accept"
            self.serial += 1
            chain.registered = self.serial
            self._check[table.family, table.name] = self._above, command
        self._undo.put(table.chains, command.name, chain)

    def _again(self, chain: Chain, command: c.Cmd, spec: c.ChainSpec) -> None:
        """A chain that exists: only its policy may change."""
        if command.verb == "create":
            assert command.name_at is not None
            raise NftError(command.name_at, _EXISTS)
        if spec.kind and (chain.kind, chain.hook, chain.priority) != (spec.kind, HOOKS[spec.hook], spec.priority):
            raise NftError(command.at, _EXISTS if chain.hook is None else _UNSUPPORTED, command.to.after)
        if spec.policy and spec.policy != chain.policy:
            self._undo.set_attr(chain, "policy", spec.policy)

    def delete_chain(self, command: c.Cmd) -> None:
        table = self._table(command)
        chain = self._chain(table, command)
        self._flush(chain)
        if chain.use:
            assert command.name_at is not None
            raise NftError(command.name_at, _BUSY)
        self._undo.take_out(table.chains, chain.name)

    def flush_chain(self, command: c.Cmd) -> None:
        self._flush(self._chain(self._table(command), command))

    def _flush(self, chain: Chain) -> None:
        rules = chain.rules
        if rules:
            self._undo.set_rules(chain, [])
            for rule in rules:
                self._undo.count(chain.table, rule, -1)

    # --- rules --------------------------------------------------------------------------------------

    def add_rule(self, command: c.Cmd) -> None:
        table = self._table(command)
        chain = self._chain(table, command)
        spec = command.rule
        assert spec is not None
        self._check_refs(table, command)
        rule = Rule(spec, table.next_handle(), self._origin(command))
        at = len(chain.rules)
        if command.handle:
            at = self._position(chain, command) + (command.verb == "add")
        elif command.verb == "insert":
            at = 0
        if at == len(chain.rules):
            self._undo.append_rule(chain, rule)
        else:
            self._undo.set_rules(chain, [*chain.rules[:at], rule, *chain.rules[at:]])
        self._undo.count(table, rule, 1)
        if rule.targets or rule.vmaps or rule.hooks:
            self._made[id(rule)] = self._above, command
            self._check[table.family, table.name] = self._above, command

    def replace_rule(self, command: c.Cmd) -> None:
        table = self._table(command)
        chain = self._chain(table, command)
        assert command.rule is not None
        self._check_refs(table, command)
        at = self._position(chain, command)
        rule = Rule(command.rule, table.next_handle(), self._origin(command))
        was = chain.rules[at]
        self._undo.set_rules(chain, [*chain.rules[:at], rule, *chain.rules[at + 1 :]])
        self._undo.count(table, rule, 1)
        self._undo.count(table, was, -1)
        self._made[id(rule)] = self._above, command
        self._check[table.family, table.name] = self._above, command

    def delete_rule(self, command: c.Cmd) -> None:
        table = self._table(command)
        chain = self._chain(table, command)
        at = self._position(chain, command)
        was = chain.rules[at]
        self._undo.set_rules(chain, [*chain.rules[:at], *chain.rules[at + 1 :]])
        self._undo.count(table, was, -1)

    def _position(self, chain: Chain, command: c.Cmd) -> int:
        at = next((i for i, rule in enumerate(chain.rules) if rule.handle == command.handle), None)
        if at is None:
            assert command.handle_at is not None
            raise _Gone(command.handle_at, _NO_ENTRY)
        return at

    def _check_refs(self, table: Table, command: c.Cmd) -> None:
        """Do the chains and sets that a rule names exist, with the right types?"""
        for ref, at, _ in command.refs:
            kind, _, name = ref.partition(" ")
            if kind == "chain" and name not in table.chains:
                raise NftError(at, _MISSING)
            if kind == "set" and name not in table.sets:
                raise NftError(with_sign(at), _MISSING, at)
        where = {ref: (at, asked) for ref, at, asked in command.refs}
        assert command.rule is not None
        for stmt in command.rule.stmts:
            for name in stmt.sets:
                if isinstance(stmt, s.SetUpdate) and not table.sets[name].spec.size:
                    self._undo.set_attr(table.sets[name], "spec", replace(table.sets[name].spec, size=DYNAMIC_SIZE))
                check_types(stmt, table.sets[name], *where[f"set {name}"])

    # --- sets ---------------------------------------------------------------------------------------

    def add_set(self, command: c.Cmd) -> None:
        table, spec = self._table(command), command.spec
        assert spec is not None
        assert command.name_at is not None
        held = table.sets.get(command.name)
        if held is not None:
            if command.verb == "create" or not same(held.spec, spec):
                raise NftError(command.name_at, _EXISTS)
            changed = replace(
                held.spec, timeout=spec.timeout, gc_interval=spec.gc_interval, size=spec.size or held.spec.size
            )
            self._undo.set_attr(held, "spec", changed)
        else:
            held = NftSet(command.name, spec, command.comment, table.next_handle())
            self._undo.put(table.sets, command.name, held)

    def delete_set(self, command: c.Cmd) -> None:
        table = self._table(command)
        held = self._held(table, command, _NO_ENTRY)
        if held.use:
            assert command.name_at is not None
            raise NftError(command.name_at, _BUSY)
        for element in held.elements.values():
            self._undo.hold(table, element, -1)
        self._undo.take_out(table.sets, held.name)

    def flush_set(self, command: c.Cmd) -> None:
        table = self._table(command)
        held = self._held(table, command)
        for element in held.elements.values():
            self._undo.hold(table, element, -1)
        self._undo.clear(held)

    def add_element(self, command: c.Cmd) -> None:
        table = self._table(command)
        held = self._held(table, command)
        origin = self._origin(command)
        for raw in command.elements:
            self._add_one(table, held, raw, command.verb, origin)
        if held.spec.auto_merge and not held.spec.is_map and len(held.spec.types) == 1:
            self._undo.merge(held)
        if held.spec.verdicts:
            self._check.setdefault((table.family, table.name), (self._above, command))

    def _add_one(self, table: Table, held: NftSet, raw: c.RawElement, verb: str, origin: str) -> None:
        key, data = element_key(held, raw), element_data(held, raw)
        first, last = raw.key[0].low, end_of(raw)
        if held.spec.is_map and data is None:
            raise NftError(first, "Could not process rule: Invalid argument", last)
        if isinstance(data, VerdictData) and data.chain and data.chain not in table.chains:
            raise NftError(first, _NO_ENTRY, last)
        at = held.dict_key(key)
        known = held.elements.get(at)
        if known is not None and known.expires and known.expires <= self.now:
            held.remove(at)
            known = None
        if known is not None:
            if verb == "create" or known.data != data:
                raise NftError(first, _EXISTS, last)
            return
        if held.spec.interval and not held.spec.auto_merge and held.overlap(key) is not None:
            raise NftError(first, "conflicting intervals specified", last)
        if held.spec.size and len(held.elements) >= held.spec.size:
            raise NftError(first, "Could not process rule: Too many open files in system", last)
        element = Element(key, data, raw.comment, raw.timeout, self._expires(held, raw), origin)
        held.put(element)
        self._undo.note(lambda: held.remove(at))
        self._undo.hold(table, element, 1)

    def _expires(self, held: NftSet, raw: c.RawElement) -> int:
        timeout = raw.expires or raw.timeout or held.spec.timeout
        return self.now + timeout if timeout else 0

    def delete_element(self, command: c.Cmd) -> None:
        table = self._table(command)
        held = self._held(table, command)
        for raw in command.elements:
            at = held.dict_key(element_key(held, raw))
            element = held.remove(at)
            if element is None or (element.expires and element.expires <= self.now):
                raise _Gone(raw.key[0].low, _NO_ENTRY)
            self._undo.note(lambda element=element: held.put(element))  # type: ignore[misc]
            self._undo.hold(table, element, -1)

class _Gone(NftError):
    """What is not there: no error for `destroy`."""


_T = Transaction
_HANDLERS: dict[tuple[str, str], Callable[[Transaction, c.Cmd], None]] = {
    ("add", "table"): _T.add_table, ("create", "table"): _T.add_table, ("delete", "table"): _T.delete_table,
    ("flush", "table"): _T.flush_table, ("flush", "ruleset"): _T.flush_ruleset,
    ("add", "chain"): _T.add_chain, ("create", "chain"): _T.add_chain, ("delete", "chain"): _T.delete_chain,
    ("flush", "chain"): _T.flush_chain,
    ("add", "rule"): _T.add_rule, ("insert", "rule"): _T.add_rule, ("create", "rule"): _T.add_rule,
    ("replace", "rule"): _T.replace_rule, ("delete", "rule"): _T.delete_rule,
    **{(verb, kind): _T.add_set for verb in ("add", "create") for kind in ("set", "map")},
    **{("delete", kind): _T.delete_set for kind in ("set", "map")},
    **{("flush", kind): _T.flush_set for kind in ("set", "map")},
    ("add", "element"): _T.add_element, ("create", "element"): _T.add_element,
    ("delete", "element"): _T.delete_element,
}  # fmt: skip
