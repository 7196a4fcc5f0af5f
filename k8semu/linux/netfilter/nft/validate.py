"""May the rules stand where packets would meet them? No loops, no masquerade where there is no way out yet.

Linux: net/netfilter/nf_tables_api.c nft_table_validate(), nft_chain_validate()
"""

from __future__ import annotations

from k8semu.linux.core.hooks import Hook
from k8semu.linux.netfilter.nft.objects import Chain, Rule, Table
from k8semu.linux.netfilter.nft.sets import VerdictData

JUMP_STACK = 16
"""How deep jumps may go. Linux: NFT_JUMP_STACK_SIZE."""

_LOOP = "Could not process rule: Too many levels of symbolic links"
_DEEP = "Could not process rule: Too many links"
_UNSUPPORTED = "Could not process rule: Operation not supported"


Fault = tuple[Rule, str]
"""A rule, and what the kernel says of it."""


def fault_of(table: Table) -> Fault | None:
    """What is wrong with where the rules of a table stand, if anything."""
    done: dict[tuple[str, str, Hook], int] = {}
    try:
        for chain in table.chains.values():
            if chain.hook is not None:
                _depth(table, chain, chain.kind, chain.hook, done, [])
    except _Found as found:
        return found.rule, found.message
    return None


class _Found(Exception):
    def __init__(self, rule: Rule, message: str) -> None:
        super().__init__(message)
        self.rule, self.message = rule, message


def _depth(
    table: Table, chain: Chain, kind: str, hook: Hook, done: dict[tuple[str, str, Hook], int], path: list[str]
) -> int:
    """How many jumps deep it goes from here."""
    key = (chain.name, kind, hook)
    if key in done:
        return done[key]
    path.append(chain.name)
    deepest = 0
    for rule in chain.rules:
        for nat, hooks in rule.hooks:
            if hook not in hooks or (nat and kind != "nat"):
                raise _Found(rule, _UNSUPPORTED)
        for name in _leads_to(table, rule):
            if name in path:
                raise _Found(rule, _LOOP)
            if len(path) > JUMP_STACK:
                raise _Found(rule, _DEEP)
            deepest = max(deepest, 1 + _depth(table, table.chains[name], kind, hook, done, path))
    path.pop()
    done[key] = deepest
    return deepest


def _leads_to(table: Table, rule: Rule) -> dict[str, None]:
    found = dict.fromkeys(rule.targets)
    for name in rule.vmaps:
        for element in table.sets[name].elements.values():
            if isinstance(element.data, VerdictData) and element.data.chain:
                found[element.data.chain] = None
    return found
