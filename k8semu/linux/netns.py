"""A network namespace: all the parts together, and what it does when it is told something.

    NetNs.apply(command) ─▶ rtnetlink: devices, addresses, routes, rules, neighbours, FDB
                         └▶ sysctl, netfilter

Linux: net/core/net_namespace.c
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from k8semu.errors import CommandError
from k8semu.linux import rtnetlink
from k8semu.linux.bridge.bridge import BridgeDevice
from k8semu.linux.core import commands as c
from k8semu.linux.core.dev import NetDevice
from k8semu.linux.core.net import Net
from k8semu.linux.drivers.loopback import LoopbackDevice
from k8semu.linux.ipv4 import devinet
from k8semu.linux.ipv4.stack import Ipv4
from k8semu.linux.netfilter.netfilter import Netfilter
from k8semu.linux.sock.sockets import Sockets
from k8semu.sim.world import World


class NetNs(Net):
    """One namespace. `find` gives another one by name, for the far end of a veth."""

    def __init__(self, world: World, name: str, find: Callable[[str], NetNs] | None = None) -> None:
        super().__init__(world, name)
        self.find = find
        self.ipv4 = Ipv4(self)
        self.netfilter = Netfilter(self)
        self.sockets = Sockets(self)
        lo = LoopbackDevice(self)
        self.add_device(lo, "")
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

    def add_device(self, dev: NetDevice, origin: str) -> None:
        """A device that somebody (`origin`) asked for. Linux: register_netdevice()."""
        if dev.name in self.devs:
            raise CommandError("RTNETLINK answers: File exists", hint=f"{self.name} has a {dev.name} already")
        if not 0 < len(dev.name) <= 15:
            raise CommandError("Error: Attribute failed policy validation.", hint=f"{dev.name}: at most 15 characters")
        dev.origin = origin
        self.sysctl.add_dev(dev.name, dev.conf, dev.neigh_conf)
        self.register(dev)

    def remove(self, dev: NetDevice) -> None:
        """It goes, with its addresses, routes and neighbours. Linux: unregister_netdevice()."""
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
        """It went up or down. Linux: NETDEV_UP, NETDEV_DOWN, and who is told of them."""
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


_HANDLERS: dict[type[c.Command], Callable[[NetNs, Any], None]] = {
    **rtnetlink.HANDLERS,
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
