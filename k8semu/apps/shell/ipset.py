"""`ipset`: the sets that rules ask for.

Shown: ipset list|save [NAME], ipset create|add|del|test|swap|rename|flush|destroy …
"""

from __future__ import annotations

from k8semu.apps.shell.output import Output
from k8semu.errors import CommandError
from k8semu.linux.netns import NetNs


def run(net: NetNs, args: list[str]) -> Output:
    """`ipset ARGS…`. Its words about an element that is in a set come as errors, as the real one's."""
    try:
        text = net.netfilter.ipset.run(args)
    except CommandError as error:
        return Output("", 2 if "\nTry `ipset help'" in error.what else 1, f"{error.what}\n")
    return Output("", 0, text) if text.startswith("Warning: ") else Output(text)
