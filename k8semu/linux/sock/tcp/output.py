"""Segments leave: what may be sent, and how it is cut.

    sendmsg ─▶ write queue ─▶ write_xmit (window, cwnd, Nagle) ─▶ xmit.transmit ─▶ IP
    send_fin ──────┘

Linux queues up to half a window as one buffer, sends it in one go and has it cut into segments
below; the last segment of each go then carries PSH. So does this.

Linux: net/ipv4/tcp_output.c, net/ipv4/tcp.c tcp_sendmsg_locked(), tcp_push()
RFC: 9293 section 3.8, 1122 section 4.2.3.4 (Nagle)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.sock.tcp import cong, frame, timer, window, xmit
from k8semu.linux.sock.tcp.options import syn_options
from k8semu.linux.sock.tcp.segment import ACK, FIN, PSH, RST, SYN, Sent, Unsent
from k8semu.linux.sock.tcp.states import CAN_TRANSMIT, CLOSED, SYN_SENT
from k8semu.sim.clock import NS_PER_MS

if TYPE_CHECKING:
    from k8semu.linux.sock.tcp.sock import TcpSock

# --- handshake --------------------------------------------------------------------------------


def init_transfer(sk: TcpSock) -> None:
    """What a new connection draws and looks up before its first segment."""
    net = sk.net
    sk.ts_offset = sk.table.ts_offset(sk.key)
    xmit.set_header(sk)
    rt = xmit.route(sk)
    if rt is not None:
        sk.pmtu = net.ipv4.mtu(rt, sk.daddr)
        sk.advmss = xmit.advmss(rt)


def connect(sk: TcpSock) -> None:
    """Send the first SYN. Linux: tcp_connect(), tcp_connect_init()."""
    init_transfer(sk)
    sk.iss = sk.snd_una = sk.table.isn(sk.key)
    sk.snd_nxt = sk.write_seq = sk.pushed_seq = sk.buf_seq = sk.snd_sml = sk.iss + 1
    sk.mss_clamp = 65495
    xmit.sync_mss(sk)
    sk.rcv_mss = min(sk.advmss, 536)
    sk.rcv_wnd, sk.rcv_wscale = window.initial(sk, sk.advmss)
    sk.rcv_ssthresh = sk.rcv_wnd
    sk.set_state(SYN_SENT)
    sk.rtx.append(Sent(sk.iss, sk.iss + 1, SYN, sk.clock.now))
    sk.retrans_stamp = sk.clock.now or -1       # 0 is none
    timer.set_rto(sk, sk.rto)
    send_syn(sk, SYN)


def send_syn(sk: TcpSock, flags: int) -> int:
    """A SYN (again), or the SYN-ACK of a simultaneous open."""
    net = sk.net
    rt = xmit.route(sk)
    if rt is None:
        return sk.err_soft
    settings = net.sysctl
    stamp = settings.integer("net.ipv4.tcp_timestamps") != 0
    scale = settings.integer("net.ipv4.tcp_window_scaling") != 0
    options = syn_options(
        sk.advmss, settings.integer("net.ipv4.tcp_sack") != 0, (0, 0) if stamp else None,
        sk.rcv_wscale if scale else None,
    )  # fmt: skip
    ts = (xmit.ts_now(sk), sk.ts_recent) if stamp else None
    sk.ident = sk.ident + 1 & 0xFFFF
    ack = sk.rcv_nxt if flags & ACK else 0
    flow = (sk.saddr, sk.daddr, sk.sport, sk.dport)
    data = frame.lay_out(flow, sk.iss, ack, flags, sk.rcv_wnd, options, ts, sk.ttl, sk.ident)
    return net.ipv4.local_out(net.originate(data, sk.originate_step), rt)


# --- data -------------------------------------------------------------------------------------


def is_writeable(sk: TcpSock) -> bool:
    """Is at least a third of the buffer free? Linux: sk_stream_is_writeable()."""
    return sk.sndbuf - len(sk.buf) >= len(sk.buf) >> 1


def sendmsg(sk: TcpSock, data: bytes | bytearray | memoryview) -> int:
    """Queue what fits, and send what may go. Linux: tcp_sendmsg_locked()."""
    if not sk.rtx and sk.cwnd > cong.INIT_CWND:
        cong.restart_after_idle(sk)
    mss = xmit.current_mss(sk)
    goal = xmit.size_goal(sk, mss)
    view = memoryview(data)
    done, size = 0, len(view)
    while done < size:
        tail = sk.unsent[-1] if sk.unsent else None
        room = goal - (tail.end - tail.seq) if tail is not None else 0
        if tail is None or room <= 0:
            if len(sk.buf) >= sk.sndbuf:
                sk.nospace = True
                break
            tail = Unsent(sk.write_seq, sk.write_seq, 0)
            sk.unsent.append(tail)
            room = goal
        piece = view[done : done + room]
        sk.buf += piece
        done += len(piece)
        tail.end = sk.write_seq = sk.write_seq + len(piece)
        if len(piece) < room:
            continue
        if sk.write_seq > sk.pushed_seq + (sk.max_window >> 1):  # Linux: forced_push()
            _mark_push(sk, tail)
            push_pending(sk, push=True)
        elif tail is sk.unsent[0]:
            write_xmit(sk, push=True, one=True)
    if done:
        if sk.unsent:
            _mark_push(sk, sk.unsent[-1])
        push_pending(sk)
    return done


def _mark_push(sk: TcpSock, tail: Unsent) -> None:
    tail.flags |= PSH
    sk.pushed_seq = sk.write_seq


def push_pending(sk: TcpSock, push: bool = False) -> None:
    """Send what may go; if nothing may, see to it that we ask for a window. Linux: __tcp_push_pending_frames()."""
    if sk.unsent and sk.state is not CLOSED:
        write_xmit(sk, push)
        if sk.unsent and not sk.rtx and not sk.rto_at:
            timer.set_probe(sk)


def in_flight(sk: TcpSock) -> int:
    """Segments believed to be on their way. Linux: tcp_packets_in_flight()."""
    return len(sk.rtx) - sk.sacked_out - sk.lost_out + sk.retrans_out


def write_xmit(sk: TcpSock, push: bool = False, one: bool = False, probe: bool = False) -> None:
    """Send from the write queue as far as windows and Nagle allow. Linux: tcp_write_xmit()."""
    if sk.state not in CAN_TRANSMIT:
        return
    unsent = sk.unsent
    mss = xmit.current_mss(sk)
    max_segs = xmit.size_goal(sk, mss) // mss
    sent = limited = False
    had_flight = bool(sk.rtx)
    while unsent:
        head = unsent[0]
        quota = sk.cwnd - (len(sk.rtx) - sk.sacked_out - sk.lost_out + sk.retrans_out)
        if quota <= 0 and probe:
            quota = 1
        if quota <= 0:
            limited = True
            break
        quota = min(quota, max(sk.cwnd >> 1, 1), max_segs)
        length = head.end - head.seq
        wnd_end = sk.snd_una + sk.snd_wnd
        if head.seq + min(length, mss) > wnd_end:
            break
        if length <= mss:
            if not push and len(unsent) == 1 and not head.flags & FIN and _nagle_holds(sk, length < mss):
                break
            limit = mss
        else:
            if not one and _should_defer(sk, head, mss, quota, max_segs, wnd_end):
                limited = quota * mss < wnd_end - head.seq
                break
            limit = _split_point(sk, head, mss, quota, wnd_end, push)
        _send_head(sk, head, min(length, limit), mss)
        sent = True
        if one:
            break
    if sent:
        _sent_some(sk, limited, had_flight)


def _sent_some(sk: TcpSock, limited: bool, had_flight: bool) -> None:
    """Linux: tcp_cwnd_validate(), tcp_event_new_data_sent()."""
    flight = len(sk.rtx)
    if in_flight(sk) >= sk.cwnd:
        limited = True
    if flight > sk.max_packets_out or limited:
        sk.max_packets_out = flight
    sk.cwnd_limited = limited
    if not timer.schedule_loss_probe(sk, False) and (
        not had_flight or not sk.rto_at or sk.pending is not timer.RETRANS
    ):
        timer.rearm_rto(sk)


def _nagle_holds(sk: TcpSock, partial: bool) -> bool:
    """A small segment waits while another small one is in flight. Linux: tcp_nagle_check(), tcp_minshall_check()."""
    return partial and not sk.nodelay and bool(sk.rtx) and sk.snd_una < sk.snd_sml <= sk.snd_nxt


def _split_point(sk: TcpSock, head: Unsent, mss: int, quota: int, wnd_end: int, push: bool) -> int:
    """How much of a long buffer goes now. Linux: tcp_mss_split_point()."""
    room = wnd_end - head.seq
    most = mss * quota
    last = len(sk.unsent) == 1
    if most <= room and not last:
        return most
    needed = min(head.end - head.seq, room)
    if most <= needed:
        return most
    partial = needed % mss
    if last and not push and _nagle_holds(sk, partial != 0) and needed > partial:
        return needed - partial
    return needed


def _should_defer(sk: TcpSock, head: Unsent, mss: int, quota: int, max_segs: int, wnd_end: int) -> bool:
    """Would waiting for one more acknowledgement let more go at once? Linux: tcp_tso_should_defer()."""
    if sk.ca_state in ("Recovery", "Loss"):
        return False
    now = sk.clock.now
    if now - sk.lsndtime > NS_PER_MS or not sk.rtx:
        return False
    limit = min(wnd_end - head.seq, (sk.cwnd - in_flight(sk)) * mss)
    if limit >= max_segs * mss:
        return False
    if len(sk.unsent) > 1 and limit >= head.end - head.seq:
        return False
    if limit >= min(sk.snd_wnd, sk.cwnd * mss) // 3:
        return False
    if now - sk.rtx[0].sent_at < sk.srtt >> 1:
        return False
    return not head.flags & FIN


def _send_head(sk: TcpSock, head: Unsent, take: int, mss: int) -> None:
    """Send the first `take` bytes of the write queue's head, cut to segments."""
    whole = take == head.end - head.seq
    flags = head.flags if whole else 0
    if take > mss:
        flags |= PSH
    now = sk.clock.now
    seq, end = head.seq, head.seq + take
    if take % mss or not take:
        sk.snd_sml = end
    if whole:
        sk.unsent.popleft()
    else:
        head.seq = end
    buf, base, chunk = sk.buf, sk.buf_seq, seq
    if sk.ca_state in ("Recovery", "Loss"):
        sk.prr_out += (take + mss - 1) // mss or 1
    pieces: list[xmit.Segment] = []
    while True:
        stop = min(seq + mss, end)
        last = stop == end
        bits = ACK | flags if last else ACK
        pieces.append((seq, bits, bytes(buf[seq - base : stop - base])))
        sk.rtx.append(Sent(seq, stop + (1 if bits & FIN else 0), bits, now, chunk))
        seq = stop
        if last:
            break
    sk.snd_nxt = sk.rtx[-1].end
    xmit.transmit_all(sk, pieces)


