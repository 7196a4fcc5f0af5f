"""`conntrack`: the connections of a namespace, as conntrack-tools 1.4.7 prints them.

Shown: conntrack -L|-D [-s ADDR] [-d ADDR] [-p PROTO] [--dport PORT] …, conntrack -C, conntrack -F
"""

from __future__ import annotations

from k8semu.apps.shell.output import Output, UsageError
from k8semu.errors import CommandError
from k8semu.linux.netns import NetNs

_NAME = "conntrack v1.4.7 (conntrack-tools)"
_TABLES = ("conntrack",)


def run(net: NetNs, args: list[str]) -> Output:
    """`conntrack ARGS…`."""
    command, *rest = args or ["-L"]
    rest = rest[1:] if rest and rest[0] in _TABLES else rest
    try:
        if command in ("-L", "--dump"):
            text = net.netfilter.conntrack_list(rest)
            count = text.count("\n")
            return Output(text, 0, f"{_NAME}: {count} flow entries have been shown.\n")
        if command in ("-D", "--delete"):
            gone = net.netfilter.conntrack_list(rest)
            count = net.netfilter.conntrack_delete(rest)
            return Output(gone, 0 if count else 1, f"{_NAME}: {count} flow entries have been deleted.\n")
    except CommandError as error:
        return Output("", 2, f"{error.what}\n")
    if command in ("-C", "--count"):
        return Output(f"{len(list(net.netfilter.conntrack.entries()))}\n")
    if command in ("-F", "--flush"):
        net.netfilter.conntrack_delete([])
        return Output("", 0, f"{_NAME}: connection tracking table has been emptied.\n")
    raise UsageError(
        f"{_NAME}: unknown option `{command}'\nTry `conntrack -h' or 'conntrack --help' for more information.", 2
    )
