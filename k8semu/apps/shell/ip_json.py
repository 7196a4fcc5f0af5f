"""`ip -j` and `ip -j -p`: the same as values, in iproute2's names and order.

Linux: iproute2 lib/json_writer.c, ip/ipaddress.c, ip/iproute.c, ip/ipneigh.c, ip/iprule.c
Not modelled: -j with -d or -br
"""

from __future__ import annotations

import json
from typing import Any

from k8semu.apps.shell.ip_link import (
    addr_selector,
    addresses_of,
    counters,
    flag_words,
    kind_of,
    link_selector,
    netns_id,
    operstate,
    qdisc,
    queue_length,
)
from k8semu.apps.shell.ip_neigh import entries, neigh_selector, shown_lladdr, state_of
from k8semu.apps.shell.ip_route import route_selector, routes, rules
from k8semu.apps.shell.ip_words import Options, devices, verb
from k8semu.apps.shell.output import UsageError
from k8semu.linux.core.dev import NetDevice
from k8semu.linux.drivers.veth import VethDevice
from k8semu.linux.ipv4.fib import TABLE_MAIN, TABLE_NAMES, Route
from k8semu.linux.netns import NetNs
from k8semu.wire.addr import ip_ntoa, mac_ntoa

FOREVER = 2**32 - 1
Values = dict[str, Any]


def as_json(net: NetNs, thing: str, words: list[str], options: Options) -> str:
    """What `ip -j THING WORDS…` prints."""
    if options.details or options.brief:
        raise UsageError(f"ip: option -{'d' if options.details else 'br'} with -j is not modelled", 1)
    words = list(words)
    name = "neigh" if thing in ("neighbour", "neighbor") else thing
    if verb("ip", name, words, ("get",) if name in ("route", "neigh") else ()) == "get":
        raise UsageError(f"ip: `ip -j {name} get` is not modelled", 1)
    tell = {"address": _addr, "link": _link, "route": _route, "neigh": _neigh, "rule": _rule}[name]
    found = tell(net, words, options)
    return (_pretty(found, 0) if options.pretty else json.dumps(found, separators=(",", ":"))) + "\n"


def _pretty(value: Any, depth: int) -> str:
    """Linux: iproute2 lib/json_writer.c: members on lines of their own, the items of a list on one."""
    if isinstance(value, dict):
        member = "\n" + "    " * (depth + 1)
        members = ",".join(f'{member}"{name}": {_pretty(inner, depth + 1)}' for name, inner in value.items())
        return "{" + members + "\n" + "    " * depth + "}"
    if isinstance(value, list):
        return "[ " + ",".join(_pretty(item, depth + 1) for item in value) + (" ]" if value else "]")
    return json.dumps(value)


def _device(net: NetNs, dev: NetDevice, options: Options, mode: bool) -> Values:
    found: Values = {"ifindex": dev.ifindex}
    if isinstance(dev, VethDevice) and dev.peer is not None:
        found["link_index"] = dev.peer.ifindex
    found |= {"ifname": dev.name, "flags": flag_words(dev), "mtu": dev.mtu, "qdisc": qdisc(dev)}
    if dev.master is not None:
        found["master"] = dev.master.name
    found["operstate"] = operstate(dev)
    if mode:
        found["linkmode"] = "DEFAULT"
    found |= {"group": "default", "txqlen": queue_length(dev)}
    if not options.family:
        found["link_type"] = kind_of(dev)
        if dev.hard_header_len:
            found |= {"address": mac_ntoa(dev.addr), "broadcast": mac_ntoa(dev.broadcast)}
    number = netns_id(net, dev)
    if number is not None:
        found["link_netnsid"] = number
    return found


def _stats(dev: NetDevice) -> Values:
    received, sent = counters(dev)
    names = ("bytes", "packets", "errors", "dropped")
    return {"stats64": {
        "rx": {**dict(zip(names, received, strict=True)), "over_errors": 0, "multicast": 0},
        "tx": {**dict(zip(names, sent, strict=True)), "carrier_errors": 0, "collisions": 0},
    }}  # fmt: skip


