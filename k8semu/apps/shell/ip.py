"""`ip`: addresses, links, routes, neighbours and rules of a namespace, as iproute2 prints them.

Shown: ip addr, ip -br addr, ip link, ip -d link, ip -s link, ip route [show|get], ip neigh, ip rule
Differs: on a veth, `link-netnsid` numbers the other namespaces in the order of the links to them.
"""

from __future__ import annotations

from collections.abc import Callable

from k8semu.apps.shell.output import Output, UsageError, choose, lines
from k8semu.linux.bridge.bridge import BridgeDevice
from k8semu.linux.core.dev import Iff, NetDevice
from k8semu.linux.core.neighbour import Nud
from k8semu.linux.drivers.tun import TunDevice
from k8semu.linux.drivers.veth import VethDevice
from k8semu.linux.drivers.vxlan import VxlanDevice
from k8semu.linux.ipv4.fib import TABLE_MAIN, TABLE_NAMES, Route, table_id
from k8semu.linux.ipv4.route import RouteError
from k8semu.linux.netns import NetNs
from k8semu.sim.clock import NS_PER_S
from k8semu.wire.addr import Prefix, ip_aton, ip_ntoa, mac_ntoa

_FLAG_ORDER = (
    ("LOOPBACK", Iff.LOOPBACK), ("BROADCAST", Iff.BROADCAST), ("POINTOPOINT", Iff.POINTOPOINT),
    ("MULTICAST", Iff.MULTICAST), ("NOARP", Iff.NOARP),
)  # fmt: skip
_NO_OPERSTATE = ("", "vxlan", "dummy", "tun")
OBJECTS = ["address", "link", "route", "neighbour", "neighbor", "rule"]


class Options:
    """The flags before the object: -d -s -br -4."""

    def __init__(self) -> None:
        self.details = self.stats = self.brief = False


def run(net: NetNs, argv: list[str]) -> Output:
    """`ip ARGV…`."""
    options = Options()
    words = list(argv)
    while words and words[0].startswith("-"):
        flag = words.pop(0).lstrip("-")
        if flag in ("d", "details"):
            options.details = True
        elif flag in ("s", "stats", "statistics"):
            options.stats = True
        elif flag in ("br", "brief"):
            options.brief = True
        elif flag not in ("4", "c", "color", "o", "family"):
            raise UsageError(f'Option "-{flag}" is unknown, try "ip -help".')
    if not words:
        raise UsageError('Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }')
    name = choose(words[0], OBJECTS)
    if name is None:
        raise UsageError(f'Object "{words[0]}" is unknown, try "ip help".', 1)
    return _OBJECTS[name](net, words[1:], options)


def _selector(words: list[str], known: tuple[str, ...]) -> dict[str, str]:
    """The words after `show`: `dev NAME`, `table N`, or a bare device name."""
    words = list(words)
    if words and choose(words[0], ["show", "list", "lst"]):
        words.pop(0)
    chosen: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if word in known:
            if not words:
                raise UsageError("Command line is not complete. Try option \"help\"")
            chosen[word] = words.pop(0)
        elif word == "up":
            chosen["up"] = "up"
        elif "dev" not in chosen and "dev" in known:
            chosen["dev"] = word
        else:
            raise UsageError(f'Error: argument "{word}" is wrong: unknown word', 1)
    return chosen


def _devices(net: NetNs, chosen: dict[str, str]) -> list[NetDevice]:
    devs = [net.by_index[index] for index in sorted(net.by_index)]
    if "dev" in chosen:
        if chosen["dev"] not in net.devs:
            raise UsageError(f'Device "{chosen["dev"]}" does not exist.', 1)
        devs = [net.devs[chosen["dev"]]]
    if "master" in chosen:
        devs = [dev for dev in devs if dev.master is not None and dev.master.name == chosen["master"]]
    if "type" in chosen:
        devs = [dev for dev in devs if dev.kind == chosen["type"]]
    return [dev for dev in devs if dev.up] if "up" in chosen else devs


# --- ip link, ip addr -------------------------------------------------------------------------


def shown_name(dev: NetDevice) -> str:
    """``eth0@if7``: the far end of a veth is known by its index."""
    return f"{dev.name}@if{dev.peer.ifindex}" if isinstance(dev, VethDevice) and dev.peer else dev.name


def _flags(dev: NetDevice) -> str:
    words = [name for name, flag in _FLAG_ORDER if dev.flags & flag]
    if dev.up and not dev.carrier:
        words.insert(0, "NO-CARRIER")
    if dev.up:
        words += ["UP", "LOWER_UP"] if dev.carrier else ["UP"]
    return f"<{','.join(words)}>"


def operstate(dev: NetDevice) -> str:
    """Linux: net/core/link_watch.c; devices without a link report UNKNOWN while they work."""
    if dev.up and isinstance(dev, VethDevice) and not dev.carrier:
        return "LOWERLAYERDOWN" if dev.peer is not None else "DOWN"
    if not dev.running:
        return "DOWN"
    return "UNKNOWN" if dev.kind in _NO_OPERSTATE else "UP"


