"""ARP: who has an address?

    request in ─▶ is it ours? ─▶ reply, and note the asker
    reply in   ─▶ the entry that waits for it becomes REACHABLE

Linux: net/ipv4/arp.c arp_process(), arp_solicit(), arp_error_report()
RFC: 826
Shown: `ip neigh`, `tcpdump arp`
Differs: no proxy ARP delay, no arptables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.core.dev import Iff, dev_queue_xmit
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.neighbour import Neighbour, NeighTable, Nud
from k8semu.linux.core.skb import Skb, consume, drop
from k8semu.linux.ipv4.route import Refusal, RouteError
from k8semu.sim.clock import NS_PER_S
from k8semu.trace.steps import Originate
from k8semu.wire.addr import IP_ANY, MAC_BROADCAST, MAC_ZERO, ip_is_loopback, ip_is_multicast, ip_ntoa, mac_ntoa
from k8semu.wire.build import arp_build
from k8semu.wire.header import ETH_HLEN, IP_SADDR

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.ipv4.stack import Ipv4

ARPOP_REQUEST, ARPOP_REPLY = 1, 2
_ETHERNET_IPV4 = b"\x00\x01\x08\x00\x06\x04"
_ORIGINATE = Originate("ARP")
LOCKTIME = NS_PER_S
"""For how long the first of several answers counts. Linux: net.ipv4.neigh.DEV.locktime."""


class Arp:
    """The ARP part of a namespace: its neighbour table and the frames on the wire."""

    def __init__(self, ipv4: Ipv4) -> None:
        self.ipv4 = ipv4
        self.net = ipv4.net
        self.table = NeighTable(self.net, self._solicit, self._error_report)
        self.table.send_resolved = _send_resolved

    def neighbour(self, dev: NetDevice, addr: bytes) -> Neighbour:
        """The entry for a next hop; ready at once where no asking is needed. Linux: arp_constructor()."""
        neigh = self.table.lookup(dev, addr)
        if neigh is not None:
            return neigh
        neigh = self.table.get(dev, addr)
        if ip_is_multicast(addr):
            neigh.set_lladdr(b"\x01\x00\x5e" + bytes([addr[1] & 0x7F]) + addr[2:])
            neigh.set_state(Nud.NOARP)
        elif dev.flags & (Iff.NOARP | Iff.LOOPBACK):
            neigh.set_lladdr(dev.addr)
            neigh.set_state(Nud.NOARP)
        else:
            route = self.ipv4.fib.lookup(addr)
            if addr == b"\xff" * 4 or (route is not None and route.type == "broadcast"):
                neigh.set_lladdr(MAC_BROADCAST)
                neigh.set_state(Nud.NOARP)
        return neigh

    # --- out ----------------------------------------------------------------------------------

    def _send(self, dev: NetDevice, op: int, dmac: bytes, sip: bytes, tha: bytes, tip: bytes) -> None:
        if not dev.up:
            return
        frame = arp_build(op, dmac, dev.addr, dev.addr, sip, tha, tip)
        dev_queue_xmit(self.net.originate(frame, _ORIGINATE), dev)

    def _solicit(self, neigh: Neighbour, skb: Skb | None, unicast: bool) -> None:
        """Ask for `neigh`, with the source of the packet that waits if that is ours. Linux: arp_solicit()."""
        dev = neigh.dev
        mode = max(dev.conf.arp_announce, self.net.sysctl.conf_all.arp_announce)
        sip = b""
        if skb is not None and mode < 2:
            source = bytes(skb.data[IP_SADDR : IP_SADDR + 4])
            if self.ipv4.addr_type(source) == "local" and (
                mode == 0 or self.ipv4.on_link(dev, source, neigh.addr)
            ):
                sip = source
        sip = sip or self.ipv4.select_addr(dev, neigh.addr, 253)
        self._send(dev, ARPOP_REQUEST, neigh.ha if unicast else MAC_BROADCAST, sip, MAC_ZERO, neigh.addr)

    def announce(self, dev: NetDevice, addr: bytes) -> None:
        """A gratuitous request for our own address. Linux: inetdev_send_gratuitous_arp()."""
        if not dev.flags & (Iff.NOARP | Iff.LOOPBACK):
            self._send(dev, ARPOP_REQUEST, MAC_BROADCAST, addr, MAC_ZERO, addr)

    def _error_report(self, neigh: Neighbour, skb: Skb) -> None:
        """Nobody answered: tell the sender. Linux: arp_error_report(), ipv4_link_failure()."""
        skb.steps.append(neigh.use_step)
        self.ipv4.icmp_send(skb, 3, 1)
        drop(skb, Drop.NEIGH_FAILED, f"nobody answered for {ip_ntoa(neigh.addr)} on {neigh.dev.name}")

    # --- in -----------------------------------------------------------------------------------

    def rcv(self, skb: Skb) -> None:
        """Linux: arp_rcv(), arp_process()."""
        data = skb.data
        dev = skb.dev
        assert dev is not None
        dmac = data[0:6]
        if dev.flags & Iff.NOARP or (dmac != dev.addr and not dmac[0] & 1):
            drop(skb, Drop.OTHERHOST, f"frame is for {mac_ntoa(bytes(dmac))}")
            return
        if len(data) < ETH_HLEN + 28:
            drop(skb, Drop.HDR_TRUNC, "ARP cut short")
            return
        op = data[20] << 8 | data[21]
        sha, sip, tip = bytes(data[22:28]), bytes(data[28:32]), bytes(data[38:42])
        if data[14:20] != _ETHERNET_IPV4 or op not in (ARPOP_REQUEST, ARPOP_REPLY):
            drop(skb, Drop.UNHANDLED_PROTO, f"ARP operation {op}")
            return
        localnet = dev.conf.route_localnet or self.net.sysctl.conf_all.route_localnet
        if ip_is_multicast(tip) or (ip_is_loopback(tip) and not localnet):
            drop(skb, Drop.IP_INADDRERRORS, f"ARP about {ip_ntoa(tip)}")
            return
        if op == ARPOP_REQUEST and self._answer(dev, sha, sip, tip, skb):
            return
        self._note(dev, op, sha, sip, tip, dmac == dev.addr and op == ARPOP_REPLY, skb)

    def _answer(self, dev: NetDevice, sha: bytes, sip: bytes, tip: bytes, skb: Skb) -> bool:
        """Answer a request if the address is ours; True if that settled the frame."""
        if sip == IP_ANY:  # duplicate address detection (RFC 5227)
            if self.ipv4.addr_type(tip) == "local" and not self._ignores(dev, sip, tip):
                self._send(dev, ARPOP_REPLY, sha, tip, sha, IP_ANY)
            consume(skb, "ARP probe")
            return True
        rt = self.ipv4.routing.input(tip, sip, dev, 0)
        if isinstance(rt, Refusal) or rt.type not in ("local", "unicast"):
            return False
        if rt.type == "local":
            if self._ignores(dev, sip, tip) or self._filters(dev, sip, tip):
                consume(skb, f"ARP request for {ip_ntoa(tip)}: told not to answer (arp_ignore, arp_filter)")
                return True
        elif not (dev.conf.proxy_arp or self.net.sysctl.conf_all.proxy_arp) or rt.dev is dev:
            return False
        neigh = self.table.get(dev, sip)
        self.table.update(neigh, sha, Nud.STALE, override=True)
        skb.steps.append(neigh.use_step)
        self._send(dev, ARPOP_REPLY, sha, tip, sha, sip)
        consume(skb, f"ARP request for {ip_ntoa(tip)}, which is ours: answered")
        return True

    def _note(self, dev: NetDevice, op: int, sha: bytes, sip: bytes, tip: bytes, answer: bool, skb: Skb) -> None:
        """An answer, or talk between others: refresh the entry if there is one.

        Of several that differ within a second the first counts, unless the sender speaks of itself.
        """
        gratuitous = sip == tip and (op == ARPOP_REQUEST or skb.data[32:38] == sha)
        gratuitous = gratuitous and self.ipv4.addr_type(sip) == "unicast"
        neigh = self.table.lookup(dev, sip)
        if neigh is None and self._accepts(dev, gratuitous or op == ARPOP_REPLY, sip):
            neigh = self.table.get(dev, sip)
        if neigh is None:
            what = "answer" if op == ARPOP_REPLY else "request"
            consume(skb, f"ARP {what} about {ip_ntoa(tip)}: not ours, and no entry waits for it")
            return
        override = gratuitous or self.net.clock.now > neigh.updated + LOCKTIME
        self.table.update(neigh, sha, Nud.REACHABLE if answer else Nud.STALE, override)
        skb.steps.append(neigh.use_step)
        consume(skb, f"ARP: {ip_ntoa(sip)} is at {mac_ntoa(sha)}")

    def _accepts(self, dev: NetDevice, unsolicited: bool, sip: bytes) -> bool:
        """May an entry be made for an address that nobody asked about? Linux: arp_accept()."""
        mode = max(dev.conf.arp_accept, self.net.sysctl.conf_all.arp_accept)
        if not mode or not unsolicited or self.ipv4.addr_type(sip) != "unicast":
            return False
        return mode == 1 or any(sip in a.iface.network for a in dev.addresses)

    def _filters(self, dev: NetDevice, sip: bytes, tip: bytes) -> bool:
        """Would we answer `sip` by another device? Linux: arp_filter()."""
        if not (dev.conf.arp_filter or self.net.sysctl.conf_all.arp_filter):
            return False
        try:
            return self.ipv4.route_output(sip, tip).dev is not dev
        except RouteError:
            return True

    def _ignores(self, dev: NetDevice, sip: bytes, tip: bytes) -> bool:
        """Linux: arp_ignore()."""
        mode = max(dev.conf.arp_ignore, self.net.sysctl.conf_all.arp_ignore)
        if mode == 0:
            return False
        if mode in (1, 2):
            mine = [a for a in dev.addresses if a.iface.addr == tip]
            return not mine or (mode == 2 and sip != IP_ANY and sip not in mine[0].iface.network)
        if mode == 3:  # not for addresses that are good on this host only
            owner = self.ipv4.device_of(tip)
            return owner is not None and any(a.scope == "host" for a in owner.addresses if a.iface.addr == tip)
        return mode == 8


def _send_resolved(neigh: Neighbour, skb: Skb) -> None:
    skb.data[0:12] = neigh.hh
    skb.data[12:14] = b"\x08\x00"
    dev_queue_xmit(skb, neigh.dev)


