"""IPv4 of one namespace, put together: what `net.ipv4` offers to the parts above and beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import Skb, consume
from k8semu.linux.ipv4 import devinet, ip_output
from k8semu.linux.ipv4.arp import Arp
from k8semu.linux.ipv4.fib import Fib
from k8semu.linux.ipv4.icmp import Icmp, IcmpError
from k8semu.linux.ipv4.ip_fragment import Fragments
from k8semu.linux.ipv4.ip_input import ip_rcv, local_deliver_finish, rcv_finish
from k8semu.linux.ipv4.redirect import Redirects
from k8semu.linux.ipv4.route import RouteError, Routing, Rtable
from k8semu.sim.clock import NS_PER_S
from k8semu.wire.addr import IP_BROADCAST, ip_is_multicast
from k8semu.wire.header import ETH_P_ARP, ETH_P_IP, IPPROTO_ICMP, IPPROTO_IGMP

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice

PMTU_EXPIRES = 600 * NS_PER_S
"""How long a learned path MTU holds. Linux: net.ipv4.route.mtu_expires."""
MIN_PMTU = 552
"""Linux: net.ipv4.route.min_pmtu."""


class Ipv4:
    """`protocols` and `err_handlers` are where UDP, TCP and the rest register themselves."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.fib = Fib(net.new_epoch)
        self.local_addrs: dict[bytes, NetDevice] = {}
        self.protocols: dict[int, Callable[[Skb], None]] = {}
        self.err_handlers: dict[int, Callable[[IcmpError], None]] = {}
        self.pmtu: dict[bytes, tuple[int, int]] = {}          # daddr -> (mtu, until)
        self.redirects = Redirects(self)
        self.routing = Routing(self)
        self.arp = Arp(self)
        self.icmp = Icmp(self)
        self.fragments = Fragments(self)
        self.ident = net.random("ip-id").bits(16)
        net.ptype[ETH_P_IP] = self._rcv
        net.ptype[ETH_P_ARP] = self.arp.rcv
        self.protocols[IPPROTO_ICMP] = self.icmp.rcv
        self.protocols[IPPROTO_IGMP] = lambda skb: consume(skb, "IGMP: no group but that of all hosts is joined here")

    def _rcv(self, skb: Skb) -> None:
        ip_rcv(self, skb)

    # --- for sockets, tunnels and netfilter ---------------------------------------------------

    def route_output(
        self, daddr: bytes, saddr: bytes | None = None, oif: NetDevice | None = None, mark: int = 0
    ) -> Rtable:
        """The way to `daddr`; RouteError if there is none. Linux: ip_route_output_key()."""
        return self.routing.output(daddr, saddr, oif, mark)

    def local_out(self, skb: Skb, rt: Rtable) -> int:
        """Send a complete packet made here: 0 or an errno. Takes `skb` over. Linux: ip_local_out()."""
        return ip_output.local_out(self, skb, rt)

    def output(self, skb: Skb, rt: Rtable) -> None:
        """From POSTROUTING on. Linux: ip_output()."""
        ip_output.output(self, skb, rt)

    def finish_output(self, skb: Skb, rt: Rtable) -> None:
        """After POSTROUTING. Linux: ip_finish_output()."""
        ip_output.finish_output(self, skb, rt)

    def rcv_finish(self, skb: Skb) -> None:
        """Route a received packet that passed PREROUTING. Linux: ip_rcv_finish()."""
        rcv_finish(self, skb)

    def deliver_copy(self, skb: Skb, rt: Rtable) -> None:
        """A packet of our own comes back to our own sockets. Linux: ip_dev_loopback_xmit()."""
        skb.iif = skb.dev
        skb.dst = rt
        local_deliver_finish(self, skb)

    def icmp_send(self, skb: Skb, icmp_type: int, code: int, info: int = 0) -> None:
        """Answer `skb` with an ICMP error; the caller then drops `skb`. Linux: icmp_send()."""
        self.icmp.send(skb, icmp_type, code, info)

    def next_ident(self) -> int:
        """An IP identification. Differs: Linux hashes the addresses into one of many counters."""
        self.ident = (self.ident + 1) & 0xFFFF
        return self.ident

    # --- addresses ----------------------------------------------------------------------------

    def addr_type(self, addr: bytes) -> str:
        """local, broadcast, multicast or unicast, as `-m addrtype` means it. Linux: inet_addr_type()."""
        if addr in self.local_addrs or addr[0] == 127:
            return "local"
        if addr == IP_BROADCAST:
            return "broadcast"
        if ip_is_multicast(addr):
            return "multicast"
        route = self.fib.tables[255].lookup(int.from_bytes(addr, "big"))
        if route is not None and route.type in ("local", "broadcast"):
            return route.type
        return "unicast"

    def device_of(self, addr: bytes) -> NetDevice | None:
        """The device that has `addr`."""
        return self.local_addrs.get(addr)

    def select_addr(self, dev: NetDevice, daddr: bytes, scope: int = 0) -> bytes:
        """The source for packets to `daddr` by `dev`, of a scope no wider than `scope`. Linux: inet_select_addr()."""
        return devinet.select_addr(self, dev, daddr, scope)

    def on_link(self, dev: NetDevice, a: bytes, b: bytes) -> bool:
        """Are both in one network of `dev`? Linux: inet_addr_onlink()."""
        return any(a in x.iface.network and b in x.iface.network for x in dev.addresses)

    # --- what the network taught us -----------------------------------------------------------

    def mtu(self, rt: Rtable, daddr: bytes) -> int:
        """The MTU towards `daddr`: the route's or device's, or less if the path said so. Linux: ip_dst_mtu()."""
        mtu = rt.mtu or rt.dev.mtu
        learned = self.pmtu.get(daddr)
        if learned is not None:
            if self.net.clock.now <= learned[1]:
                return min(mtu, learned[0])
            del self.pmtu[daddr]
        return mtu

    def update_pmtu(self, daddr: bytes, mtu: int) -> None:
        """A packet to `daddr` was too long somewhere. Linux: __ip_rt_update_pmtu()."""
        mtu = max(mtu, MIN_PMTU)
        try:
            rt = self.route_output(daddr)
        except RouteError:
            return
        if mtu < self.mtu(rt, daddr):
            self.net.new_epoch()
            self.pmtu[daddr] = (mtu, self.net.clock.now + PMTU_EXPIRES)

    def confirm(self, rt: Rtable, daddr: bytes) -> None:
        """Traffic came back from `daddr`: its next hop is alive. Linux: dst_confirm_neigh()."""
        if rt.neigh is not None:
            self.arp.table.confirm(rt.neigh)

    # --- devices ------------------------------------------------------------------------------

    def device_up(self, dev: NetDevice) -> None:
        devinet.device_up(self, dev)

    def device_down(self, dev: NetDevice) -> None:
        devinet.device_down(self, dev)

    def device_gone(self, dev: NetDevice) -> None:
        devinet.device_gone(self, dev)
