"""What was lost, and sending it again.

    Open ─ SACK ▶ Disorder ─ three segments SACKed above a hole ▶ Recovery ─ all acknowledged ▶ Open
      └──────────────────────── retransmission timeout ▶ Loss ─ all acknowledged ▶ Open

Linux: net/ipv4/tcp_input.c tcp_fastretrans_alert(), tcp_enter_loss(), tcp_cwnd_reduction()
       net/ipv4/tcp_output.c tcp_retransmit_skb(), tcp_xmit_retransmit_queue()
RFC: 6675 (SACK recovery), 6937 (proportional rate reduction), 6582 (NewReno, without SACK)
Differs: RACK (RFC 8985) without its timer and without a window that adapts to reordering; three SACKs
above a hole count as loss too.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from k8semu.linux.sock.tcp import output, timer, xmit
from k8semu.linux.sock.tcp.segment import ACK, FIN, PSH, SYN, Sent
from k8semu.linux.sock.tcp.states import SYN_RECV, SYN_SENT

if TYPE_CHECKING:
    from k8semu.linux.sock.tcp.sock import TcpSock

REORDERING = 3
"""Segments that may overtake one before it counts as lost. Linux: net.ipv4.tcp_reordering."""


def _start(sent: Sent) -> int:
    return sent.seq


def fastretrans_alert(sk: TcpSock, ack: int, delivered: int, advanced: bool, dup: bool) -> None:
    """An acknowledgement came while something may be missing."""
    if sk.ca_state in ("Recovery", "Loss") and ack >= sk.high_seq and advanced:
        _leave(sk)
    if not sk.sack_ok:
        _count_duplicates(sk, advanced, dup)
    newly_lost = mark_lost(sk)
    if sk.ca_state == "Open" and sk.sacked_out:
        sk.ca_state = "Disorder"
    elif sk.ca_state == "Disorder" and not sk.sacked_out:
        sk.ca_state = "Open"
    if sk.ca_state in ("Open", "Disorder"):
        if sk.lost_out <= sk.retrans_out:
            return
        _enter_recovery(sk)
    if sk.ca_state == "Recovery":
        _reduce(sk, delivered, advanced and not newly_lost)


def _enter_recovery(sk: TcpSock) -> None:
    """Linux: tcp_enter_recovery(), tcp_init_cwnd_reduction()."""
    sk.high_seq = sk.snd_nxt
    sk.prior_cwnd = sk.cwnd
    sk.prr_delivered = sk.prr_out = 0
    sk.ssthresh = sk.ca.ssthresh(sk.cwnd)
    sk.ca_state = "Recovery"


def _leave(sk: TcpSock) -> None:
    """All that was in flight when it began is acknowledged. Linux: tcp_try_undo_…, tcp_end_cwnd_reduction()."""
    if sk.ca_state == "Recovery":
        sk.cwnd = max(sk.ssthresh, 1)
    sk.ca_state = "Open"
    sk.retrans_stamp = 0
    sk.dupacks = 0
    if not sk.sack_ok:
        sk.sacked_out = 0


def _reduce(sk: TcpSock, delivered: int, clean: bool) -> None:
    """Let the window shrink in step with what arrives. Linux: tcp_cwnd_reduction()."""
    flight = output.in_flight(sk)
    room = sk.ssthresh - flight
    sk.prr_delivered += delivered
    if room < 0:
        send = (sk.ssthresh * sk.prr_delivered + sk.prior_cwnd - 1) // max(sk.prior_cwnd, 1) - sk.prr_out
    else:
        send = min(room, max(sk.prr_delivered - sk.prr_out, delivered) + (1 if clean else 0))
    sk.cwnd = max(flight + max(send, 0 if sk.prr_out else 1), 1)


def _count_duplicates(sk: TcpSock, advanced: bool, dup: bool) -> None:
    """Without SACK each duplicate acknowledgement stands for one segment arrived. Linux: tcp_add_reno_sack()."""
    if dup and sk.dupacks < len(sk.rtx):
        sk.dupacks += 1
        if sk.sacked_out + sk.lost_out < len(sk.rtx):
            sk.sacked_out += 1
    head = sk.rtx[0] if sk.rtx else None
    if head is None or head.lost:
        return
    partial = advanced and sk.ca_state in ("Recovery", "Loss")
    if sk.dupacks == REORDERING or partial:
        head.lost = True
        sk.lost_out += 1
        sk.sacked_out = min(sk.sacked_out, len(sk.rtx) - sk.lost_out)


def mark_lost(sk: TcpSock) -> bool:
    """Mark holes with enough above them as lost. Linux: tcp_update_scoreboard(), tcp_rack_detect_loss()."""
    found = False
    rtx = sk.rtx
    if sk.sack_ok and sk.sacked_out >= REORDERING:
        above = 0
        index = len(rtx)
        while above < REORDERING and index:
            index -= 1
            above += rtx[index].sacked
        if index and rtx[index].seq > sk.lost_seq:
            first = bisect_left(rtx, sk.lost_seq, key=_start)
            sk.lost_seq = rtx[index].seq
            for sent in rtx[first:index]:
                if not sent.sacked and not sent.lost:
                    sent.lost = True
                    sk.lost_out += 1
                    found = True
    if sk.sack_ok and sk.rack_at and (sk.retrans_out or sk.sacked_out):
        found |= _detect_by_time(sk)
    return found


def _detect_by_time(sk: TcpSock) -> bool:
    """What was sent well before something that has arrived is lost; a retransmission too.

    Linux: net/ipv4/tcp_recovery.c tcp_rack_detect_loss()
    """
    reorder = sk.min_rtt >> 2
    limit = sk.rack_at - reorder
    oldest = sk.clock.now - sk.srtt - reorder
    found = False
    for sent in sk.rtx:
        if sent.sent_at >= limit:
            if not sent.tries:
                break
        elif sent.sacked or sent.sent_at > oldest:
            continue
        elif sent.retrans:
            sent.retrans = False
            sk.retrans_out -= 1
        elif not sent.lost:
            sent.lost = found = True
            sk.lost_out += 1
    return found


def enter_loss(sk: TcpSock) -> None:
    """The timer expired: all that is not SACKed counts as lost. Linux: tcp_enter_loss()."""
    if sk.ca_state in ("Open", "Disorder") or not sk.retransmits:
        sk.ssthresh = sk.ca.ssthresh(sk.cwnd)
    if not sk.sack_ok:
        sk.sacked_out = sk.dupacks = 0
    sk.lost_out = sk.retrans_out = 0
    for sent in sk.rtx:
        sent.retrans = False
        sent.lost = not sent.sacked
        sk.lost_out += sent.lost
    sk.cwnd = output.in_flight(sk) + 1
    sk.cwnd_cnt = 0
    sk.ca_state = "Loss"
    sk.high_seq = sk.snd_nxt
    sk.lost_seq = sk.snd_nxt
    sk.sack_cache = {}


def simple_retransmit(sk: TcpSock) -> None:
    """Segments are too long for the path: cut them anew and send them again. Linux: tcp_simple_retransmit().

    What was sent in one go is cut as one piece, as Linux has it cut below.
    """
    mss = xmit.current_mss(sk)
    rtx: list[Sent] = []
    group: list[Sent] = []
    for sent in sk.rtx:
        if group and (sent.sacked or sent.chunk != group[0].chunk):
            rtx += _cut_anew(group, mss)
            group = []
        if sent.sacked:
            rtx.append(sent)
        else:
            group.append(sent)
    sk.rtx[:] = rtx + _cut_anew(group, mss)
    sk.lost_out = sum(sent.lost for sent in sk.rtx)
    sk.retrans_out = sum(sent.retrans for sent in sk.rtx)
    if not sk.lost_out:
        return
    if sk.ca_state != "Loss":
        sk.high_seq = sk.snd_nxt
        sk.ca_state = "Loss"
    xmit_retransmit_queue(sk)


def _cut_anew(group: list[Sent], mss: int) -> list[Sent]:
    """Adjoining segments as segments of at most `mss` bytes, lost; as they are when they fit already."""
    if all(sent.end - sent.seq - (sent.flags & FIN) <= mss for sent in group):
        return group
    first, last = group[0], group[-1]
    cut: list[Sent] = []
    seq, end = first.seq, last.end - (last.flags & FIN)
    while seq < end or not cut:
        stop = min(seq + mss, end)
        sent = Sent(seq, stop, ACK, first.sent_at, first.chunk)
        sent.lost, sent.tries = True, first.tries
        cut.append(sent)
        seq = stop
    cut[-1].flags, cut[-1].end = last.flags, last.end
    return cut


def xmit_retransmit_queue(sk: TcpSock) -> None:
    """Send lost segments again, as far as the window allows. Linux: tcp_xmit_retransmit_queue()."""
    index = 0
    rtx = sk.rtx
    while sk.lost_out > sk.retrans_out and index < len(rtx):
        sent = rtx[index]
        index += 1
        if not sent.lost or sent.retrans or sent.sacked:
            continue
        if output.in_flight(sk) >= sk.cwnd:
            return
        retransmit(sk, sent)
        if index == 1 and not sk.rto_at:
            timer.rearm_rto(sk)


def retransmit(sk: TcpSock, sent: Sent) -> None:
    """Send one segment again, cut if the MSS has become smaller. Linux: __tcp_retransmit_skb()."""
    if sk.state is SYN_SENT or (sk.state is SYN_RECV and sent.flags & SYN):
        sent.sent_at = sk.clock.now
        sent.tries += 1
        output.send_syn(sk, sent.flags)
        return
    mss = xmit.current_mss(sk)
    if sent.end - sent.seq - (sent.flags & FIN) > mss:
        _split(sk, sent, mss)
    sent.tries += 1
    sent.sent_at = sk.clock.now
    if sent.lost and not sent.retrans:
        sent.retrans = True
        sk.retrans_out += 1
    if not sk.retrans_stamp:
        sk.retrans_stamp = sk.clock.now or 1
    if sk.ca_state == "Recovery":
        sk.prr_out += 1
    xmit.transmit(sk, sent.seq, sent.flags | ACK, output.payload_of(sk, sent))


def _split(sk: TcpSock, sent: Sent, mss: int) -> None:
    """Cut a segment in flight; the rest keeps PSH and FIN. Linux: tcp_fragment()."""
    rest = Sent(sent.seq + mss, sent.end, sent.flags, sent.sent_at, sent.chunk)
    rest.lost, rest.tries = sent.lost, sent.tries
    sk.lost_out += rest.lost
    sent.end = rest.seq
    sent.flags &= ~(PSH | FIN)
    sk.rtx.insert(sk.rtx.index(sent) + 1, rest)
