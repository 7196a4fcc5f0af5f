"""What all machines of one run share: time, chance, and the numbering of packets."""

from __future__ import annotations

from itertools import count

from k8semu.sim.clock import Clock
from k8semu.sim.streams import Streams


class World:
    """The one clock, the random streams, and the packet counter of a run."""

    __slots__ = ("_packet_ids", "clock", "random")

    def __init__(self, seed: int = 1) -> None:
        self.clock = Clock()
        self.random = Streams(seed)
        self._packet_ids = count(1)

    def next_packet_id(self) -> int:
        """A number for a newly made packet; it keeps it through NAT, forwarding and tunnels."""
        return next(self._packet_ids)
