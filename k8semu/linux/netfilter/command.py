"""One iptables command (``-A CHAIN …``, ``-N CHAIN``, …): read, and carried out on a table.

    UsageError   iptables does not understand it        Refused   it cannot be done

Linux: iptables/iptables/xshared.c do_parse(), iptables/nft.c
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from k8semu.linux.netfilter.parse import parse_rule
from k8semu.linux.netfilter.rule import IpMatch, Jump, Rule, UsageError
from k8semu.linux.netfilter.tables import BUILTIN, CHAIN_HOOK, Chain, RuleList, Table

NO_CHAIN = "No chain/target/match by that name."
BAD_RULE = "Bad rule (does a matching rule exist in that chain?)."


class Refused(Exception):
    """Understood, but it cannot be done; the message is iptables' own.

    `kernel` True: it was the kernel that said no (``RULE_APPEND failed (Invalid argument): …``).
    `version` True: the message comes with the program's version before it.
    """

    def __init__(self, message: str, kernel: bool = False, version: bool = False) -> None:
        super().__init__(message)
        self.kernel, self.version = kernel, version


_OPS = {
    "-A": "A", "--append": "A", "-I": "I", "--insert": "I", "-D": "D", "--delete": "D", "-R": "R",
    "--replace": "R", "-C": "C", "--check": "C", "-N": "N", "--new-chain": "N", "--new": "N", "-X": "X",
    "--delete-chain": "X", "-E": "E", "--rename-chain": "E", "-F": "F", "--flush": "F", "-P": "P",
    "--policy": "P", "-Z": "Z", "--zero": "Z", "-L": "L", "--list": "L", "-S": "S", "--list-rules": "S",
}  # fmt: skip
_FLAGS = {"-n": "n", "--numeric": "n", "-v": "v", "--verbose": "v", "--line-numbers": "l", "-x": "x", "--exact": "x"}
BESIDE = frozenset({"-t", "--table", "-w", "--wait", *_OPS, *_FLAGS})
"""What stands in a command line beside its chain and its rule."""
_CHAIN_OPTIONAL = frozenset("XFZLS")
_TOGETHER = frozenset("nvxLSFZX")
"""Letters that people write together."""


class IptablesCommand(msgspec.Struct, frozen=True, gc=False):
    """A command that was understood. `number` is 1-based, 0 if none was given."""

    op: str
    table: str = "filter"
    chain: str = ""
    number: int = 0
    rules: tuple[Rule, ...] = ()
    counters: tuple[int, int] = (0, 0)
    argument: str = ""
    """-P: the policy; -E: the new name."""
    flags: str = ""


def read(words: Sequence[str], origin: str = "") -> IptablesCommand:
    """Understand a command line (without the program's name); UsageError in iptables' words."""
    words = _spread(words)
    op, chain, table, flags = "", "", "filter", ""
    operands: list[str] = []
    rest: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word in ("-t", "--table"):
            if at >= len(words):
                raise UsageError(f'option "{word}" requires an argument')
            table = words[at]
            at += 1
        elif word in ("-w", "--wait"):
            at += at < len(words) and words[at].isdecimal()
        elif word in _OPS and not op:
            op = _OPS[word]
            while at < len(words) and len(operands) < 3 and not _is_option(words[at]):
                operands.append(words[at])
                at += 1
            if not operands and op not in _CHAIN_OPTIONAL:
                raise UsageError(f'option "{word}" requires an argument')
            chain = operands.pop(0) if operands else ""
        elif word in _OPS:
            raise UsageError(f"Cannot use {word} with -{op}\n")
        elif word in _FLAGS and (op in "LS" or word in ("-n", "-v", "--line-numbers", "--verbose", "--numeric")):
            flags += _FLAGS[word]
        else:
            rest.append(word)
    if not op:
        if rest and not _is_option(rest[0]):
            raise UsageError(f"Bad argument `{rest[0]}'")
        raise UsageError("no command specified")
    return _finish(op, table, chain, operands, rest, flags, origin)


def _spread(words: Sequence[str]) -> list[str]:
    """Letters that stand together, each on its own: -nvL, -tnat."""
    found: list[str] = []
    for word in words:
        letters = word[1:] if word[:1] == "-" and word[1:2] != "-" else ""
        alone, table, name = letters.partition("t")
        if len(letters) < 2 or (found and found[-1].startswith("--")) or not set(alone) <= _TOGETHER:
            found.append(word)
            continue
        found += [f"-{letter}" for letter in alone]
        if table:
            found += ["-t", name] if name else ["-t"]
    return found


def _is_option(word: str) -> bool:
    return word == "!" or (word.startswith("-") and len(word) > 1)


def _finish(
    op: str, table: str, chain: str, operands: list[str], rest: Sequence[str], flags: str, origin: str
) -> IptablesCommand:
    if len(chain) > 28 and op in "NAIEP":
        raise _too_long(chain)
    if op == "N" and (chain.startswith(("-", "!"))):
        raise UsageError(f"chain name not allowed to start with `{chain[0]}'\n")
    number, argument = 0, ""
    if op in "PE":
        if not operands:
            what = "a chain and a policy" if op == "P" else "old-chain-name and new-chain-name"
            raise UsageError(f"-{op} requires {what}")
        argument = operands.pop(0)
    elif op in "IDRLSZ" and operands:
        text = operands.pop(0)
        if not text.isdecimal() or not int(text):
            raise UsageError(f"Invalid rule number `{text}'")
        number = int(text)
    if operands:
        raise UsageError(f"Bad argument `{operands[0]}'")
    if op not in "AIDRC":
        if rest:
            unknown = rest[0]
            raise UsageError(f'unknown option "{unknown}"' if unknown[0] == "-" else f"Bad argument `{unknown}'")
        return IptablesCommand(op, table, chain, number, argument=argument, flags=flags)
    if op == "D" and number and not rest:
        return IptablesCommand(op, table, chain, number, flags=flags)
    if op == "R" and not number:
        raise UsageError("-R requires a rule number")
    return _with_rule(chain, rest, op, table, number, flags, origin)


def _with_rule(
    chain: str, rest: Sequence[str], op: str, table: str, number: int, flags: str, origin: str
) -> IptablesCommand:
    parsed = parse_rule(rest, origin)
    if chain in CHAIN_HOOK:
        for rule in parsed.rules:
            check_place(rule.ip, chain)
    return IptablesCommand(op, table, chain, number, tuple(parsed.rules), parsed.counters, "", flags)


def _too_long(chain: str) -> UsageError:
    return UsageError(f"chain name `{chain}' too long (must be under 29 chars)")


def check_place(ip: IpMatch, chain: str) -> None:
    """No device that the hook does not have."""
    if ip.oif is not None and chain in ("PREROUTING", "INPUT"):
        raise UsageError(f"Can't use -o with {chain}\n")
    if ip.iif is not None and chain in ("POSTROUTING", "OUTPUT"):
        raise UsageError(f"Can't use -i with {chain}\n")


def chain_of(table: Table, name: str) -> Chain:
    chain = table.chains.get(name)
    if chain is None:
        raise Refused(NO_CHAIN)
    return chain


def check_rule(table: Table, chain: str, rule: Rule) -> None:
    """May the rule stand there? UsageError or Refused, as iptables or the kernel would say."""
    target = rule.target
    if type(target) is Jump:
        if target.chain not in table.chains:
            raise UsageError(f"Chain '{target.chain}' does not exist")
    elif target is not None:
        wrong_table = target.tables and table.name not in target.tables
        wrong_hook = target.hooks and chain in BUILTIN[table.name] and chain not in target.hooks
        proto = 0 if rule.ip.proto_invert else rule.ip.proto
        if wrong_table or wrong_hook or not target.kernel_accepts(proto):
            raise Refused(f"RULE_APPEND failed (Invalid argument): rule in chain {chain}", kernel=True)


def apply(table: Table, command: IptablesCommand) -> None:
    """Carry a changing command out on `table`."""
    _APPLY[command.op](table, command)


def check_loops(table: Table, chain: str) -> None:
    """Refuse a rule, just put into `chain`, that leads back to itself."""
    if table.loop():
        raise Refused(f"RULE_APPEND failed (Too many links): rule in chain {chain}", kernel=True)


def _append(table: Table, c: IptablesCommand) -> None:
    chain = chain_of(table, c.chain)
    for rule in c.rules:
        check_rule(table, c.chain, rule)
        chain.insert(len(chain.rules.rules), rule, c.counters)
    check_loops(table, c.chain)


def _insert(table: Table, c: IptablesCommand) -> None:
    chain = chain_of(table, c.chain)
    at = (c.number or 1) - 1
    if at > len(chain.rules.rules):
        raise Refused("Index of insertion too big.")
    for rule in reversed(c.rules):
        check_rule(table, c.chain, rule)
        chain.insert(at, rule, c.counters)
    check_loops(table, c.chain)


def _delete(table: Table, c: IptablesCommand) -> None:
    chain = chain_of(table, c.chain)
    if c.number:
        if c.number > len(chain.rules.rules):
            raise Refused("Index of deletion too big.")
        chain.delete(c.number - 1)
        return
    for rule in c.rules:
        check_jump(table, rule)
        at = chain.find(rule)
        if at is None:
            raise Refused(BAD_RULE)
        chain.delete(at)


def check_jump(table: Table, rule: Rule) -> None:
    if type(rule.target) is Jump and rule.target.chain not in table.chains:
        raise UsageError(f"Chain '{rule.target.chain}' does not exist")


def _replace(table: Table, c: IptablesCommand) -> None:
    chain = chain_of(table, c.chain)
    if c.number > len(chain.rules.rules):
        raise Refused("Index of replacement too big.")
    check_rule(table, c.chain, c.rules[0])
    chain.delete(c.number - 1)
    chain.insert(c.number - 1, c.rules[0], c.counters)
    check_loops(table, c.chain)


def _check(table: Table, c: IptablesCommand) -> None:
    chain = chain_of(table, c.chain)
    for rule in c.rules:
        check_jump(table, rule)
        if chain.find(rule) is None:
            raise Refused(BAD_RULE)


def _new(table: Table, c: IptablesCommand) -> None:
    if c.chain in table.chains:
        raise Refused("Chain already exists.")
    table.chains[c.chain] = Chain(c.chain, RuleList(table.name, c.chain), None)


def _remove(table: Table, c: IptablesCommand) -> None:
    names = [c.chain] if c.chain else [name for name in table.chains if name not in BUILTIN[table.name]]
    for name in names:
        chain = chain_of(table, name)
        if name in BUILTIN[table.name]:
            raise Refused("Directory not empty.")
        if table.references(name) - (chain.rules.jumps.get(name, 0) if not c.chain else 0) or chain.rules.rules:
            raise Refused(f"CHAIN_DEL failed (Device or resource busy): chain {name}", kernel=True)
        del table.chains[name]


def _rename(table: Table, c: IptablesCommand) -> None:
    chain = chain_of(table, c.chain)
    if c.argument in table.chains:
        raise Refused("File exists.")
    table.chains = {c.argument if name == c.chain else name: value for name, value in table.chains.items()}
    chain.name = c.argument
    chain.rules = RuleList(table.name, c.argument, chain.rules.rules)
    for other in table.chains.values():
        if c.chain in other.rules.jumps:
            other.rules = RuleList(table.name, other.name, (_renamed(r, c) for r in other.rules.rules))


def _renamed(rule: Rule, c: IptablesCommand) -> Rule:
    if type(rule.target) is Jump and rule.target.chain == c.chain:
        return msgspec.structs.replace(rule, target=Jump(c.argument, rule.target.goto))
    return rule


def _flush(table: Table, c: IptablesCommand) -> None:
    for chain in [chain_of(table, c.chain)] if c.chain else table.chains.values():
        chain.flush()


def _policy(table: Table, c: IptablesCommand) -> None:
    if c.chain not in BUILTIN[table.name]:
        raise Refused("Bad built-in chain name.")
    if c.argument not in ("ACCEPT", "DROP"):
        raise Refused("Bad policy name. Run `dmesg' for more information.")
    table.chains[c.chain].policy = c.argument


def _zero(table: Table, c: IptablesCommand) -> None:
    for chain in [chain_of(table, c.chain)] if c.chain else table.chains.values():
        chain.zero(c.number - 1 if c.number else None)


_APPLY = {
    "A": _append, "I": _insert, "D": _delete, "R": _replace, "C": _check, "N": _new, "X": _remove, "E": _rename,
    "F": _flush, "P": _policy, "Z": _zero,
}  # fmt: skip