def _link(net: NetNs, words: list[str], options: Options) -> list[Values]:
    options.family = ""
    return [
        _device(net, dev, options, True) | (_stats(dev) if options.stats else {})
        for dev in devices(net, link_selector(words))
    ]


def _addr(net: NetNs, words: list[str], options: Options) -> list[Values]:
    found = []
    for dev, addresses in addresses_of(net, addr_selector(words), options):
        rows = [
            {
                "family": "inet", "local": ip_ntoa(a.iface.addr), "prefixlen": a.iface.plen,
                **({"broadcast": ip_ntoa(a.broadcast)} if a.broadcast is not None else {}), "scope": str(a.scope),
                **({"secondary": True} if a.secondary else {}), "label": a.label,
                "valid_life_time": FOREVER, "preferred_life_time": FOREVER,
            }
            for a in addresses
        ]  # fmt: skip
        found.append(_device(net, dev, options, False) | (_stats(dev) if options.stats else {}) | {"addr_info": rows})
    return found


def _route(net: NetNs, words: list[str], options: Options) -> list[Values]:
    chosen = route_selector(words)
    wanted = chosen.get("table", "main")
    return [
        {name: value for name, value in _route_values(route, wanted == "all").items() if name not in chosen}
        for _, route in routes(net, chosen, options)
    ]


def _route_values(route: Route, tables: bool) -> Values:
    found: Values = {"type": route.type} if route.type != "unicast" else {}
    whole = f"{route.dst}".removesuffix("/32")
    found["dst"] = "default" if route.dst.plen == 0 else whole
    if route.via is not None:
        found["gateway"] = ip_ntoa(route.via)
    if route.dev is not None:
        found["dev"] = route.dev.name
    if tables and route.table != TABLE_MAIN:
        found["table"] = TABLE_NAMES.get(route.table, str(route.table))
    if route.proto != "boot":
        found["protocol"] = route.proto
    if str(route.scope) != "global":
        found["scope"] = str(route.scope)
    if route.src is not None:
        found["prefsrc"] = ip_ntoa(route.src)
    if route.metric:
        found["metric"] = route.metric
    dead = route.dev is not None and route.dev.up and not route.dev.carrier and route.type == "unicast"
    found["flags"] = [*(["onlink"] if route.onlink else []), *(["linkdown"] if dead else [])]
    if route.mtu:
        found["metrics"] = [{"mtu": route.mtu}]
    return found


def _neigh(net: NetNs, words: list[str], options: Options) -> list[Values]:
    chosen = neigh_selector(words)
    found = []
    for entry in entries(net, chosen, options):
        lladdr = shown_lladdr(net, entry)
        found.append({
            "dst": ip_ntoa(entry.addr), **({} if "dev" in chosen else {"dev": entry.dev.name}),
            **({"lladdr": lladdr} if lladdr else {}), "state": [str(state_of(net, entry))],
        })  # fmt: skip
    return found


def _rule(net: NetNs, words: list[str], options: Options) -> list[Values]:
    found = []
    for rule in rules(net, words, options):
        values: Values = {"priority": rule.priority, "src": ip_ntoa(rule.src.addr) if rule.src is not None else "all"}
        if rule.src is not None and rule.src.plen != 32:
            values["srclen"] = rule.src.plen
        if rule.dst is not None:
            values["dst"] = ip_ntoa(rule.dst.addr)
            if rule.dst.plen != 32:
                values["dstlen"] = rule.dst.plen
        if rule.mask:
            values["fwmark"] = f"{rule.mark:#x}"
            if rule.mask != 0xFFFFFFFF:
                values["fwmask"] = f"{rule.mask:#x}"
        if rule.iif:
            values["iif"] = rule.iif
        found.append(values | {"table": TABLE_NAMES.get(rule.table, str(rule.table))})
    return found
