"""`sysctl`: settings of a namespace.

Shown: sysctl [-n] NAME…, sysctl [-w] NAME=VALUE
"""

from __future__ import annotations

from k8semu.apps.shell.output import Output
from k8semu.errors import CommandError
from k8semu.linux.netns import NetNs


def run(net: NetNs, args: list[str]) -> Output:
    """`sysctl ARGS…`."""
    bare = "-n" in args
    text = errors = ""
    for name in (word for word in args if not word.startswith("-")):
        key, _, value = name.partition("=")
        try:
            if value:
                net.sysctl.set(key, value)
            shown = net.sysctl.get(key)
        except CommandError as error:
            errors += f"{error.what}\n"
            continue
        text += f"{shown}\n" if bare else f"{key} = {shown}\n"
    return Output(text, 1 if errors else 0, errors)
