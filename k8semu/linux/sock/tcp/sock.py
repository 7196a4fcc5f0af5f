"""One TCP socket: its state, and what a program may do with it.

    program ─ connect, send, consumed, shutdown, close ─▶ TcpSock ─▶ output
    program ◀─ TcpOwner: connected, data_received, … ──── TcpSock ◀─ input, timer

The owner is told last, when the socket is done with the segment or timer that caused it, as a
process wakes after the softirq that woke it.

Linux: include/linux/tcp.h struct tcp_sock, net/ipv4/tcp.c, net/ipv4/af_inet.c
RFC: 9293 section 3.9
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Protocol

from k8semu.linux.sock.tcp import output, sockopt, timer, window
from k8semu.linux.sock.tcp.cong import Cubic
from k8semu.linux.sock.tcp.errors import os_error
from k8semu.linux.sock.tcp.states import (
    AFTER_CLOSE,
    CAN_SEND,
    CLOSE_WAIT,
    CLOSED,
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    LISTEN,
    SYN_RECV,
    SYN_SENT,
    State,
)
from k8semu.sim.clock import NS_PER_S, Timer
from k8semu.trace.steps import Deliver, Originate, SockStep
from k8semu.wire.addr import IP_ANY, ip_ntoa

if TYPE_CHECKING:
    from k8semu.linux.core.net import Net
    from k8semu.linux.ipv4.route import Rtable
    from k8semu.linux.sock.owner import TcpOwner
    from k8semu.linux.sock.tcp.data import Early
    from k8semu.linux.sock.tcp.minisocks import RequestSock
    from k8semu.linux.sock.tcp.segment import Sent, Unsent
    from k8semu.linux.sock.tcp.table import TcpTable


class HasTcp(Protocol):
    """What a TCP socket needs of `net.sockets`."""

    @property
    def net(self) -> Net: ...

    @property
    def tcp(self) -> TcpTable: ...


class TcpSock:
    """One TCP socket. Sequence numbers are plain integers that never wrap."""

    __slots__ = (
        "_connected", "_eof_ready", "_failure", "_lost_ready", "accept_queue", "accepting", "ack_now", "ack_pending",
        "ack_seq_ooo", "addr_bound", "addr_sum", "advmss", "backlog", "backoff", "bound", "buf", "buf_seq", "ca",
        "ca_state", "clock", "copied_seq", "cwnd", "cwnd_cnt", "cwnd_limited", "daddr", "delack_at", "delack_timer",
        "deliver_step", "dport", "drs_seq", "drs_space", "drs_time", "dupacks", "err", "err_soft", "fin_received",
        "fin_seq", "header_sum", "high_seq", "ident", "in_notify", "irs", "iss", "keep_cnt", "keep_idle",
        "keep_intvl", "keepalive", "keepalive_timer", "key", "linger", "listener", "lost_out", "lost_seq", "lrcvtime",
        "lsndtime", "max_packets_out", "max_window", "mdev", "min_rtt", "mss_cache", "mss_clamp", "net", "nodelay",
        "nospace", "ofo", "ofo_fin", "ofo_recent", "oow_at", "originate_step", "orphan", "owner", "pingpong", "pmtu",
        "prior_cwnd", "probes_out", "probing", "prr_delivered", "prr_out", "pushed_seq", "quick", "rack_at",
        "rcv_mss", "rcv_nxt", "rcv_ssthresh", "rcv_wnd", "rcv_wscale", "rcv_wup", "rcvbuf", "ready", "requests",
        "retrans_out", "retrans_stamp", "retransmits", "reuseaddr", "rt", "rto", "rto_at", "rto_timer", "rttvar",
        "rtx", "sack_cache", "sack_ok", "sacked_out", "saddr", "shut_wr", "snd_nxt", "snd_sml", "snd_una", "snd_wl1",
        "snd_wnd", "snd_wscale", "sndbuf", "sndbuf_locked", "sockets", "sport", "srtt", "ssthresh", "state", "table",
        "total_rto", "ts_offset", "ts_ok", "ts_recent", "ts_recent_at", "ttl", "unsent", "user_timeout",
        "window_clamp", "write_seq",
    )  # fmt: skip

    def __init__(self, sockets: HasTcp, owner: TcpOwner | None) -> None:
        net = sockets.net
        self.sockets, self.net, self.table, self.owner, self.clock = sockets, net, sockets.tcp, owner, net.clock
        self.state: State = CLOSED
        self.saddr = self.daddr = self.addr_bound = IP_ANY
        self.sport = self.dport = 0
        self.bound = False
        self.key = b""
        self.rt: Rtable | None = None
        self.header_sum = self.addr_sum = 0       # the parts of the checksums that never change
        self.ident = 0
        self.ttl = net.sysctl.ip_default_ttl
        self.orphan = False                       # the program has closed it
        self.shut_wr = False
        self.err: OSError | None = None
        self.err_soft = 0
        self.deliver_step = Deliver("tcp")
        self.originate_step = Originate("tcp")
        self._init_options(net)
        self._init_send(net)
        self._init_receive(net)
        self._init_timers()
        # listening
        self.backlog = 0
        self.requests: dict[bytes, RequestSock] = {}
        self.accept_queue: deque[TcpSock] = deque()
        self.accepting = True
        self.listener: TcpSock | None = None
        # what the owner has not been told yet
        self.ready: list[bytes] = []
        self._connected = self._eof_ready = self._lost_ready = self.in_notify = False
        self._failure: OSError | None = None

    def _init_options(self, net: Net) -> None:
        self.reuseaddr = self.keepalive = self.nodelay = self.sndbuf_locked = False
        self.linger: int | None = None
        self.user_timeout = 0                     # ms
        self.keep_idle = net.sysctl.integer("net.ipv4.tcp_keepalive_time")
        self.keep_intvl = net.sysctl.integer("net.ipv4.tcp_keepalive_intvl")
        self.keep_cnt = net.sysctl.integer("net.ipv4.tcp_keepalive_probes")

    def _init_send(self, net: Net) -> None:
        self.iss = self.snd_una = self.snd_nxt = self.write_seq = self.pushed_seq = self.snd_sml = 0
        self.snd_wnd = self.max_window = self.snd_wl1 = self.snd_wscale = 0
        self.buf = bytearray()                    # bytes from buf_seq on: not yet acknowledged, or not yet sent
        self.buf_seq = 0
        self.unsent: deque[Unsent] = deque()
        self.rtx: list[Sent] = []
        self.sacked_out = self.lost_out = self.retrans_out = self.dupacks = 0
        self.sack_cache: dict[int, int] = {}      # blocks of the last acknowledgement, start to end
        self.lost_seq = 0                         # below it, what is lost has been marked
        self.rack_at = 0                          # when the latest delivered segment was sent
        self.sndbuf = int(str(net.sysctl.get("net.ipv4.tcp_wmem")).split()[1])
        self.nospace = False
        self.fin_seq: int | None = None
        self.mss_clamp = self.mss_cache = 536
        self.advmss = 1460
        self.pmtu = 0
        self.ca = Cubic()
        self.ca_state = "Open"
        self.cwnd, self.cwnd_cnt, self.ssthresh = 10, 0, 0x7FFFFFFF
        self.cwnd_limited = False
        self.max_packets_out = self.high_seq = self.prr_delivered = self.prr_out = self.prior_cwnd = 0
        self.lsndtime = 0

    def _init_receive(self, net: Net) -> None:
        self.irs = self.rcv_nxt = self.rcv_wup = self.rcv_wnd = self.copied_seq = 0
        self.rcv_wscale = self.rcv_ssthresh = self.window_clamp = 0
        self.rcvbuf = int(str(net.sysctl.get("net.ipv4.tcp_rmem")).split()[1])
        self.rcv_mss = 536
        self.ofo: list[Early] = []                         # sorted, neither overlapping nor touching
        self.ofo_recent: list[int] = []                    # where the latest came in, latest first
        self.ofo_fin = -1                                  # where a FIN that came too early stands
        self.ack_seq_ooo: tuple[int, int] | None = None    # duplicate to report (RFC 2883)
        self.fin_received = False
        self.ts_ok = self.sack_ok = False
        self.ts_offset = self.ts_recent = self.ts_recent_at = 0
        self.drs_space = self.drs_seq = self.drs_time = 0
        self.quick = 0
        self.pingpong = self.ack_pending = self.ack_now = False
        self.lrcvtime = 0
        self.oow_at = -NS_PER_S

    def _init_timers(self) -> None:
        self.srtt = self.mdev = 0                 # ns
        self.rttvar = NS_PER_S
        self.min_rtt = 0
        self.rto = timer.TIMEOUT_INIT
        self.backoff = self.retransmits = self.total_rto = self.probes_out = 0
        self.retrans_stamp = 0
        self.rto_at = self.delack_at = 0          # 0: not set
        self.probing = False                      # rto_at is for a window probe
        self.rto_timer: Timer | None = None
        self.delack_timer: Timer | None = None
        self.keepalive_timer: Timer | None = None

    # --- names --------------------------------------------------------------------------------

    @property
    def local(self) -> tuple[bytes, int]:
        """Our address and port. Linux: getsockname()."""
        return self.saddr, self.sport

    @property
    def remote(self) -> tuple[bytes, int]:
        """The peer's address and port. Linux: getpeername()."""
        return self.daddr, self.dport

    @property
    def program(self) -> str:
        """The name of the program behind the socket, as far as its owner tells."""
        return str(getattr(self.owner, "program", "") or "")

    def name_steps(self) -> None:
        """Make the steps that every packet of this socket shares."""
        at = f"{ip_ntoa(self.saddr)}:{self.sport}"
        program = self.program
        self.deliver_step = Deliver(f"tcp {at} ({program})" if program else f"tcp {at}")
        self.originate_step = Originate(f"{program} tcp {at}" if program else f"tcp {at}")

    def set_state(self, state: State) -> None:
        """Change state, and tell the trace. Linux: tcp_set_state()."""
        if self.net.trace is not None:
            line = f"tcp {ip_ntoa(self.saddr)}:{self.sport} {ip_ntoa(self.daddr)}:{self.dport}"
            self.net.change(SockStep(f"{line} {self.state} -> {state}"))
        self.state = state

    # --- what a program does ------------------------------------------------------------------

    def bind(self, addr: bytes, port: int) -> None:
        """Take a local address and port (0: any free one). Linux: __inet_bind(), inet_csk_get_port()."""
        if self.bound or self.state is not CLOSED:
            raise os_error(errno.EINVAL)
        if addr != IP_ANY and self.net.ipv4.addr_type(addr) == "unicast":
            raise os_error(errno.EADDRNOTAVAIL)
        self.saddr = self.addr_bound = addr
        try:
            self.table.get_port(self, port)
        except OSError:
            self.saddr = self.addr_bound = IP_ANY
            raise
        self.bound = True

    def listen(self, backlog: int) -> None:
        """Wait for connections. Linux: __inet_listen_sk(), inet_csk_listen_start()."""
        if self.state not in (CLOSED, LISTEN):
            raise os_error(errno.EINVAL)
        self.backlog = min(max(backlog, 0), self.net.sysctl.integer("net.core.somaxconn"))
        if self.state is LISTEN:
            return
        self.state = LISTEN
        try:
            self.table.start_listening(self)
        except OSError:
            self.state = CLOSED
            raise
        self.bound = True
        self.name_steps()

    def connect(self, addr: bytes, port: int) -> None:
        """Start a connection; its outcome is told to the owner. Linux: tcp_v4_connect()."""
        if self.state is not CLOSED:
            raise os_error(errno.EALREADY if self.state is SYN_SENT else errno.EISCONN)
        if addr == IP_ANY:
            addr = b"\x7f\x00\x00\x01"
        rt = self.net.ipv4.route_output(addr, None if self.saddr == IP_ANY else self.saddr)
        if rt.type not in ("unicast", "local"):
            raise os_error(errno.ENETUNREACH)
        self.rt = rt
        bound_to, self.daddr, self.dport = self.saddr, addr, port
        if bound_to == IP_ANY:
            self.saddr = rt.saddr
        try:
            self.table.hash_connect(self)
        except OSError:
            self.saddr, self.daddr, self.dport = bound_to, IP_ANY, 0
            raise
        self.bound = True
        self.name_steps()
        output.connect(self)

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Queue bytes to be sent: how many were taken (0: no room; `writable` tells of more). Linux: tcp_sendmsg()."""
        if self.err is not None:
            raise self._take_error()
        if self.shut_wr or self.state not in CAN_SEND:
            if self.state in (SYN_SENT, SYN_RECV) and not self.shut_wr:
                self.nospace = True
                return 0
            raise os_error(errno.EPIPE)
        return output.sendmsg(self, data)

    def _take_error(self) -> OSError:
        error, self.err = self.err, None
        assert error is not None
        return error

    def consumed(self, n: int) -> None:
        """The program has read `n` bytes: the window opens. Linux: tcp_recvmsg(), tcp_cleanup_rbuf()."""
        self.copied_seq += n
        window.rcv_space_adjust(self)
        if self.state not in (CLOSED, LISTEN, SYN_SENT):
            window.cleanup_rbuf(self)

    def shutdown(self) -> None:
        """No more will be sent: FIN after what is queued. Linux: tcp_shutdown(SEND_SHUTDOWN)."""
        if self.state in (CLOSED, LISTEN) or self.daddr == IP_ANY:
            raise os_error(errno.ENOTCONN)
        self.shut_wr = True
        if self.state in AFTER_CLOSE:
            self.set_state(AFTER_CLOSE[self.state])
            output.send_fin(self)

    def close(self) -> None:
        """The program lets go: FIN, or RST when there are bytes it never read. Linux: __tcp_close()."""
        if self.orphan:
            return
        unread = self.unread
        self.orphan = True
        self._forget_owner()
        if self.state is LISTEN:
            self.table.stop_listening(self)
            self.state = CLOSED
        elif self.state is SYN_SENT:
            self.done()
        elif self.state is CLOSED:
            self.table.release(self)
        elif self.linger == 0 or unread:
            self._abort()
        else:
            if self.state in AFTER_CLOSE:
                self.set_state(AFTER_CLOSE[self.state])
                output.send_fin(self)
            if self.state is FIN_WAIT2:
                self.table.time_wait(self, FIN_WAIT2)

    def abort(self) -> None:
        """Let go with a RST, whatever is queued. Linux: close() with SO_LINGER 0."""
        self.linger = 0
        self.close()

    def _abort(self) -> None:
        """Linux: tcp_disconnect(), tcp_send_active_reset()."""
        if self.state in (ESTABLISHED, CLOSE_WAIT, FIN_WAIT1, FIN_WAIT2, SYN_RECV):
            output.send_active_reset(self)
        self.done()

    @property
    def unread(self) -> int:
        """Bytes received in order that the program has not read."""
        return self.rcv_nxt - self.copied_seq - self.fin_received if self.state is not SYN_SENT else 0

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        """Linux: setsockopt(2)."""
        sockopt.setsockopt(self, level, name, value)

    def getsockopt(self, level: int, name: int) -> int:
        """Linux: getsockopt(2)."""
        return sockopt.getsockopt(self, level, name)

    # --- the end ------------------------------------------------------------------------------

    def fail(self, number: int) -> None:
        """The connection ends with an error. Linux: sk_error_report(), tcp_done()."""
        error = os_error(number)
        if self.state is SYN_SENT and not self.orphan:
            self._failure = error
        else:
            self.err = error
        self.done()

    def done(self) -> None:
        """Nothing more will be sent or received. Linux: tcp_done()."""
        timer.clear_all(self)
        if self.state is not CLOSED:
            self.set_state(CLOSED)
        self.table.release(self)
        self.unsent.clear()
        self.rtx.clear()
        self.buf.clear()
        self.ofo.clear()
        if not self.orphan and self._failure is None:
            self._lost_ready = True

    # --- telling the owner --------------------------------------------------------------------

    def established(self) -> None:
        """The handshake is done: the owner will be told."""
        self._connected = True

    def eof(self) -> None:
        """The peer's FIN is in order: the owner will be told."""
        self._eof_ready = True

    def _forget_owner(self) -> None:
        self.ready.clear()
        self._connected = self._eof_ready = self._lost_ready = self.nospace = False

    def notify(self) -> None:
        """Tell the owner what has happened, in order. Linux: sk_state_change(), sk_data_ready(), sk_write_space()."""
        if self.in_notify:
            return
        self.in_notify = True
        try:
            while not self.orphan and self.owner is not None and self._tell(self.owner):
                pass
        finally:
            self.in_notify = False

    def _tell(self, owner: TcpOwner) -> bool:
        if self._connected:
            self._connected = False
            if self.listener is None:
                owner.connected()
        elif self._failure is not None:
            failure, self._failure = self._failure, None
            owner.failed(failure)
        elif self.ready:
            data = self.ready[0] if len(self.ready) == 1 else b"".join(self.ready)
            self.ready.clear()
            owner.data_received(data)
        elif self._eof_ready:
            self._eof_ready = False
            owner.eof_received()
        elif self._lost_ready:
            self._lost_ready = False
            owner.connection_lost(self.err)
        elif self.nospace and self.state in CAN_SEND and output.is_writeable(self):
            self.nospace = False
            owner.writable()
        else:
            return False
        return True

    @property
    def has_news(self) -> bool:
        """Is there anything to tell the owner?"""
        return bool(
            self.ready or self._connected or self._eof_ready or self._lost_ready or self._failure or self.nospace
        )

    # --- accepting ----------------------------------------------------------------------------

    def pause_accepting(self) -> None:
        """The program does not call accept(2) for now: connections wait, as many as the backlog allows."""
        self.accepting = False

    def resume_accepting(self) -> None:
        """The program calls accept(2) again."""
        from k8semu.linux.sock.tcp.passive import accept

        self.accepting = True
        accept(self)
