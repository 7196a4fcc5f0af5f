"""The loopback: what is sent on it comes back in.

Linux: drivers/net/loopback.c loopback_xmit()
"""

from __future__ import annotations

from k8semu.linux.core.dev import Iff, NetDevice, netif_receive_skb
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import Skb

LOOPBACK_MTU = 65536
LOOPBACK_DELAY = 1_000  # ns


class LoopbackDevice(NetDevice):
    """`lo`. A packet stays in its hop: it never leaves the namespace."""

    kind = ""

    def __init__(self, net: Net) -> None:
        super().__init__(net, "lo", bytes(6), LOOPBACK_MTU, Iff.LOOPBACK)
        self.broadcast = bytes(6)

    def xmit(self, skb: Skb) -> None:
        self.net.clock.post(LOOPBACK_DELAY, netif_receive_skb, skb, self)
