"""`ip route`, `ip neigh`, `ip rule`.

Linux: iproute2 ip/iproute.c, ip/ipneigh.c, ip/iprule.c
"""

from __future__ import annotations

import errno

from k8semu.apps.shell.ip_words import Options, device, selector, verb
from k8semu.apps.shell.output import UsageError
from k8semu.linux.core.dev import NetDevice
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.neighbour import Neighbour, Nud
from k8semu.linux.ipv4.fib import TABLE_MAIN, TABLE_NAMES, Route, table_id
from k8semu.linux.ipv4.route import Refusal, RouteError, Rtable
from k8semu.linux.netns import NetNs
from k8semu.sim.clock import NS_PER_S
from k8semu.wire.addr import Prefix, ip_aton, ip_ntoa, mac_ntoa

NUD_STATES = ("permanent", "reachable", "noarp", "none", "stale", "incomplete", "delay", "probe", "failed")
_ROUTE_KEYS = ("dev", "table", "via", "proto", "scope", "type")


def route_line(route: Route, table: int | None = TABLE_MAIN, hidden: frozenset[str] = frozenset()) -> str:
    """One line of `ip route`; iproute2 leaves a blank at its end, and out what was asked for (`hidden`)."""
    text = str(route)
    if route.dev is not None and route.dev.up and not route.dev.carrier and route.type == "unicast":
        text += " linkdown"
    if table is None and route.table != TABLE_MAIN:
        words = text.split(" dev ", 1)
        name = TABLE_NAMES.get(route.table, str(route.table))
        if len(words) == 2:
            dev, _, rest = words[1].partition(" ")
            text = f"{words[0]} dev {dev} table {name} {rest}".rstrip()
    text += " "
    for key in hidden:
        before, found, after = text.partition(f" {key} ")
        if found:
            text = f"{before} {after.partition(' ')[2]}"
    return text


def route(net: NetNs, words: list[str], options: Options) -> list[str]:
    """`ip route [show] …`, `ip route get ADDRESS`."""
    words = list(words)
    if verb("ip", "route", words, ("get",)) == "get":
        return _route_get(net, words)
    if words and words[0] == "to":
        words.pop(0)
    chosen = selector(words, _ROUTE_KEYS, bare="to")
    if options.family == "inet6":
        return []
    prefix = _wanted_prefix(chosen.get("to"))
    if "dev" in chosen:
        device(net, chosen["dev"])
    via = _address(chosen["via"]) if "via" in chosen else None
    wanted = chosen.get("table", "main")
    hidden = frozenset({"dev", "via", "proto", "scope"} & chosen.keys())
    rows = []
    for number in _tables(net, wanted):
        for route in net.ipv4.fib.table(number):
            if (
                (prefix is None or route.dst == prefix)
                and ("dev" not in chosen or (route.dev is not None and route.dev.name == chosen["dev"]))
                and (via is None or route.via == via)
                and all(str(getattr(route, key)) == chosen[key] for key in ("proto", "scope", "type") if key in chosen)
            ):
                rows.append(route_line(route, None if wanted == "all" else number, hidden))
    if options.details:
        rows = [_detailed(row) for row in rows]
    return rows


def _tables(net: NetNs, wanted: str) -> list[int]:
    if wanted == "all":
        return sorted(net.ipv4.fib.tables)
    if wanted not in TABLE_NAMES.values() and not wanted.isdigit():
        raise UsageError(f'Error: argument "{wanted}" is wrong: table id value is invalid\n')
    number = table_id(wanted)
    if number not in net.ipv4.fib.tables and number not in TABLE_NAMES:
        raise UsageError("Error: ipv4: FIB table does not exist.\nDump terminated", 2)
    return [number]


def _wanted_prefix(text: str | None) -> Prefix | None:
    if text is None or text == "all":
        return None
    if text == "default":
        return Prefix.parse("0.0.0.0/0")
    try:
        return Prefix.parse(text)
    except ValueError:
        raise UsageError(f'Error: inet prefix is expected rather than "{text}".', 1) from None


def _address(text: str) -> bytes:
    try:
        return ip_aton(text)
    except ValueError:
        raise UsageError(f'Error: inet address is expected rather than "{text}".', 1) from None


def _detailed(row: str) -> str:
    """-d says what goes without saying: the type, protocol boot, scope global."""
    words = row.split()
    if words[0] not in ("local", "broadcast", "blackhole", "unreachable", "prohibit"):
        words.insert(0, "unicast")
    at = words.index("dev") + 2 if "dev" in words else 2
    if "proto" not in words:
        words[at:at] = ["proto", "boot"]
    at = words.index("proto") + 2
    if "scope" not in words:
        words[at:at] = ["scope", "global"]
    return " ".join(words) + " "


