"""What a text says, as values: one Cmd for each `add`, `delete`, `flush`, …

Linux: nftables include/rule.h struct cmd
"""

from __future__ import annotations

import msgspec

from k8semu.linux.netfilter.nft.lexer import Token
from k8semu.linux.netfilter.nft.objects import RuleSpec
from k8semu.linux.netfilter.nft.sets import SetSpec, VerdictData


class RawRange(msgspec.Struct, frozen=True, gc=False):
    """A part of a key as it was written, before its type is known: a word, `a-b`, or `a/plen`."""

    low: Token
    high: Token | None = None
    plen: Token | None = None


RawKey = tuple[RawRange, ...]


class RawElement(msgspec.Struct, frozen=True, gc=False):
    """An element as it was written. Times in ns."""

    key: RawKey
    data: VerdictData | RawKey | None = None
    comment: str = ""
    timeout: int | None = None
    expires: int | None = None
    to: Token | None = None
    """Where it ends."""


Ref = tuple[str, Token, tuple[Token, Token]]
"""``set NAME`` or ``chain NAME``, where it stands, and the words of what is looked up in it."""


class ChainSpec(msgspec.Struct, frozen=True, gc=False):
    """What a chain was declared as; `kind` '' is a chain that others jump to."""

    kind: str = ""
    hook: str = ""
    priority: int = 0
    policy: str = ""
    comment: str = ""


class Cmd(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing to do. `at` is where it begins, `*_at` where the names in it stand, `to` its last word."""

    verb: str
    kind: str
    at: Token
    to: Token
    family: str = "ip"
    table: str = ""
    table_at: Token | None = None
    name: str = ""
    name_at: Token | None = None
    comment: str = ""
    chain: ChainSpec | None = None
    spec: SetSpec | None = None
    elements: tuple[RawElement, ...] = ()
    rule: RuleSpec | None = None
    handle: int = 0
    handle_at: Token | None = None
    line: str = ""
    """The source line: who asked for it is known by it."""
    refs: tuple[Ref, ...] = ()
    """Names of chains and sets in a rule."""
