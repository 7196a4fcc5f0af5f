"""A network namespace: all the parts together, and what it does when it is told something.

    NetNs.apply(command) ─▶ devices, addresses, routes, neighbours, FDB, sysctl, netfilter

Linux: net/core/net_namespace.c, and the netlink handlers named at each command
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from k8semu.errors import CommandError
from k8semu.linux.bridge.bridge import BridgeDevice
from k8semu.linux.core import commands as c
from k8semu.linux.core.dev import NetDevice
from k8semu.linux.core.etherdevice import eth_random_addr
from k8semu.linux.core.neighbour import Nud
from k8semu.linux.core.net import Net
from k8semu.linux.drivers.loopback import LoopbackDevice
from k8semu.linux.drivers.veth import VethDevice
from k8semu.linux.ipv4 import devinet
from k8semu.linux.ipv4.fib import ERROR_TYPES, SCOPES, Route, Rule, table_id
from k8semu.linux.ipv4.stack import Ipv4
from k8semu.linux.netfilter.netfilter import Netfilter
from k8semu.linux.sock.sockets import Sockets
from k8semu.sim.world import World
from k8semu.wire.addr import Interface, Prefix, ip_aton, mac_aton


class NetNs(Net):
    """One namespace. `find` gives another one by name, for the far end of a veth."""

    def __init__(self, world: World, name: str, find: Callable[[str], NetNs] | None = None) -> None:
        super().__init__(world, name)
        self._find = find
        self.ipv4 = Ipv4(self)
        self.netfilter = Netfilter(self)
        self.sockets = Sockets(self)
        lo = LoopbackDevice(self)
        self._register(lo, "")
        lo.set_up(True)
        devinet.add_address(self.ipv4, lo, "127.0.0.1/8", "host", "", "")

    # --- what it is told ----------------------------------------------------------------------

    def apply(self, command: c.Command) -> None:
        """Do what a person or component typed; CommandError in the real tool's words if it cannot be done."""
        handler = _HANDLERS.get(type(command))
        assert handler is not None, f"nothing handles {type(command).__name__}"
        self.new_epoch()
        try:
            handler(self, command)
        finally:
            self.new_epoch()

    # --- devices ------------------------------------------------------------------------------

    def _register(self, dev: NetDevice, origin: str) -> None:
        if dev.name in self.devs:
            raise CommandError("RTNETLINK answers: File exists", hint=f"{self.name} has a {dev.name} already")
        if not 0 < len(dev.name) <= 15:
            raise CommandError("Error: Attribute failed policy validation.", hint=f"{dev.name}: at most 15 characters")
        dev.origin = origin
        self.sysctl.add_dev(dev.name, dev.conf, dev.neigh_conf)
        self.register(dev)

    def remove(self, dev: NetDevice) -> None:
        if dev.name not in self.devs:
            return
        if dev.up:
            dev.set_up(False)
        if isinstance(dev.master, BridgeDevice):
            dev.master.del_port(dev)
        self.ipv4.device_gone(dev)
        self.unregister(dev)
        self.sysctl.del_dev(dev.name)
        dev.unregister()

    def dev_changed(self, dev: NetDevice) -> None:
        self.new_epoch()
        if dev.up:
            self.ipv4.device_up(dev)
        else:
            self.ipv4.device_down(dev)
            self.netfilter.device_down(dev)
        if isinstance(dev.master, BridgeDevice):
            dev.master.port_changed(dev)

    def address_changed(self, dev: NetDevice) -> None:
        self.new_epoch()
        devinet.address_changed(self.ipv4, dev)
        if isinstance(dev.master, BridgeDevice):
            dev.master.port_address_changed(dev)

    def carrier_changed(self, dev: NetDevice) -> None:
        self.new_epoch()
        if not dev.carrier:
            self.ipv4.arp.table.flush(dev, keep_permanent=True)
        self.ipv4.fib.changed()
        if isinstance(dev.master, BridgeDevice):
            dev.master.port_changed(dev)

    def destroy(self) -> None:
        """`ip netns del`: every device goes, and with each veth its far end."""
        for dev in list(self.devs.values()):
            if dev.name != "lo":
                self.remove(dev)
        self.alive = False

    def _mac(self, text: str, name: str) -> bytes:
        """The MAC asked for, or a random one (locally administered), as eth_hw_addr_random() draws it."""
        if text:
            try:
                return mac_aton(text)
            except ValueError:
                raise CommandError(f'"{text}" is invalid lladdr.') from None
        return eth_random_addr(self.random(f"mac/{name}"))

    def _veth_add(self, cmd: c.VethAdd) -> None:
        """Linux: drivers/net/veth.c veth_newlink()."""
        far = self
        if cmd.peer_netns:
            assert self._find is not None
            far = self._find(cmd.peer_netns)
        for net, name in ((self, cmd.name), (far, cmd.peer)):
            if name in net.devs:
                raise CommandError("RTNETLINK answers: File exists", hint=f"{net.name} has a {name} already")
        near_dev = VethDevice(self, cmd.name, self._mac(cmd.address, cmd.name), cmd.mtu, cmd.delay)
        far_dev = VethDevice(far, cmd.peer, far._mac(cmd.peer_address, cmd.peer), cmd.mtu, cmd.delay)
        near_dev.peer, far_dev.peer = far_dev, near_dev
        far._register(far_dev, cmd.origin)
        self._register(near_dev, cmd.origin)

    def _bridge_add(self, cmd: c.BridgeAdd) -> None:
        bridge = BridgeDevice(self, cmd.name, self._mac(cmd.address, cmd.name), cmd.mtu, cmd.ageing_time)
        bridge.address_set = bool(cmd.address)
        self._register(bridge, cmd.origin)

    def _vxlan_add(self, cmd: c.VxlanAdd) -> None:
        """Linux: drivers/net/vxlan/vxlan_core.c vxlan_newlink()."""
        from k8semu.linux.drivers.vxlan import VXLAN_HEADROOM, VxlanDevice

        link = self.dev(cmd.dev) if cmd.dev else None
        others = (dev for dev in self.devs.values() if isinstance(dev, VxlanDevice))
        if any(dev.vni == cmd.vni and dev.dstport == cmd.dstport for dev in others):
            raise CommandError("Error: A VXLAN device with the specified VNI already exists.")
        mtu = cmd.mtu if cmd.mtu is not None else 1500
        if link is not None:  # never more than fits, whatever was asked for
            most = link.mtu - VXLAN_HEADROOM
            mtu = most if cmd.mtu is None else min(mtu, most)
        self._register(
            VxlanDevice(
                self, cmd.name, self._mac(cmd.address, cmd.name), mtu, vni=cmd.vni, dstport=cmd.dstport,
                local=_address(cmd.local) if cmd.local else None, link=link, learning=cmd.learning,
                remote=_address(cmd.remote) if cmd.remote else None, udpcsum=cmd.udpcsum,
            ),
            cmd.origin,
        )  # fmt: skip

    def _tun_add(self, cmd: c.TunAdd) -> None:
        from k8semu.linux.drivers.tun import TunDevice

        self._register(TunDevice(self, cmd.name, cmd.mtu), cmd.origin)

    def _dummy_add(self, cmd: c.DummyAdd) -> None:
        from k8semu.linux.drivers.dummy import DummyDevice

        self._register(DummyDevice(self, cmd.name, self._mac(cmd.address, cmd.name)), cmd.origin)

    def _link_del(self, cmd: c.LinkDel) -> None:
        dev = self.dev(cmd.name)
        if dev.name == "lo":
            raise CommandError("RTNETLINK answers: Operation not supported")
        self.remove(dev)

    def _link_set(self, cmd: c.LinkSet) -> None:
        """Linux: net/core/rtnetlink.c do_setlink()."""
        dev = self.dev(cmd.name)
        if cmd.address:
            dev.set_address(self._mac(cmd.address, cmd.name))
        if cmd.mtu is not None:
            if not 68 <= cmd.mtu <= 65535:
                raise CommandError("Error: mtu less than device minimum." if cmd.mtu < 68 else
                                   "Error: mtu greater than device maximum.")
            dev.set_mtu(cmd.mtu)
            self.ipv4.fib.changed()
            if isinstance(dev.master, BridgeDevice):
                dev.master.port_mtu_changed()
        if cmd.master is not None:
            self._set_master(dev, cmd.master)
        if cmd.up is not None:
            dev.set_up(cmd.up)

    def _set_master(self, dev: NetDevice, master: str) -> None:
        if isinstance(dev.master, BridgeDevice):
            if dev.master.name == master:
                return
            dev.master.del_port(dev)
        if master:
            bridge = self.devs.get(master)
            if bridge is None:
                raise CommandError(f'Error: argument "{master}" is wrong: Device does not exist')
            if not isinstance(bridge, BridgeDevice):
                raise CommandError("Error: Device does not allow enslaving to a bridge.", hint=f"{master} is no bridge")
            bridge.add_port(dev)

    def _port_set(self, cmd: c.BridgePortSet) -> None:
        dev = self.dev(cmd.name)
        if not isinstance(dev.master, BridgeDevice):
            raise CommandError("RTNETLINK answers: Operation not supported", hint=f"{cmd.name} is no bridge port")
        port = dev.master.ports[dev.name]
        for key in ("hairpin", "learning", "flood", "isolated"):
            value = getattr(cmd, key)
            if value is not None:
                setattr(port, key, value)

    def _link_fault(self, cmd: c.LinkFault) -> None:
        dev = self.dev(cmd.name)
        if not isinstance(dev, VethDevice):
            raise CommandError("Error: Specified qdisc kind is unknown.", hint=f"{cmd.name} is no link")
        dev.loss, dev.extra_delay = cmd.loss, cmd.delay

    # --- addresses, routes, neighbours --------------------------------------------------------

    def _addr_add(self, cmd: c.AddrAdd) -> None:
        devinet.add_address(self.ipv4, self.dev(cmd.dev), cmd.address, cmd.scope, cmd.broadcast, cmd.origin)

    def _addr_del(self, cmd: c.AddrDel) -> None:
        devinet.del_address(self.ipv4, self.dev(cmd.dev), cmd.address)

    def _route_add(self, cmd: c.RouteAdd) -> None:
        """Linux: net/ipv4/fib_semantics.c fib_create_info(), fib_check_nh()."""
        dst = _prefix(cmd.dst)
        via = _address(cmd.via) if cmd.via else None
        dev = self.dev(cmd.dev) if cmd.dev else None
        if cmd.type == "unicast":
            dev = self._nexthop_dev(via, dev, cmd.onlink)
        elif cmd.type in ("local", "broadcast") and dev is None:
            raise CommandError("RTNETLINK answers: No such device")
        default_scope = "global" if via is not None or cmd.type != "unicast" else "link"
        scope = cmd.scope or default_scope
        if scope not in SCOPES:
            raise CommandError(f'Error: argument "{cmd.scope}" is wrong: invalid "scope" value')
        if via is not None and SCOPES[scope] >= SCOPES["link"]:
            raise CommandError("Error: Nexthop has invalid gateway.", hint="a route with `via` is of scope global")
        src = _address(cmd.src) if cmd.src else None
        if src is not None and self.ipv4.addr_type(src) != "local":
            raise CommandError("Error: Invalid prefsrc address.", hint=f"{cmd.src} is not an address of {self.name}")
        if cmd.type in (*ERROR_TYPES, "throw"):
            dev = None
        route = Route(
            dst, dev, type=cmd.type, via=via, src=src, scope=scope,
            metric=cmd.metric, proto=cmd.proto, onlink=cmd.onlink, mtu=cmd.mtu, table=table_id(cmd.table),
            origin=cmd.origin,
        )  # fmt: skip
        self.ipv4.fib.add(route, cmd.replace, cmd.append)

    def _nexthop_dev(self, via: bytes | None, dev: NetDevice | None, onlink: bool) -> NetDevice:
        """Which device leads to the next hop? Linux: fib_check_nh()."""
        if dev is not None and not dev.up:
            raise CommandError("Error: Device for nexthop is not up.", hint=f"ip link set {dev.name} up")
        if via is None:
            if dev is None:
                raise CommandError("RTNETLINK answers: No such device", hint="a route needs `via` or `dev`")
            return dev
        if self.ipv4.addr_type(via) not in ("unicast", "local") and not onlink:
            raise CommandError("Error: Nexthop has invalid gateway.")
        if onlink:
            if dev is None:
                raise CommandError("Error: Nexthop device required for onlink.")
            return dev
        route = self.ipv4.fib.lookup(via, None, dev)
        if route is None or route.dev is None or SCOPES[route.scope] < SCOPES["link"]:
            raise CommandError("Error: Nexthop has invalid gateway.", hint="the gateway is on no connected network")
        return route.dev

    def _route_del(self, cmd: c.RouteDel) -> None:
        via = _address(cmd.via) if cmd.via else None
        if cmd.dev:
            self.dev(cmd.dev)
        for route in self.ipv4.fib.table(table_id(cmd.table)).find(_prefix(cmd.dst)):
            if (via is None or route.via == via) and (not cmd.dev or (route.dev and route.dev.name == cmd.dev)) and (
                (not cmd.metric or route.metric == cmd.metric) and cmd.type in ("", route.type)
                and (not cmd.src or route.src == _address(cmd.src)) and cmd.proto in ("", route.proto)
                and cmd.scope in ("", route.scope)
            ):  # fmt: skip
                self.ipv4.fib.remove(route)
                return
        raise CommandError("RTNETLINK answers: No such process", hint=f"there is no such route to {cmd.dst}")

    def _rule_add(self, cmd: c.RuleAdd) -> None:
        mark, _, mask = cmd.fwmark.partition("/")
        self.ipv4.fib.add_rule(
            Rule(
                cmd.priority, table_id(cmd.table), None if cmd.src == "all" else _prefix(cmd.src),
                _prefix(cmd.dst) if cmd.dst else None, int(mark, 0) if mark else 0,
                int(mask, 0) if mask else (0xFFFFFFFF if mark else 0), cmd.iif, cmd.oif, cmd.action, cmd.invert,
                cmd.suppress_prefixlength,
            )
        )  # fmt: skip

    def _rule_del(self, cmd: c.RuleDel) -> None:
        self.ipv4.fib.remove_rule(cmd.priority, table_id(cmd.table), cmd.rule)

    def _neigh_add(self, cmd: c.NeighAdd) -> None:
        """Linux: net/core/neighbour.c neigh_add()."""
        dev = self.dev(cmd.dev)
        table = self.ipv4.arp.table
        neigh = table.get(dev, _address(cmd.address))
        neigh.origin = cmd.origin
        try:
            state = Nud(cmd.state.upper())
        except ValueError:
            raise CommandError(f'Error: argument "{cmd.state}" is wrong: nud state is bad') from None
        table.update(neigh, _lladdr(cmd.lladdr), state, override=True, admin=True)

    def _neigh_del(self, cmd: c.NeighDel) -> None:
        table = self.ipv4.arp.table
        neigh = table.lookup(self.dev(cmd.dev), _address(cmd.address))
        if neigh is None:
            raise CommandError("RTNETLINK answers: No such file or directory")
        table.remove(neigh)

    def _fdb_add(self, cmd: c.FdbAdd) -> None:
        from k8semu.linux.drivers.vxlan import VxlanDevice

        dev = self.dev(cmd.dev)
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

    def _fdb_del(self, cmd: c.FdbDel) -> None:
        from k8semu.linux.drivers.vxlan import VxlanDevice

        dev = self.dev(cmd.dev)
        mac = _lladdr(cmd.mac)
        if cmd.master and isinstance(dev.master, BridgeDevice):
            if not dev.master.fdb.delete(mac, dev.master.ports[dev.name]):
                raise CommandError("RTNETLINK answers: No such file or directory")
        elif isinstance(dev, VxlanDevice):
            dev.fdb.delete(mac, _address(cmd.dst) if cmd.dst else None)
        else:
            raise CommandError("RTNETLINK answers: Operation not supported")

    # --- settings, netfilter ------------------------------------------------------------------

    def _sysctl(self, cmd: c.Sysctl) -> None:
        self.sysctl.set(cmd.name, cmd.value)
        self.ipv4.fib.changed()

    def _iptables_restore(self, cmd: c.IptablesRestore) -> None:
        self.netfilter.restore(cmd.text, cmd.noflush, cmd.origins)

    def _iptables(self, cmd: c.Iptables) -> None:
        self.netfilter.iptables(list(cmd.args), cmd.origin)

    def _nft_apply(self, cmd: c.NftApply) -> None:
        self.netfilter.nft.apply(cmd.text, dict(cmd.origins), cmd.origin)

    def _ipset(self, cmd: c.Ipset) -> None:
        self.netfilter.ipset.run(cmd.args)

    def _ipset_restore(self, cmd: c.IpsetRestore) -> None:
        self.netfilter.ipset.run(("restore", "-exist"), cmd.text)

    def _ipvsadm(self, cmd: c.Ipvsadm) -> None:
        self.netfilter.ipvs.run(list(cmd.args), origins={"": cmd.origin})

    def _ipvsadm_restore(self, cmd: c.IpvsadmRestore) -> None:
        self.netfilter.ipvs.run(["-R"], cmd.text, dict(cmd.origins))

    def _conntrack_del(self, cmd: c.ConntrackDel) -> None:
        self.netfilter.conntrack_delete(list(cmd.args))


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


