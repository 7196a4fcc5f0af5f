"""A segment came in for a socket: is it acceptable, and what state follows.

Rule 1: a segment with an old timestamp or outside the window changes nothing; it is answered.
Rule 2: a RST counts only at exactly the next sequence number; elsewhere in the window it is challenged.
Rule 3: a SYN inside a connection is challenged, never believed.
Rule 4: then the acknowledgement, then the data, then the FIN.

Linux: net/ipv4/tcp_input.c tcp_rcv_established(), tcp_rcv_state_process(), tcp_validate_incoming(),
       tcp_rcv_synsent_state_process()
RFC: 9293 section 3.10.7, 5961 (challenge acknowledgements), 7323 section 5 (PAWS)
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.skb import Skb, deliver, drop
from k8semu.linux.sock.tcp import arrival, cong, data, frame, minisocks, output, timer, window, xmit
from k8semu.linux.sock.tcp.ack import expand_sndbuf, tcp_ack
from k8semu.linux.sock.tcp.options import TS_ALIGNED, Options, parse_options, read_ts
from k8semu.linux.sock.tcp.segment import ACK, FIN, MASK, RST, SYN, URG, Header, flag_names, unwrap
from k8semu.linux.sock.tcp.states import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    LAST_ACK,
    LISTEN,
    SYN_RECV,
    SYN_SENT,
    TIME_WAIT,
)
from k8semu.sim.clock import NS_PER_MS
from k8semu.trace.steps import NotModelled, SockStep

if TYPE_CHECKING:
    from k8semu.linux.sock.tcp.sock import TcpSock

OOW_INTERVAL = 500 * NS_PER_MS
"""At most one answer to out-of-window segments in this time. Linux: net.ipv4.tcp_invalid_ratelimit."""
_urgent = NotModelled("TCP urgent data: taken as ordinary")
_ANY_FLAGS = FIN | SYN | RST | ACK | URG


def do_rcv(sk: TcpSock, skb: Skb, h: Header) -> None:
    """Process a segment; ends `skb`, then tells the owner. Linux: tcp_v4_do_rcv()."""
    if sk.state is ESTABLISHED:
        rcv_established(sk, skb, h)
    elif sk.state is LISTEN:
        minisocks.listen_rcv(sk, skb, h)
        return
    elif sk.state is SYN_SENT:
        rcv_synsent(sk, skb, h)
    else:
        rcv_state_process(sk, skb, h)
    if not sk.orphan and sk.has_news:
        sk.notify()


def rcv_established(sk: TcpSock, skb: Skb, h: Header) -> None:
    """Header prediction for what nearly always comes; the slow way for the rest."""
    ts = predicted(sk, skb.data, h)
    if ts is not None and ack_fits(sk, h):
        arrival.learn(sk, skb, h)
        rcv_predicted(sk, bytes(skb.data[h.data : h.end]), h, ts, partial(deliver, skb, sk.deliver_step))
        return
    opts = parse_options(skb.data, h.options, h.data)
    seq = unwrap(sk.rcv_nxt, h.seq)
    if not validate_incoming(sk, skb, h, opts, seq):
        return
    if not h.flags & ACK:
        drop(skb, Drop.TCP_FLAGS, f"{flag_names(h.flags) or 'no flags'} without ACK")
        return
    reason = tcp_ack(sk, h, seq, opts, opts.ts if sk.ts_ok else None)
    if reason is not None:
        _bad_ack(sk, skb, reason)
        return
    if h.flags & URG:
        skb.steps.append(_urgent)
    data.data_queue(sk, skb, h, seq)
    _after(sk)


def predicted(sk: TcpSock, data: bytearray, h: Header) -> tuple[int, int] | None:
    """The timestamps of a segment that is the next one, with nothing in it that needs a closer look; else None."""
    nxt = sk.rcv_nxt
    if (
        h.flags & _ANY_FLAGS != ACK
        or h.seq != nxt & MASK
        or h.data - h.options != 12
        or not sk.ts_ok
        or sk.ofo
        or h.end - h.data > sk.rcv_wup + sk.rcv_wnd - nxt
    ):
        return None
    word, tsval, tsecr = read_ts(data, h.options)
    return (tsval, tsecr) if word == TS_ALIGNED and (tsval - sk.ts_recent & MASK) < 0x80000000 else None


def ack_fits(sk: TcpSock, h: Header) -> bool:
    """Does a segment acknowledge what may be acknowledged?"""
    una = sk.snd_una
    return una - (sk.max_window or 1) <= unwrap(una, h.ack) <= sk.snd_nxt


def rcv_predicted(
    sk: TcpSock, payload: bytes, h: Header, ts: tuple[int, int], delivered: Callable[[], None]
) -> None:
    """Take in a segment that is as predicted; `delivered` is called when the socket has it."""
    reason = tcp_ack(sk, h, sk.rcv_nxt, None, ts)
    assert reason is None, "the acknowledgement was looked at"
    size = len(payload)
    if size:
        sk.ready.append(payload)
        sk.rcv_nxt += size
        data.event_data(sk, size)
    delivered()
    if sk.unsent:
        output.push_pending(sk)
    if size:
        data.ack_check(sk)


def _after(sk: TcpSock) -> None:
    """Linux: tcp_data_snd_check(), tcp_ack_snd_check()."""
    if sk.state is CLOSED:
        return
    output.push_pending(sk)
    data.ack_check(sk)


def _bad_ack(sk: TcpSock, skb: Skb, reason: Drop) -> None:
    """The acknowledgement is of something never sent, or of long ago."""
    if reason is Drop.TCP_TOO_OLD_ACK:
        challenge(sk)
    drop(skb, reason, f"acknowledges outside of what was sent ({sk.state})")


def validate_incoming(sk: TcpSock, skb: Skb, h: Header, opts: Options, seq: int) -> bool:
    """Rules 1 to 3; False when the segment has been ended here."""
    end = seq + h.length
    if opts.ts is not None and sk.ts_ok and _paws_discard(sk, h, opts.ts[0], seq):
        _send_dupack(sk, h, seq, end)
        drop(skb, Drop.TCP_RFC7323_PAWS, f"timestamp {opts.ts[0]} is older than {sk.ts_recent}")
        return False
    if end < sk.rcv_wup or seq > sk.rcv_nxt + window.receive_window(sk):
        if h.flags & RST:
            drop(skb, Drop.TCP_INVALID_SEQUENCE, "RST outside of the window")
            return False
        if h.flags & SYN:
            challenge(sk)
            drop(skb, Drop.TCP_INVALID_SEQUENCE, "SYN in a connection: challenged")
            return False
        _send_dupack(sk, h, seq, end)
        reason = Drop.TCP_OLD_SEQUENCE if end < sk.rcv_wup else Drop.TCP_INVALID_SEQUENCE
        drop(skb, reason, "outside of the window")
        return False
    if h.flags & RST:
        if seq == sk.rcv_nxt or (sk.ofo and seq == sk.ofo[-1].end):
            _reset(sk, skb)
        else:
            challenge(sk)
            drop(skb, Drop.TCP_RESET, "RST not at the next sequence number: challenged")
        return False
    if h.flags & SYN:
        if sk.state is SYN_RECV and seq + 1 == sk.rcv_nxt and not h.flags & ACK:
            output.send_syn(sk, SYN | ACK)
            deliver(skb, sk.deliver_step)
            return False
        challenge(sk)
        drop(skb, Drop.TCP_INVALID_SEQUENCE, "SYN in a connection: challenged")
        return False
    return True


def _paws_discard(sk: TcpSock, h: Header, tsval: int, seq: int) -> bool:
    """Is the timestamp old, and the segment neither a RST nor an acknowledgement that was overtaken?

    Linux: tcp_paws_discard(), tcp_disordered_ack()
    """
    age = sk.ts_recent - tsval & MASK
    if not 0 < age < 0x80000000 or h.flags & RST:
        return False
    overtaken = (
        h.flags & (ACK | SYN | FIN) == ACK
        and h.data == h.end
        and seq == sk.rcv_nxt
        and h.ack == sk.snd_una & MASK
        and age * NS_PER_MS <= sk.rto
    )
    return not overtaken


def _reset(sk: TcpSock, skb: Skb) -> None:
    """The peer gave up. Linux: tcp_reset()."""
    skb.steps.append(SockStep(f"reset by the peer in {sk.state}"))
    deliver(skb, sk.deliver_step)
    if sk.state is SYN_SENT:
        sk.fail(errno.ECONNREFUSED)
    elif sk.state is CLOSE_WAIT:
        sk.fail(errno.EPIPE)
    else:
        sk.fail(errno.ECONNRESET)


def _rate_limited(sk: TcpSock) -> bool:
    now = sk.clock.now
    if now - sk.oow_at < OOW_INTERVAL:
        return True
    sk.oow_at = now
    return False


def challenge(sk: TcpSock) -> None:
    """Make a peer that means it prove it. Linux: tcp_send_challenge_ack()."""
    if not _rate_limited(sk):
        output.send_ack(sk)


def _send_dupack(sk: TcpSock, h: Header, seq: int, end: int) -> None:
    """Tell a peer that is out of step where we stand. Linux: tcp_send_dupack()."""
    if (h.data == h.end or h.flags & SYN) and _rate_limited(sk):
        return
    if seq < end and seq < sk.rcv_nxt:
        data.enter_quickack(sk)
        if sk.sack_ok:
            sk.ack_seq_ooo = (seq, min(end, sk.rcv_nxt))
    output.send_ack(sk)


# --- SYN_SENT ---------------------------------------------------------------------------------


def rcv_synsent(sk: TcpSock, skb: Skb, h: Header) -> None:
    """What a connecting socket hears."""
    opts = parse_options(skb.data, h.options, h.data)
    if h.flags & ACK:
        ack = unwrap(sk.snd_una, h.ack)
        if not sk.snd_una < ack <= sk.snd_nxt:
            frame.send_reset(skb, h)
            drop(skb, Drop.TCP_INVALID_ACK_SEQUENCE, "acknowledges no SYN of ours")
            return
        if h.flags & RST:
            _reset(sk, skb)
            return
        if not h.flags & SYN:
            drop(skb, Drop.TCP_FLAGS, f"{flag_names(h.flags)} while waiting for a SYN")
            return
        _synack(sk, skb, h, opts)
        return
    if h.flags & RST or not h.flags & SYN:
        drop(skb, Drop.TCP_RESET if h.flags & RST else Drop.TCP_FLAGS, "while waiting for a SYN")
        return
    _take_syn(sk, h, opts)  # both connect at once
    sk.set_state(SYN_RECV)
    sk.rtx[0].flags = SYN | ACK
    output.send_syn(sk, SYN | ACK)
    deliver(skb, sk.deliver_step)


def _take_syn(sk: TcpSock, h: Header, opts: Options) -> None:
    """What a peer's SYN says about it."""
    settings = sk.net.sysctl
    sk.rcv_nxt = sk.rcv_wup = sk.copied_seq = h.seq + 1
    sk.snd_wl1 = h.seq
    sk.ts_ok = opts.ts is not None and settings.integer("net.ipv4.tcp_timestamps") != 0
    if opts.ts is not None:
        sk.ts_recent = opts.ts[0]
    sk.sack_ok = opts.sack_ok and settings.integer("net.ipv4.tcp_sack") != 0
    if opts.wscale is None or not settings.integer("net.ipv4.tcp_window_scaling"):
        sk.snd_wscale = sk.rcv_wscale = 0
    else:
        sk.snd_wscale = opts.wscale
    sk.snd_wnd = sk.max_window = h.window
    sk.mss_clamp = opts.mss or 536
    sk.advmss = min(sk.advmss, sk.mss_clamp) if opts.mss else sk.advmss
    xmit.sync_mss(sk)
    sk.rcv_mss = min(sk.advmss, sk.mss_cache, 536)


