"""A packet on its way through: bytes, plus what the kernel knows about them.

    frame ─▶ Skb ─▶ … steps … ─▶ exactly one end: transmit, deliver, consume or drop

Linux: include/linux/skbuff.h struct sk_buff
Differs: `data` always starts with 14 bytes of link header (also for tun, which adds and strips
them), checksums are always complete (no offload), and there is no cloning without copying.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from k8semu.linux.core.drop import Drop
from k8semu.trace.hop import Hop
from k8semu.trace.steps import Consume, Deliver, DropStep, Step, Transmit

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.core.net import Net
    from k8semu.linux.core.recording import Recording

MAX_LIFE = 4096
"""Copies and link crossings that one packet may make before LOOP_LIMIT ends it."""


class CtInfo(IntEnum):
    """Where a packet stands in its connection. Linux: enum ip_conntrack_info."""

    ESTABLISHED = 0
    RELATED = 1
    NEW = 2
    ESTABLISHED_REPLY = 3
    RELATED_REPLY = 4
    UNTRACKED = 7


class Sighting(Protocol):
    """What a capture keeps of a frame it has seen, until the packet's next step is known."""

    def settle(self, steps: list[Step]) -> None:
        """The packet was seen again elsewhere, or ended: `steps` happened since (may be empty)."""


class Skb:
    """One packet (or one copy of it) in one network namespace.

    `steps` is what happened to it since it entered the namespace; `told` how many of them a
    capture has already said; `sighting` the capture record that still waits for what happens next.
    `life` is shared by all copies of a packet.
    """

    __slots__ = (
        "bridge_port", "ct", "ctinfo", "data", "dev", "dst", "ended", "frag_max", "id", "iif", "ipvs", "life",
        "mark", "net", "rec", "sighting", "start", "steps", "told",
    )  # fmt: skip

    def __init__(self, net: Net, data: bytearray, packet_id: int, first: Step, life: list[int] | None = None) -> None:
        self.net = net
        self.data = data
        self.id = packet_id
        self.dev: NetDevice | None = None          # the device it is on now
        self.iif: NetDevice | None = None          # the device IP received it on
        self.bridge_port: NetDevice | None = None  # br_netfilter: the port it came in by
        self.mark = 0
        self.ct: Any = None                        # netfilter.conntrack's entry
        self.ctinfo = CtInfo.NEW
        self.dst: Any = None                       # ipv4's route
        self.ipvs = False                          # netfilter.ipvs has done with it. Linux: skb->ipvs_property
        self.frag_max = 0                          # largest fragment of a reassembled packet (bytes)
        self.steps: list[Step] = [first]
        self.told = 0
        self.start = net.clock.now
        self.sighting: Sighting | None = None
        self.rec: Recording | None = None          # who is told what is done to it (see core.recording)
        self.life = life if life is not None else [0]
        self.ended = False

    def copy(self) -> Skb:
        """A copy of its own that ends on its own: flooding, multicast. Linux: skb_copy()."""
        twin = Skb.__new__(Skb)
        twin.net, twin.data, twin.id = self.net, bytearray(self.data), self.id
        twin.dev, twin.iif, twin.bridge_port = self.dev, self.iif, self.bridge_port
        twin.mark, twin.ct, twin.ctinfo, twin.dst = self.mark, self.ct, self.ctinfo, self.dst
        twin.frag_max, twin.ipvs = self.frag_max, self.ipvs
        twin.steps, twin.told, twin.start = self.steps.copy(), self.told, self.start
        twin.sighting = None
        twin.rec = None
        if self.rec is not None:
            self.rec.refuse()
        twin.life = self.life
        twin.life[0] += 1
        twin.ended = False
        return twin

    def scrub(self) -> None:
        """Forget what must not cross into or out of a tunnel. Linux: skb_scrub_packet()."""
        self.ct = None
        self.ctinfo = CtInfo.NEW
        self.dst = None
        self.iif = None
        self.bridge_port = None
        self.ipvs = False

    def _end(self, step: Step) -> None:
        assert not self.ended, f"packet {self.id} ends twice: {[s.text for s in self.steps]} then {step.text!r}"
        self.ended = True
        self.steps.append(step)
        if self.sighting is not None:
            self.sighting.settle(self.steps[self.told :])
            self.sighting = None
        net = self.net
        if net.trace is not None:
            net.trace.hop(Hop(self.id, net.name, self.start, net.clock.now, self.steps))


def drop(skb: Skb, reason: Drop, detail: str = "", origin: str = "") -> None:
    """The packet ends here. Linux: net/core/skbuff.c kfree_skb_reason()."""
    skb.net.drops[reason] += 1
    skb._end(DropStep(reason.value, detail, origin))


_consumed: dict[str, Consume] = {}


def consume(skb: Skb, by: str) -> None:
    """The kernel used the packet up for its own purpose. Linux: net/core/skbuff.c consume_skb()."""
    step = _consumed.get(by)
    if step is None:
        step = _consumed[by] = Consume(by)
    skb._end(step)


def deliver(skb: Skb, step: Deliver) -> None:
    """The packet reached a socket."""
    skb._end(step)


def transmit(skb: Skb, step: Transmit) -> None:
    """The frame leaves this namespace."""
    skb._end(step)
