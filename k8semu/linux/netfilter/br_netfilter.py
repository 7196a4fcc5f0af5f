"""Bridged IPv4 frames through the iptables hooks, as if they were routed.

    port ─▶ pre_routing ─▶ FDB ─┬▶ forward ─▶ post_routing ─▶ port
                                └▶ IP, whose tables pass over PREROUTING

The hooks see the bridge as device in and out, the ports only through `-m physdev`. If PREROUTING
gives a frame another destination, its way is looked up: behind the same bridge it gets the MAC of
its new next hop, elsewhere it is handed up to IP.

Linux: net/bridge/br_netfilter_hooks.c
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from k8semu.linux.core.dev import dev_queue_xmit
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.hooks import Hook, nf_hook
from k8semu.linux.core.neighbour import CONNECTED, Nud
from k8semu.linux.core.skb import Skb, drop
from k8semu.wire.header import ETH_HLEN, IP, IP_DADDR, IP_FRAG, IP_LEN, IP_SADDR

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.netfilter.netfilter import Netfilter

OkFn = Callable[[Skb], None]


class BrNetfilter:
    """`out_port` is the port a frame leaves by, while FORWARD and POSTROUTING look at it.

    `passed` is the `life` of the frame (and of its copies) that has passed PREROUTING at the bridge
    and is being handled on: if it goes up to IP, tables do not see it a second time.
    Linux: ip_sabotage_in()
    """

    __slots__ = ("_netfilter", "net", "out_port", "passed", "waiting")

    def __init__(self, netfilter: Netfilter) -> None:
        self._netfilter = netfilter
        self.net = netfilter.net
        self.out_port: NetDevice | None = None
        self.passed: list[int] | None = None
        self.waiting: list[tuple[Skb, NetDevice, bytes, OkFn]] = []  # for the MAC of their new next hop

    # --- hooks --------------------------------------------------------------------------------

    def pre_routing(self, skb: Skb, port: NetDevice, okfn: OkFn) -> None:
        """A frame came in at `port`. Linux: br_nf_pre_routing(), br_nf_pre_routing_finish()."""
        bridge = port.master
        assert bridge is not None
        if not _valid(skb):
            drop(skb, Drop.IP_INHDR, "br_netfilter: not a valid IPv4 packet")
            return
        before = bytes(skb.data[IP_DADDR : IP_DADDR + 4])
        skb.bridge_port = port
        skb.dev = bridge
        data = skb.data
        if (data[IP_FRAG] & 0x3F) | data[IP_FRAG + 1] and self._netfilter.needs_defrag:
            whole = self.net.ipv4.fragments.defrag(skb, "conntrack bridge")
            if whole is None:
                return
            skb = whole
            skb.bridge_port, skb.dev = port, bridge
        if not nf_hook(self.net.hooks, Hook.PREROUTING, skb, bridge, None):
            return
        skb.dev = port
        if bytes(skb.data[IP_DADDR : IP_DADDR + 4]) != before and not self._redirect(skb, port, bridge, okfn):
            return
        self._go_on(skb, okfn)

    def _go_on(self, skb: Skb, okfn: OkFn) -> None:
        was, self.passed = self.passed, skb.life
        try:
            okfn(skb)
        finally:
            self.passed = was

    def forward(self, skb: Skb, inport: NetDevice, outport: NetDevice, okfn: OkFn) -> None:
        """A frame goes from port to port. Linux: br_nf_forward_ip()."""
        if skb.bridge_port is None or self._at(Hook.FORWARD, skb, inport.master, outport.master, outport):
            okfn(skb)

    def post_routing(self, skb: Skb, inport: NetDevice | None, outport: NetDevice, okfn: OkFn) -> None:
        """A bridged frame is about to leave. Linux: br_nf_post_routing()."""
        if skb.bridge_port is None:
            okfn(skb)  # it comes from this machine: IP's own POSTROUTING has seen it
        elif self._at(Hook.POSTROUTING, skb, None, outport.master, outport):
            skb.bridge_port = None
            self._dev_queue_xmit(skb, outport, okfn)

    def _dev_queue_xmit(self, skb: Skb, outport: NetDevice, okfn: OkFn) -> None:
        """What connection tracking has put together leaves in pieces again. Linux: br_nf_dev_queue_xmit()."""
        mtu = min(outport.mtu, skb.frag_max) if skb.frag_max else outport.mtu
        size = len(skb.data) - ETH_HLEN
        if not skb.frag_max or size <= mtu:
            okfn(skb)
        elif skb.frag_max > outport.mtu:  # else DF is no hindrance: each piece fits as it came
            drop(skb, Drop.PKT_TOO_BIG, f"{size} bytes, and the MTU of {outport.name} is {outport.mtu}")
        else:
            for piece in self.net.ipv4.fragments.pieces(skb, mtu):
                okfn(piece)

    def dev_xmit(self, skb: Skb) -> bool:
        """The bridge device is asked to send `skb`: has it waited here for a MAC? Then its way goes on.

        Linux: br_nf_dev_xmit(), br_nf_pre_routing_finish_bridge_slow()
        """
        for at, (waiting, port, smac, okfn) in enumerate(self.waiting):
            if waiting is skb:
                del self.waiting[at]
                skb.data[6:12] = smac
                skb.dev = port
                self._go_on(skb, okfn)
                return True
        return False

    def _at(
        self, hook: Hook, skb: Skb, indev: NetDevice | None, outdev: NetDevice | None, port: NetDevice
    ) -> bool:
        was, self.out_port = self.out_port, port
        try:
            return nf_hook(self.net.hooks, hook, skb, indev, outdev)
        finally:
            self.out_port = was

    # --- another destination ------------------------------------------------------------------

    def _redirect(self, skb: Skb, port: NetDevice, bridge: NetDevice, okfn: OkFn) -> bool:
        """Where does it go now? True: the bridge goes on with it. Linux: br_nf_pre_routing_finish()."""
        ipv4 = self.net.ipv4
        daddr = bytes(skb.data[IP_DADDR : IP_DADDR + 4])
        saddr = bytes(skb.data[IP_SADDR : IP_SADDR + 4])
        dev, gateway = _way(ipv4.routing.input(daddr, saddr, bridge, skb.mark))
        if dev is None:
            # Bridged and translated traffic needs no ip_forward if it stays behind the bridge.
            if not bridge.conf.forwarding:
                try:
                    dev, gateway = _way(ipv4.route_output(daddr))
                except OSError:
                    dev = None
            if dev is not bridge:
                drop(skb, Drop.IP_INNOROUTES, "br_netfilter: no way to the new destination")
                return False
        if dev is not bridge:
            skb.data[0:6] = bridge.addr  # up to IP
            if skb.rec is not None:
                skb.rec.action(_to(bridge.addr))
            return True
        return self._bridged_dnat(skb, port, bridge, gateway or daddr, okfn)

    def _bridged_dnat(self, skb: Skb, port: NetDevice, bridge: NetDevice, nexthop: bytes, okfn: OkFn) -> bool:
        """Behind the same bridge: only the MAC changes.

        An entry that is not known to be true right now is used by way of the bridge device, where the
        frame is seen once more. Linux: br_nf_pre_routing_finish_bridge()
        """
        neigh = self.net.ipv4.arp.neighbour(bridge, nexthop)
        self.waiting = [entry for entry in self.waiting if not entry[0].ended]
        self.waiting.append((skb, port, bytes(skb.data[6:12]), okfn))
        if not neigh.table.resolve(neigh, skb):
            return False
        skb.steps.append(neigh.use_step)
        if neigh.state not in CONNECTED:
            skb.data[0:12] = neigh.hh
            if skb.rec is not None:
                skb.rec.refuse()
            dev_queue_xmit(skb, bridge)
            return False
        self.waiting.pop()
        skb.data[0:6] = neigh.hh[0:6]
        if skb.rec is not None:
            skb.rec.used(neigh, (lambda: neigh.confirmed + neigh.reachable) if neigh.state is Nud.REACHABLE else None)
            skb.rec.action(_to(neigh.hh[0:6]))
        return True


def _to(dmac: bytes) -> Callable[[bytearray, int], None]:
    """The action that sends a frame to another MAC."""

    def action(data: bytearray, packet_id: int) -> None:
        data[0:6] = dmac

    return action


def _way(route: object) -> tuple[NetDevice | None, bytes | None]:
    """Device and gateway of a route, or nothing if it is a refusal."""
    return getattr(route, "dev", None), getattr(route, "gateway", None)


def _valid(skb: Skb) -> bool:
    """Linux: br_validate_ipv4(); padding is cut off."""
    data = skb.data
    size = len(data) - ETH_HLEN
    if size < 20 or data[IP] >> 4 != 4:
        return False
    hlen = (data[IP] & 15) << 2
    length = data[IP_LEN] << 8 | data[IP_LEN + 1]
    if hlen < 20 or size < hlen or length < hlen or size < length:
        return False
    if int.from_bytes(data[IP : IP + hlen], "big") % 0xFFFF:
        return False
    if size > length:
        del data[ETH_HLEN + length :]
    return True
