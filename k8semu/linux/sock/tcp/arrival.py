"""Segments that arrive as expected take a shortcut: what was found out about the first holds for those like it.

    veth ─▶ Arrival known? ─yes─▶ as predicted? ─▶ counted, shown, taken in by the socket
                  │ no                 │ no
                  ▼                    ▼
              the whole way: IP, route, TCP ─▶ header prediction ─▶ Arrival

The end of a flow (see core.flow), where no hook function looks on. Its guards are those of the whole way:
the frame's header fields, sound checksums, the epoch, the socket, and TCP's header prediction.

Linux: net/ipv4/tcp_ipv4.c tcp_v4_early_demux(): the socket's route is used, too
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.core.dev import Direction
from k8semu.linux.core.flow import FLOWS, Action, Shape, Train
from k8semu.linux.sock.tcp import input
from k8semu.linux.sock.tcp.segment import Header, read_header
from k8semu.linux.sock.tcp.states import ESTABLISHED
from k8semu.trace.hop import Hop
from k8semu.wire.checksum import known_sum

if TYPE_CHECKING:
    from k8semu.linux.core.skb import Skb
    from k8semu.linux.sock.tcp.sock import TcpSock

TH, BODY = 34, 66
"""Where the TCP header starts, and the payload: no IP options, and of TCP's only the timestamp."""

from_bytes = int.from_bytes


def learn(sk: TcpSock, skb: Skb, h: Header) -> None:
    """Make the next segments like this one take the shortcut, if there is one for them."""
    dev, net = skb.dev, sk.net
    straight = (
        dev is not None and dev.kind == "veth" and dev is skb.iif and dev.rx_handler is None
        and len(skb.steps) == 2 and not skb.frag_max and h.th == TH and h.data == BODY and not net.hooks.used
    )  # fmt: skip
    if not straight or dev is None or dev.flows is None:
        return
    sight: Action | None = None
    if dev.tap is not None:
        prepare = getattr(dev.tap, "prepare", None)
        if prepare is None:
            return
        sight = prepare(Direction.IN, skb.steps[:1], [skb.steps[1], sk.deliver_step])
    if len(dev.flows) >= FLOWS:
        dev.flows.clear()
    dev.flows[h.key] = Arrival(sk, skb, h, sight)


class Arrival:
    """What is done with every segment of a connection that arrives as predicted."""

    __slots__ = ("_epoch", "_key", "_net", "_shape", "_sight", "_sk", "_stats", "_steps")

    def __init__(self, sk: TcpSock, skb: Skb, h: Header, sight: Action | None) -> None:
        assert skb.dev is not None
        self._net, self._sk, self._key, self._sight = sk.net, sk, h.key, sight
        self._epoch, self._stats = sk.net.epoch, skb.dev.stats
        self._shape = Shape(skb.data, False)
        self._steps = (*skb.steps, sk.deliver_step)

    def carry(self, train: Train) -> int:
        """Take in the first segments of a train; how many, until a guard fails."""
        net, sk, key, stats, sight = self._net, self._sk, self._key, self._stats, self._sight
        now = net.clock.now
        count = 0

        def delivered() -> None:
            if net.trace is not None:
                net.trace.hop(Hop(packet_id, net.name, now, now, self._steps))

        for data, packet_id, _ in train:
            size = len(data)
            if (
                self._epoch != net.epoch or sk.state is not ESTABLISHED or size < BODY
                or (not count and not self._shape.fits(data, size))
            ):  # fmt: skip
                break
            sport, dport, seq, ack, offset, flags, window, _, _ = read_header(data, TH)
            h = Header(key, sport, dport, seq, ack, flags, window, TH, TH + 20, TH + (offset >> 4 << 2), size)
            ts = input.predicted(sk, data, h)
            if ts is None or not input.ack_fits(sk, h) or sk.table.hash.get(key) is not sk:
                break
            payload = bytes(data[BODY:])
            if (from_bytes(data[TH:BODY], "big") + known_sum(payload) + sk.addr_sum + size - TH) % 0xFFFF:
                break
            stats.rx_packets += 1
            stats.rx_bytes += size
            if sight is not None:
                sight(data, packet_id)
            input.rcv_predicted(sk, payload, h, ts, delivered)
            if not sk.orphan and sk.has_news:
                sk.notify()
            count += 1
        return count
