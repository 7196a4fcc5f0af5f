"""iptables-restore: tables as text, applied table by table, each wholly or not at all.

    *nat                        which table; without --noflush it starts empty
    :KUBE-SERVICES - [0:0]      a chain; a user's chain is emptied, a built-in one gets its policy
    [12:720] -A KUBE-SERVICES … a rule and its counters
    COMMIT                      now it is in force

A text is parsed once and its rules are shared by all namespaces that are given it.

Linux: iptables/iptables/xtables-restore.c xtables_restore_parse_line()
"""

from __future__ import annotations

from collections.abc import Container
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from k8semu.errors import CommandError
from k8semu.linux.netfilter import command
from k8semu.linux.netfilter.command import NO_CHAIN, IptablesCommand, Refused
from k8semu.linux.netfilter.parse import split
from k8semu.linux.netfilter.rule import Jump, Rule, UsageError
from k8semu.linux.netfilter.tables import BUILTIN, Chain, RuleList, Table

if TYPE_CHECKING:
    from k8semu.linux.netfilter.appends import Appends
    from k8semu.linux.netfilter.plan import Plan

PROGRAM = "iptables-restore"
VERSION = "v1.8.9 (nf_tables)"
Origins = tuple[tuple[str, str], ...]
"""(a rule's line, the object that asked for it)."""
MANY = 64
"""Lines from which on a text is read and carried out in the ways of long ones."""
NEW_CHAIN = " - [0:0]"


class ChainLine(msgspec.Struct, frozen=True, gc=False):
    """``:NAME POLICY [packets:bytes]``."""

    line: int
    name: str
    policy: str
    counters: tuple[int, int] | None


class RuleLine(msgspec.Struct, frozen=True, gc=False):
    """Any other line: a command."""

    line: int
    command: IptablesCommand


class Block:
    """The lines of one table up to its COMMIT on line `end`; `error` ends it instead."""

    __slots__ = ("_plan", "_planned", "end", "error", "lines", "names_sets", "table")

    def __init__(self, table: str) -> None:
        self.table = table
        self.lines: list[ChainLine | RuleLine] = []
        self.names_sets = False           # does a rule name an ipset?
        self.error: CommandError | None = None
        self.end = 0
        self._plan: Plan | None = None
        self._planned = False

    @property
    def plan(self) -> Plan | None:
        """What it does to any table; None if it is short, or has to be done line by line."""
        if not self._planned and len(self.lines) >= MANY:
            from k8semu.linux.netfilter.plan import make_plan  # late: a cluster without Services has short texts only

            self._plan, self._planned = make_plan(self), True
        return self._plan


def usage_error(message: str, line: int) -> CommandError:
    """As iptables-restore says that it does not understand a line."""
    prefix = "" if message.startswith("Bad argument") else f"{PROGRAM} {VERSION}: "
    return CommandError(f"{prefix}{message}\nError occurred at line: {line}")


def refused(error: Refused, line: int) -> CommandError:
    """As iptables-restore says that a line cannot be carried out."""
    if error.kernel:
        return CommandError(f"{PROGRAM} {VERSION}: \nline {line}: {error}")
    return CommandError(f"{PROGRAM}: line {line} failed: {error}")


# --- reading ----------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def parse(text: str, origins: Origins) -> tuple[Block, ...]:
    """Blocks up to the first error, which the last one then carries."""
    reader = _Reader(dict(origins), text.count("\n") >= MANY)
    number = 0
    for number, line in enumerate(text.split("\n"), 1):
        try:
            reader.line(line, number)
        except UsageError as error:
            reader.fail(usage_error(str(error), number))
        except Refused as error:
            reader.fail(refused(error, number))
        except CommandError as error:
            reader.fail(error)
        if reader.failed:
            break
    if reader.block is not None and not reader.failed:
        lines = number - (text.endswith("\n") or not text)
        reader.fail(CommandError(f"{PROGRAM}: COMMIT expected at line {lines + 1}"))
    return tuple(reader.blocks)


class _Reader:
    def __init__(self, origins: dict[str, str], long: bool) -> None:
        self.origins = origins
        self.appends: Appends | None = None
        if long:
            from k8semu.linux.netfilter.appends import Appends

            self.appends = Appends()
        self.blocks: list[Block] = []
        self.block: Block | None = None
        self.failed = False

    def fail(self, error: CommandError) -> None:
        block = self.block if self.block is not None else Block("")
        block.error = error
        self.blocks.append(block)
        self.failed = True

    def line(self, text: str, number: int) -> None:
        line = text.strip()
        if self.appends is not None and line[:3] == "-A " and self.block is not None:      # nearly all
            parsed = self.appends.read(line, self.origins.get(line, ""))
            if parsed is not None:
                self.block.lines.append(RuleLine(number, parsed))
                return
        first = line[:1]
        if not first or first == "#":
            return
        if first == "*":
            self._table(line[1:].strip(), number)
        elif self.block is None:
            raise CommandError(f"{PROGRAM}: line {number} failed")
        elif line == "COMMIT":
            self.block.end = number
            if self.appends is not None and self.appends.names_sets:
                self.block.names_sets = True
            self.blocks.append(self.block)
            self.block = None
        elif first == ":":
            self.block.lines.append(_chain_line(line[1:], number))
        else:
            if "--match-set" in line:
                self.block.names_sets = True
            self.block.lines.append(self._rule_line(line, number))

    def _table(self, name: str, number: int) -> None:
        if self.block is not None:
            raise CommandError(f"{PROGRAM}: line {number} failed")
        if name not in BUILTIN:
            raise UsageError(f"{PROGRAM}: line {number} table name '{name}' invalid")
        self.block = Block(name)

    def _rule_line(self, line: str, number: int) -> RuleLine:
        counters = (0, 0)
        if line.startswith("["):
            inside, _, line = line[1:].partition("]")
            line = line.strip()
            counters = _counters(inside, number)
        origin = self.origins.get(line, "")
        parsed = self.appends.read(line, origin) if self.appends is not None else None
        parsed = parsed or command.read(split(line), origin)
        if parsed.op in "LSC":
            raise UsageError(f'unknown option "-{parsed.op}"')
        if counters != (0, 0):
            parsed = IptablesCommand(
                parsed.op, parsed.table, parsed.chain, parsed.number, parsed.rules, counters, parsed.argument
            )
        return RuleLine(number, parsed)


