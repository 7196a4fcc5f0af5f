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
from k8semu.linux.core.skb import MAX_LIFE
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
INNER = 50                         # of a frame in VXLAN: after Ethernet, IPv4, UDP and VXLAN
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


Within = Callable[[bytearray, int, Any, int], bool]
"""(frame, where its TCP header begins, connection, direction): is it within the window? If so, the window has moved."""
_NO_WINDOW = (None, None, 0, None)


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
        self.flags_at = 0 if proto != TCP else INNER + 47 if encapsulated else 47

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
            if size < INNER + 54:
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
        if size < INNER + 54:
            return None
        outside, inside = _KEYS(data, 26)
        return outside + inside
    return tcp_key(data, 26)[0]


class Told:
    """What the parts of the way said of one packet. Lengths are how much more there was of it than at first."""

    __slots__ = ("chains", "connections", "deadlines", "grown", "hits", "lives", "stats", "updated", "used", "window")

    def __init__(self) -> None:
        self.lives = self.grown = 0
        self.stats: list[tuple[Stats, bool, int]] = []             # of a device, received?, length
        self.hits: list[tuple[list[int], int]] = []                # a rule's counters, length
        self.chains: list[tuple[Any, int]] = []                    # whose policy counted it, length
        self.connections: list[tuple[Any, int, int, int, int, int]] = []   # status, state, timeout, last index and dir
        self.window: tuple[Within, Any, int, Callable[[], int]] | None = None   # TCP's: asked of each frame
        self.updated: list[Any] = []                               # FDB entries confirmed
        self.used: list[Aged] = []
        self.deadlines: list[Callable[[], int]] = []


class Flow:
    """What is done with every packet of a flow, as `Recording` found it with the first."""

    __slots__ = (
        "_actions", "_chains", "_connections", "_deadlines", "_epoch", "_grown", "_hits", "_lives", "_longest",
        "_net", "_out", "_received", "_sent", "_shape", "_statuses", "_steps", "_until", "_updated", "_used",
        "_window",
    )  # fmt: skip

    def __init__(
        self, net: Net, epoch: int, shape: Shape, longest: int, told: Told, out: VethDevice,
        actions: tuple[Action, ...], steps: tuple[Step, ...],
    ) -> None:  # fmt: skip
        self._net, self._epoch, self._shape, self._longest = net, epoch, shape, longest
        self._out, self._actions, self._steps = out, actions, steps
        self._lives, self._grown = told.lives, told.grown
        self._received = tuple((stats, more) for stats, came, more in told.stats if came)
        self._sent = tuple((stats, more) for stats, came, more in told.stats if not came)
        self._hits, self._chains = tuple(told.hits), tuple(told.chains)
        self._statuses = tuple(connection[:3] for connection in told.connections)
        self._connections = tuple((ct, *after) for ct, _, _, *after in told.connections)
        self._window = told.window
        self._updated, self._used = tuple(told.updated), tuple(told.used)
        self._deadlines = tuple(told.deadlines)
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
        within, ct, direction, _ = self._window or _NO_WINDOW
        tcp_at = self._shape.flags_at - 13
        count = octets = 0
        for data, packet_id, life in train:
            size = len(data)
            if size > longest or life[0] + lives > MAX_LIFE or (fits is not None and not fits(data, size)):
                break
            if within is not None and not within(data, tcp_at, ct, direction):
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
        if self._window is not None:
            _, ct, _, renew = self._window
            ct.expires = now + renew()
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
