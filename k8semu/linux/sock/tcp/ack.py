"""What an acknowledgement says: what arrived, how long it took, what is missing.

    tcp_ack ─▶ window update ─▶ clean_rtx_queue, sacktag ─▶ recovery or a larger window ─▶ send more

Linux: net/ipv4/tcp_input.c tcp_ack(), tcp_clean_rtx_queue(), tcp_sacktag_write_queue()
RFC: 9293 section 3.10.7.4, 2018, 7323
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from k8semu.linux.core.drop import Drop
from k8semu.linux.sock.tcp import cong, output, recovery, timer, xmit
from k8semu.linux.sock.tcp.segment import FIN, MASK, Sent, unwrap
from k8semu.sim.clock import NS_PER_MS

if TYPE_CHECKING:
    from k8semu.linux.sock.tcp.options import Options
    from k8semu.linux.sock.tcp.segment import Header
    from k8semu.linux.sock.tcp.sock import TcpSock


def seq_of(sent: Sent) -> int:
    """The key by which the queue of segments in flight is sorted."""
    return sent.seq


def tcp_ack(sk: TcpSock, h: Header, seq: int, opts: Options | None, ts: tuple[int, int] | None) -> Drop | None:
    """Take in an acknowledgement; a reason if it is unacceptable and the segment must go.

    `opts` is None on the fast path, where the only option is the timestamp `ts`.
    """
    una = sk.snd_una
    ack = unwrap(una, h.ack)
    if ack < una:
        if ack < una - max(sk.max_window, 1):
            return Drop.TCP_TOO_OLD_ACK
        if opts is not None and opts.sack:
            _ack_sacks(sk, ack, opts)
        return None
    if ack > sk.snd_nxt:
        return Drop.TCP_ACK_UNSENT_DATA
    if ts is not None and seq <= sk.rcv_wup:
        store_ts_recent(sk, ts[0])
    window = h.window << sk.snd_wscale
    updated = _update_window(sk, seq, ack, window)
    sk.probes_out = 0
    if not sk.rtx:
        sk.snd_una = ack
        _ack_probe(sk)
        return None
    prior_flight = output.in_flight(sk)
    delivered = 0
    advanced = ack > una
    if advanced:
        sk.retransmits = 0
        sk.confirm = True
        delivered = _clean_rtx_queue(sk, ack, ts)
    sacked = 0
    if opts is not None and opts.sack:
        sacked = sacktag(sk, ack, opts.sack)
    elif sk.sack_cache:
        sk.sack_cache = {}
    dup = not advanced and not updated and h.data == h.end and not h.flags & FIN and not sk.sack_ok
    if sacked or dup or sk.sacked_out or sk.ca_state != "Open":
        recovery.fastretrans_alert(sk, ack, delivered + sacked, advanced, dup)
    if sk.tlp_high and ack >= sk.tlp_high:
        _loss_probe_answered(sk, ack)
    if advanced and sk.ca_state in ("Open", "Disorder", "Loss") and delivered + sacked:
        if prior_flight >= sk.cwnd:
            sk.cwnd_limited = True
        cong.cong_avoid(sk, delivered + sacked)
    if sk.lost_out > sk.retrans_out:
        recovery.xmit_retransmit_queue(sk)
    return None


def _loss_probe_answered(sk: TcpSock, ack: int) -> None:
    """If the probe was old data and more than it is acknowledged, it filled a hole. Linux: tcp_process_tlp_ack()."""
    if sk.tlp_retrans and ack > sk.tlp_high:
        sk.ssthresh = sk.cwnd = sk.ca.ssthresh(sk.cwnd)
    sk.tlp_high = 0


def _ack_sacks(sk: TcpSock, ack: int, opts: Options) -> None:
    """An old acknowledgement may still bring SACKs."""
    sacked = sacktag(sk, sk.snd_una, opts.sack)
    if sacked:
        recovery.fastretrans_alert(sk, sk.snd_una, sacked, False, False)
        recovery.xmit_retransmit_queue(sk)


def store_ts_recent(sk: TcpSock, tsval: int) -> None:
    """Remember the peer's timestamp if it is not older. Linux: tcp_replace_ts_recent(), tcp_paws_check()."""
    if (tsval - sk.ts_recent & MASK) < 0x80000000:
        sk.ts_recent = tsval


