"""`ipvsadm`: virtual servers, real servers and their connections.

Shown: ipvsadm -Ln [--stats] [-t ADDR:PORT], ipvsadm -Lnc, ipvsadm -S -n, ipvsadm -A|-E|-D|-a|-e|-d …
"""

from __future__ import annotations

from k8semu.apps.shell.output import Output
from k8semu.errors import CommandError
from k8semu.linux.netns import NetNs

FAILURE = 255


def run(net: NetNs, args: list[str]) -> Output:
    """`ipvsadm ARGS…`."""
    try:
        return Output(net.netfilter.ipvs.run(args))
    except CommandError as error:
        return Output("", FAILURE, f"{error.what}\n")
