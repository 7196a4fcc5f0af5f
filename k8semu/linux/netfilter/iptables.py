"""The `iptables` program: one call.

Linux: iptables/iptables/xtables-standalone.c
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from k8semu.errors import CommandError
from k8semu.linux.netfilter import command
from k8semu.linux.netfilter.command import Refused
from k8semu.linux.netfilter.listing import list_chains, list_rules
from k8semu.linux.netfilter.matches.memory import missing_set
from k8semu.linux.netfilter.rule import UsageError
from k8semu.linux.netfilter.tables import BUILTIN, Table

if TYPE_CHECKING:
    from k8semu.linux.netfilter.netfilter import Netfilter

_PROGRAM = "iptables v1.8.9 (nf_tables)"
_USAGE = "Try `iptables -h' or 'iptables --help' for more information."


def run(netfilter: Netfilter, args: Sequence[str], origin: str) -> str:
    """Carry out a call; what it prints. CommandError in iptables' words."""
    try:
        parsed = command.read(list(args), origin)
        missing = missing_set(parsed.rules, netfilter.ipset.sets) if "--match-set" in args else ""
        if missing:
            raise UsageError(missing)
    except UsageError as error:
        raise _usage(error) from None
    if parsed.table not in BUILTIN:
        raise CommandError(
            f"{_PROGRAM}: table '{parsed.table}' does not exist\n"
            "Perhaps iptables or your kernel needs to be upgraded."
        )
    held = netfilter.tables.get(parsed.table)
    try:
        if parsed.op == "S":
            return list_rules(held or Table(parsed.table), parsed.chain, parsed.number, "v" in parsed.flags)
        if parsed.op == "L":
            return list_chains(held or Table(parsed.table), parsed.chain, parsed.number, parsed.flags)
        table = held.copy() if held is not None else Table(parsed.table)
        command.apply(table, parsed)
    except UsageError as error:
        raise _usage(error) from None
    except Refused as error:
        start = f"{_PROGRAM}:  " if error.kernel else f"{_PROGRAM}: " if error.version else "iptables: "
        raise CommandError(f"{start}{error}") from None
    if parsed.op != "C":
        netfilter.put(table)
    return ""


def _usage(error: UsageError) -> CommandError:
    message = str(error)
    prefix = "" if message.startswith("Bad argument") else f"{_PROGRAM}: "
    return CommandError(f"{prefix}{message}\n{_USAGE}")
