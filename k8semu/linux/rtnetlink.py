"""What `ip` and `bridge` tell a namespace: devices, addresses, routes, rules, neighbours, FDB entries.

    NetNs.apply(command) ─▶ HANDLERS[type(command)](net, command)      CommandError in the tools' own words

Linux: net/core/rtnetlink.c, and the handlers named at each command; ip(8), bridge(8)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from k8semu.errors import CommandError
from k8semu.linux.bridge.bridge import BridgeDevice
from k8semu.linux.core import commands as c
from k8semu.linux.core.dev import NetDevice
from k8semu.linux.core.etherdevice import eth_random_addr
from k8semu.linux.core.neighbour import Nud
from k8semu.linux.drivers.veth import VethDevice
from k8semu.linux.ipv4 import devinet
from k8semu.linux.ipv4.fib import ERROR_TYPES, SCOPES, Route, Rule, table_id
from k8semu.wire.addr import Interface, Prefix, ip_aton, mac_aton

if TYPE_CHECKING:
    from k8semu.linux.netns import NetNs

# --- devices ----------------------------------------------------------------------------------


def _mac(net: NetNs, text: str, name: str) -> bytes:
    """The MAC asked for, or a random one (locally administered), as eth_hw_addr_random() draws it."""
    if text:
        try:
            return mac_aton(text)
        except ValueError:
            raise CommandError(f'"{text}" is invalid lladdr.') from None
    return eth_random_addr(net.random(f"mac/{name}"))


def veth_add(net: NetNs, cmd: c.VethAdd) -> None:
    """Linux: drivers/net/veth.c veth_newlink()."""
    far = net
    if cmd.peer_netns:
        assert net.find is not None
        far = net.find(cmd.peer_netns)
    for end, name in ((net, cmd.name), (far, cmd.peer)):
        if name in end.devs:
            raise CommandError("RTNETLINK answers: File exists", hint=f"{end.name} has a {name} already")
    near_dev = VethDevice(net, cmd.name, _mac(net, cmd.address, cmd.name), cmd.mtu, cmd.delay)
    far_dev = VethDevice(far, cmd.peer, _mac(far, cmd.peer_address, cmd.peer), cmd.mtu, cmd.delay)
    near_dev.peer, far_dev.peer = far_dev, near_dev
    far.add_device(far_dev, cmd.origin)
    net.add_device(near_dev, cmd.origin)


def bridge_add(net: NetNs, cmd: c.BridgeAdd) -> None:
    """Linux: net/bridge/br_netlink.c br_dev_newlink()."""
    bridge = BridgeDevice(net, cmd.name, _mac(net, cmd.address, cmd.name), cmd.mtu, cmd.ageing_time)
    bridge.address_set = bool(cmd.address)
    net.add_device(bridge, cmd.origin)


def vxlan_add(net: NetNs, cmd: c.VxlanAdd) -> None:
    """Linux: drivers/net/vxlan/vxlan_core.c vxlan_newlink()."""
    from k8semu.linux.drivers.vxlan import VXLAN_HEADROOM, VxlanDevice

    link = net.dev(cmd.dev) if cmd.dev else None
    others = (dev for dev in net.devs.values() if isinstance(dev, VxlanDevice))
    if any(dev.vni == cmd.vni and dev.dstport == cmd.dstport for dev in others):
        raise CommandError("Error: A VXLAN device with the specified VNI already exists.")
    mtu = cmd.mtu if cmd.mtu is not None else 1500
    if link is not None:  # never more than fits, whatever was asked for
        most = link.mtu - VXLAN_HEADROOM
        mtu = most if cmd.mtu is None else min(mtu, most)
    net.add_device(
        VxlanDevice(
            net, cmd.name, _mac(net, cmd.address, cmd.name), mtu, vni=cmd.vni, dstport=cmd.dstport,
            local=_address(cmd.local) if cmd.local else None, link=link, learning=cmd.learning,
            remote=_address(cmd.remote) if cmd.remote else None, udpcsum=cmd.udpcsum,
        ),
        cmd.origin,
    )  # fmt: skip


def tun_add(net: NetNs, cmd: c.TunAdd) -> None:
    """Linux: drivers/net/tun.c tun_set_iff()."""
    from k8semu.linux.drivers.tun import TunDevice

    net.add_device(TunDevice(net, cmd.name, cmd.mtu), cmd.origin)


def dummy_add(net: NetNs, cmd: c.DummyAdd) -> None:
    """Linux: drivers/net/dummy.c."""
    from k8semu.linux.drivers.dummy import DummyDevice

    net.add_device(DummyDevice(net, cmd.name, _mac(net, cmd.address, cmd.name)), cmd.origin)


def link_del(net: NetNs, cmd: c.LinkDel) -> None:
    """Linux: net/core/rtnetlink.c rtnl_dellink()."""
    dev = net.dev(cmd.name)
    if dev.name == "lo":
        raise CommandError("RTNETLINK answers: Operation not supported")
    net.remove(dev)


def link_set(net: NetNs, cmd: c.LinkSet) -> None:
    """Linux: net/core/rtnetlink.c do_setlink()."""
    dev = net.dev(cmd.name)
    if cmd.address:
        dev.set_address(_mac(net, cmd.address, cmd.name))
    if cmd.mtu is not None:
        if not 68 <= cmd.mtu <= 65535:
            raise CommandError("Error: mtu less than device minimum." if cmd.mtu < 68 else
                               "Error: mtu greater than device maximum.")
        dev.set_mtu(cmd.mtu)
        net.ipv4.fib.changed()
        if isinstance(dev.master, BridgeDevice):
            dev.master.port_mtu_changed()
    if cmd.master is not None:
        _set_master(net, dev, cmd.master)
    if cmd.up is not None:
        dev.set_up(cmd.up)


def _set_master(net: NetNs, dev: NetDevice, master: str) -> None:
    """Linux: net/core/rtnetlink.c do_set_master()."""
    if isinstance(dev.master, BridgeDevice):
        if dev.master.name == master:
            return
        dev.master.del_port(dev)
    if master:
        bridge = net.devs.get(master)
        if bridge is None:
            raise CommandError(f'Error: argument "{master}" is wrong: Device does not exist')
        if not isinstance(bridge, BridgeDevice):
            raise CommandError("Error: Device does not allow enslaving to a bridge.", hint=f"{master} is no bridge")
        bridge.add_port(dev)


def port_set(net: NetNs, cmd: c.BridgePortSet) -> None:
    """Linux: net/bridge/br_netlink.c br_setlink()."""
    dev = net.dev(cmd.name)
    if not isinstance(dev.master, BridgeDevice):
        raise CommandError("RTNETLINK answers: Operation not supported", hint=f"{cmd.name} is no bridge port")
    port = dev.master.ports[dev.name]
    for key in ("hairpin", "learning", "flood", "isolated"):
        value = getattr(cmd, key)
        if value is not None:
            setattr(port, key, value)


def link_fault(net: NetNs, cmd: c.LinkFault) -> None:
    """Linux: net/sched/sch_netem.c netem_change()."""
    dev = net.dev(cmd.name)
    if not isinstance(dev, VethDevice):
        raise CommandError("Error: Specified qdisc kind is unknown.", hint=f"{cmd.name} is no link")
    dev.loss, dev.extra_delay = cmd.loss, cmd.delay


# --- addresses, routes, neighbours ------------------------------------------------------------


def addr_add(net: NetNs, cmd: c.AddrAdd) -> None:
    """Linux: net/ipv4/devinet.c inet_rtm_newaddr()."""
    devinet.add_address(net.ipv4, net.dev(cmd.dev), cmd.address, cmd.scope, cmd.broadcast, cmd.origin)


def addr_del(net: NetNs, cmd: c.AddrDel) -> None:
    """Linux: net/ipv4/devinet.c inet_rtm_deladdr()."""
    devinet.del_address(net.ipv4, net.dev(cmd.dev), cmd.address)


def route_add(net: NetNs, cmd: c.RouteAdd) -> None:
    """Linux: net/ipv4/fib_semantics.c fib_create_info(), fib_check_nh()."""
    dst = _prefix(cmd.dst)
    via = _address(cmd.via) if cmd.via else None
    dev = net.dev(cmd.dev) if cmd.dev else None
    if cmd.type == "unicast":
        dev = _nexthop_dev(net, via, dev, cmd.onlink)
    elif cmd.type in ("local", "broadcast") and dev is None:
        raise CommandError("RTNETLINK answers: No such device")
    default_scope = "global" if via is not None or cmd.type != "unicast" else "link"
    scope = cmd.scope or default_scope
    if scope not in SCOPES:
        raise CommandError(f'Error: argument "{cmd.scope}" is wrong: invalid "scope" value')
    if via is not None and SCOPES[scope] >= SCOPES["link"]:
        raise CommandError("Error: Nexthop has invalid gateway.", hint="a route with `via` is of scope global")
    src = _address(cmd.src) if cmd.src else None
    if src is not None and net.ipv4.addr_type(src) != "local":
        raise CommandError("Error: Invalid prefsrc address.", hint=f"{cmd.src} is not an address of {net.name}")
    if cmd.type in (*ERROR_TYPES, "throw"):
        dev = None
    route = Route(
        dst, dev, type=cmd.type, via=via, src=src, scope=scope,
        metric=cmd.metric, proto=cmd.proto, onlink=cmd.onlink, mtu=cmd.mtu, table=table_id(cmd.table),
        origin=cmd.origin,
    )  # fmt: skip
    net.ipv4.fib.add(route, cmd.replace, cmd.append)


def _nexthop_dev(net: NetNs, via: bytes | None, dev: NetDevice | None, onlink: bool) -> NetDevice:
    """Which device leads to the next hop? Linux: fib_check_nh()."""
    if dev is not None and not dev.up:
        raise CommandError("Error: Device for nexthop is not up.", hint=f"ip link set {dev.name} up")
    if via is None:
        if dev is None:
            raise CommandError("RTNETLINK answers: No such device", hint="a route needs `via` or `dev`")
        return dev
    if net.ipv4.addr_type(via) not in ("unicast", "local") and not onlink:
        raise CommandError("Error: Nexthop has invalid gateway.")
    if onlink:
        if dev is None:
            raise CommandError("Error: Nexthop device required for onlink.")
        return dev
    route = net.ipv4.fib.lookup(via, None, dev)
    if route is None or route.dev is None or SCOPES[route.scope] < SCOPES["link"]:
        raise CommandError("Error: Nexthop has invalid gateway.", hint="the gateway is on no connected network")
    return route.dev


def route_del(net: NetNs, cmd: c.RouteDel) -> None:
    """Linux: net/ipv4/fib_frontend.c inet_rtm_delroute()."""
    via = _address(cmd.via) if cmd.via else None
    if cmd.dev:
        net.dev(cmd.dev)
    for route in net.ipv4.fib.table(table_id(cmd.table)).find(_prefix(cmd.dst)):
        if (via is None or route.via == via) and (not cmd.dev or (route.dev and route.dev.name == cmd.dev)) and (
            (not cmd.metric or route.metric == cmd.metric) and cmd.type in ("", route.type)
            and (not cmd.src or route.src == _address(cmd.src)) and cmd.proto in ("", route.proto)
            and cmd.scope in ("", route.scope)
        ):  # fmt: skip
            net.ipv4.fib.remove(route)
            return
    raise CommandError("RTNETLINK answers: No such process", hint=f"there is no such route to {cmd.dst}")


def rule_add(net: NetNs, cmd: c.RuleAdd) -> None:
    """Linux: net/core/fib_rules.c fib_nl_newrule()."""
    mark, _, mask = cmd.fwmark.partition("/")
    net.ipv4.fib.add_rule(
        Rule(
            cmd.priority, table_id(cmd.table), None if cmd.src == "all" else _prefix(cmd.src),
            _prefix(cmd.dst) if cmd.dst else None, int(mark, 0) if mark else 0,
            int(mask, 0) if mask else (0xFFFFFFFF if mark else 0), cmd.iif, cmd.oif, cmd.action, cmd.invert,
            cmd.suppress_prefixlength,
        )
    )  # fmt: skip


def rule_del(net: NetNs, cmd: c.RuleDel) -> None:
    """Linux: net/core/fib_rules.c fib_nl_delrule()."""
    net.ipv4.fib.remove_rule(cmd.priority, table_id(cmd.table), cmd.rule)


def neigh_add(net: NetNs, cmd: c.NeighAdd) -> None:
    """Linux: net/core/neighbour.c neigh_add()."""
    dev = net.dev(cmd.dev)
    table = net.ipv4.arp.table
    neigh = table.get(dev, _address(cmd.address))
    neigh.origin = cmd.origin
    try:
        state = Nud(cmd.state.upper())
    except ValueError:
        raise CommandError(f'Error: argument "{cmd.state}" is wrong: nud state is bad') from None
    table.update(neigh, _lladdr(cmd.lladdr), state, override=True, admin=True)


def neigh_del(net: NetNs, cmd: c.NeighDel) -> None:
    """Linux: net/core/neighbour.c neigh_delete()."""
    table = net.ipv4.arp.table
    neigh = table.lookup(net.dev(cmd.dev), _address(cmd.address))
    if neigh is None:
        raise CommandError("RTNETLINK answers: No such file or directory")
    table.remove(neigh)


def fdb_add(net: NetNs, cmd: c.FdbAdd) -> None:
    """Linux: net/core/rtnetlink.c rtnl_fdb_add()."""
    from k8semu.linux.drivers.vxlan import VxlanDevice

    dev = net.dev(cmd.dev)
    mac = _lladdr(cmd.mac)
    if cmd.master:
        if not isinstance(dev.master, BridgeDevice):
            raise CommandError("RTNETLINK answers: Operation not supported", hint=f"{cmd.dev} is no bridge port")
        dev.master.fdb.add(mac, dev.master.ports[dev.name], cmd.state, cmd.origin)
    elif isinstance(dev, VxlanDevice):
        if not cmd.dst:
            raise CommandError("RTNETLINK answers: Invalid argument", hint="an entry of a VXLAN device needs `dst`")
        if not cmd.append and (mac[0] & 1 or not any(mac)):
            raise CommandError("RTNETLINK answers: Operation not supported", hint="`append` what is for many")
        dev.fdb.add(mac, _address(cmd.dst), cmd.state, cmd.append, cmd.origin)
    else:
        raise CommandError("RTNETLINK answers: Operation not supported", hint=f"{cmd.dev} is no VXLAN device")


def fdb_del(net: NetNs, cmd: c.FdbDel) -> None:
    """Linux: net/core/rtnetlink.c rtnl_fdb_del()."""
    from k8semu.linux.drivers.vxlan import VxlanDevice

    dev = net.dev(cmd.dev)
    mac = _lladdr(cmd.mac)
    if cmd.master and isinstance(dev.master, BridgeDevice):
        if not dev.master.fdb.delete(mac, dev.master.ports[dev.name]):
            raise CommandError("RTNETLINK answers: No such file or directory")
    elif isinstance(dev, VxlanDevice):
        dev.fdb.delete(mac, _address(cmd.dst) if cmd.dst else None)
    else:
        raise CommandError("RTNETLINK answers: Operation not supported")


# --- words ------------------------------------------------------------------------------------


def _lladdr(text: str) -> bytes:
    try:
        return mac_aton(text)
    except ValueError:
        parts = text.split(":")
        if all(0 < len(part) < 3 and set(part) <= set("0123456789abcdefABCDEF") for part in parts):
            raise CommandError("Error: Invalid link address.", hint=f"{text} has {len(parts)} bytes") from None
        raise CommandError(f'"{text}" is invalid lladdr.') from None


def _address(text: str) -> bytes:
    try:
        return ip_aton(text)
    except ValueError:
        raise CommandError(f'Error: any valid address is expected rather than "{text}".') from None


def _prefix(text: str) -> Prefix:
    try:
        return Prefix.parse(text)
    except ValueError:
        with suppress(ValueError):
            Interface.parse(text)
            raise CommandError("Error: Invalid prefix for given prefix length.", hint=f"{text} has host bits") from None
        raise CommandError(f'Error: any valid prefix is expected rather than "{text}".') from None


HANDLERS: dict[type[c.Command], Callable[[NetNs, Any], None]] = {
    c.VethAdd: veth_add,
    c.BridgeAdd: bridge_add,
    c.VxlanAdd: vxlan_add,
    c.TunAdd: tun_add,
    c.DummyAdd: dummy_add,
    c.LinkDel: link_del,
    c.LinkSet: link_set,
    c.LinkFault: link_fault,
    c.BridgePortSet: port_set,
    c.AddrAdd: addr_add,
    c.AddrDel: addr_del,
    c.RouteAdd: route_add,
    c.RouteDel: route_del,
    c.RuleAdd: rule_add,
    c.RuleDel: rule_del,
    c.NeighAdd: neigh_add,
    c.NeighDel: neigh_del,
    c.FdbAdd: fdb_add,
    c.FdbDel: fdb_del,
}