def _qdisc(dev: NetDevice) -> str:
    if not dev.up:
        return "noop"
    return "pfifo_fast" if isinstance(dev, TunDevice) else "noqueue"


def _peers(net: NetNs) -> list[NetNs]:
    """The namespaces at the other ends of this one's links, in order of the links."""
    found: list[NetNs] = []
    for index in sorted(net.by_index):
        dev = net.by_index[index]
        if isinstance(dev, VethDevice) and dev.peer is not None and dev.peer.net is not net:
            other = dev.peer.net
            if isinstance(other, NetNs) and other not in found:
                found.append(other)
    return found


def _link_lines(net: NetNs, dev: NetDevice, options: Options, mode: bool) -> list[str]:
    master = f"master {dev.master.name} " if dev.master is not None else ""
    first = (
        f"{dev.ifindex}: {shown_name(dev)}: {_flags(dev)} mtu {dev.mtu} qdisc {_qdisc(dev)} {master}"
        f"state {operstate(dev)} {'mode DEFAULT ' if mode else ''}group default "
        f"qlen {500 if isinstance(dev, TunDevice) else 1000}"
    )
    if dev.hard_header_len == 0:
        second = "    link/none "
    else:
        kind = "loopback" if dev.flags & Iff.LOOPBACK else "ether"
        second = f"    link/{kind} {mac_ntoa(dev.addr)} brd {mac_ntoa(dev.broadcast)}"
    other = dev.peer.net if isinstance(dev, VethDevice) and dev.peer is not None else net
    if isinstance(other, NetNs) and other is not net:
        second += f" link-netnsid {_peers(net).index(other)}"
    rows = [first, second]
    if options.details:
        rows[-1] += f" promiscuity {1 if dev.master is not None else 0}  allmulti 0 minmtu 68 maxmtu 65535 "
        rows += _details(dev)
    if options.stats:
        rows += _stats(dev)
    return rows


def _details(dev: NetDevice) -> list[str]:
    """The line of `ip -d link` that says what kind of device it is (its beginning)."""
    if isinstance(dev, VxlanDevice):
        local = f" local {ip_ntoa(dev.local)}" if dev.local else ""
        link = f" dev {dev.link.name}" if dev.link else ""
        learning = "" if dev.learning else " nolearning"
        csum = "udpcsum" if dev.udpcsum else "noudpcsum"
        return [
            f"    vxlan id {dev.vni}{local}{link} srcport 0 0 dstport {dev.dstport}{learning} ttl auto "
            f"ageing {dev.ageing_time // 10**9} {csum} noudp6zerocsumtx noudp6zerocsumrx "
        ]
    if isinstance(dev, BridgeDevice):
        return [
            f"    bridge forward_delay 1500 hello_time 200 max_age 2000 ageing_time {dev.fdb.ageing_time // 10**7} "
            "stp_state 0 priority 32768 vlan_filtering 0 "
        ]
    if isinstance(dev, VethDevice):
        slave = _details_port(dev)
        return ["    veth ", *slave]
    if isinstance(dev, TunDevice):
        return ["    tun type tun pi off vnet_hdr off persist on "]
    return [f"    {dev.kind} "] if dev.kind else []


def _details_port(dev: NetDevice) -> list[str]:
    if not isinstance(dev.master, BridgeDevice):
        return []
    port = dev.master.ports[dev.name]
    return [
        f"    bridge_slave state forwarding priority 32 cost 2 hairpin {_on(port.hairpin)} guard off root_block off "
        f"fastleave off learning {_on(port.learning)} flood {_on(port.flood)} "
    ]


def _on(value: bool) -> str:
    return "on" if value else "off"


def _stats(dev: NetDevice) -> list[str]:
    s = dev.stats
    return [
        "    RX:  bytes packets errors dropped  missed   mcast           ",
        f"    {s.rx_bytes:10d} {s.rx_packets:7d} {0:6d} {s.rx_dropped:7d} {0:7d} {0:7d} ",
        "    TX:  bytes packets errors dropped carrier collsns           ",
        f"    {s.tx_bytes:10d} {s.tx_packets:7d} {0:6d} {s.tx_dropped:7d} {0:7d} {0:7d} ",
    ]


def _link(net: NetNs, words: list[str], options: Options) -> Output:
    rows = []
    for dev in _devices(net, _selector(words, ("dev", "master", "type"))):
        if options.brief:
            mac = mac_ntoa(dev.addr) + " " if dev.hard_header_len else ""
            rows.append(f"{shown_name(dev):<16} {operstate(dev):<14} {mac}{_flags(dev)} ")
        else:
            rows += _link_lines(net, dev, options, mode=True)
    return lines(rows)