def _counters(text: str, number: int) -> tuple[int, int]:
    packets, _, octets = text.partition(":")
    if not packets.isdecimal() or not octets.isdecimal():
        raise UsageError("invalid counters")
    return int(packets), int(octets)


def _chain_line(text: str, number: int) -> ChainLine:
    name = text[: -len(NEW_CHAIN)]
    if text.endswith(NEW_CHAIN) and name.isprintable() and " " not in name and 0 < len(name) <= 28:
        return ChainLine(number, name, "-", (0, 0))
    words = text.split()
    if not words:
        raise UsageError(f"{PROGRAM}: line {number} chain name invalid")
    name = words[0]
    if len(name) > 28:
        raise UsageError(f"chain name `{name}' too long (must be under 29 chars)")
    if len(words) < 2:
        raise UsageError(f"{PROGRAM}: line {number} policy invalid")
    counters = None
    if len(words) > 2:
        if not (words[2].startswith("[") and words[2].endswith("]")):
            raise UsageError("invalid policy counters for chain '" + name + "'")
        counters = _counters(words[2][1:-1], number)
    return ChainLine(number, name, words[1], counters)


def _jumps(parsed: IptablesCommand) -> bool:
    return any(type(rule.target) is Jump for rule in parsed.rules)


def check_sets(block: Block, known: Container[str]) -> None:
    """CommandError if a rule names an ipset that is not among `known`."""
    if not block.names_sets:
        return
    from k8semu.linux.netfilter.matches.memory import missing_set

    for line in block.lines:
        message = missing_set(line.command.rules, known) if type(line) is RuleLine else ""
        if message:
            raise usage_error(message, line.line)


# --- applying ---------------------------------------------------------------------------------


def apply(block: Block, table: Table) -> None:
    """Carry out a block's lines on `table` (a copy that the caller then puts into force)."""
    if block.plan is None or not block.plan.fits(table):
        _Applier(block, table).run()
        return
    block.plan.carry_out(table)
    if block.plan.jump is not None:
        _check_loops(table, block.plan.jump)


def _check_loops(table: Table, jump: RuleLine) -> None:
    try:
        command.check_loops(table, jump.command.chain)
    except Refused as error:
        raise refused(error, jump.line) from None


class _Applier:
    def __init__(self, block: Block, table: Table) -> None:
        self.block, self.table = block, table
        self.pending: dict[str, list[Rule]] = {}
        self.counters: list[tuple[str, int, tuple[int, int]]] = []

    def run(self) -> None:
        line: ChainLine | RuleLine | None = None
        try:
            for line in self.block.lines:
                if isinstance(line, ChainLine):
                    self._declare(line)
                elif line.command.op == "A":
                    self._append(line.command)
                else:
                    self._settle()
                    command.apply(self.table, line.command)
            self._settle()
        except UsageError as error:  # a jump to nowhere: iptables-restore sees it when it commits
            raise usage_error(str(error), self.block.end) from None
        except Refused as error:
            raise refused(error, line.line if line is not None else 0) from None
        jump = next((x for x in reversed(self.block.lines) if isinstance(x, RuleLine) and _jumps(x.command)), None)
        if jump is not None:
            _check_loops(self.table, jump)

    def _declare(self, line: ChainLine) -> None:
        table = self.table
        chain = table.chains.get(line.name)
        if line.policy != "-":
            if line.name not in BUILTIN[table.name]:
                raise Refused("Bad built-in chain name.")
            if line.policy not in ("ACCEPT", "DROP"):
                raise Refused("Bad policy name.")
            assert chain is not None
            chain.policy = line.policy
            if line.counters is not None:
                chain.packets, chain.octets = line.counters
                chain.counting = True
            return
        if chain is None:
            table.chains[line.name] = Chain(line.name, RuleList(table.name, line.name), None)
        elif chain.policy is None:
            self.pending.pop(line.name, None)
            chain.flush()

    def _append(self, c: IptablesCommand) -> None:
        if c.chain not in self.table.chains:
            raise Refused(NO_CHAIN)
        rules = self.pending.setdefault(c.chain, [])
        for rule in c.rules:
            command.check_rule(self.table, c.chain, rule)
            if c.counters != (0, 0):
                before = len(self.table.chains[c.chain].rules.rules)
                self.counters.append((c.chain, before + len(rules), c.counters))
            rules.append(rule)

    def _settle(self) -> None:
        """Put what was appended into the chains."""
        for name, rules in self.pending.items():
            self.table.chains[name].extend(rules)
        for name, at, counters in self.counters:
            self.table.chains[name].hits[at] = list(counters)
        self.pending, self.counters = {}, []
