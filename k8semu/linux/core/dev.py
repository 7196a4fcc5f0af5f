"""Network devices: where frames enter and leave a namespace.

    dev_queue_xmit ─▶ tap (out) ─▶ dev.xmit …        … ─▶ tap (in) ─▶ rx_handler (bridge) ─▶ protocol

Linux: net/core/dev.c, include/linux/netdevice.h
Differs: no queueing disciplines; a link has a delay, and a loss that the scenario sets.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.skb import Skb, consume, drop
from k8semu.trace.steps import Originate, Receive, Transmit

if TYPE_CHECKING:
    from k8semu.linux.core.flow import Known
    from k8semu.linux.core.net import Net
    from k8semu.wire.addr import Interface


PROGRAM_DELAY = 10_000  # ns that a frame waits for the program that reads it


class Iff:
    """Device flags: plain integers, they are asked for each frame. Linux: include/uapi/linux/if.h."""

    UP = 0x1
    BROADCAST = 0x2
    LOOPBACK = 0x8
    POINTOPOINT = 0x10
    NOARP = 0x80
    PROMISC = 0x100
    MULTICAST = 0x1000


class Direction(IntEnum):
    """Which way a frame passed a device, as pcapng's epb_flags count it."""

    IN = 1
    OUT = 2


Tap = Callable[[Skb, "NetDevice", Direction], None]
"""A capture point: sees each frame before the kernel handles it (in) or the driver sends it (out)."""


class IfAddr:
    """An address on a device, as `ip addr` shows it. Linux: struct in_ifaddr."""

    __slots__ = ("broadcast", "iface", "label", "origin", "scope", "secondary")

    def __init__(self, iface: Interface, scope: str, broadcast: bytes | None, label: str, origin: str = "") -> None:
        self.iface, self.scope, self.broadcast, self.label = iface, scope, broadcast, label
        self.secondary = False
        self.origin = origin


class Stats:
    """What `ip -s link` counts."""

    __slots__ = ("rx_bytes", "rx_dropped", "rx_packets", "tx_bytes", "tx_dropped", "tx_packets")

    def __init__(self) -> None:
        self.rx_packets = self.rx_bytes = self.rx_dropped = 0
        self.tx_packets = self.tx_bytes = self.tx_dropped = 0


