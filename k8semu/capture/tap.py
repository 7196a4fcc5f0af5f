"""Capture points: every frame on the devices of a run, with what was decided about it.

    in ─▶ tap ─▶ bridge, route, NAT … ─▶ tap ─▶ out         the packet ends
          └ record 1                      └ record 2          └ settles record 2

Which comment stands on which record:
  Rule 1  What was decided before a sighting, since the one before it, stands on that sighting:
          a route, an FDB or neighbour entry, NAT with its rule, a tunnel; and who sent the packet.
  Rule 2  What is decided after a packet's last sighting stands on that last one, with its end:
          delivered, consumed, or dropped and why. That the frame went on is no comment, the next
          sighting shows it.
  Rule 3  A copy (flooding) starts without a sighting: its comments begin with its own first one.
So a record waits until its packet is seen again or ends, and all records behind it wait too, since
a capture is in order of time. A packet may wait for long (for ARP, for its fragments); past
`HELD` records the oldest is written as it stands.

Linux: net/packet/af_packet.c packet_rcv()
Differs: on the loopback only the inbound sighting is recorded, as libpcap does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from k8semu.capture.frame import LINKTYPE_ETHERNET, LINKTYPE_RAW
from k8semu.linux.core.dev import Direction, Iff, NetDevice
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import Skb
from k8semu.sim.clock import Clock
from k8semu.trace.steps import Receive, Step, Transmit
from k8semu.wire.header import ETH_HLEN

BATCH = 64
"""Records between two looks at what can be written."""
HELD = 16384
"""Records that wait at most for an unsettled one in front of them."""
MEMO = 8192
"""Step sequences whose comment is kept ready."""

Wants = Callable[[Net, NetDevice], bool]
Sight = Callable[[bytearray, int], None]
"""(data, packet id): a whole record of the frame as it is now is written, or joins those that wait."""


class Sink(Protocol):
    """Where records go: `PcapngWriter`, `PcapFolder`."""

    frames: int
    """Records that were written."""

    def interface(self, name: str, linktype: int) -> int:
        """The number of an interface."""

    def pack(
        self, interface: int, time: int, direction: int, data: bytes | bytearray, packet_id: int
    ) -> bytes:
        """A record without comments; copies `data`."""

    def sight(
        self, interface: int, direction: int, comments: bytes, clock: Clock, waiting: deque[Any],
        most: int, make_room: Callable[[int], None],
    ) -> Sight:  # fmt: skip
        """What writes whole records, with these comments: behind those that wait. With `most` it asks for room."""

    def put(self, records: list[Any]) -> None:
        """Write whole records."""

    def comment(self, lines: Iterable[str]) -> bytes:
        """Comments as the sink writes them; two of them can be joined."""

    def write(self, interface: int, packed: bytes, comments: bytes) -> None:
        """Write a record."""

    def secrets(self, lines: bytes) -> None:
        """Keep TLS secrets: NSS key log lines, of what is not written yet."""

    def close(self) -> None:
        """All is written."""

    def abort(self) -> None:
        """Nothing is to remain."""


def everywhere(net: Net, dev: NetDevice) -> bool:
    """Capture on every device."""
    return True


def comment_lines(steps: Iterable[Step]) -> list[str]:
    """What a frame's comment says of these steps: decisions and ends, no bookkeeping."""
    return [step.text for step in steps if step.depth < 3 and not isinstance(step, (Receive, Transmit))]


class Record:
    """One sighting that may still learn how it went on (a `Sighting` of `linux.core.skb`)."""

    __slots__ = ("comments", "interface", "memo", "packed", "settled")

    def __init__(self, interface: int, packed: bytes, comments: bytes, memo: _Memo) -> None:
        self.interface, self.packed, self.comments, self.memo = interface, packed, comments, memo
        self.settled = False

    def settle(self, steps: Sequence[Step]) -> None:
        """The packet was seen again, or ended with `steps`."""
        if steps:
            comments = self.memo[tuple(steps)]
            if comments:
                self.comments += comments
        self.settled = True


