"""The flow cache: what a namespace did with one packet of a flow, it does again with the next ones.

    veth in ─▶ flow known? ─yes─▶ Flow.carry: guards hold ─▶ the same actions again ─▶ veth out
                   │ no                      │ one does not
                   ▼                         ▼
               the whole way: bridge, netfilter, route, neighbour, tunnel ─▶ veth out
               … each part tells `skb.rec`, a Recording, what it did ─▶ Flow

A packet that is forwarded from one veth to another is recorded on its way, and so is one that a TCP
socket sends by a veth (the socket then knows its flow). What the parts say is
of four kinds, and that is all a Flow consists of:

    guards      what it hung on, and what can change without notice: the frame's own header fields, a
                connection's status, and the moment until which FDB entries, neighbours and connections hold
    counters    of devices, rules and policies
    freshness   what the packet kept alive: FDB entries, neighbours, connections
    actions     what was done to the bytes, and the capture points in between, in order

Rule 1  What changes by notice (commands, addresses, routes, links, a neighbour's state, an FDB entry
        that is learned, moved or forgotten) starts a new `Net.epoch`; a Flow ends with its epoch.
Rule 2  Who does to a packet what it would not do to each packet of the flow says `refuse`, or ends the
        packet; a packet that made another packet is refused here. Hook functions that do not know of
        recordings (`Hooks.by_flow`) prevent any.
Rule 3  A Flow is made only if its actions give the very bytes that the recorded packet had, wherever it
        was captured and as it left. So a part that forgets to tell of a change costs time, not truth.
Rule 4  Frames of a flow that are together at one instant are a train: guards that they cannot break are asked of the
        first, counters and freshness are written once, and they go on as a train.
Rule 5  Only what goes straight on is recorded: IPv4 without options, whole, TCP segments with nothing
        but ACK and PSH, and UDP; also inside VXLAN. No longer packet takes the way of a shorter one.

So whoever looks sees no difference: captures with their comments, traces, counters, timeouts are
those of the whole way. A property test runs random networks both ways and compares.

Linux: net/netfilter/nf_flow_table_ip.c nf_flow_offload_ip_hook(): such a shortcut through a router
Differs: Linux's shows (no capture, no rule counters, no TTL of a bridge); this one does not.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any, Protocol

from k8semu.linux.core.dev import Direction
from k8semu.linux.core.skb import MAX_LIFE, Skb
from k8semu.trace.hop import Hop

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice, Stats
    from k8semu.linux.core.net import Net
    from k8semu.linux.drivers.veth import VethDevice
    from k8semu.trace.steps import Step

FLOWS = 1024
"""Of one device at most; then it starts anew."""

TCP, UDP = 6, 17
_ACK_ONLY, _FLAGS = 0x10, 0x37     # of FIN, SYN, RST, ACK, URG; who counts PSH or ECN bits refuses
_INNER = 50                        # of a frame in VXLAN: after Ethernet, IPv4, UDP and VXLAN
_NEVER = 1 << 63

Action = Callable[[bytearray, int], None]
"""What is done to the bytes of a frame, given its packet id, too."""
Train = list[tuple[bytearray, int, list[int]]]
"""Frames that are at one place at the same instant, right behind each other: bytes, packet id, life.