def _update_window(sk: TcpSock, seq: int, ack: int, window: int) -> bool:
    """Is this the newest word on the window? Linux: tcp_ack_update_window()."""
    if ack > sk.snd_una or seq > sk.snd_wl1 or (seq == sk.snd_wl1 and window > sk.snd_wnd):
        sk.snd_wl1 = seq
        if sk.snd_wnd != window:
            sk.snd_wnd = window
            if window > sk.max_window:
                sk.max_window = window
                xmit.sync_mss(sk)
            return True
    return False


def _ack_probe(sk: TcpSock) -> None:
    """Nothing is in flight: has the window opened for what waits? Linux: tcp_ack_probe()."""
    if not sk.unsent:
        return
    head = sk.unsent[0]
    if min(head.end, head.seq + sk.mss_cache) <= sk.snd_una + sk.snd_wnd:
        sk.backoff = 0
        timer.clear_rto(sk)
    elif not sk.rto_at:
        timer.set_probe(sk)


def _clean_rtx_queue(sk: TcpSock, ack: int, ts: tuple[int, int] | None) -> int:
    """Forget what is acknowledged; how many segments that delivers."""
    rtx = sk.rtx
    count = delivered = 0
    first = newest = 0
    for sent in rtx:
        if sent.end > ack:
            if ack > sent.seq:
                sent.seq = ack
            break
        count += 1
        if sent.sacked:
            sk.sacked_out -= 1
        else:
            delivered += 1
            if not sent.tries:
                first = first or sent.sent_at or 1
            if sent.sent_at > newest:
                newest = sent.sent_at
        if sent.lost:
            sk.lost_out -= 1
        if sent.retrans:
            sk.retrans_out -= 1
    del rtx[:count]
    sk.snd_una = ack
    _free(sk, ack)
    now = sk.clock.now
    if newest > sk.rack_at:
        sk.rack_at = newest
    if first:
        timer.rtt_sample(sk, now - first)
    elif ts is not None and ts[1] and count:
        timer.rtt_sample(sk, max((xmit.ts_now(sk) - ts[1] & MASK) * NS_PER_MS, 1))
    if count:
        sk.backoff = 0
        if not sk.sack_ok:
            sk.sacked_out = 0
            sk.dupacks = 0
    if rtx:
        timer.set_xmit_timer(sk, True)
    else:
        sk.retrans_stamp = 0
        timer.clear_rto(sk)
    return delivered


def _free(sk: TcpSock, ack: int) -> None:
    """Give the acknowledged bytes' room back. Linux: tcp_check_space(), tcp_new_space()."""
    done = ack - sk.buf_seq
    if done <= 0:
        return
    buf = sk.buf
    done = min(done, len(buf))
    del buf[:done]
    sk.buf_seq += done
    if sk.nospace and not sk.sndbuf_locked and len(sk.rtx) < sk.cwnd:
        expand_sndbuf(sk)


def expand_sndbuf(sk: TcpSock) -> None:
    """Room for twice the congestion window. Linux: tcp_sndbuf_expand()."""
    per_mss = 1 << (max(sk.mss_clamp, sk.mss_cache) + 640 - 1).bit_length()
    want = 2 * max(cong.INIT_CWND, sk.cwnd) * (per_mss + 256)
    if sk.sndbuf < want:
        most = int(str(sk.net.sysctl.values["net.ipv4.tcp_wmem"]).split()[2])
        sk.sndbuf = min(want, most)


def sacktag(sk: TcpSock, ack: int, blocks: list[tuple[int, int]]) -> int:
    """Mark what the peer has beyond `ack`; how many segments that delivers.

    Blocks grow at their end, so what the last acknowledgement said of one is not gone through again.
    """
    rtx, before, now = sk.rtx, sk.sack_cache, {}
    delivered = 0
    for left, right in blocks:
        start, end = unwrap(sk.snd_una, left), unwrap(sk.snd_una, right)
        if start >= end or end > sk.snd_nxt or end <= ack:
            continue  # nonsense, or a duplicate reported (RFC 2883)
        now[start] = end
        known = before.get(start, start)
        if known >= end:
            continue
        index = bisect_left(rtx, max(known, ack), key=seq_of)
        for sent in rtx[index:]:
            if sent.end > end:
                break
            if not sent.sacked:
                _sack(sk, sent)
                delivered += 1
    sk.sack_cache = now
    return delivered


def _sack(sk: TcpSock, sent: Sent) -> None:
    sent.sacked = True
    sk.sacked_out += 1
    if sent.lost:
        sent.lost = False
        sk.lost_out -= 1
    if sent.retrans:
        sent.retrans = False
        sk.retrans_out -= 1
    if sent.sent_at > sk.rack_at:
        sk.rack_at = sent.sent_at
