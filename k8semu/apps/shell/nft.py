"""`nft` on a machine: lists what nf_tables hold, or carries out one command.

Shown: nft [-a] list ruleset | tables | table T | chain T C | set T S | map T M; nft add element ip T S { … }
"""

from __future__ import annotations

import re

from k8semu.apps.shell.output import Output
from k8semu.errors import CommandError
from k8semu.linux.netns import NetNs

_PLACE = re.compile(r"^/dev/stdin:[\d:-]+ ")
"""Where in a file: a command line has no such place."""

VERSION = "nftables v1.0.6 (Lester Gooch #5)"


def run(net: NetNs, args: list[str]) -> Output:
    """What the program prints, and its exit status."""
    words = [word for word in args if not word.startswith("-") or word.lstrip("-").isdigit()]
    options = [word for word in args if word not in words]
    if any(option in ("-v", "--version") for option in options):
        return Output(f"{VERSION}\n")
    unknown = [option for option in options if option not in ("-a", "--handle", "-n", "-nn", "--numeric")]
    if unknown or not words:
        said = f"unrecognized option '{unknown[0]}'" if unknown else "no command specified"
        return Output("", 1, f"nft: {said}\n")
    try:
        if words[0] == "list":
            return Output(net.netfilter.nft.list(words[1:], any(o in ("-a", "--handle") for o in options)))
        net.netfilter.nft.apply(" ".join(words) + "\n")
    except CommandError as error:
        return Output("", 1, f"{_PLACE.sub('', error.what)}\n")
    return Output("")
