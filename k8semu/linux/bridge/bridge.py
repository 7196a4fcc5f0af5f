"""The bridge's device, its ports, and where each frame goes.

    port in ─▶ handle_frame ─▶ (br_netfilter PREROUTING) ─▶ handle_frame_finish
                                                              │ known port     ─▶ forward ─▶ port out
                                                              │ unknown, bcast ─▶ flood   ─▶ all other ports
                                                              └ bridge's MAC   ─▶ pass_frame_up ─▶ the node's IP
    node out ─▶ xmit ─▶ forward or flood

Linux:   net/bridge/br_input.c, br_forward.c, br_device.c, br_if.c
RFC:     IEEE 802.1D
Shown:   `bridge link`, `ip link show master docker0`
Differs: no VLAN filtering, no multicast snooping (groups are flooded), no spanning tree.
"""

from __future__ import annotations

from collections.abc import Callable

from k8semu.errors import CommandError
from k8semu.linux.bridge.fdb import Fdb
from k8semu.linux.core.dev import Direction, Iff, NetDevice, dev_queue_xmit, netif_receive_skb
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import MAX_LIFE, Skb, drop
from k8semu.sim.clock import NS_PER_S
from k8semu.trace.steps import BridgeStep
from k8semu.wire.addr import mac_ntoa

ETH_DATA_LEN = 1500
MAX_PORTS = 1024
"""Numbers of ports, of which 0 is none's. Linux: BR_MAX_PORTS."""

_LINK_LOCAL = b"\x01\x80\xc2\x00\x00"


class Port:
    """One port of a bridge. Linux: struct net_bridge_port."""

    __slots__ = ("bridge", "dev", "enabled", "flood", "hairpin", "isolated", "learning", "number", "to_step")

    def __init__(self, bridge: BridgeDevice, dev: NetDevice, number: int) -> None:
        self.bridge, self.dev, self.number = bridge, dev, number
        self.enabled = dev.active       # what comes in is taken
        self.hairpin = False
        self.learning = True
        self.flood = True
        self.isolated = False
        self.to_step = BridgeStep(bridge.name, f"forward to port {dev.name}")

    @property
    def forwarding(self) -> bool:
        return self.dev.active