class _Memo(dict[tuple[Step, ...], bytes]):
    """Comments by the very steps they tell of. Steps hash by identity, and the key keeps them alive."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def __missing__(self, steps: tuple[Step, ...]) -> bytes:
        if len(self) >= MEMO:
            self.clear()
        comments = self[steps] = self._sink.comment(comment_lines(steps))
        return comments


class _DeviceTap:
    """The capture point of one device: the hot path, everything it needs is bound.

    Called, it takes one frame; `prepare` makes it ready for all frames of a flow (a `FlowTap` of core.flow).
    """

    __slots__ = (
        "_clock", "_interface", "_memo", "_pack", "_pending", "_sight", "_stripped", "_write_settled",
    )  # fmt: skip

    def __init__(
        self, dev: NetDevice, interface: int, sink: Sink, memo: _Memo, pending: deque[Any],
        write_settled: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._interface, self._clock, self._memo = interface, dev.net.clock, memo
        self._pack, self._sight = sink.pack, sink.sight
        self._pending, self._write_settled = pending, write_settled
        self._stripped = ETH_HLEN - dev.hard_header_len

    def __call__(self, skb: Skb, _: NetDevice, direction: Direction) -> None:
        steps, told = skb.steps, skb.told
        now = len(steps)
        if now > told:
            comments = self._memo[tuple(steps[told:] if told else steps)]
            skb.told = now
        else:
            comments = b""
        interface, pending = self._interface, self._pending
        data = skb.data[self._stripped :] if self._stripped else skb.data
        packed = self._pack(interface, self._clock.now, direction, data, skb.id)
        record = Record(interface, packed, comments, self._memo)
        before = skb.sighting
        if before is not None:
            before.settle([])
        skb.sighting = record
        pending.append(record)
        if len(pending) >= BATCH:
            self._write_settled(0)

    def prepare(
        self, direction: Direction, before: list[Step], after: list[Step]
    ) -> Sight:
        """What captures a frame whose comments (Rules 1 and 2) are known."""
        comments = self._memo[tuple(before)] + self._memo[tuple(after)]
        stripped = self._stripped
        sight = self._sight(  # as in `__call__`: the last one waits for what happens next
            self._interface, direction, comments, self._clock, self._pending, BATCH - 1, self._write_settled
        )

        def sight_raw(data: bytearray, packet_id: int) -> None:
            sight(data[stripped:], packet_id)

        return sight_raw if stripped else sight


class CaptureSession:
    """Captures on the devices of namespaces, those there are and those to come.

    Used as a context manager it closes the sink at the end of the block, and aborts it when the block
    fails (also by Ctrl-C).
    """

    def __init__(self, sink: Sink, wants: Wants = everywhere) -> None:
        self._sink = sink
        self._wants = wants
        self._memo = _Memo(sink)
        self._pending: deque[Any] = deque()   # `Record`, or a whole record of the sink's own
        self._nets: list[Net] = []
        self._tapped: list[tuple[NetDevice, bool]] = []   # (device, was it made promiscuous for us?)

    def attach(self, net: Net) -> None:
        """Capture on the devices of `net` that are wanted, now and later."""
        self._nets.append(net)
        net.on_device.append(self._attach_device)
        for dev in net.devs.values():
            self._attach_device(dev)

    @property
    def frames(self) -> int:
        """Records that were written."""
        return self._sink.frames

    def secrets(self, lines: bytes) -> None:
        """TLS secrets have become known, of frames that are yet to come."""
        if self._nets:
            self._sink.secrets(lines)

    def _attach_device(self, dev: NetDevice) -> None:
        if dev.tap is not None or not self._wants(dev.net, dev):
            return
        if dev.flags & Iff.LOOPBACK:
            dev.tap = self._loopback_tap(dev)
        else:
            dev.tap = self._tap(dev)
        promiscuous = dev.kind == "bridge" and not dev.flags & Iff.PROMISC
        if promiscuous:  # as tcpdump: a bridge shows forwarded frames only then
            dev.flags |= Iff.PROMISC
        self._tapped.append((dev, promiscuous))

    def _interface(self, dev: NetDevice) -> int:
        linktype = LINKTYPE_ETHERNET if dev.hard_header_len else LINKTYPE_RAW
        return self._sink.interface(f"{dev.net.name}/{dev.name}", linktype)

    def _loopback_tap(self, dev: NetDevice) -> Callable[[Skb, NetDevice, Direction], None]:
        """Described in the capture at the first frame: most loopbacks stay silent."""
        seen: Callable[[Skb, NetDevice, Direction], None] | None = None

        def tap(skb: Skb, on: NetDevice, direction: Direction) -> None:
            nonlocal seen
            if direction == Direction.IN:
                if seen is None:
                    seen = self._tap(dev)
                seen(skb, on, direction)

        return tap

    def _tap(self, dev: NetDevice) -> _DeviceTap:
        return _DeviceTap(dev, self._interface(dev), self._sink, self._memo, self._pending, self._write_settled)

    def _write_settled(self, coming: int) -> None:
        """Write what waits for nothing; `coming` records are about to join those that wait."""
        pending, write, put = self._pending, self._sink.write, self._sink.put
        pop = pending.popleft
        whole: list[Any] = []
        while pending:
            record = pending[0]
            if type(record) is not Record:
                whole.append(pop())
                continue
            if not record.settled and len(pending) + coming <= HELD:
                break
            if whole:
                put(whole)
                whole = []
            write(record.interface, record.packed, record.comments)
            pop()
        if whole:
            put(whole)

    def _detach(self) -> None:
        for net in self._nets:
            net.on_device.remove(self._attach_device)
        for dev, promiscuous in self._tapped:
            dev.tap = None
            if promiscuous:
                dev.flags &= ~Iff.PROMISC
        self._nets.clear()
        self._tapped.clear()

    def close(self) -> None:
        """Stop, write what still waits, and let the capture appear."""
        self._detach()
        for record in self._pending:
            if isinstance(record, Record):
                record.settled = True
        self._write_settled(0)
        self._sink.close()

    def abort(self) -> None:
        """Stop, and let nothing remain."""
        self._detach()
        self._pending.clear()
        self._sink.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
            return
        try:
            self.close()
        except BaseException:
            self._sink.abort()
            raise
