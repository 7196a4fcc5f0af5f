"""dummy: carries addresses, swallows frames.

Linux: drivers/net/dummy.c dummy_xmit()
"""

from __future__ import annotations

from k8semu.linux.core.dev import Iff, NetDevice
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import Skb, consume


class DummyDevice(NetDevice):
    """A device without a far end."""

    kind = "dummy"

    def __init__(self, net: Net, name: str, addr: bytes) -> None:
        super().__init__(net, name, addr, 1500, Iff.BROADCAST | Iff.NOARP)

    def xmit(self, skb: Skb) -> None:
        consume(skb, f"{self.name} swallows what it is sent")
