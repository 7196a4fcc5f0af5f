"""The recording of a flow's first packet: what each part of the way says it did, and the `Flow` made of it.

    veth, bridge, netfilter, route, tunnel ─▶ skb.rec ─▶ finish ─▶ the same again on a copy? ─▶ Flow

By default nothing is recorded that is not told, and a flow is only made if its actions give the recorded
packet's very bytes (Rule 3 of `core.flow`).

Linux: net/netfilter/nft_flow_offload.c nft_flow_offload_eval()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from k8semu.linux.core.dev import Direction
from k8semu.linux.core.flow import FLOWS, INNER, TCP, UDP, Action, Aged, Flow, Shape, Told, Within
from k8semu.linux.core.skb import Skb

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.core.net import Net
    from k8semu.linux.drivers.veth import VethDevice
    from k8semu.trace.steps import Step


class Recording:
    """What becomes of one packet, told by those who do it (`skb.rec`); `finish` makes a Flow of it."""

    __slots__ = (
        "_actions", "_epoch", "_ident", "_keep", "_net", "_next_id", "_now", "_original", "_refused", "_shape",
        "_sightings", "_size", "_told",
    )  # fmt: skip

    def __init__(self, net: Net, data: bytearray, keep: Callable[[Flow], None], encapsulated: bool = False) -> None:
        """`keep` is called with the Flow, if one is made."""
        self._net, self._keep, self._size = net, keep, len(data)
        self._original, self._ident = bytes(data), net.ipv4.ident
        self._epoch, self._now, self._next_id = net.epoch, net.clock.now, net.world.peek_packet_id()
        self._shape = Shape(data, encapsulated)
        plain = _plain(data, 0) and (not encapsulated or _plain(data, INNER))
        self._refused = not plain or not self._shape.fits(data, self._size)  # a SYN speaks for no other segment
        self._actions: list[Action | None] = []      # None: a sighting, filled in at the end
        self._sightings: list[tuple[NetDevice, Direction, int, bytes]] = []
        self._told = Told()

    def refuse(self) -> None:
        """The next packet may fare otherwise: make no flow of this one."""
        self._refused = True

    def received(self, dev: NetDevice, skb: Skb) -> None:
        """`dev` has counted and shown a frame that came in."""
        self._told.stats.append((dev.stats, True, len(skb.data) - self._size))
        if dev.tap is not None:
            self.sighting(dev, Direction.IN, skb)

    def sent(self, dev: NetDevice, skb: Skb) -> None:
        """`dev` has counted and shown a frame that goes out."""
        self._told.stats.append((dev.stats, False, len(skb.data) - self._size))
        if dev.tap is not None:
            self.sighting(dev, Direction.OUT, skb)

    def sighting(self, dev: NetDevice, direction: Direction, skb: Skb) -> None:
        """A capture point saw the frame."""
        self._actions.append(None)
        self._sightings.append((dev, direction, len(skb.steps), bytes(skb.data)))

    def action(self, action: Action) -> None:
        """The bytes were changed, as `action` would."""
        self._actions.append(action)

    def hit(self, counters: list[int], octets: int) -> None:
        """A rule counted the packet."""
        self._told.hits.append((counters, octets - self._size))

    def policy(self, chain: object, octets: int) -> None:
        """A chain's policy counted the packet."""
        self._told.chains.append((chain, octets - self._size))

    def connection(self, ct: Any, timeout: int) -> None:
        """A connection was found, and lives `timeout` ns from now; its status and state must stay."""
        self._told.connections.append((ct, ct.status, ct.state, timeout, ct.last_index, ct.last_dir))
        self._told.deadlines.append(lambda: ct.expires - 1)

    def window(self, within: Within, ct: Any, direction: int, renew: Callable[[], int]) -> None:
        """A TCP connection's window is asked of each frame; `renew` says how long (ns) the connection lives then."""
        if self._told.window is not None:
            self._refused = True
        self._told.window = within, ct, direction, renew

    def refreshed(self, entry: object) -> None:
        """An FDB entry was confirmed: `entry.updated` is now."""
        self._told.updated.append(entry)

    def used(self, entry: Aged, until: Callable[[], int] | None = None) -> None:
        """An entry was used (`entry.used` is now); without notice it holds until `until()`."""
        self._told.used.append(entry)
        if until is not None:
            self._told.deadlines.append(until)

    def holds(self, until: Callable[[], int]) -> None:
        """Something the packet hung on holds until then."""
        self._told.deadlines.append(until)

    def lived(self) -> None:
        """One of the packet's `life` was spent."""
        self._told.lives += 1

    def finish(self, out: VethDevice, skb: Skb) -> None:
        """The frame has left by `out`: from now on its flow is known."""
        net = self._net
        if (
            self._refused or self._epoch != net.epoch or self._now != net.clock.now
            or self._next_id != net.world.peek_packet_id() or not self._same_again(skb)
        ):  # fmt: skip
            return
        sights = self._sights(skb.steps)
        if sights is not None:
            ready = iter(sights)
            actions = tuple(next(ready) if action is None else action for action in self._actions)
            self._told.grown = len(skb.data) - self._size
            self._keep(Flow(net, self._epoch, self._shape, self._size, self._told, out, actions, tuple(skb.steps)))

    def _same_again(self, skb: Skb) -> bool:
        """Do the actions make the very bytes that this packet had, wherever it was seen and in the end?"""
        ipv4 = self._net.ipv4
        after, ipv4.ident = ipv4.ident, self._ident
        data = bytearray(self._original)
        seen = iter(self._sightings)
        same = True
        for action in self._actions:
            if action is not None:
                action(data, skb.id)
            elif data != next(seen)[3]:
                same = False
        same = same and data == skb.data and ipv4.ident == after
        ipv4.ident = after
        return same

    def _sights(self, steps: list[Step]) -> list[Action] | None:
        """The capture points, ready with what is to be said at each; None if one cannot be made so."""
        sights, told = [], 0
        last = len(self._sightings) - 1
        for index, (dev, direction, at, _) in enumerate(self._sightings):
            prepare = getattr(dev.tap, "prepare", None)
            if prepare is None:
                return None
            sights.append(prepare(direction, steps[told:at], steps[at:] if index == last else []))
            told = at
        return sights


def recording(dev: NetDevice, key: bytes, data: bytearray) -> Recording:
    """Record what becomes of a frame that came in by `dev`, to know its flow there."""
    flows = dev.flows
    assert flows is not None

    def keep(flow: Flow) -> None:
        if len(flows) >= FLOWS:
            flows.clear()
        flows[key] = flow

    return Recording(dev.net, data, keep, len(key) > 12)


def _plain(data: bytearray, at: int) -> bool:
    """A whole IPv4 packet without options, TCP or UDP, in a frame for one machine?"""
    return (
        not data[at] & 1
        and data[at + 12 : at + 15] == b"\x08\x00\x45"
        and not (data[at + 20] & 0xBF or data[at + 21])
        and data[at + 23] in (TCP, UDP)
    )