Either one frame of any kind; or several that one `Flow` carried which looks as far as into TCP. These differ in
lengths, identifications, sums that are right, and in what is inside TCP, and keep together: who knows the first
one of a train by its headers knows all."""

from_bytes = int.from_bytes
_HEADER = Struct("!16sHH4sH12s").unpack_from    # to IP version and TOS │ length │ identification │ … │ checksum │ key
_INSIDE = Struct("!HH24sHH4sH12s").unpack_from  # UDP's length and checksum, VXLAN, and the same of the packet inside


tcp_key: Callable[[bytearray, int], tuple[bytes]] = Struct("12s").unpack_from       # addresses and ports, at 26
_KEYS: Callable[[bytearray, int], tuple[bytes, bytes]] = Struct("12s38x12s").unpack_from    # … and those inside


class Aged(Protocol):
    """An FDB entry or neighbour: remembers when it was last of use."""

    used: int


class Known(Protocol):
    """What is done with the frames of a flow that come in by a device: a `Flow`, or what ends here."""

    def carry(self, train: Train) -> int:
        """Do it with the first frames of a train; with how many. The next one has to go the whole way."""


class FlowTap(Protocol):
    """A capture point that can be made ready for all frames of a flow."""

    def prepare(self, direction: Direction, before: list[Step], after: list[Step]) -> Action:
        """What captures a frame that `before` is to be said of, and, as it ends, `after`."""


class Shape:
    """The header fields that a frame of the flow has in common with the recorded one.

    `head`: Ethernet, IP version and TOS; `middle`: DF, TTL, protocol; `key`: addresses and ports; `sum`: of all
    that is in the IP checksum but length and identification. And the same `inner_…` of a packet in VXLAN.
    """

    __slots__ = ("flags_at", "head", "inner_head", "inner_key", "inner_middle", "inner_sum", "key", "middle", "sum")

    def __init__(self, data: bytearray, encapsulated: bool) -> None:
        self.head, length, ident, self.middle, check, self.key = _HEADER(data)
        self.sum = (from_bytes(data[14:34], "big") - length - ident - check) % 0xFFFF
        self.inner_head = self.inner_middle = self.inner_key = b""
        self.inner_sum = 0
        proto = data[23]
        if encapsulated:
            _, _, self.inner_head, length, ident, self.inner_middle, check, self.inner_key = _INSIDE(data, 38)
            self.inner_sum = (from_bytes(data[64:84], "big") - length - ident - check) % 0xFFFF
            proto = data[73]
        self.flags_at = 0 if proto != TCP else _INNER + 47 if encapsulated else 47

    def fits(self, data: bytearray, size: int) -> bool:
        """Has `data` this shape, and sound headers?"""
        if size < 54:
            return False
        head, length, ident, middle, check, key = _HEADER(data)
        if (
            key != self.key
            or head != self.head
            or middle != self.middle
            or length != size - 14
            or (self.sum + length + ident + check) % 0xFFFF
        ):
            return False
        if self.inner_head:
            if size < _INNER + 54:
                return False
            udp_length, udp_check, head, length, ident, middle, check, key = _INSIDE(data, 38)
            if (
                key != self.inner_key
                or head != self.inner_head
                or middle != self.inner_middle
                or udp_length != size - 34
                or udp_check
                or length != size - 64
                or (self.inner_sum + length + ident + check) % 0xFFFF
            ):
                return False
        return not self.flags_at or data[self.flags_at] & _FLAGS == _ACK_ONLY


def flow_key(dev: NetDevice, data: bytearray) -> bytes | None:
    """Addresses and ports, in a tunnel that ends here also those inside; None for what is never recorded."""
    size = len(data)
    if size < 54:
        return None
    proto = data[23]
    if proto == TCP:
        return tcp_key(data, 26)[0]
    if proto != UDP:
        return None
    encap = dev.net.udp_encap
    if encap and (data[36] << 8 | data[37]) in encap:
        if size < _INNER + 54:
            return None
        outside, inside = _KEYS(data, 26)
        return outside + inside
    return tcp_key(data, 26)[0]


class Recording:
    """What becomes of one packet, told by those who do it (`skb.rec`); `finish` makes a Flow of it."""

    __slots__ = (
        "_actions", "_chains", "_connections", "_deadlines", "_epoch", "_hits", "_ident", "_keep",
        "_lives", "_net", "_next_id", "_now", "_original", "_refused", "_shape", "_sightings", "_size", "_stats",
        "_updated", "_used",
    )  # fmt: skip

    def __init__(self, net: Net, data: bytearray, keep: Callable[[Flow], None], encapsulated: bool = False) -> None:
        """`keep` is called with the Flow, if one is made."""
        self._net, self._keep, self._size = net, keep, len(data)
        self._original, self._ident = bytes(data), net.ipv4.ident
        self._epoch, self._now, self._next_id = net.epoch, net.clock.now, net.world.peek_packet_id()
        self._shape = Shape(data, encapsulated)
        plain = _plain(data, 0) and (not encapsulated or _plain(data, _INNER))
        self._refused = not plain or not self._shape.fits(data, self._size)  # a SYN speaks for no other segment
        self._actions: list[Action | None] = []      # None: a sighting, filled in at the end
        self._sightings: list[tuple[NetDevice, Direction, int, bytes]] = []
        self._stats: list[tuple[Stats, bool, int]] = []
        self._hits: list[tuple[list[int], int]] = []
        self._chains: list[tuple[Any, int]] = []
        self._connections: list[tuple[Any, int, int, int, int, int]] = []
        self._updated: list[Any] = []
        self._used: list[Aged] = []
        self._deadlines: list[Callable[[], int]] = []
        self._lives = 0

    def refuse(self) -> None:
        """The next packet may fare otherwise: make no flow of this one."""
        self._refused = True

    def received(self, dev: NetDevice, skb: Skb) -> None:
        """`dev` has counted and shown a frame that came in."""
        self._stats.append((dev.stats, True, len(skb.data) - self._size))
        if dev.tap is not None:
            self.sighting(dev, Direction.IN, skb)

    def sent(self, dev: NetDevice, skb: Skb) -> None:
        """`dev` has counted and shown a frame that goes out."""
        self._stats.append((dev.stats, False, len(skb.data) - self._size))
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
        self._hits.append((counters, octets - self._size))

    def policy(self, chain: object, octets: int) -> None:
        """A chain's policy counted the packet."""
        self._chains.append((chain, octets - self._size))

    def connection(self, ct: Any, timeout: int) -> None:
        """A connection was found, and lives `timeout` ns from now; its status and state must stay."""
        self._connections.append((ct, ct.status, ct.state, timeout, ct.last_index, ct.last_dir))
        self._deadlines.append(lambda: ct.expires - 1)

    def refreshed(self, entry: object) -> None:
        """An FDB entry was confirmed: `entry.updated` is now."""
        self._updated.append(entry)

    def used(self, entry: Aged, until: Callable[[], int] | None = None) -> None:
        """An entry was used (`entry.used` is now); without notice it holds until `until()`."""
        self._used.append(entry)
        if until is not None:
            self._deadlines.append(until)

    def holds(self, until: Callable[[], int]) -> None:
        """Something the packet hung on holds until then."""
        self._deadlines.append(until)

    def lived(self) -> None:
        """One of the packet's `life` was spent."""
        self._lives += 1

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
            self._keep(Flow(self, out, actions, tuple(skb.steps), len(skb.data)))

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


