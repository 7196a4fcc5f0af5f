"""May the rules stand where packets would meet them? No loops, no masquerade where there is no way out yet.

Linux: net/netfilter/nf_tables_api.c nft_table_validate(), nft_chain_validate()
"""

from __future__ import annotations

from collections.abc import Mapping

from k8semu.linux.core.hooks import Hook
from k8semu.linux.netfilter.nft.cmd import Cmd
from k8semu.linux.netfilter.nft.lexer import NftError
from k8semu.linux.netfilter.nft.objects import Chain, Rule, Table
from k8semu.linux.netfilter.nft.sets import VerdictData

JUMP_STACK = 16
"""How deep jumps may go. Linux: NFT_JUMP_STACK_SIZE."""

_LOOP = "Could not process rule: Too many levels of symbolic links"
_DEEP = "Could not process rule: Too many links"
_UNSUPPORTED = "Could not process rule: Operation not supported"


def check_table(table: Table, last: Cmd, made: Mapping[int, Cmd]) -> None:
    """NftError at the command that made the offending rule."""
    done: dict[tuple[str, str, Hook], int] = {}
    for chain in table.chains.values():
        if chain.hook is not None:
            _depth(table, chain, chain.kind, chain.hook, done, [], last, made)


def _depth(
    table: Table, chain: Chain, kind: str, hook: Hook, done: dict[tuple[str, str, Hook], int], path: list[str],
    last: Cmd, made: Mapping[int, Cmd],
) -> int:  # fmt: skip
    """How many jumps deep it goes from here."""
    key = (chain.name, kind, hook)
    if key in done:
        return done[key]
    path.append(chain.name)
    deepest = 0
    for rule in chain.rules:
        command = made.get(id(rule), last)
        for nat, hooks in rule.hooks:
            if hook not in hooks or (nat and kind != "nat"):
                raise NftError(command.at, _UNSUPPORTED, command.to.after)
        for name in _leads_to(table, rule):
            if name in path:
                raise NftError(command.at, _LOOP, command.to.after)
            if len(path) > JUMP_STACK:
                raise NftError(command.at, _DEEP, command.to.after)
            deepest = max(deepest, 1 + _depth(table, table.chains[name], kind, hook, done, path, last, made))
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
