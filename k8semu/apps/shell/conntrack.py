"""`conntrack`: the connections of a namespace, as conntrack-tools 1.4.7 prints them.

Shown: conntrack -L|-D [-s ADDR] [-d ADDR] [-p PROTO] [--dport PORT] …, conntrack -C, conntrack -F,
       conntrack -L -o extended
"""

from __future__ import annotations

from k8semu.apps.shell.output import Output, UsageError
from k8semu.errors import CommandError
from k8semu.linux.netns import NetNs

_NAME = "conntrack v1.4.7 (conntrack-tools)"
_TABLES = ("conntrack",)
_NOT_MODELLED = ("-G", "--get", "-I", "--create", "-U", "--update", "-A", "--add", "-E", "--event", "-S", "--stats",
                 "-R", "--load-file")  # fmt: skip
_OUTPUTS = ("-o", "--output")


def run(net: NetNs, args: list[str]) -> Output:
    """`conntrack ARGS…`."""
    command, *rest = args or ["-L"]
    rest = rest[1:] if rest and rest[0] in _TABLES else rest
    if command in _NOT_MODELLED:
        raise UsageError(f"conntrack: {command} is not modelled", 1)
    rest, extended = _extended(rest)
    try:
        if command in ("-L", "--dump"):
            text = net.netfilter.conntrack_list(rest)
            if extended:
                text = "".join(f"ipv4     2 {row}\n" for row in text.splitlines())
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


def _extended(words: list[str]) -> tuple[list[str], bool]:
    """Take ``-o extended`` out of the words; no other form of output is modelled."""
    at = next((i for i, word in enumerate(words) if word in _OUTPUTS), None)
    if at is None:
        return words, False
    form = words[at + 1] if at + 1 < len(words) else ""
    if form != "extended":
        raise UsageError(f"conntrack: -o {form} is not modelled".replace("  ", " "), 1)
    return words[:at] + words[at + 2 :], True
