"""Elements as values of their set's types, and whether rules ask sets for what they hold.

Linux: nftables src/evaluate.c
"""

from __future__ import annotations

from k8semu.linux.netfilter.nft import cmd as c
from k8semu.linux.netfilter.nft import stmt as s
from k8semu.linux.netfilter.nft.datatypes import INTEGER, DataTypes, about
from k8semu.linux.netfilter.nft.lexer import NftError, Token
from k8semu.linux.netfilter.nft.parse_rule import to_range
from k8semu.linux.netfilter.nft.sets import Data, NftSet, SetSpec, VerdictData
from k8semu.linux.netfilter.nft.values import Key


def same(held: SetSpec, spec: SetSpec) -> bool:
    """May it be declared again so? Its timeout and size may change. Linux: nft_set_is_same()."""
    return (held.types, held.data, held.verdicts, held.flags) == (spec.types, spec.data, spec.verdicts, spec.flags)


def with_sign(at: Token) -> Token:
    """A name with the @ before it."""
    return Token(at.kind, at.text, at.line, at.first - 1, at.last)


def end_of(raw: c.RawElement) -> Token:
    part = raw.key[-1]
    return part.plen or part.high or part.low


def element_key(held: NftSet, raw: c.RawElement) -> Key:
    types = held.spec.types
    first, last = raw.key[0].low, end_of(raw)
    if len(raw.key) != len(types):
        raise NftError(
            first, f"datatype mismatch, expected {about(types)}, expression has type {_guess(raw.key, types)}", last
        )
    key = tuple(to_range(part, dtype) for part, dtype in zip(raw.key, types, strict=True))
    if not held.spec.interval and not all(part.single for part in key):
        kind = "prefix" if raw.key[0].plen is not None else "range"
        raise NftError(
            first, f"You must add 'flags interval' to your set declaration if you want to add {kind} elements", last
        )
    return key


def _guess(key: c.RawKey, types: DataTypes) -> str:
    """What a key of another length is called: its parts are taken for those of the set."""
    return about((*types, *([INTEGER] * len(key)))[: len(key)])


def element_data(held: NftSet, raw: c.RawElement) -> Data:
    data = raw.data
    if data is None:
        return None
    if held.spec.verdicts:
        if not isinstance(data, VerdictData):
            raise NftError(raw.key[0].low, "datatype mismatch, map expects verdict", end_of(raw))
        return data
    if not held.spec.data or isinstance(data, VerdictData) or len(data) != len(held.spec.data):
        raise NftError(raw.key[0].low, "Could not process rule: Invalid argument", end_of(raw))
    return tuple(to_range(part, dtype) for part, dtype in zip(data, held.spec.data, strict=True))


def check_types(stmt: s.Stmt, held: NftSet, at: Token, asked: tuple[Token, Token]) -> None:
    expr = getattr(stmt, "expr", None)
    if expr is None:
        return
    expected, given = [tuple(dtype.name for dtype in types) for types in (held.spec.types, expr.dtypes)]
    sign = with_sign(at)
    if isinstance(stmt, s.Vmap):
        if expected != given:
            raise NftError(sign, f"datatype mismatch, map expects {about(held.spec.types)}, "
                                 f"mapping expression has type {about(expr.dtypes)}", at, asked)  # fmt: skip
        if not held.spec.verdicts:
            raise NftError(sign, "set reference expression is no verdict map", at)
    elif expected != given:
        raise NftError(sign, f"datatype mismatch, expected {about(expr.dtypes)}, "
                             f"expression has type {about(held.spec.types)}", at, asked)  # fmt: skip