class BridgeDevice(NetDevice):
    """A bridge, which is also the node's own device on it (`docker0`)."""

    kind = "bridge"

    def __init__(self, net: Net, name: str, addr: bytes, mtu: int, ageing_time: int) -> None:
        super().__init__(net, name, addr, mtu, Iff.BROADCAST | Iff.MULTICAST)
        self.ports: dict[str, Port] = {}
        self._numbers: set[int] = set()
        self._next_number = 1                  # the lowest that is free
        self._had_ports = False
        self.address_set = False               # by a person, not by chance
        self.fdb = Fdb(self, ageing_time * NS_PER_S)
        self.fdb.add_local(addr, None)
        self._up_step = BridgeStep(name, "for this node")
        self._flood_step = BridgeStep(name, "flood: the destination's port is not known")
        self._broadcast_step = BridgeStep(name, "flood: broadcast")

    @property
    def carrier(self) -> bool:
        """A bridge has carrier while one of its ports forwards, and until it got its first one.

        Linux: br_port_state_selection()
        """
        return self.up and (not self._had_ports or any(port.forwarding for port in self.ports.values()))

    def set_up(self, up: bool) -> None:
        """What was learned is forgotten when the bridge goes down. Linux: br_stp_disable_bridge()."""
        if not up:
            for port in self.ports.values():
                self.fdb.flush_port(port, also_fixed=False)
        super().set_up(up)

    # --- ports --------------------------------------------------------------------------------

    def add_port(self, dev: NetDevice) -> Port:
        """`ip link set DEV master BRIDGE`. Linux: br_add_if()."""
        if dev.master is not None:
            raise CommandError("RTNETLINK answers: Device or resource busy", hint=f"{dev.name} is a port already")
        if isinstance(dev, BridgeDevice):
            raise CommandError("Error: Can not enslave a bridge to a bridge.")
        if dev.flags & Iff.LOOPBACK or dev.hard_header_len == 0:
            raise CommandError("RTNETLINK answers: Invalid argument", hint=f"{dev.name} cannot be a port")
        if self._next_number == MAX_PORTS:
            raise CommandError("RTNETLINK answers: Exchange full", hint=f"a bridge has {MAX_PORTS - 1} ports at most")
        port = Port(self, dev, self._next_number)
        self._numbers.add(port.number)
        while self._next_number in self._numbers:
            self._next_number += 1
        if not self._mtu_set:
            self.mtu = min(self.mtu, dev.mtu) if self.ports else dev.mtu
        self.ports = {dev.name: port, **self.ports}  # the newest first, as the kernel's list
        self._had_ports = True
        dev.master = self
        dev.rx_handler = lambda skb: self.handle_frame(skb, port)
        self.fdb.add_local(dev.addr, port)
        self._auto_address()
        self.carrier_changed()
        return port

    def del_port(self, dev: NetDevice) -> None:
        """`ip link set DEV nomaster`. Linux: br_del_if()."""
        port = self.ports.pop(dev.name)
        self._numbers.discard(port.number)
        self._next_number = min(self._next_number, port.number)
        dev.master = None
        dev.rx_handler = None
        self.fdb.flush_port(port, also_fixed=True)
        self._auto_address()
        self.port_mtu_changed()
        self.carrier_changed()

    def port_changed(self, dev: NetDevice) -> None:
        """A port came up, went down, or its link did. Linux: br_device_event(), br_port_carrier_check()."""
        port = self.ports.get(dev.name)
        if port is not None and not port.forwarding:
            if port.enabled:
                port.enabled = False
                self.fdb.flush_port(port, also_fixed=False)
        elif port is not None and not port.enabled:
            self.net.clock.post(dev.delay, self._enable, port)
        if self.active != self.running:
            self.carrier_changed()

    @staticmethod
    def _enable(port: Port) -> None:
        """A port takes frames in a moment after its link came, so what the far end sends while it comes up is lost.

        Linux: net/core/link_watch.c linkwatch_event(), net/bridge/br_stp_if.c br_stp_enable_port()
        Differs: what goes out by the port in that moment passes.
        """
        port.enabled = port.forwarding
        port.bridge.net.new_epoch()

    def port_address_changed(self, dev: NetDevice) -> None:
        """Linux: br_device_event(NETDEV_CHANGEADDR), br_fdb_changeaddr()."""
        port = self.ports[dev.name]
        self.fdb.change_local(dev.addr, port)
        self._auto_address()

    def set_address(self, addr: bytes) -> None:
        self.address_set = True
        self._change_address(addr)

    def _change_address(self, addr: bytes) -> None:
        self.fdb.change_local(addr, None)
        super().set_address(addr)

    def _auto_address(self) -> None:
        """Unless told, a bridge has its ports' lowest MAC. Linux: br_stp_recalculate_bridge_id()."""
        if not self.address_set:
            lowest = min((port.dev.addr for port in self.ports.values()), default=bytes(6))
            if lowest != self.addr:
                self._change_address(lowest)

    def set_mtu(self, mtu: int) -> None:
        super().set_mtu(mtu)
        self._mtu_set = True

    _mtu_set = False

    def port_mtu_changed(self) -> None:
        """Unless told later than when it was made, a bridge's MTU is its ports' smallest, without ports 1500.

        Linux: br_device_event(NETDEV_CHANGEMTU), br_mtu_auto_adjust(), br_mtu_min()
        """
        if not self._mtu_set:
            self.mtu = min((port.dev.mtu for port in self.ports.values()), default=ETH_DATA_LEN)

    def unregister(self) -> None:
        for port in list(self.ports.values()):
            self.del_port(port.dev)
        self.fdb.clear()

    # --- frames in ----------------------------------------------------------------------------

    def handle_frame(self, skb: Skb, port: Port) -> None:
        """A frame came in on a port. Linux: br_handle_frame()."""
        data = skb.data
        if data[6] & 1 or data[6:12] == b"\0\0\0\0\0\0":
            drop(skb, Drop.MAC_INVALID_SOURCE, f"source {mac_ntoa(bytes(data[6:12]))}")
            return
        if not self.flags & Iff.UP:
            drop(skb, Drop.DEV_READY, f"{self.name} is down")
            return
        if not port.enabled:
            drop(skb, Drop.BRIDGE_INGRESS_STP_STATE, f"port {port.dev.name} has just come up, and is disabled still")
            return
        if data[0:5] == _LINK_LOCAL and data[5] < 0x10 and data[5] != 0:
            drop(skb, Drop.BRIDGE_INGRESS_STP_STATE, "link-local group addresses are not forwarded (IEEE 802.1D)")
            return
        net = self.net
        if net.hooks.used and self._calls_iptables(data):
            net.netfilter.br.pre_routing(skb, port.dev, lambda s: self.handle_frame_finish(s, port))
            return
        self.handle_frame_finish(skb, port)

    def _calls_iptables(self, data: bytearray) -> bool:
        """Does the frame go through the IP hooks (br_netfilter)?"""
        net = self.net
        return (
            net.hooks.used and data[12] == 0x08 and data[13] == 0x00 and bool(net.sysctl.bridge_nf_call_iptables)
        )

    def handle_frame_finish(self, skb: Skb, port: Port) -> None:
        """Learn, look up, decide. Linux: br_handle_frame_finish()."""
        data = skb.data
        if port.learning:
            self.fdb.learn(bytes(data[6:12]), port, skb)
        if data[0] & 1:
            skb.steps.append(self._broadcast_step)
            outs = self._flood_ports(skb, port)
            if outs:
                up = skb.copy()
                self._flood(skb, port, outs)
                skb = up
            self.pass_frame_up(skb)
            return
        entry = self.fdb.lookup(bytes(data[0:6]), skb)
        if entry is not None and entry.is_local:
            skb.steps.append(self._up_step)
            skb.iif = port.dev
            self.pass_frame_up(skb)
            return
        if self.flags & Iff.PROMISC and self.tap is not None:
            self.tap(skb, self, Direction.IN)  # what tcpdump -i docker0 sees of frames between ports
            if skb.rec is not None:
                skb.rec.sighting(self, Direction.IN, skb)
        if entry is None or entry.port is None:
            skb.steps.append(self._flood_step)
            self._flood(skb, port, self._flood_ports(skb, port))
            return
        if entry.step is not None:
            skb.steps.append(entry.step)
        self._forward(skb, port, entry.port)

    def pass_frame_up(self, skb: Skb) -> None:
        """The frame is for the node. Linux: br_pass_frame_up(), br_netif_receive_skb()."""
        net = self.net
        skb.dev = self
        if skb.bridge_port is not None and net.sysctl.bridge_nf_call_iptables:
            skb.bridge_port = None
        netif_receive_skb(skb, self)

    def is_ours(self, skb: Skb) -> bool:
        """A frame for the MAC of the very port that it came in by is for the node."""
        return skb.iif is not None and skb.iif.master is self and skb.data[0:6] == skb.iif.addr

    # --- frames out ---------------------------------------------------------------------------

    def _should_deliver(self, out: Port, source: Port | None) -> bool:
        """Linux: should_deliver()."""
        if source is out and not out.hairpin:
            return False
        if source is not None and source.isolated and out.isolated:
            return False
        return out.forwarding

    def _forward(self, skb: Skb, source: Port | None, out: Port) -> None:
        """Linux: br_forward(), __br_forward()."""
        if not self._should_deliver(out, source):
            if source is out:
                drop(skb, Drop.BRIDGE_NO_EGRESS_PORT, f"{out.dev.name} is where it came from, and hairpin is off")
            else:
                drop(skb, Drop.BRIDGE_NO_EGRESS_PORT, f"port {out.dev.name} does not forward")
            return
        skb.steps.append(out.to_step)
        net = self.net
        if source is not None and net.hooks.used and self._calls_iptables(skb.data):
            br = net.netfilter.br
            br.forward(skb, source.dev, out.dev, lambda s: br.post_routing(s, source.dev, out.dev, self._push(out)))
            return
        self._dev_queue_push_xmit(skb, out)

    def _push(self, out: Port) -> Callable[[Skb], None]:
        return lambda skb: self._dev_queue_push_xmit(skb, out)

    def _dev_queue_push_xmit(self, skb: Skb, out: Port) -> None:
        """Linux: br_dev_queue_push_xmit()."""
        if len(skb.data) > out.dev.mtu + 14 + 4:
            drop(skb, Drop.PKT_TOO_BIG, f"{len(skb.data) - 14} bytes, and the MTU of {out.dev.name} is {out.dev.mtu}")
            return
        dev_queue_xmit(skb, out.dev)

    def _flood_ports(self, skb: Skb, source: Port | None) -> list[Port]:
        """Where a flooded frame goes."""
        broadcast = skb.data[0] & 1
        return [
            port for port in self.ports.values()
            if (broadcast or port.flood) and self._should_deliver(port, source)
        ]  # fmt: skip

    def _flood(self, skb: Skb, source: Port | None, outs: list[Port]) -> None:
        """A copy to every one of `outs`. Linux: br_flood()."""
        if not outs:
            drop(skb, Drop.BRIDGE_NO_EGRESS_PORT, "no other port")
            return
        if skb.life[0] + len(outs) > MAX_LIFE:
            drop(skb, Drop.LOOP_LIMIT, f"carried or copied {MAX_LIFE} times")
            return
        for out in outs[:-1]:
            self._forward(skb.copy(), source, out)
        self._forward(skb, source, outs[-1])

    def xmit(self, skb: Skb) -> None:
        """The node sends into the bridge. Linux: br_dev_xmit()."""
        br = self.net.netfilter.br
        if br.waiting and br.dev_xmit(skb):  # a translated frame that waited for its new MAC
            return
        data = skb.data
        if data[0] & 1:
            skb.steps.append(self._broadcast_step)
            self._flood(skb, None, self._flood_ports(skb, None))
            return
        entry = self.fdb.lookup(bytes(data[0:6]), skb)
        if entry is None:
            skb.steps.append(self._flood_step)
            self._flood(skb, None, self._flood_ports(skb, None))
        elif entry.port is None or entry.is_local:
            drop(skb, Drop.BRIDGE_NO_EGRESS_PORT, f"{mac_ntoa(bytes(data[0:6]))} is this node itself")
        else:
            if entry.step is not None:
                skb.steps.append(entry.step)
            self._forward(skb, None, entry.port)