_HANDLERS: dict[type[c.Command], Callable[[NetNs, Any], None]] = {
    c.VethAdd: NetNs._veth_add,
    c.BridgeAdd: NetNs._bridge_add,
    c.VxlanAdd: NetNs._vxlan_add,
    c.TunAdd: NetNs._tun_add,
    c.DummyAdd: NetNs._dummy_add,
    c.LinkDel: NetNs._link_del,
    c.LinkSet: NetNs._link_set,
    c.LinkFault: NetNs._link_fault,
    c.BridgePortSet: NetNs._port_set,
    c.AddrAdd: NetNs._addr_add,
    c.AddrDel: NetNs._addr_del,
    c.RouteAdd: NetNs._route_add,
    c.RouteDel: NetNs._route_del,
    c.RuleAdd: NetNs._rule_add,
    c.RuleDel: NetNs._rule_del,
    c.NeighAdd: NetNs._neigh_add,
    c.NeighDel: NetNs._neigh_del,
    c.FdbAdd: NetNs._fdb_add,
    c.FdbDel: NetNs._fdb_del,
    c.Sysctl: NetNs._sysctl,
    c.IptablesRestore: NetNs._iptables_restore,
    c.Iptables: NetNs._iptables,
    c.NftApply: NetNs._nft_apply,
    c.Ipset: NetNs._ipset,
    c.IpsetRestore: NetNs._ipset_restore,
    c.Ipvsadm: NetNs._ipvsadm,
    c.IpvsadmRestore: NetNs._ipvsadm_restore,
    c.ConntrackDel: NetNs._conntrack_del,
}
