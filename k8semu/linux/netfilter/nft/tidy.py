"""A rule in the form in which nft prints it.

    meta l4proto tcp th dport 80          tcp dport 80
    tcp dport 80 tcp sport 90             tcp sport 90 tcp dport 80

Linux: nftables src/payload.c payload_dependency_kill(), src/optimize.c; src/netlink_delinearize.c
"""

from __future__ import annotations

from k8semu.linux.netfilter.nft import expr as e
from k8semu.linux.netfilter.nft import stmt as s
from k8semu.linux.netfilter.nft.values import Range


def _protocol_match(stmt: s.Stmt) -> int:
    """The transport protocol that a statement alone asks for, or 0."""
    if not isinstance(stmt, s.Match) or stmt.op or not isinstance(stmt.value, Range) or not stmt.value.single:
        return 0
    asks = stmt.expr in (e.Meta("l4proto"), e.Payload("ip", "protocol"))
    return stmt.value.low if asks and isinstance(stmt.value.low, int) else 0


def says_transport(stmt: s.Stmt) -> bool:
    if not isinstance(stmt, s.Match):
        return False
    return bool(stmt.expr.proto) or stmt.expr in (e.Meta("l4proto"), e.Payload("ip", "protocol"))


def context(stmts: list[s.Stmt]) -> tuple[int, int | None]:
    """The protocol that the rule is about so far, and which statement says only that."""
    proto, at = 0, None
    for i, stmt in enumerate(stmts):
        asked = stmt.expr.proto if isinstance(stmt, (s.Match, s.Vmap)) else 0
        if said := _protocol_match(stmt):
            proto, at = said, i
        elif asked:
            proto, at = asked, None
        elif not isinstance(stmt, (s.Match, s.Vmap)):
            at = None
    return proto, at


def named(expr: e.Expr, proto: int) -> e.Expr:
    """``th dport`` of a rule about TCP is ``tcp dport``."""
    if isinstance(expr, e.Concat):
        return e.Concat(tuple(named(part, proto) for part in expr.parts))
    if isinstance(expr, e.Payload) and expr.header == "th" and proto in _L4_NAMES:
        return e.Payload(_L4_NAMES[proto], expr.field)
    return expr


_L4_NAMES = {number: name for name, number in e.L4.items() if name != "icmp"}


def add_match(stmts: list[s.Stmt], made: s.Match) -> None:
    """Put a match after the others, in the form in which nft will print both."""
    last = stmts[-1] if stmts else None
    if (
        isinstance(last, s.Match) and isinstance(last.expr, e.Payload) and isinstance(made.expr, e.Payload)
        and last.expr.header == made.expr.header and last.expr.header != "th"
        and (last.expr.field, made.expr.field) == ("dport", "sport") and _plain(last) and _plain(made)
    ):  # fmt: skip
        stmts.insert(len(stmts) - 1, made)
        return
    stmts.append(made)


def _plain(match: s.Match) -> bool:
    return not match.op and isinstance(match.value, Range) and match.value.single

