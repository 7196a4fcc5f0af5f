"""A segment's bytes: in order to the program, out of order kept aside, too old or too far dropped.

Linux: net/ipv4/tcp_input.c tcp_data_queue(), tcp_data_queue_ofo(), tcp_ofo_queue(), tcp_fin()
RFC: 9293 section 3.10.7.4, 2018 section 4, 2883 (duplicates reported)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.skb import Skb, deliver, drop
from k8semu.linux.sock.tcp import output, timer, window
from k8semu.linux.sock.tcp.segment import FIN
from k8semu.linux.sock.tcp.states import (
    CLOSE_WAIT,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    SYN_RECV,
    TIME_WAIT,
)

if TYPE_CHECKING:
    from k8semu.linux.sock.tcp.segment import Header
    from k8semu.linux.sock.tcp.sock import TcpSock

MAX_QUICKACKS = 16


class Early:
    """Bytes that came before those in front of them."""

    __slots__ = ("data", "end", "seq")

    def __init__(self, seq: int, end: int, data: bytearray) -> None:
        self.seq, self.end, self.data = seq, end, data


def data_queue(sk: TcpSock, skb: Skb, h: Header, seq: int) -> None:
    """Sort a segment's payload and FIN in; ends `skb`."""
    start, stop, fin = h.data, h.end, h.flags & FIN
    end = seq + stop - start + fin
    if seq == end:
        deliver(skb, sk.deliver_step)
        return
    nxt = sk.rcv_nxt
    offered = sk.rcv_wup + sk.rcv_wnd
    if sk.fin_received:
        _old(sk, seq, end)
        drop(skb, Drop.TCP_OLD_DATA, "after the FIN")
    elif end <= nxt:
        _old(sk, seq, end)
        drop(skb, Drop.TCP_OLD_DATA, "sent again")
    elif seq >= offered and (stop > start or seq > nxt):
        enter_quickack(sk)
        sk.ack_now = True
        zero = offered <= nxt
        drop(skb, Drop.TCP_ZEROWINDOW if zero else Drop.TCP_OVERWINDOW, "beyond what was offered")
    elif seq <= nxt:
        payload = bytes(skb.data[start + nxt - seq : stop])
        in_order(sk, payload, bool(fin))
        if sk.ofo:
            _take_from_ofo(sk)
        if sk.ofo_fin == sk.rcv_nxt and not sk.fin_received:
            tcp_fin(sk)
        deliver(skb, sk.deliver_step)
    else:
        queue_ofo(sk, seq, bytes(skb.data[start:stop]), bool(fin))
        deliver(skb, sk.deliver_step)


def in_order(sk: TcpSock, payload: bytes, fin: bool) -> None:
    """The next bytes of the stream."""
    if payload:
        sk.ready.append(payload)
        size = len(payload)
        sk.rcv_nxt += size
        event_data(sk, size)
    if fin:
        tcp_fin(sk)


def event_data(sk: TcpSock, size: int) -> None:
    """Data came: how to acknowledge it. Linux: tcp_event_data_recv(), tcp_measure_rcv_mss()."""
    now = sk.clock.now
    if size > sk.rcv_mss:
        sk.rcv_mss = min(size, sk.advmss)
    if not sk.lrcvtime or now - sk.lrcvtime > sk.rto:
        quick(sk)
    sk.lrcvtime = now or 1
    sk.ack_pending = True
    if sk.rcv_ssthresh < sk.window_clamp:
        window.grow(sk)