def _synack(sk: TcpSock, skb: Skb, h: Header, opts: Options) -> None:
    """Our SYN was answered. Linux: tcp_finish_connect()."""
    _take_syn(sk, h, opts)
    scale, sk.snd_wscale = sk.snd_wscale, 0      # the window of a SYN is never scaled
    tcp_ack(sk, h, h.seq, opts, opts.ts if sk.ts_ok else None)
    sk.snd_wscale = scale
    finish_handshake(sk)
    deliver(skb, sk.deliver_step)
    output.send_ack(sk)
    if h.data != h.end or h.flags & FIN:
        sk.rcv_nxt = h.seq + 1                   # data on a SYN-ACK: the peer will send it again


def finish_handshake(sk: TcpSock) -> None:
    """ESTABLISHED: buffers and windows take their first real size. Linux: tcp_init_transfer()."""
    sk.set_state(ESTABLISHED)
    sk.retransmits = sk.backoff = sk.total_rto = sk.retrans_stamp = 0
    sk.ca_state, sk.cwnd, sk.lost_out, sk.retrans_out = "Open", cong.INIT_CWND, 0, 0
    sk.lsndtime = sk.clock.now
    if sk.srtt:
        sk.rto = timer.rto(sk)
    else:
        sk.rto = timer.TIMEOUT_INIT
    window.open_window(sk)
    if not sk.sndbuf_locked:
        expand_sndbuf(sk)
    if sk.keepalive:
        timer.start_keepalive(sk)
    sk.established()
    if sk.shut_wr:
        sk.shutdown()


