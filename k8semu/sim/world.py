"""What all machines of one run share: time, chance, and the numbering of packets."""

from __future__ import annotations

from k8semu.sim.clock import Clock
from k8semu.sim.streams import Streams


class World:
    """The one clock, the random streams, and the packet counter of a run.

    `flow_cache`: may namespaces do with a flow's packets what they did with its first ones? It changes
    nothing but the time a run takes.
    """

    __slots__ = ("_packet_id", "clock", "flow_cache", "random")

    def __init__(self, seed: int = 1, flow_cache: bool = True) -> None:
        self.flow_cache = flow_cache
        self.clock = Clock()
        self.random = Streams(seed)
        self._packet_id = 0

    def next_packet_id(self) -> int:
        """A number for a newly made packet; it keeps it through NAT, forwarding and tunnels."""
        self._packet_id += 1
        return self._packet_id

    def peek_packet_id(self) -> int:
        """The number that the next new packet will get."""
        return self._packet_id + 1

    def number_packets(self, count: int) -> None:
        """So many packets were newly made: they have the next numbers."""
        self._packet_id += count
