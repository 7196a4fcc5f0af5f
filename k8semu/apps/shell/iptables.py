"""`iptables` and `iptables-save`.

Shown: iptables [-t TABLE] -L|-S …, iptables-save [-t TABLE] [-c]
"""

from __future__ import annotations

from k8semu.apps.shell.output import Output, UsageError
from k8semu.errors import CommandError
from k8semu.linux.netfilter.tables import BUILTIN
from k8semu.linux.netns import NetNs

OTHER_PROBLEM, PARAMETER_PROBLEM, VERSION_PROBLEM, RESOURCE_PROBLEM = 1, 2, 3, 4
"""Linux: iptables' include/xtables.h enum xtables_exittype."""


def run(net: NetNs, args: list[str]) -> Output:
    """`iptables ARGS…`."""
    if args in (["-V"], ["--version"]):
        return Output("iptables v1.8.9 (nf_tables)\n")
    try:
        return Output(net.netfilter.iptables(args))
    except CommandError as error:
        return Output("", _status(error.what), f"{error.what}\n")


def _status(message: str) -> int:
    if message.startswith("iptables: ") or message.endswith("use 'nft' tool."):   # there is no such chain or rule
        return OTHER_PROBLEM
    if "(nf_tables):  " in message:                         # the kernel said no
        return RESOURCE_PROBLEM
    return VERSION_PROBLEM if "does not exist\nPerhaps" in message else PARAMETER_PROBLEM


def save(net: NetNs, args: list[str]) -> Output:
    """`iptables-save ARGS…`."""
    table, counters, words = None, False, list(args)
    while words:
        word = words.pop(0)
        if word in ("-t", "--table"):
            if not words:
                raise UsageError(f"iptables-save: option requires an argument -- '{word.lstrip('-')}'", 1)
            table = words.pop(0)
        elif word in ("-c", "--counters"):
            counters = True
        elif word.startswith("-"):
            raise UsageError(f"iptables-save: invalid option -- '{word.lstrip('-')}'\n"
                             "Look at manual page `iptables-save.8' for more information.", 1)  # fmt: skip
        else:
            raise UsageError("Unknown arguments found on commandline", 1)
    if table is not None and table not in BUILTIN:
        raise UsageError(f"iptables-save v1.8.9 (nf_tables): table '{table}' does not exist", 1)
    return Output(net.netfilter.save(table=table, counters=counters))
