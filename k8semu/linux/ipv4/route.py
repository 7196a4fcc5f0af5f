"""What to do with a packet: deliver here, forward, or refuse; and by which way to send one.

Results are cached per (addresses, device, mark) until anything that a lookup depends on changes.

Linux: net/ipv4/route.c ip_route_input_slow(), __mkroute_input(), ip_route_output_key_hash_rcu()
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import msgspec

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.neighbour import Neighbour
from k8semu.linux.ipv4.fib import ERROR_TYPES, SCOPES, Route
from k8semu.trace.steps import FibStep
from k8semu.wire.addr import IP_ANY, IP_BROADCAST, ip_is_loopback, ip_is_multicast, ip_ntoa

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.ipv4.stack import Ipv4

CACHE_LIMIT = 65536


ALL_HOSTS = bytes((224, 0, 0, 1))
"""The group that every host is in (RFC 1112)."""


class RouteError(OSError):
    """There is no way to an address; `errno` as a socket call would return it."""

    def __init__(self, number: int, step: FibStep | None = None) -> None:
        super().__init__(number, os.strerror(number))
        self.step = step


class Rtable:
    """The result of a lookup. Linux: struct rtable.

    `type`: unicast, local, broadcast, multicast. `saddr`: the preferred source. `mtu`: the route's
    own, 0 for the device's. `neigh`: the next hop's entry, once known.
    """

    __slots__ = ("dev", "gateway", "generation", "mtu", "neigh", "redirect", "saddr", "step", "type")

    def __init__(
        self, type: str, dev: NetDevice, gateway: bytes | None, saddr: bytes, mtu: int, step: FibStep, generation: int
    ) -> None:
        self.type, self.dev, self.gateway, self.saddr = type, dev, gateway, saddr
        self.mtu, self.step, self.generation = mtu, step, generation
        self.neigh: Neighbour | None = None
        self.redirect = False


class Refusal(msgspec.Struct, frozen=True):
    """A received packet that may not pass: why, and the errno that decides about an ICMP answer (0: none)."""

    reason: Drop
    detail: str
    errno: int = 0
    step: FibStep | None = None


def fib_step(daddr: bytes, route: Route) -> FibStep:
    """The step that names `route` as the way to `daddr`."""
    shared = route.step
    return FibStep(ip_ntoa(daddr), shared.route, shared.table, shared.origin)


ERRNO_OF_TYPE = {"unreachable": errno.EHOSTUNREACH, "prohibit": errno.EACCES, "blackhole": errno.EINVAL}


class Routing:
    """Lookups for packets that come in and for packets made here, with their caches."""

    def __init__(self, ipv4: Ipv4) -> None:
        self.ipv4 = ipv4
        self.net = ipv4.net
        self._generation = -1
        self._output: dict[tuple[bytes, bytes | None, int, int], Rtable | RouteError] = {}
        self._input: dict[tuple[bytes, bytes, int, int], Rtable | Refusal] = {}

    def _check_cache(self) -> None:
        if self._generation != self.ipv4.fib.generation:
            self._generation = self.ipv4.fib.generation
            self._output.clear()
            self._input.clear()

    # --- output -------------------------------------------------------------------------------

    def output(self, daddr: bytes, saddr: bytes | None, oif: NetDevice | None, mark: int) -> Rtable:
        """The way of a packet of our own, looked up once until a table changes; RouteError if there is none.

        Linux: ip_route_output_flow()
        """
        if self._generation != self.ipv4.fib.generation:
            self._check_cache()
        key = (daddr, saddr, oif.ifindex if oif is not None else 0, mark)
        found = self._output.get(key)
        if found is None:
            if len(self._output) >= CACHE_LIMIT:
                self._output.clear()
            try:
                found = self._output_slow(daddr, saddr, oif, mark)
            except RouteError as error:
                found = error
            self._output[key] = found
        if isinstance(found, RouteError):
            raise RouteError(found.errno or errno.ENETUNREACH, found.step)
        return found

    def _output_slow(self, daddr: bytes, saddr: bytes | None, oif: NetDevice | None, mark: int) -> Rtable:
        """Linux: ip_route_output_key_hash_rcu(), __mkroute_output()."""
        ipv4, fib = self.ipv4, self.ipv4.fib
        generation = fib.generation
        if saddr == IP_ANY:
            saddr = None
        if daddr == IP_ANY:
            daddr = saddr or b"\x7f\x00\x00\x01"
        if saddr is not None and ipv4.addr_type(saddr) != "local" and not self.net.sysctl.integer(
            "net.ipv4.ip_nonlocal_bind"
        ):
            raise RouteError(errno.EINVAL)
        if oif is not None and not oif.up:
            raise RouteError(errno.ENETUNREACH)
        if daddr == IP_BROADCAST or ip_is_multicast(daddr):
            if oif is None and saddr is not None:
                oif = ipv4.device_of(saddr)
            if oif is not None:
                kind = "broadcast" if daddr == IP_BROADCAST else "multicast"
                source = saddr or ipv4.select_addr(oif, daddr)
                return Rtable(kind, oif, None, source, 0, FibStep(ip_ntoa(daddr), f"{kind} dev {oif.name}"), generation)
        route = fib.lookup(daddr, saddr, oif, mark)
        if oif is not None and daddr != IP_BROADCAST and (route is None or route.type in ERROR_TYPES):
            # Linux assumes that what is asked for on a device is on link there.
            step = FibStep(ip_ntoa(daddr), f"no route; assumed on link at {oif.name}")
            return Rtable("unicast", oif, None, saddr or ipv4.select_addr(oif, daddr), 0, step, generation)
        if route is None:
            raise RouteError(errno.ENETUNREACH, FibStep(ip_ntoa(daddr), "no route"))
        step = fib_step(daddr, route)
        if route.type in ERROR_TYPES:
            raise RouteError(ERRNO_OF_TYPE[route.type], step)
        assert route.dev is not None
        if route.type == "local":
            source = saddr or route.src or daddr
            return Rtable("local", self.net.devs["lo"], None, source, 0, step, generation)
        source = saddr or route.src or ipv4.select_addr(route.dev, route.via or daddr, SCOPES[route.scope])
        kind = route.type
        gateway = ipv4.redirects.gateway(route, daddr)
        if kind == "unicast" and (daddr == IP_BROADCAST or ip_is_multicast(daddr)):
            kind = "broadcast" if daddr == IP_BROADCAST else "multicast"
            gateway = None
        return Rtable(kind, route.dev, gateway, source, route.mtu, step, generation)

    # --- input --------------------------------------------------------------------------------

    def input(self, daddr: bytes, saddr: bytes, iif: NetDevice, mark: int) -> Rtable | Refusal:
        """What to do with a received packet. Linux: ip_route_input_noref()."""
        if self._generation != self.ipv4.fib.generation:
            self._check_cache()
        key = (daddr, saddr, iif.ifindex, mark)
        found = self._input.get(key)
        if found is None:
            if len(self._input) >= CACHE_LIMIT:
                self._input.clear()
            found = self._input[key] = self._input_slow(daddr, saddr, iif, mark)
        return found

    def _input_slow(self, daddr: bytes, saddr: bytes, iif: NetDevice, mark: int) -> Rtable | Refusal:
        """Linux: ip_route_input_slow()."""
        fib, net = self.ipv4.fib, self.net
        generation = fib.generation
        if ip_is_multicast(saddr) or saddr == IP_BROADCAST:
            return Refusal(Drop.IP_INVALID_SOURCE, f"source {ip_ntoa(saddr)} is no host")
        if ip_is_multicast(daddr):
            if daddr != ALL_HOSTS:      # no program can join another group here (IP_ADD_MEMBERSHIP)
                return Refusal(Drop.IP_INADDRERRORS, f"nobody here is in group {ip_ntoa(daddr)}")
            step = FibStep(ip_ntoa(daddr), f"multicast dev {iif.name}")
            return Rtable("multicast", net.devs["lo"], None, daddr, 0, step, generation)
        if daddr == IP_BROADCAST or (saddr == IP_ANY and daddr == IP_ANY):
            refused = None if saddr == IP_ANY else self._validate_source(saddr, daddr, iif, None, mark)[0]
            if refused is not None:
                return refused
            step = FibStep(ip_ntoa(daddr), f"broadcast dev {iif.name}")
            return Rtable("broadcast", net.devs["lo"], None, daddr, 0, step, generation)
        if saddr[0] == 0:
            return Refusal(Drop.IP_INVALID_SOURCE, f"source {ip_ntoa(saddr)} is no host")
        if daddr[0] == 0:
            return Refusal(Drop.IP_INADDRERRORS, f"destination {ip_ntoa(daddr)} is no host")
        localnet = iif.name == "lo" or iif.conf.route_localnet or net.sysctl.conf_all.route_localnet
        if not localnet and (ip_is_loopback(daddr) or ip_is_loopback(saddr)):
            return Refusal(Drop.IP_LOCALNET, "127.0.0.0/8 on the wire, and route_localnet is 0")
        route = fib.lookup(daddr, saddr, None, mark, iif)
        forwarding = iif.conf.forwarding
        if route is None:
            if not forwarding:
                return Refusal(Drop.IP_INADDRERRORS, f"not ours, and forwarding is off on {iif.name}")
            return Refusal(Drop.IP_INNOROUTES, f"no route to {ip_ntoa(daddr)}", errno.ENETUNREACH)
        step = fib_step(daddr, route)
        if route.type in ("local", "broadcast"):
            refused, _ = self._validate_source(saddr, daddr, iif, None, mark)
            return refused or Rtable(route.type, net.devs["lo"], None, daddr, 0, step, generation)
        if not forwarding:
            return Refusal(Drop.IP_INADDRERRORS, f"not ours, and forwarding is off on {iif.name}", 0, step)
        if route.type in ERROR_TYPES:
            return Refusal(Drop.IP_INNOROUTES, f"route is {route.type}", ERRNO_OF_TYPE[route.type], step)
        return self._forward(route, daddr, saddr, iif, mark, step)

    def _forward(
        self, route: Route, daddr: bytes, saddr: bytes, iif: NetDevice, mark: int, step: FibStep
    ) -> Rtable | Refusal:
        """Linux: __mkroute_input()."""
        out = route.dev
        assert out is not None
        refused, on_link = self._validate_source(saddr, daddr, iif, out, mark)
        if refused is not None:
            return refused
        gateway = self.ipv4.redirects.gateway(route, daddr)
        rt = Rtable("unicast", out, gateway, IP_ANY, route.mtu, step, self.ipv4.fib.generation)
        if out is iif and on_link and (out.conf.send_redirects or self.net.sysctl.conf_all.send_redirects):
            shared = out.conf.shared_media or self.net.sysctl.conf_all.shared_media
            rt.redirect = bool(shared) or self.ipv4.on_link(out, saddr, route.via or daddr)
        return rt

    def _validate_source(
        self, saddr: bytes, daddr: bytes, iif: NetDevice, out: NetDevice | None, mark: int
    ) -> tuple[Refusal | None, bool]:
        """Is `saddr` plausible on `iif`? Also: is it on link there? Linux: fib_validate_source().

        Without rp_filter only our own addresses are not, unless a redirect may be due. The packet's mark counts
        only where src_valid_mark says so.
        """
        if iif.name == "lo":
            return None, False
        every = self.net.sysctl.conf_all
        strict = max(iif.conf.rp_filter, every.rp_filter)
        if not strict and (out is not iif or not (iif.conf.send_redirects or every.send_redirects)):
            if saddr in self.ipv4.local_addrs and not iif.conf.accept_local:
                return Refusal(Drop.IP_LOCAL_SOURCE, f"source {ip_ntoa(saddr)} is our own"), False
            return None, False
        counts = iif.conf.src_valid_mark or every.src_valid_mark
        route = self.ipv4.fib.lookup(saddr, daddr, None, mark if counts else 0, iif)
        if route is None:
            if strict:
                return Refusal(Drop.IP_RPFILTER, f"no route back to {ip_ntoa(saddr)}"), False
            return None, False
        if route.type == "local" and not iif.conf.accept_local:
            return Refusal(Drop.IP_LOCAL_SOURCE, f"source {ip_ntoa(saddr)} is our own"), False
        if route.type not in ("unicast", "local"):
            return Refusal(Drop.IP_INVALID_SOURCE, f"source {ip_ntoa(saddr)} is {route.type}"), False
        if strict == 1 and route.dev is not iif:
            back = route.dev.name if route.dev is not None else "nowhere"
            return Refusal(Drop.IP_RPFILTER, f"{ip_ntoa(saddr)} would be reached by {back}, not {iif.name}"), False
        return None, route.dev is iif and route.via is None