class Flow:
    """What is done with every packet of a flow, as `Recording` found it with the first."""

    __slots__ = (
        "_actions", "_chains", "_connections", "_deadlines", "_epoch", "_grown", "_hits", "_lives", "_longest",
        "_net", "_out", "_received", "_sent", "_shape", "_statuses", "_steps", "_until", "_updated", "_used",
    )  # fmt: skip

    def __init__(
        self, rec: Recording, out: VethDevice, actions: tuple[Action, ...], steps: tuple[Step, ...], size: int
    ) -> None:
        self._net = rec._net
        self._epoch, self._shape, self._lives, self._longest = rec._epoch, rec._shape, rec._lives, rec._size
        self._out, self._actions, self._steps = out, actions, steps
        self._grown = size - rec._size
        self._received = tuple((stats, more) for stats, came, more in rec._stats if came)
        self._sent = tuple((stats, more) for stats, came, more in rec._stats if not came)
        self._hits, self._chains = tuple(rec._hits), tuple(rec._chains)
        self._statuses = tuple(connection[:3] for connection in rec._connections)
        self._connections = tuple((ct, *after) for ct, _, _, *after in rec._connections)
        self._updated, self._used = tuple(rec._updated), tuple(rec._used)
        self._deadlines = tuple(rec._deadlines)
        self._until = -1

    def _holds(self, now: int) -> bool:
        """Is everything still fresh? What is kept alive moves its end on, so this is asked seldom."""
        self._until = min([until() for until in self._deadlines], default=_NEVER)
        return now <= self._until

    def carry(self, train: Train, apart: bool = False) -> int:
        """Do with the first frames of a train what was done with the recorded one; with how many, until a guard fails.

        `apart`: these frames do not come from a flow; each has to be looked at.
        """
        net, out = self._net, self._out
        now = net.clock.now
        peer = out.peer
        if (
            self._epoch != net.epoch
            or (now > self._until and not self._holds(now))
            or peer is None or out.loss or not out.active
        ):  # fmt: skip
            return 0
        for ct, status, state in self._statuses:
            if ct.status != status or ct.state != state:
                return 0
        longest = min(self._longest, peer.mtu + 18 - self._grown)
        actions, lives = self._actions, self._lives + 1
        fits: Callable[[bytearray, int], bool] | None = self._shape.fits
        count = octets = 0
        for data, packet_id, life in train:
            size = len(data)
            if size > longest or life[0] + lives > MAX_LIFE or (fits is not None and not fits(data, size)):
                break
            life[0] += lives
            for action in actions:
                action(data, packet_id)
            octets += size
            count += 1
            if not apart:
                fits = None
        if count:
            if count < len(train):
                train = train[:count]
            self._account(now, count, octets)
            if net.trace is not None:
                for _, packet_id, _ in train:
                    net.trace.hop(Hop(packet_id, net.name, now, now, self._steps))
            out.launch(train, self if self._shape.flags_at else None)   # else frames that differ inside would be joined
        return count

    def _account(self, now: int, packets: int, octets: int) -> None:
        """So many frames went through, with so many bytes as they came in."""
        for ct, timeout, last_index, last_dir in self._connections:
            ct.expires = now + timeout
            ct.last_index = last_index
            ct.last_dir = last_dir
        for entry in self._updated:
            entry.updated = now
        for entry in self._used:
            entry.used = now
        for stats, more in self._received:
            stats.rx_packets += packets
            stats.rx_bytes += octets + packets * more
        for stats, more in self._sent:
            stats.tx_packets += packets
            stats.tx_bytes += octets + packets * more
        for hit, more in self._hits:
            hit[0] += packets
            hit[1] += octets + packets * more
        for chain, more in self._chains:
            chain.packets += packets
            chain.octets += octets + packets * more