# --- the other states -------------------------------------------------------------------------


def rcv_state_process(sk: TcpSock, skb: Skb, h: Header) -> None:
    """SYN_RECV and all states from the first FIN on."""
    if sk.state is CLOSED:
        drop(skb, Drop.SOCKET_CLOSE, "the socket is closed")
        return
    opts = parse_options(skb.data, h.options, h.data)
    seq = unwrap(sk.rcv_nxt, h.seq)
    if not validate_incoming(sk, skb, h, opts, seq):
        return
    if not h.flags & ACK:
        drop(skb, Drop.TCP_FLAGS, f"{flag_names(h.flags) or 'no flags'} without ACK")
        return
    if sk.state is SYN_RECV and not sk.snd_una < unwrap(sk.snd_una, h.ack) <= sk.snd_nxt:
        frame.send_reset(skb, h)
        drop(skb, Drop.TCP_INVALID_ACK_SEQUENCE, "acknowledges no SYN of ours")
        return
    reason = tcp_ack(sk, h, seq, opts, opts.ts if sk.ts_ok else None)
    if reason is not None:
        _bad_ack(sk, skb, reason)
        return
    if sk.state is SYN_RECV:
        sk.snd_wnd = h.window << sk.snd_wscale
        sk.max_window = max(sk.max_window, sk.snd_wnd)
        finish_handshake(sk)
    elif not _fin_acked(sk, skb, h, seq):
        return
    _queue(sk, skb, h, seq)


