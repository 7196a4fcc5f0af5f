"""What is less than a socket: a handshake that is not done, and a connection in TIME_WAIT.

    SYN ─▶ RequestSock ─ ACK ─▶ TcpSock ─▶ accept queue      (listener's side)
    TcpSock ─ last FIN ─▶ TimeWait ─ 60 s ─▶ gone             (the side that closed first)

A TimeWait has no timer: it is found expired when somebody looks, so it keeps no run alive.

Linux: net/ipv4/tcp_minisocks.c, net/ipv4/tcp_input.c tcp_conn_request(), net/ipv4/inet_timewait_sock.c
RFC: 9293 section 3.10.7, 7323, 6191
Differs: no SYN cookies: a full SYN queue drops the SYN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.skb import Skb, deliver, drop
from k8semu.linux.ipv4.route import RouteError
from k8semu.linux.sock.tcp import frame, window, xmit
from k8semu.linux.sock.tcp.options import Options, parse_options, syn_options
from k8semu.linux.sock.tcp.segment import ACK, FIN, MASK, RST, SYN, Header, flag_names, unwrap
from k8semu.linux.sock.tcp.states import FIN_WAIT2, SYN_RECV, TIME_WAIT, State
from k8semu.sim.clock import NS_PER_MS, NS_PER_S, Timer
from k8semu.trace.steps import SockStep

if TYPE_CHECKING:
    from k8semu.linux.sock.tcp.sock import TcpSock

TIMEWAIT_LEN = 60 * NS_PER_S
OOW_INTERVAL = 500 * NS_PER_MS


def listen_rcv(listener: TcpSock, skb: Skb, h: Header, isn: int | None = None) -> None:
    """A segment for a listener: only a SYN starts something. Linux: tcp_rcv_state_process() TCP_LISTEN."""
    if h.flags & ACK:
        frame.send_reset(skb, h)
        drop(skb, Drop.TCP_FLAGS, f"{flag_names(h.flags)} for a listener")
    elif h.flags & RST:
        drop(skb, Drop.TCP_RESET, "RST for a listener")
    elif not h.flags & SYN or h.flags & FIN:
        drop(skb, Drop.TCP_FLAGS, f"{flag_names(h.flags) or 'no flags'} for a listener")
    elif len(listener.requests) > listener.backlog:
        drop(skb, Drop.TCP_LISTEN_OVERFLOW, f"{len(listener.requests)} handshakes wait already")
    elif len(listener.accept_queue) > listener.backlog:
        drop(skb, Drop.TCP_LISTEN_OVERFLOW, f"{len(listener.accept_queue)} connections wait to be accepted")
    else:
        _conn_request(listener, skb, h, isn)


def _conn_request(listener: TcpSock, skb: Skb, h: Header, isn: int | None) -> None:
    """Answer a SYN. Linux: tcp_conn_request()."""
    opts = parse_options(skb.data, h.options, h.data)
    req = RequestSock(listener, h, opts, isn)
    try:
        req.route()
    except RouteError:
        drop(skb, Drop.IP_OUTNOROUTES, "no route back")
        return
    listener.requests[h.key] = req
    listener.table.hash[h.key] = req
    skb.steps.append(SockStep("SYN_RECV: a handshake begins"))
    deliver(skb, listener.deliver_step)
    req.send_synack()


class RequestSock:
    """A handshake of which the SYN-ACK is out. Linux: struct tcp_request_sock."""

    __slots__ = (
        "advmss", "key", "listener", "mss", "net", "oow_at", "rcv_isn", "rcv_wnd", "rcv_wscale", "reuseaddr",
        "sack_ok", "saddr", "snt_isn", "sport", "timeouts", "timer", "ts_offset", "ts_ok", "ts_recent", "wscale",
    )  # fmt: skip

    state = SYN_RECV

    def __init__(self, listener: TcpSock, h: Header, opts: Options, isn: int | None) -> None:
        net = listener.net
        self.listener, self.net, self.key = listener, net, h.key
        self.saddr, self.sport, self.reuseaddr = h.key[4:8], h.dport, listener.reuseaddr
        self.rcv_isn = h.seq
        self.snt_isn = listener.table.isn(h.key) if isn is None else isn
        self.mss = opts.mss or 536
        self.ts_ok = opts.ts is not None and net.sysctl.integer("net.ipv4.tcp_timestamps") != 0
        self.ts_recent = opts.ts[0] if opts.ts is not None else 0
        self.ts_offset = listener.table.ts_offset(h.key)
        self.sack_ok = opts.sack_ok and net.sysctl.integer("net.ipv4.tcp_sack") != 0
        self.wscale = opts.wscale if net.sysctl.integer("net.ipv4.tcp_window_scaling") else None
        self.advmss = 1460
        self.rcv_wnd = self.rcv_wscale = 0
        self.timeouts = 0
        self.timer: Timer | None = None
        self.oow_at = -OOW_INTERVAL

    @property
    def flow(self) -> frame.ADDRESSES:
        """The addresses of what we send."""
        key = self.key
        return key[4:8], key[0:4], key[10] << 8 | key[11], key[8] << 8 | key[9]

    def route(self) -> None:
        """What the way back allows: MSS and the first window. Linux: tcp_openreq_init_rwin()."""
        rt = self.net.ipv4.route_output(self.key[0:4], self.key[4:8])
        self.advmss = xmit.advmss(rt)
        self.rcv_wnd, self.rcv_wscale = window.initial(self.listener, self.advmss - (12 if self.ts_ok else 0))

    def ts_now(self) -> int:
        return self.net.clock.now // NS_PER_MS + self.ts_offset & MASK

    def send_synack(self) -> None:
        """Linux: tcp_v4_send_synack()."""
        if self.timer is None or not self.timer.pending:
            self.timer = self.net.clock.timer(NS_PER_S << self.timeouts, self._expires)
        options = syn_options(
            self.advmss, self.sack_ok, (0, 0) if self.ts_ok else None,
            self.rcv_wscale if self.wscale is not None else None,
        )  # fmt: skip
        ts = (self.ts_now(), self.ts_recent) if self.ts_ok else None
        flow = self.flow
        data = frame.lay_out(
            flow, self.snt_isn, self.rcv_isn + 1, SYN | ACK, self.rcv_wnd, options, ts, self.listener.ttl
        )
        frame.send(self.net, flow, data, self.listener.originate_step)

    def _expires(self) -> None:
        """No ACK came. Linux: reqsk_timer_handler()."""
        if self.timeouts >= self.net.sysctl.integer("net.ipv4.tcp_synack_retries"):
            self.forget()
            return
        self.timeouts += 1
        self.send_synack()

    def forget(self) -> None:
        """The handshake is over, one way or the other."""
        if self.timer is not None:
            self.timer.cancel()
        self.listener.requests.pop(self.key, None)
        table = self.listener.table
        if table.hash.get(self.key) is self:
            del table.hash[self.key]

    def rcv(self, skb: Skb, h: Header) -> None:
        """A segment for the handshake. Linux: tcp_check_req()."""
        opts = parse_options(skb.data, h.options, h.data)
        listener = self.listener
        seq = unwrap(self.rcv_isn, h.seq)
        stale = self.ts_ok and opts.ts is not None and (self.ts_recent - opts.ts[0] - 1 & MASK) < 0x7FFFFFFF
        if h.flags & (SYN | ACK | RST) == SYN and seq == self.rcv_isn and not stale:
            deliver(skb, listener.deliver_step)
            self.send_synack()
            return
        if h.flags & ACK and unwrap(self.snt_isn, h.ack) != self.snt_isn + 1:
            frame.send_reset(skb, h)
            drop(skb, Drop.TCP_INVALID_ACK_SEQUENCE, "acknowledges no SYN of ours")
            return
        first = self.rcv_isn + 1
        if stale or not (first <= seq + h.length and seq <= first + self.rcv_wnd):
            if not h.flags & RST:
                self._send_ack()
            drop(skb, Drop.TCP_RFC7323_PAWS if stale else Drop.TCP_INVALID_SEQUENCE, "during the handshake")
            return
        if h.flags & (RST | SYN):
            if h.flags & SYN:
                frame.send_reset(skb, h)
            self.forget()
            drop(skb, Drop.TCP_RESET if h.flags & RST else Drop.TCP_FLAGS, "the peer gave the handshake up")
            return
        if not h.flags & ACK:
            drop(skb, Drop.TCP_FLAGS, f"{flag_names(h.flags) or 'no flags'} during the handshake")
            return
        if len(listener.accept_queue) > listener.backlog:
            drop(skb, Drop.TCP_LISTEN_OVERFLOW, f"{len(listener.accept_queue)} connections wait to be accepted")
            return
        if opts.ts is not None and seq <= first:
            self.ts_recent = opts.ts[0]
        self.forget()
        listener.table.child(self, skb, h)

    def _send_ack(self) -> None:
        """Linux: tcp_v4_reqsk_send_ack()."""
        now = self.net.clock.now
        if now - self.oow_at < OOW_INTERVAL:
            return
        self.oow_at = now
        ts = (self.ts_now(), self.ts_recent) if self.ts_ok else None
        frame.send_ack(self.net, self.flow, self.snt_isn + 1, self.rcv_isn + 1, self.rcv_wnd >> self.rcv_wscale, ts)


class TimeWait:
    """A connection whose last segments may still be about. Linux: struct tcp_timewait_sock.

    `substate` FIN_WAIT2: the program has gone, and the peer's FIN is still to come.
    """

    __slots__ = (
        "expires", "key", "net", "oow_at", "rcv_nxt", "rcv_wnd", "rcv_wscale", "reuseaddr", "reuseport", "saddr",
        "snd_nxt", "sport", "substate", "table", "ts_offset", "ts_ok", "ts_recent",
    )  # fmt: skip

    def __init__(self, sk: TcpSock, substate: State) -> None:
        self.net, self.table, self.key = sk.net, sk.table, sk.key
        self.saddr, self.sport, self.reuseaddr, self.reuseport = sk.saddr, sk.sport, sk.reuseaddr, sk.reuseport
        self.snd_nxt, self.rcv_nxt = sk.snd_nxt, sk.rcv_nxt
        self.rcv_wnd, self.rcv_wscale = window.receive_window(sk), sk.rcv_wscale
        self.ts_ok, self.ts_recent, self.ts_offset = sk.ts_ok, sk.ts_recent, sk.ts_offset
        self.substate = substate
        self.oow_at = -OOW_INTERVAL
        self.expires = 0
        self._schedule()

    @property
    def state(self) -> State:
        return self.substate

    @property
    def expired(self) -> bool:
        """Its time is over, and nobody has looked since."""
        return self.net.clock.now >= self.expires

    def _schedule(self) -> None:
        self.expires = self.net.clock.now + TIMEWAIT_LEN

    def rcv(self, skb: Skb, h: Header) -> None:
        """A late segment. Linux: tcp_timewait_state_process()."""
        opts = parse_options(skb.data, h.options, h.data)
        seq = unwrap(self.rcv_nxt, h.seq)
        stale = self.ts_ok and opts.ts is not None and (self.ts_recent - opts.ts[0] - 1 & MASK) < 0x7FFFFFFF
        if self.substate is FIN_WAIT2:
            self._rcv_fin_wait2(skb, h, opts, seq, stale)
        elif not stale and seq == self.rcv_nxt and (not h.length or h.flags & RST):
            if h.flags & RST:
                self.table.kill(self)
                drop(skb, Drop.TCP_RESET, "ends TIME_WAIT")
            else:
                self._schedule()
                drop(skb, Drop.TCP_OLD_DATA, "in TIME_WAIT")
        elif h.flags & (SYN | RST | ACK) == SYN and not stale and self._is_new(seq, opts):
            self._begin_again(skb, h)
        else:
            if not h.flags & RST and (stale or h.flags & ACK):
                self._schedule()
                self._send_ack()
            drop(skb, Drop.TCP_RFC7323_PAWS if stale else Drop.TCP_OLD_DATA, "in TIME_WAIT")

    def _is_new(self, seq: int, opts: Options) -> bool:
        newer = opts.ts is not None and self.ts_ok and 0 < (opts.ts[0] - self.ts_recent & MASK) < 0x80000000
        return seq > self.rcv_nxt or newer

    def _begin_again(self, skb: Skb, h: Header) -> None:
        """A new connection by the same addresses and ports (RFC 6191)."""
        listener = self.table.lookup_listener(h.key[4:8], h.dport, h.key)
        if listener is None:
            drop(skb, Drop.NO_SOCKET, "in TIME_WAIT, and nobody listens any more")
            return
        self.table.kill(self)
        listen_rcv(listener, skb, h, (self.snd_nxt + 65535 + 2 & MASK) or 1)

    def _rcv_fin_wait2(self, skb: Skb, h: Header, opts: Options, seq: int, stale: bool) -> None:
        end = seq + h.length
        if stale or not (seq <= self.rcv_nxt + self.rcv_wnd and end >= self.rcv_nxt):
            if not h.flags & RST:
                self._send_ack()
            drop(skb, Drop.TCP_RFC7323_PAWS if stale else Drop.TCP_INVALID_SEQUENCE, "in FIN_WAIT2")
        elif h.flags & RST:
            self.table.kill(self)
            drop(skb, Drop.TCP_RESET, "ends FIN_WAIT2")
        elif not h.flags & SYN and (not h.flags & ACK or end <= self.rcv_nxt or seq == end):
            drop(skb, Drop.TCP_OLD_DATA, "in FIN_WAIT2")
        elif not h.flags & FIN or end != self.rcv_nxt + 1:
            self.table.kill(self)
            frame.send_reset(skb, h)
            drop(skb, Drop.TCP_ABORT_ON_DATA, "the program has closed its socket")
        else:
            self.substate = TIME_WAIT
            self.rcv_nxt = end
            if opts.ts is not None:
                self.ts_recent = opts.ts[0]
            self._schedule()
            self._send_ack(limit=False)
            skb.steps.append(SockStep("FIN_WAIT2 -> TIME_WAIT"))
            deliver(skb, self.table.kernel_step)

    def _send_ack(self, limit: bool = True) -> None:
        now = self.net.clock.now
        if limit and now - self.oow_at < OOW_INTERVAL:
            return
        self.oow_at = now
        key = self.key
        flow = key[4:8], key[0:4], key[10] << 8 | key[11], key[8] << 8 | key[9]
        ts = (now // NS_PER_MS + self.ts_offset & MASK, self.ts_recent) if self.ts_ok else None
        frame.send_ack(self.net, flow, self.snd_nxt, self.rcv_nxt, self.rcv_wnd >> self.rcv_wscale, ts)
