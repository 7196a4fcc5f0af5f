"""Addresses on devices, and the routes that come with them.

    ip addr add 172.17.0.1/24 dev docker0
        local 172.17.0.1            table local
        broadcast 172.17.0.255      table local       (once the device is up)
        172.17.0.0/24 scope link    table main        (once the device is up)

Linux: net/ipv4/devinet.c, net/ipv4/fib_frontend.c fib_add_ifaddr(), fib_inetaddr_event()
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from k8semu.errors import CommandError
from k8semu.linux.core.dev import IfAddr, Iff
from k8semu.linux.ipv4.fib import SCOPES, TABLE_LOCAL, TABLE_MAIN, Route
from k8semu.wire.addr import IP_ANY, Interface, Prefix, ip_aton

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.ipv4.stack import Ipv4


def add_address(ipv4: Ipv4, dev: NetDevice, text: str, scope: str, broadcast: str, origin: str) -> None:
    """`ip addr add`. Linux: __inet_insert_ifa()."""
    try:
        iface = Interface.parse(text)
        brd = None
        if broadcast == "+":
            brd = iface.network.broadcast if iface.plen < 31 else None
        elif broadcast:
            brd = ip_aton(broadcast)
    except ValueError:
        raise CommandError(f'Error: any valid prefix is expected rather than "{text}".') from None
    if scope not in SCOPES:
        raise CommandError(f"Error: argument \"{scope}\" is wrong: invalid scope value.")
    address = IfAddr(iface, scope, brd, dev.name, origin)
    if iface.plen < 32 or iface.addr in ipv4.local_addrs:  # a host's address that is new is in no network of another
        if any(a.iface == iface for a in dev.addresses):
            raise CommandError("Error: ipv4: Address already assigned.", hint=f"{dev.name} has {text} already")
        address.secondary = _primary(dev, iface) is not None
    dev.addresses.insert(_place(dev, address), address)
    ipv4.local_addrs.setdefault(iface.addr, dev)
    _add_routes(ipv4, dev, address)
    ipv4.fib.changed()


def _place(dev: NetDevice, address: IfAddr) -> int:
    """Where it goes among the device's: a primary one behind the last of those whose scope is as narrow or narrower.

    Linux: __inet_insert_ifa()
    """
    if address.secondary:
        return len(dev.addresses)
    narrow = (not a.secondary and SCOPES[a.scope] >= SCOPES[address.scope] for a in dev.addresses)
    return max((at + 1 for at, before in enumerate(narrow) if before), default=0)


def _primary(dev: NetDevice, iface: Interface) -> IfAddr | None:
    """The address that was there first in the same network."""
    return next((a for a in dev.addresses if not a.secondary and a.iface.network == iface.network), None)


def _try_add(ipv4: Ipv4, route: Route) -> None:
    with suppress(CommandError):  # another address of the same network brought it already
        ipv4.fib.add(route)


def _add_routes(ipv4: Ipv4, dev: NetDevice, address: IfAddr) -> None:
    """Linux: fib_add_ifaddr()."""
    iface, origin = address.iface, address.origin
    primary = (_primary(dev, iface) if address.secondary else None) or address
    local = Route(
        Prefix(iface.addr, 32), dev, type="local", src=primary.iface.addr, scope="host", proto="kernel",
        table=TABLE_LOCAL, origin=origin,
    )  # fmt: skip
    _try_add(ipv4, local)
    if dev.up:
        _add_prefix_routes(ipv4, dev, address)


def _add_prefix_routes(ipv4: Ipv4, dev: NetDevice, address: IfAddr) -> None:
    iface, origin = address.iface, address.origin
    loopback = bool(dev.flags & Iff.LOOPBACK)
    net = iface.network
    if address.broadcast is not None and address.broadcast != b"\xff" * 4:
        _try_add(ipv4, Route(
            Prefix(address.broadcast, 32), dev, type="broadcast", src=iface.addr, scope="link", proto="kernel",
            table=TABLE_LOCAL, origin=origin,
        ))  # fmt: skip
    if address.secondary or iface.plen == 32:
        return
    _try_add(ipv4, Route(
        net, dev, type="local" if loopback else "unicast", src=iface.addr, scope="host" if loopback else "link",
        proto="kernel", table=TABLE_LOCAL if loopback else TABLE_MAIN, origin=origin,
    ))  # fmt: skip
    if iface.plen < 31:
        _try_add(ipv4, Route(
            Prefix(net.broadcast, 32), dev, type="broadcast", src=iface.addr, scope="link", proto="kernel",
            table=TABLE_LOCAL, origin=origin,
        ))  # fmt: skip


def del_address(ipv4: Ipv4, dev: NetDevice, text: str) -> None:
    """`ip addr del`. A primary's secondaries go with it, or with promote_secondaries the first takes its place.

    Linux: __inet_del_ifa()
    """
    try:
        iface = Interface.parse(text)
    except ValueError:
        raise CommandError(f'Error: any valid prefix is expected rather than "{text}".') from None
    found = next((a for a in dev.addresses if a.iface == iface), None)
    if found is None:
        raise CommandError("Error: ipv4: Address not found.", hint=f"{dev.name} has no {text}")
    heirs = [a for a in dev.addresses if a.secondary and a.iface.network == iface.network and not found.secondary]
    promote = bool(heirs) and bool(dev.conf.promote_secondaries or ipv4.net.sysctl.conf_all.promote_secondaries)
    for address in [found, *heirs]:
        dev.addresses.remove(address)
        _del_routes(ipv4, dev, address)
    if promote:
        heirs[0].secondary = False
        dev.addresses.insert(_place(dev, heirs[0]), heirs[0])
        dev.addresses += heirs[1:]
        for address in heirs:
            ipv4.local_addrs.setdefault(address.iface.addr, dev)
            _add_routes(ipv4, dev, address)
    if not dev.addresses:  # Linux: fib_disable_ip(): nothing of IP is left here
        _remove(ipv4, ipv4.fib.of_device(dev))
        ipv4.arp.table.flush(dev)
    ipv4.fib.changed()


def _remove(ipv4: Ipv4, routes: Iterable[Route]) -> None:
    for route in list(routes):
        ipv4.fib.remove(route)


def _del_routes(ipv4: Ipv4, dev: NetDevice, address: IfAddr) -> None:
    """What came with an address goes, and all routes that prefer it as source.

    Linux: fib_del_ifaddr(), fib_sync_down_addr()
    """
    addr = address.iface.addr
    owner = next((d for d in ipv4.net.by_index.values() for a in d.addresses if a.iface.addr == addr), None)
    mine = (r for r in ipv4.fib.of_device(dev) if r.proto == "kernel")
    _remove(ipv4, (r for r in mine if r.src == addr or (r.type == "local" and r.dst == Prefix(addr, 32))))
    if owner is not None:  # another device has it too
        ipv4.local_addrs[addr] = owner
        return
    ipv4.local_addrs.pop(addr, None)
    _remove(ipv4, (r for table in ipv4.fib.tables.values() for r in table if r.src == addr))


def device_up(ipv4: Ipv4, dev: NetDevice) -> None:
    """The routes of the device's addresses appear. Linux: fib_netdev_event(NETDEV_UP), inetdev_event()."""
    for address in dev.addresses:
        _add_routes(ipv4, dev, address)
    ipv4.fib.changed()
    _announce(ipv4, dev)


