"""`ip route` and `ip rule`.

Linux: iproute2 ip/iproute.c, ip/iprule.c
"""

from __future__ import annotations

import errno

from k8semu.apps.shell.ip_words import Options, device, selector, verb
from k8semu.apps.shell.output import UsageError
from k8semu.linux.core.dev import NetDevice
from k8semu.linux.core.drop import Drop
from k8semu.linux.ipv4.fib import TABLE_MAIN, TABLE_NAMES, Route, Rule, table_id
from k8semu.linux.ipv4.route import Refusal, RouteError, Rtable
from k8semu.linux.netns import NetNs
from k8semu.sim.clock import NS_PER_S
from k8semu.trace.steps import FibStep
from k8semu.wire.addr import Prefix, ip_aton, ip_ntoa

ALL_HOSTS = bytes((224, 0, 0, 1))
_ROUTE_KEYS = ("dev", "table", "via", "proto", "scope", "type", "match", "root", "exact")
_TYPES = ("unicast", "local", "broadcast", "multicast", "throw", "unreachable", "prohibit", "blackhole", "nat")
_SCOPES = ("host", "link", "global", "nowhere", "site")
_PROTOS = (
    "redirect", "kernel", "boot", "static", "gated", "ra", "mrt", "zebra", "bird", "dnrouted", "xorp", "ntk", "dhcp",
    "keepalived", "babel", "openr", "bgp", "isis", "ospf", "rip", "eigrp",
)


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
    if words == ["cache"] or words == ["table", "cache"]:
        return _cached(net)
    chosen = route_selector(words)
    wanted = chosen.get("table", "main")
    hidden = frozenset({"dev", "via", "proto", "scope"} & chosen.keys())
    rows = [
        route_line(route, None if wanted == "all" else number, hidden)
        for number, route in routes(net, chosen, options)
    ]
    return [_detailed(row) for row in rows] if options.details else rows


def route_selector(words: list[str]) -> dict[str, str]:
    """What is chosen of the routes."""
    chosen = selector(words[1:] if words and words[0] == "to" else words, _ROUTE_KEYS, bare="to")
    for key, known, error in (
        ("type", _TYPES, "node type value is invalid"), ("scope", _SCOPES, 'invalid "scope"'),
        ("proto", _PROTOS, 'invalid "protocol"'),
    ):  # fmt: skip
        if key in chosen and chosen[key] not in known and not chosen[key].isdecimal():
            raise UsageError(f'Error: argument "{chosen[key]}" is wrong: {error}\n')
    return chosen


def routes(net: NetNs, chosen: dict[str, str], options: Options) -> list[tuple[int, Route]]:
    """The routes that a command line chooses, each with the number of its table."""
    if options.family == "inet6":
        return []
    prefix = wanted_prefix(chosen.get("exact", chosen.get("to")))
    match, root = (Prefix.parse(chosen[key]) if _is_prefix(chosen.get(key)) else None for key in ("match", "root"))
    if "dev" in chosen:
        device(net, chosen["dev"])
    via = _address(chosen["via"]) if "via" in chosen else None
    return [
        (number, route)
        for number in _tables(net, chosen.get("table", "main"))
        for route in net.ipv4.fib.table(number)
        if (prefix is None or route.dst == prefix)
        and (match is None or (route.dst.plen <= match.plen and match.addr in route.dst))
        and (root is None or (route.dst.plen >= root.plen and route.dst.addr in root))
        and ("dev" not in chosen or (route.dev is not None and route.dev.name == chosen["dev"]))
        and (via is None or route.via == via)
        and all(str(getattr(route, key)) == chosen[key] for key in ("proto", "scope", "type") if key in chosen)
    ]


def _is_prefix(text: str | None) -> bool:
    if text is None:
        return False
    try:
        Prefix.parse(text)
    except ValueError:
        raise UsageError(f'Error: any valid prefix is expected rather than "{text}".', 1) from None
    return True


def _cached(net: NetNs) -> list[str]:
    """What was learned of single destinations: path MTUs. Linux: fnhe_dump_bucket()"""
    rows = []
    for daddr in net.ipv4.pmtu:
        try:
            rt = net.ipv4.route_output(daddr)
        except RouteError:
            continue
        via = f" via {ip_ntoa(rt.gateway)}" if rt.gateway else ""
        if learned := _learned(net, daddr):
            rows += [f"{ip_ntoa(daddr)}{via} dev {rt.dev.name} ", f"    cache {learned}"]
    return rows


def _learned(net: NetNs, daddr: bytes) -> str:
    """A path MTU that still holds."""
    mtu, until = net.ipv4.pmtu.get(daddr, (0, 0))
    left = (until - net.clock.now) // NS_PER_S
    return f"expires {left}sec mtu {mtu} " if mtu and left >= 0 else ""