def _fin_acked(sk: TcpSock, skb: Skb, h: Header, seq: int) -> bool:
    """Did the acknowledgement cover our FIN? False when the segment has been ended here."""
    if sk.snd_una != sk.write_seq or sk.state is CLOSE_WAIT:
        return True
    if sk.state is FIN_WAIT1:
        sk.set_state(FIN_WAIT2)
        if not sk.orphan:
            return True
        if h.data != h.end and seq + (h.end - h.data) > sk.rcv_nxt:
            _abort_on_data(sk, skb, h)
            return False
        if not h.flags & FIN:
            deliver(skb, sk.deliver_step)
            sk.table.time_wait(sk, FIN_WAIT2)
            return False
    elif sk.state is CLOSING:
        deliver(skb, sk.deliver_step)
        sk.table.time_wait(sk, TIME_WAIT)
        return False
    elif sk.state is LAST_ACK:
        deliver(skb, sk.deliver_step)
        sk.done()
        return False
    return True


def _queue(sk: TcpSock, skb: Skb, h: Header, seq: int) -> None:
    if h.flags & URG:
        skb.steps.append(_urgent)
    if sk.state in (CLOSE_WAIT, CLOSING, LAST_ACK) and seq >= sk.rcv_nxt:
        deliver(skb, sk.deliver_step)
        _after(sk)
        return
    if sk.orphan and h.data != h.end and seq + (h.end - h.data) > sk.rcv_nxt:
        _abort_on_data(sk, skb, h)
        return
    data.data_queue(sk, skb, h, seq)
    if sk.state is not TIME_WAIT:
        _after(sk)


def _abort_on_data(sk: TcpSock, skb: Skb, h: Header) -> None:
    """Data for a program that has gone: RST. RFC: 1122 section 4.2.2.13."""
    sk.done()
    frame.send_reset(skb, h)
    drop(skb, Drop.TCP_ABORT_ON_DATA, "the program has closed its socket")


