"""tun: IP packets to and from a program on the node.

    kernel ─▶ xmit ─▶ reader(packet)           write(packet) ─▶ kernel

Linux: drivers/net/tun.c tun_net_xmit(), tun_get_user()
"""

from __future__ import annotations

from collections.abc import Callable

from k8semu.linux.core.dev import Iff, NetDevice, netif_receive_skb
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import Skb, consume, drop
from k8semu.wire.header import ETH_HLEN

TUN_DELAY = 10_000  # ns that a packet waits for the program, or the program for the kernel


class TunDevice(NetDevice):
    """A device whose cable ends in a program; it has carrier while the program holds it open."""

    kind = "tun"
    hard_header_len = 0

    def __init__(self, net: Net, name: str, mtu: int) -> None:
        super().__init__(net, name, b"", mtu, Iff.POINTOPOINT | Iff.MULTICAST | Iff.NOARP)
        self._reader: Callable[[bytes, int], None] | None = None

    @property
    def reader(self) -> Callable[[bytes, int], None] | None:
        """Called with each packet (without link header) and its id."""
        return self._reader

    @reader.setter
    def reader(self, reader: Callable[[bytes, int], None] | None) -> None:
        self._reader = reader
        self.carrier_changed()

    @property
    def carrier(self) -> bool:
        return self._reader is not None

    def xmit(self, skb: Skb) -> None:
        if self._reader is None:
            drop(skb, Drop.FULL_RING, f"no program reads {self.name}")
            return
        self.net.clock.post(TUN_DELAY, self._read, bytes(skb.data[ETH_HLEN:]), skb.id)
        consume(skb, f"handed to the program that reads {self.name}")

    def _read(self, packet: bytes, packet_id: int) -> None:
        if self._reader is not None:
            self._reader(packet, packet_id)

    def write(self, packet: bytes, packet_id: int | None = None) -> None:
        """The program hands a packet to the kernel."""
        version = packet[0] >> 4 if packet else 0
        ethertype = b"\x86\xdd" if version == 6 else b"\x08\x00"
        data = bytearray(12) + ethertype + packet
        if packet_id is None:
            packet_id = self.net.world.next_packet_id()
        skb = Skb(self.net, data, packet_id, self.received)
        if version not in (4, 6):
            drop(skb, Drop.INVALID_PROTO, f"IP version {version}")
            return
        self.net.clock.post(TUN_DELAY, netif_receive_skb, skb, self)