def _coming_in(net: NetNs, daddr: bytes, saddr: bytes, iif: NetDevice) -> Rtable:
    """The way of a packet that `iif` receives. Linux: net/ipv4/route.c inet_rtm_getroute()"""
    found = net.ipv4.routing.input(daddr, saddr, iif, 0)
    if isinstance(found, Refusal):
        off = errno.EHOSTUNREACH if "forwarding is off" in found.detail else errno.EINVAL
        raise RouteError(found.errno or (errno.EXDEV if found.reason is Drop.IP_RPFILTER else off))
    return found


def _route_get(net: NetNs, words: list[str]) -> list[str]:
    if words and words[0] == "to":
        words = words[1:]
    if not words:
        raise UsageError("need at least a destination address", 1)
    chosen = selector(words, ("from", "oif", "iif"), bare="to")
    daddr = _get_address(chosen["to"])
    if "oif" in chosen:
        raise UsageError("ip: `ip route get … oif` is not modelled", 1)
    saddr = _get_address(chosen["from"]) if "from" in chosen else None
    iif = device(net, chosen["iif"]) if "iif" in chosen else None
    try:
        if iif is not None:
            rt = _coming_in(net, daddr, saddr or bytes(4), iif)
        else:
            rt = net.ipv4.route_output(daddr) if saddr is None else net.ipv4.route_output(daddr, saddr)
    except RouteError as error:
        raise UsageError(f"RTNETLINK answers: {error.strerror}", 2) from None
    local = "local " if rt.type == "local" else "broadcast " if rt.type == "broadcast" else ""
    via = f" via {ip_ntoa(rt.gateway)}" if rt.gateway else ""
    asked = f" from {chosen['from']}" if saddr is not None else ""
    src = f" src {ip_ntoa(rt.saddr)}" if saddr is None and iif is None else ""
    kind = {"local": "<local> ", "broadcast": "<local,brd> "}.get(rt.type, "")
    flags = f"    cache {kind}"
    if iif is not None:     # the way of a packet that comes in: no source is chosen, and nobody sends it
        return [f"{local}{ip_ntoa(daddr)}{asked}{via} dev {rt.dev.name} ", f"{flags}iif {iif.name} "]
    if learned := net.ipv4.pmtu.get(daddr):
        flags += f"expires {max(0, learned[1] - net.clock.now) // NS_PER_S}sec mtu {learned[0]} "
    return [f"{local}{ip_ntoa(daddr)}{asked}{via} dev {rt.dev.name}{src} uid 0 ", flags]


def _get_address(text: str) -> bytes:
    try:
        return ip_aton(text.removesuffix("/32"))
    except ValueError:
        raise UsageError(f'Error: any valid prefix is expected rather than "{text}".', 1) from None


def rule(net: NetNs, words: list[str], options: Options) -> list[str]:
    """`ip rule [show]`."""
    words = list(words)
    verb("ip", "rule", words)
    if words:
        raise UsageError(f'Error: either "from" is duplicate, or "{words[0]}" is a garbage.')
    return [] if options.family == "inet6" else [str(rule) for rule in net.ipv4.fib.rules]


def neigh(net: NetNs, words: list[str], options: Options) -> list[str]:
    """`ip neigh [show] …`."""
    words = list(words)
    verb("ip", "neigh", words)
    if words and words[0] == "to":
        words.pop(0)
    chosen = selector(words, ("dev", "nud"), bare="to")
    if options.stats:
        raise UsageError("ip: `ip -s neigh` is not modelled", 1)
    if "dev" in chosen:
        device(net, chosen["dev"])
    prefix = _wanted_prefix(chosen.get("to"))
    wanted = chosen.get("nud", "all")
    if wanted != "all" and wanted not in NUD_STATES:
        raise UsageError(f'Error: argument "{wanted}" is wrong: nud state is bad\n')
    rows = []
    for entry in net.ipv4.arp.table.entries.values():
        state = _state(net, entry)
        name = str(state).lower()
        if (
            options.family != "inet6"
            and (name == wanted if "nud" in chosen and wanted != "all" else state not in (Nud.NOARP, Nud.NONE))
            and ("dev" not in chosen or entry.dev.name == chosen["dev"])
            and (prefix is None or entry.addr in prefix)
        ):
            dev = "" if "dev" in chosen else f"dev {entry.dev.name} "
            shown = entry.ha and state not in (Nud.FAILED, Nud.INCOMPLETE)
            rows.append(f"{ip_ntoa(entry.addr)} {dev}{f'lladdr {mac_ntoa(entry.ha)} ' if shown else ''}{state} ")
    return rows


def _state(net: NetNs, entry: Neighbour) -> Nud:
    if entry.state is Nud.REACHABLE and net.clock.now > entry.confirmed + entry.reachable:
        return Nud.STALE
    return entry.state
