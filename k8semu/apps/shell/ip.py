"""`ip`: addresses, links, routes, neighbours and rules of a namespace, as iproute2 prints them.

    ip_words    options, verbs, what to choose
    ip_link     ip link, ip addr
    ip_details  what -d adds
    ip_route    ip route, ip rule
    ip_neigh    ip neigh
    ip_json     what -j prints instead
    ip_change   what add, del, set … change

Shown: ip addr, ip -br addr, ip -o -4 addr, ip link, ip -d link, ip -s link, ip route [show|get], ip neigh, ip rule,
       ip -j addr|link|route|neigh; ip addr|link|route|rule|neigh add|del|replace|flush|set …
Differs: on a veth, `link-netnsid` numbers the other namespaces in the order of the links to them.
Not modelled: -j with -d, other objects.
"""

from __future__ import annotations

from importlib import import_module

from k8semu.apps.shell.ip_words import Options, Told, is_change, usage
from k8semu.apps.shell.output import Output, UsageError, choose, lines
from k8semu.linux.netns import NetNs

_OBJECTS = {
    "address": "ip_link:addr", "link": "ip_link:link", "route": "ip_route:route", "neighbour": "ip_neigh:neigh",
    "neighbor": "ip_neigh:neigh", "rule": "ip_route:rule",
}  # fmt: skip
"""In the order in which a short word finds them: ``module:function``, imported when it is asked for."""
_NOT_MODELLED = (
    "addrlabel", "amt", "fou", "ila", "ioam", "l2tp", "macsec", "maddress", "monitor", "mptcp", "mroute", "mrule",
    "netconf", "netns", "nexthop", "ntable", "ntbl", "sr", "stats", "tap", "tcpmetrics", "token", "tunl", "tunnel",
    "tuntap", "vrf", "xfrm",
)


def run(net: NetNs, argv: list[str]) -> Output:
    """`ip ARGV…`."""
    options = Options()
    try:
        words = options.read("ip", argv)
    except Told as told:
        return Output(told.text)
    if not words or words[0] == "help":
        raise UsageError(usage("ip"))
    name = choose(words[0], tuple(_OBJECTS))
    if name is None:
        other = choose(words[0], _NOT_MODELLED)
        what = f"ip: `ip {other}` is not modelled" if other else f'Object "{words[0]}" is unknown, try "ip help".'
        raise UsageError(what, 1)
    if is_change(words[1:]):
        from k8semu.apps.shell.ip_change import change

        return change(net, f"ip {name}", words[1:])
    if options.json:
        from k8semu.apps.shell.ip_json import as_json

        return Output(as_json(net, name, words[1:], options))
    module, _, function = _OBJECTS[name].partition(":")
    shown: list[str] = getattr(import_module(f"k8semu.apps.shell.{module}"), function)(net, words[1:], options)
    return lines(options.joined(shown))
