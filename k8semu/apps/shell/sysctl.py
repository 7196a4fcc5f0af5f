"""`sysctl`: settings of a namespace.

Shown: sysctl [-n] NAME…, sysctl net.ipv4.conf.eth0, sysctl -a, sysctl [-w] NAME=VALUE
Differs: only settings that have an effect here are there.
"""

from __future__ import annotations

from k8semu.apps.shell.output import Output
from k8semu.errors import CommandError
from k8semu.linux.core.commands import Sysctl
from k8semu.linux.netns import NetNs

_SWAPPED = str.maketrans("./", "/.")


def run(net: NetNs, args: list[str]) -> Output:
    """`sysctl ARGS…`."""
    bare = "-n" in args
    text = errors = ""
    words = [word for word in args if not word.startswith("-")]
    if "-a" in args or "--all" in args:
        words = net.sysctl.names()
    for name in words:
        key, _, value = name.partition("=")
        key = key.strip()
        if "/" in key.partition(".")[0]:        # net/ipv4/conf/flannel.1/rp_filter
            key = key.strip("/").translate(_SWAPPED)
        below = [other for other in net.sysctl.names() if other.startswith(f"{key}.")] if not value else []
        if below:
            text += "".join(f"{net.sysctl.get(k)}\n" if bare else f"{k} = {net.sysctl.get(k)}\n" for k in below)
            continue
        value = value.strip()
        try:
            if value:
                net.apply(Sysctl(name=key, value=value))    # and what was kept of routes and flows is asked anew
            shown = net.sysctl.get(key)
        except CommandError as error:
            errors += f"{error.what}\n"
            continue
        text += f"{shown}\n" if bare else f"{key} = {shown}\n"
    return Output(text, 1 if errors else 0, errors)
