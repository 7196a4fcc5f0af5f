"""`ip`: addresses, links, routes, neighbours and rules of a namespace, as iproute2 prints them.

    ip_words    options, verbs, what to choose
    ip_link     ip link, ip addr
    ip_details  what -d adds
    ip_route    ip route, ip neigh, ip rule

Shown: ip addr, ip -br addr, ip -o -4 addr, ip link, ip -d link, ip -s link, ip route [show|get], ip neigh, ip rule
Differs: on a veth, `link-netnsid` numbers the other namespaces in the order of the links to them.
Not modelled: -j, and every verb that changes something.
"""

from __future__ import annotations

from importlib import import_module

from k8semu.apps.shell.ip_words import Options
from k8semu.apps.shell.output import Output, UsageError, choose, lines
from k8semu.linux.netns import NetNs

_OBJECTS = {
    "address": "ip_link:addr", "link": "ip_link:link", "route": "ip_route:route", "neighbour": "ip_route:neigh",
    "neighbor": "ip_route:neigh", "rule": "ip_route:rule",
}  # fmt: skip
"""In the order in which a short word finds them: ``module:function``, imported when it is asked for."""
USAGE = "Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }"


def run(net: NetNs, argv: list[str]) -> Output:
    """`ip ARGV…`."""
    options = Options()
    words = options.read("ip", argv)
    if not words:
        raise UsageError(USAGE)
    name = choose(words[0], tuple(_OBJECTS))
    if name is None:
        raise UsageError(f'Object "{words[0]}" is unknown, try "ip help".', 1)
    module, _, function = _OBJECTS[name].partition(":")
    shown: list[str] = getattr(import_module(f"k8semu.apps.shell.{module}"), function)(net, words[1:], options)
    return lines(options.joined(shown))