def quick(sk: TcpSock) -> None:
    """Acknowledge the next segments at once. Linux: tcp_incr_quickack()."""
    sk.quick = max(sk.quick, min(max(sk.rcv_wnd // (2 * max(sk.rcv_mss, 1)), 2), MAX_QUICKACKS))


def enter_quickack(sk: TcpSock) -> None:
    """Something is odd: the peer should know at once. Linux: tcp_enter_quickack_mode()."""
    quick(sk)
    sk.pingpong = False


def _old(sk: TcpSock, seq: int, end: int) -> None:
    """Data we have: say so. Linux: tcp_send_dupack()'s DSACK, tcp_dsack_set()."""
    if sk.sack_ok and seq < end:
        sk.ack_seq_ooo = (seq, min(end, sk.rcv_nxt))
    enter_quickack(sk)
    sk.ack_pending = sk.ack_now = True


def queue_ofo(sk: TcpSock, seq: int, payload: bytes, fin: bool) -> None:
    """Keep bytes that came too early; the queue stays sorted and free of overlaps."""
    enter_quickack(sk)
    sk.ack_pending = True
    end = seq + len(payload)
    if fin:
        sk.ofo_fin = end
    if not payload:
        return
    last = sk.ofo[-1] if sk.ofo else None
    if last is not None and last.end == seq:     # the usual case: one more behind the hole
        last.data += payload
        last.end = end
        _note_recent(sk, last.seq)
        return
    touching = [piece for piece in sk.ofo if piece.seq <= end and seq <= piece.end]
    if not touching:
        sk.ofo.append(Early(seq, end, bytearray(payload)))
        sk.ofo.sort(key=_by_seq)
    elif touching[0].seq <= seq and end <= touching[0].end:
        if sk.sack_ok:
            sk.ack_seq_ooo = (seq, end)
        seq = touching[0].seq
    else:
        seq = _merge(sk, Early(seq, end, bytearray(payload)), touching)
    _note_recent(sk, seq)


def _merge(sk: TcpSock, new: Early, touching: list[Early]) -> int:
    """Join `new` with what it overlaps or touches; where the joined piece starts."""
    for piece in touching:
        if piece.seq < new.seq:
            new.data[0:0] = piece.data[: new.seq - piece.seq]
            new.seq = piece.seq
        if piece.end > new.end:
            new.data += piece.data[new.end - piece.seq :]
            new.end = piece.end
        sk.ofo.remove(piece)
    sk.ofo.append(new)
    sk.ofo.sort(key=_by_seq)
    return new.seq


def _by_seq(piece: Early) -> int:
    return piece.seq


def _note_recent(sk: TcpSock, start: int) -> None:
    """The SACK option names the latest first."""
    if not sk.ofo_recent or sk.ofo_recent[0] != start:
        sk.ofo_recent = [start, *[other for other in sk.ofo_recent if other != start]][:8]


def _take_from_ofo(sk: TcpSock) -> None:
    """A hole is filled: what waited behind it is in order now. Linux: tcp_ofo_queue()."""
    while sk.ofo and sk.ofo[0].seq <= sk.rcv_nxt:
        piece = sk.ofo.pop(0)
        if piece.end > sk.rcv_nxt:
            in_order(sk, bytes(piece.data[sk.rcv_nxt - piece.seq :]), False)
    if not sk.ofo:
        sk.ofo_recent = []
    sk.ack_now = True


def tcp_fin(sk: TcpSock) -> None:
    """The peer's last sequence number is in order. Linux: tcp_fin()."""
    sk.rcv_nxt += 1
    sk.fin_received = True
    sk.ack_pending = True
    sk.ofo.clear()
    sk.eof()
    if sk.state in (ESTABLISHED, SYN_RECV):
        sk.set_state(CLOSE_WAIT)
        sk.pingpong = True
    elif sk.state is FIN_WAIT1:  # both close at once
        output.send_ack(sk)
        sk.set_state(CLOSING)
    elif sk.state is FIN_WAIT2:
        output.send_ack(sk)
        sk.table.time_wait(sk, TIME_WAIT)


def ack_check(sk: TcpSock) -> None:
    """Acknowledge now, or a little later. Linux: __tcp_ack_snd_check()."""
    if not sk.ack_pending and not sk.ack_now:
        return
    if (
        sk.ack_now
        or sk.ofo
        or (sk.quick and not sk.pingpong)
        or sk.rcv_nxt - sk.rcv_wup > sk.rcv_mss
    ):
        output.send_ack(sk)
    else:
        timer.delay_ack(sk)