def _tables(net: NetNs, wanted: str) -> list[int]:
    if wanted == "all":
        return sorted(net.ipv4.fib.tables)
    if wanted not in TABLE_NAMES.values() and not wanted.isdigit():
        raise UsageError(f'Error: argument "{wanted}" is wrong: table id value is invalid\n')
    number = table_id(wanted)
    if number not in net.ipv4.fib.tables and number not in TABLE_NAMES:
        raise UsageError("Error: ipv4: FIB table does not exist.\nDump terminated", 2)
    return [number]


def wanted_prefix(text: str | None) -> Prefix | None:
    if text is None or text == "all":
        return None
    if text == "default":
        return Prefix.parse("0.0.0.0/0")
    try:
        return Prefix.parse(text)
    except ValueError:
        raise UsageError(f'Error: any valid prefix is expected rather than "{text}".', 1) from None


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


def _mark(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise UsageError(f'Error: argument "{text}" is wrong: invalid mark\n') from None


def _coming_in(net: NetNs, daddr: bytes, saddr: bytes, iif: NetDevice, mark: int) -> Rtable:
    """The way of a packet that `iif` receives. Linux: net/ipv4/route.c inet_rtm_getroute()"""
    found = net.ipv4.routing.input(daddr, saddr, iif, mark)
    if isinstance(found, Refusal):
        off = errno.EHOSTUNREACH if "forwarding is off" in found.detail else errno.EINVAL
        raise RouteError(found.errno or (errno.EXDEV if found.reason is Drop.IP_RPFILTER else off))
    return found


def _route_get(net: NetNs, words: list[str]) -> list[str]:
    if words and words[0] == "to":
        words = words[1:]
    if not words:
        raise UsageError("need at least a destination address", 1)
    chosen = selector(words, ("from", "oif", "iif", "mark"), bare="to")
    daddr = get_address(chosen["to"])
    mark = _mark(chosen.get("mark", "0"))
    oif = device(net, chosen["oif"]) if "oif" in chosen else None
    saddr = get_address(chosen["from"]) if "from" in chosen else None
    iif = device(net, chosen["iif"]) if "iif" in chosen else None
    try:
        if iif is not None:
            rt = _coming_in(net, daddr, saddr or bytes(4), iif, mark)
        else:
            rt = net.ipv4.route_output(daddr, saddr, oif, mark)
    except RouteError as error:
        raise UsageError(f"RTNETLINK answers: {error.strerror}", 2) from None
    heard = "<local,mc> " if daddr == ALL_HOSTS else "<mc> "
    kinds = {"local": "<local> ", "broadcast": "<local,brd> ", "multicast": heard}
    local = f"{rt.type} " if rt.type in kinds else ""
    via = f" via {ip_ntoa(rt.gateway)}" if rt.gateway else ""
    asked = f" from {chosen['from']}" if saddr is not None else ""
    src = f" src {ip_ntoa(rt.saddr)}" if saddr is None and iif is None else ""
    dev = f" dev {rt.dev.name}"
    if isinstance(rt.step, FibStep) and rt.step.table not in ("main", "local", "default"):
        dev += f" table {rt.step.table}"
    marked = f" mark {mark if mark < 16 else hex(mark)}" if mark else ""
    flags = f"    cache {kinds.get(rt.type, '')}"
    if iif is not None:     # the way of a packet that comes in: no source is chosen, and nobody sends it
        return [f"{local}{ip_ntoa(daddr)}{asked}{via}{dev}{marked} ", f"{flags}iif {iif.name} "]
    flags += _learned(net, daddr)
    return [f"{local}{ip_ntoa(daddr)}{asked}{via}{dev}{src}{marked} uid 0 ", flags]


def get_address(text: str) -> bytes:
    try:
        return ip_aton(text.removesuffix("/32"))
    except ValueError:
        raise UsageError(f'Error: any valid prefix is expected rather than "{text}".', 1) from None


def rule(net: NetNs, words: list[str], options: Options) -> list[str]:
    """`ip rule [show]`."""
    words = list(words)
    verb("ip", "rule", words)
    return [str(rule) for rule in rules(net, words, options)]


def rules(net: NetNs, words: list[str], options: Options) -> list[Rule]:
    """The rules that a command line chooses."""
    chosen = selector(words, ("table", "lookup"), bare="")
    wanted = chosen.get("table", chosen.get("lookup", ""))
    if wanted and wanted not in TABLE_NAMES.values() and not wanted.isdigit():
        raise UsageError(f'Error: argument "{wanted}" is wrong: table id value is invalid\n')
    known = net.ipv4.fib.rules if options.family != "inet6" else []
    return [rule for rule in known if not wanted or rule.table == table_id(wanted)]
