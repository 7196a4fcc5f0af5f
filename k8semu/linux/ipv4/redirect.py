"""Redirects from routers: a better next hop to one destination.

    redirect ─▶ is it from the next hop we use, about a neighbour? ─▶ neighbour known: use it from now on
                                                                   └▶ not known: ask for it, and wait for
                                                                      the next redirect

Linux: net/ipv4/route.c __ip_do_redirect(), update_or_create_fnhe()
RFC: 792, 1122 section 3.2.2.2
Differs: heeded also when the socket whose packet was redirected is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.core.neighbour import VALID
from k8semu.linux.core.skb import Skb
from k8semu.linux.ipv4.fib import Route
from k8semu.sim.clock import NS_PER_S
from k8semu.trace.steps import NeighStep
from k8semu.wire.addr import IP_BROADCAST, ip_is_multicast, ip_ntoa

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.ipv4.stack import Ipv4

EXPIRES = 300 * NS_PER_S
"""How long a redirect holds. Linux: net.ipv4.route.gc_timeout."""


class Redirects:
    """What routers taught a namespace."""

    def __init__(self, ipv4: Ipv4) -> None:
        self.ipv4 = ipv4
        self._learned: dict[tuple[int, bytes, bytes], tuple[bytes, int]] = {}   # (device, gateway, daddr)

    def gateway(self, route: Route, daddr: bytes) -> bytes | None:
        """The next hop of `route` for `daddr`. Linux: find_exception()."""
        if route.via is None or route.dev is None or not self._learned:
            return route.via
        key = (route.dev.ifindex, route.via, daddr)
        found = self._learned.get(key)
        if found is None:
            return route.via
        if self.ipv4.net.clock.now > found[1]:
            del self._learned[key]
            return route.via
        return found[0]

    def heed(self, skb: Skb, sender: bytes, daddr: bytes, gateway: bytes) -> None:
        """A router says that `gateway` is the better next hop to `daddr`. Linux: __ip_do_redirect()."""
        dev = skb.iif
        route = self.ipv4.fib.lookup(daddr)
        if dev is None or route is None or route.dev is None or route.via is None:
            return
        if self.gateway(route, daddr) != sender or not self._acceptable(dev, sender, gateway):
            return
        neigh = self.ipv4.arp.neighbour(route.dev, gateway)
        if neigh.state not in VALID:
            skb.steps.append(NeighStep(dev.name, ip_ntoa(gateway), "suggested by a redirect: asked for"))
            neigh.table.ask(neigh)
            return
        skb.steps.append(NeighStep(dev.name, ip_ntoa(gateway), f"now the next hop to {ip_ntoa(daddr)}"))
        until = self.ipv4.net.clock.now + EXPIRES
        self._learned[route.dev.ifindex, route.via, daddr] = (gateway, until)
        self.ipv4.fib.changed()
        self.ipv4.net.clock.post(EXPIRES + 1, self.ipv4.fib.changed)

    def _acceptable(self, dev: NetDevice, sender: bytes, gateway: bytes) -> bool:
        """Do the settings of `dev` allow it, and is the new next hop a plausible one?"""
        every = self.ipv4.net.sysctl.conf_all
        if dev.conf.forwarding:
            accepted = dev.conf.accept_redirects and every.accept_redirects
        else:
            accepted = dev.conf.accept_redirects or every.accept_redirects
        if not accepted or gateway == sender or ip_is_multicast(gateway):
            return False
        if gateway == IP_BROADCAST or gateway[0] == 0:
            return False
        if dev.conf.shared_media or every.shared_media:
            return self.ipv4.addr_type(gateway) == "unicast"
        if not self.ipv4.on_link(dev, gateway, sender):
            return False
        secure = dev.conf.secure_redirects or every.secure_redirects
        return not secure or not self._is_default_gateway(dev, gateway)

    def _is_default_gateway(self, dev: NetDevice, gateway: bytes) -> bool:
        """Linux: ip_fib_check_default(), which is true for an address that is not a gateway of `dev`."""
        return not any(route.via == gateway for route in self.ipv4.fib.of_device(dev))