def _addr(net: NetNs, words: list[str], options: Options) -> Output:
    rows = []
    for dev in _devices(net, _selector(words, ("dev", "master", "type"))):
        if options.brief:
            addresses = "".join(f"{a.iface} " for a in dev.addresses)
            rows.append(f"{shown_name(dev):<16} {operstate(dev):<14} {addresses}")
            continue
        rows += _link_lines(net, dev, options, mode=False)
        for a in dev.addresses:
            brd = f" brd {ip_ntoa(a.broadcast)}" if a.broadcast is not None else ""
            secondary = " secondary" if a.secondary else ""
            rows.append(f"    inet {a.iface}{brd} scope {a.scope}{secondary} {a.label}")
            rows.append("       valid_lft forever preferred_lft forever")
    return lines(rows)


# --- ip route, rule, neigh --------------------------------------------------------------------


def route_line(route: Route, table: int | None = TABLE_MAIN) -> str:
    """One line of `ip route`; iproute2 leaves a blank at its end."""
    text = str(route)
    if route.dev is not None and route.dev.up and not route.dev.carrier and route.type == "unicast":
        text += " linkdown"
    if table is None and route.table != TABLE_MAIN:
        words = text.split(" dev ", 1)
        name = TABLE_NAMES.get(route.table, str(route.table))
        if len(words) == 2:
            dev, _, rest = words[1].partition(" ")
            text = f"{words[0]} dev {dev} table {name} {rest}".rstrip()
    return text + " "


def _route(net: NetNs, words: list[str], options: Options) -> Output:
    if words and words[0] == "get":
        return _route_get(net, words[1:])
    chosen = _selector(words, ("dev", "table", "via", "proto", "type"))
    wanted = chosen.get("table", "main")
    numbers = sorted(net.ipv4.fib.tables) if wanted == "all" else [table_id(wanted)]
    if "dev" in chosen and chosen["dev"] not in net.devs:
        prefix = chosen.pop("dev")
        try:
            wanted_prefix = Prefix.parse(prefix)
        except ValueError:
            raise UsageError(f'Cannot find device "{prefix}"', 1) from None
        return lines([route_line(r) for number in numbers for r in net.ipv4.fib.table(number).find(wanted_prefix)])
    rows = []
    for number in numbers:
        for route in net.ipv4.fib.table(number):
            if "dev" in chosen:
                if route.dev is None or route.dev.name != chosen["dev"]:
                    continue
                rows.append(route_line(route).replace(f"dev {chosen['dev']} ", "", 1))
            else:
                rows.append(route_line(route, None if wanted == "all" else number))
    return lines(rows)


def _route_get(net: NetNs, words: list[str]) -> Output:
    if not words:
        raise UsageError("need at least a destination address", 1)
    try:
        daddr = ip_aton(words[0])
    except ValueError:
        raise UsageError(f'Error: any valid prefix is expected rather than "{words[0]}".', 1) from None
    try:
        rt = net.ipv4.route_output(daddr)
    except RouteError as error:
        raise UsageError(f"RTNETLINK answers: {error.strerror}", 2) from None
    local = "local " if rt.type == "local" else "broadcast " if rt.type == "broadcast" else ""
    via = f" via {ip_ntoa(rt.gateway)}" if rt.gateway else ""
    flags = f"    cache <{rt.type}> " if rt.type == "local" else "    cache "
    if learned := net.ipv4.pmtu.get(daddr):
        flags += f"expires {max(0, learned[1] - net.clock.now) // NS_PER_S}sec mtu {learned[0]} "
    return lines([f"{local}{words[0]}{via} dev {rt.dev.name} src {ip_ntoa(rt.saddr)} uid 0 ", flags])


def _rule(net: NetNs, words: list[str], options: Options) -> Output:
    return lines([str(rule) for rule in net.ipv4.fib.rules])


def _neigh(net: NetNs, words: list[str], options: Options) -> Output:
    chosen = _selector(words, ("dev", "nud"))
    if "dev" in chosen and chosen["dev"] not in net.devs:
        raise UsageError(f'Cannot find device "{chosen["dev"]}"', 1)
    rows = []
    now = net.clock.now
    for neigh in net.ipv4.arp.table.entries.values():
        if neigh.state in (Nud.NOARP, Nud.NONE) or ("dev" in chosen and neigh.dev.name != chosen["dev"]):
            continue
        state = neigh.state
        if state is Nud.REACHABLE and now > neigh.confirmed + neigh.reachable:
            state = Nud.STALE
        dev = "" if "dev" in chosen else f"dev {neigh.dev.name} "
        lladdr = f"lladdr {mac_ntoa(neigh.ha)} " if neigh.ha and state not in (Nud.FAILED, Nud.INCOMPLETE) else ""
        rows.append(f"{ip_ntoa(neigh.addr)} {dev}{lladdr}{state} ")
    return lines(rows)


_OBJECTS: dict[str, Callable[[NetNs, list[str], Options], Output]] = {
    "address": _addr, "link": _link, "route": _route, "neighbour": _neigh, "neighbor": _neigh, "rule": _rule,
}  # fmt: skip
