"""Random Ethernet addresses.

Linux: include/linux/etherdevice.h eth_random_addr()
"""

from __future__ import annotations

from k8semu.sim.streams import Stream


def eth_random_addr(stream: Stream) -> bytes:
    """Random, unicast, locally administered."""
    raw = stream.bits(48).to_bytes(6, "big")
    return bytes([raw[0] & 0xFE | 0x02]) + raw[1:]