def _announce(ipv4: Ipv4, dev: NetDevice) -> None:
    """Linux: inetdev_event(NETDEV_UP, NETDEV_CHANGEADDR) with arp_notify."""
    if max(dev.conf.arp_notify, ipv4.net.sysctl.conf_all.arp_notify):
        for address in dev.addresses:
            ipv4.arp.announce(dev, address.iface.addr)


def address_changed(ipv4: Ipv4, dev: NetDevice) -> None:
    """The MAC changed: neighbours are asked anew, and told if arp_notify says so. Linux: arp_netdev_event()."""
    ipv4.arp.table.flush(dev, keep_permanent=True)
    ipv4.fib.changed()
    _announce(ipv4, dev)


def device_down(ipv4: Ipv4, dev: NetDevice) -> None:
    """All routes by the device go, but for its local addresses. Linux: fib_disable_ip()."""
    for route in ipv4.fib.of_device(dev):
        if route.type != "local":
            ipv4.fib.remove(route)
    ipv4.arp.table.flush(dev)
    ipv4.fib.changed()


def device_gone(ipv4: Ipv4, dev: NetDevice) -> None:
    """Everything of the device goes."""
    for address in list(dev.addresses):
        dev.addresses.remove(address)
        _del_routes(ipv4, dev, address)
    _remove(ipv4, ipv4.fib.of_device(dev))
    ipv4.arp.table.flush(dev)
    ipv4.fib.changed()


def select_addr(ipv4: Ipv4, dev: NetDevice, daddr: bytes, scope: int = SCOPES["global"]) -> bytes:
    """The source address for packets to `daddr` by `dev`. Linux: net/ipv4/devinet.c inet_select_addr()."""
    first: bytes | None = None
    for address in dev.addresses:
        if address.secondary or SCOPES[address.scope] > scope:
            continue
        if daddr in address.iface.network:
            return address.iface.addr
        if first is None:
            first = address.iface.addr
    if first is not None:
        return first
    for other in ipv4.net.by_index.values():
        for address in other.addresses:
            if SCOPES[address.scope] != SCOPES["link"] and SCOPES[address.scope] <= scope:
                return address.iface.addr
    return IP_ANY