class NetDevice:
    """One network device of a namespace; drivers override `xmit`. Linux: struct net_device."""

    kind: ClassVar[str] = ""
    """As `ip -d link` names it: veth, bridge, vxlan, tun, dummy; '' for the loopback."""
    hard_header_len: ClassVar[int] = 14
    """14 on Ethernet, 0 where frames start with the IP header (tun)."""
    delay: int = 0
    """How long a frame is on its way here from the far end (ns)."""

    def __init__(self, net: Net, name: str, addr: bytes, mtu: int, flags: int) -> None:
        self.net = net
        self.name = name
        self.ifindex = 0                       # given by Net.register
        self.addr = addr
        self.broadcast = b"\xff" * 6
        self.mtu = mtu
        self.flags = flags
        self.master: NetDevice | None = None
        self.active = False                    # up, with carrier: kept by `update`, asked for each frame
        self.rx_handler: Callable[[Skb], None] | None = None
        self._tap: Tap | None = None
        self.addresses: list[IfAddr] = []
        self.conf = copy(net.sysctl.conf_default)
        self.neigh_conf = copy(net.sysctl.neigh_default)
        self.stats = Stats()
        self.flows: dict[bytes, Known] | None = {} if net.world.flow_cache else None   # of what comes in here
        self.origin = ""
        self._packet_socket: Callable[[bytes, int], None] | None = None
        self.received = Receive(name)          # steps that every frame shares
        self.transmitted = Transmit(name)

    @property
    def up(self) -> bool:
        """Administratively up."""
        return bool(self.flags & Iff.UP)

    @property
    def carrier(self) -> bool:
        """The link beneath works (LOWER_UP)."""
        return self.up

    @property
    def running(self) -> bool:
        """Up, with carrier: able to carry frames."""
        return self.up and self.carrier

    def is_ours(self, skb: Skb) -> bool:
        """Is a frame for another MAC still for this machine? Linux: PACKET_HOST in spite of the address."""
        return False

    def xmit(self, skb: Skb) -> None:
        """Send `skb`. Linux: ndo_start_xmit."""
        raise NotImplementedError

    def set_up(self, up: bool) -> None:
        """`ip link set DEV up|down`; drivers extend it. Linux: dev_open(), dev_close()."""
        if up == self.up:
            return
        self.flags = self.flags | Iff.UP if up else self.flags & ~Iff.UP
        self.active = self.running
        self.net.dev_changed(self)

    def carrier_changed(self) -> None:
        """The link beneath came or went. Linux: netif_carrier_on(), netif_carrier_off()."""
        self.active = self.running
        self.net.carrier_changed(self)

    def set_address(self, addr: bytes) -> None:
        """`ip link set DEV address MAC`. Linux: dev_set_mac_address()."""
        self.addr = addr
        self.net.address_changed(self)

    def set_mtu(self, mtu: int) -> None:
        """`ip link set DEV mtu N`. Linux: dev_set_mtu()."""
        self.mtu = mtu

    def unregister(self) -> None:
        """The device goes away; drivers extend it (a veth takes its peer along)."""

    @property
    def tap(self) -> Tap | None:
        """The capture point of this device."""
        return self._tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self.net.new_epoch()
        self._tap = tap

    @property
    def packet_socket(self) -> Callable[[bytes, int], None] | None:
        """A program that takes every frame arriving here, with its packet id (AF_PACKET)."""
        return self._packet_socket

    @packet_socket.setter
    def packet_socket(self, reader: Callable[[bytes, int], None] | None) -> None:
        self.net.new_epoch()
        self._packet_socket = reader
        self.rx_handler = None if reader is None else self._to_program

    def _to_program(self, skb: Skb) -> None:
        reader = self._packet_socket
        assert reader is not None
        self.net.clock.post(PROGRAM_DELAY, reader, bytes(skb.data), skb.id)
        consume(skb, f"handed to the program that reads {self.name}")

    def inject(self, frame: bytes, packet_id: int | None = None) -> None:
        """A program sends a whole frame out of this device."""
        if packet_id is None:
            packet_id = self.net.world.next_packet_id()
        dev_queue_xmit(Skb(self.net, bytearray(frame), packet_id, Originate(f"a program on {self.name}")), self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.net.name}/{self.name}>"


_UP = Iff.UP
_IN, _OUT = Direction.IN, Direction.OUT


def dev_queue_xmit(skb: Skb, dev: NetDevice) -> None:
    """Send a complete frame out of `dev`. Linux: net/core/dev.c __dev_queue_xmit()."""
    skb.dev = dev
    if not dev.active:  # before any tap: tcpdump does not see it either
        dev.stats.tx_dropped += 1
        if dev.up:
            drop(skb, Drop.QDISC_DROP, f"{dev.name} has no carrier")
        else:
            drop(skb, Drop.DEV_READY, f"{dev.name} is down")
        return
    stats = dev.stats
    stats.tx_packets += 1
    stats.tx_bytes += len(skb.data)
    tap = dev._tap
    if tap is not None:
        tap(skb, dev, _OUT)
    if skb.rec is not None:
        skb.rec.sent(dev, skb)
    dev.xmit(skb)


def netif_receive_skb(skb: Skb, dev: NetDevice) -> None:
    """Take a frame in from `dev`: taps, then the bridge if it is a port, then the protocol.

    Linux: net/core/dev.c __netif_receive_skb_core()
    """
    skb.dev = dev
    if not dev.flags & _UP:
        dev.stats.rx_dropped += 1
        drop(skb, Drop.DEV_READY, f"{dev.name} is down")
        return
    data = skb.data
    stats = dev.stats
    stats.rx_packets += 1
    stats.rx_bytes += len(data)
    tap = dev._tap
    if tap is not None:
        tap(skb, dev, _IN)
    if skb.rec is not None:
        skb.rec.received(dev, skb)
    if dev.rx_handler is not None:
        dev.rx_handler(skb)
        return
    handler = dev.net.ptype.get(data[12] << 8 | data[13])
    if handler is None:
        drop(skb, Drop.UNHANDLED_PROTO, f"no protocol for EtherType 0x{data[12] << 8 | data[13]:04x}")
        return
    handler(skb)