def payload_of(sk: TcpSock, sent: Sent) -> bytes:
    """The bytes of a segment in flight."""
    end = sent.end - (1 if sent.flags & FIN else 0)
    return bytes(sk.buf[sent.seq - sk.buf_seq : end - sk.buf_seq])


# --- without data -----------------------------------------------------------------------------


def acceptable_seq(sk: TcpSock) -> int:
    """The number of a segment without data: within the peer's window. Linux: tcp_acceptable_seq()."""
    end = sk.snd_una + sk.snd_wnd
    if sk.snd_nxt <= end or (sk.snd_wscale and sk.snd_nxt - end < 1 << sk.rcv_wscale):
        return sk.snd_nxt
    return end


def send_ack(sk: TcpSock) -> None:
    """A pure acknowledgement. Linux: tcp_send_ack()."""
    if sk.state is not CLOSED:
        xmit.transmit(sk, acceptable_seq(sk), ACK)


def send_fin(sk: TcpSock) -> None:
    """FIN, on the last queued segment if there is one. Linux: tcp_send_fin()."""
    if sk.unsent:
        sk.unsent[-1].flags |= FIN
    else:
        sk.unsent.append(Unsent(sk.write_seq, sk.write_seq, FIN))
    sk.write_seq += 1
    push_pending(sk, push=True)


def send_active_reset(sk: TcpSock) -> None:
    """RST of our own accord. Linux: tcp_send_active_reset()."""
    xmit.transmit(sk, acceptable_seq(sk), RST | ACK)


def send_probe(sk: TcpSock) -> None:
    """An old sequence number, to be answered with the current window. Linux: tcp_xmit_probe_skb()."""
    xmit.transmit(sk, sk.snd_una - 1, ACK)


def write_wakeup(sk: TcpSock) -> None:
    """Send what fits the window, or else a probe. Linux: tcp_write_wakeup()."""
    if sk.unsent:
        head = sk.unsent[0]
        room = sk.snd_una + sk.snd_wnd - head.seq
        if room > 0:
            head.flags |= PSH
            _send_head(sk, head, min(room, head.end - head.seq, xmit.current_mss(sk)), xmit.current_mss(sk))
            return
    send_probe(sk)
