"""What a connection is made of: the transmission control block.

Sequence numbers are plain integers that never wrap; times are nanoseconds.

Linux: include/linux/tcp.h struct tcp_sock, include/net/inet_connection_sock.h, include/net/sock.h
RFC: 9293 section 3.3.1
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from k8semu.linux.sock.tcp import timer
from k8semu.linux.sock.tcp.cong import Cubic
from k8semu.linux.sock.tcp.states import CLOSED, State
from k8semu.sim.clock import NS_PER_S, Timer
from k8semu.trace.steps import Deliver, Originate
from k8semu.wire.addr import IP_ANY

if TYPE_CHECKING:
    from k8semu.linux.core.flow import Flow
    from k8semu.linux.core.net import Net
    from k8semu.linux.ipv4.route import Rtable
    from k8semu.linux.sock.owner import TcpOwner
    from k8semu.linux.sock.tcp.data import Early
    from k8semu.linux.sock.tcp.minisocks import RequestSock
    from k8semu.linux.sock.tcp.segment import Sent, Unsent
    from k8semu.linux.sock.tcp.sock import TcpSock
    from k8semu.linux.sock.tcp.table import TcpTable


class HasTcp(Protocol):
    """What a TCP socket needs of `net.sockets`."""

    @property
    def net(self) -> Net: ...

    @property
    def tcp(self) -> TcpTable: ...


class Tcb:
    """All variables of one TCP socket; `TcpSock` says what can be done with it."""

    __slots__ = (
        "_connected",
        "_eof_ready",
        "_failure",
        "_lost_ready",
        "accept_queue",
        "accepting",
        "ack_now",
        "ack_pending",
        "ack_seq_ooo",
        "addr_bound",
        "addr_sum",
        "advmss",
        "backlog",
        "backoff",
        "bound",
        "buf",
        "buf_seq",
        "ca",
        "ca_state",
        "clock",
        "confirm",
        "copied_seq",
        "cwnd",
        "cwnd_cnt",
        "cwnd_limited",
        "daddr",
        "delack_at",
        "delack_timer",
        "deliver_step",
        "dport",
        "drs_seq",
        "drs_space",
        "drs_time",
        "dupacks",
        "err",
        "err_soft",
        "fin_received",
        "flow",
        "header_sum",
        "high_seq",
        "ident",
        "in_notify",
        "iss",
        "keep_cnt",
        "keep_idle",
        "keep_intvl",
        "keepalive",
        "keepalive_timer",
        "key",
        "linger",
        "listener",
        "lost_out",
        "lost_seq",
        "lrcvtime",
        "lsndtime",
        "max_packets_out",
        "max_window",
        "mdev",
        "min_rtt",
        "mss_cache",
        "mss_clamp",
        "net",
        "nodelay",
        "nospace",
        "ofo",
        "ofo_fin",
        "ofo_recent",
        "oow_at",
        "originate_step",
        "orphan",
        "owner",
        "pending",
        "pingpong",
        "pmtu",
        "prior_cwnd",
        "probes_out",
        "prr_delivered",
        "prr_out",
        "pushed_seq",
        "quick",
        "rack_at",
        "rcv_mss",
        "rcv_nxt",
        "rcv_ssthresh",
        "rcv_wnd",
        "rcv_wscale",
        "rcv_wup",
        "rcvbuf",
        "rcvbuf_locked",
        "ready",
        "requests",
        "retrans_out",
        "retrans_stamp",
        "retransmits",
        "reuseaddr",
        "reuseport",
        "rt",
        "rto",
        "rto_at",
        "rto_timer",
        "rttvar",
        "rtx",
        "sack_cache",
        "sack_ok",
        "sacked_out",
        "saddr",
        "shut_wr",
        "snd_nxt",
        "snd_sml",
        "snd_una",
        "snd_wl1",
        "snd_wnd",
        "snd_wscale",
        "sndbuf",
        "sndbuf_locked",
        "sockets",
        "sport",
        "srtt",
        "ssthresh",
        "state",
        "table",
        "tlp_high",
        "tlp_retrans",
        "total_rto",
        "ts_offset",
        "ts_ok",
        "ts_recent",
        "ttl",
        "unsent",
        "user_timeout",
        "window_clamp",
        "write_seq",
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
        self.flow: Flow | None = None              # what becomes of its segments (core.flow)
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
        self.reuseaddr = self.reuseport = self.keepalive = self.nodelay = False
        self.sndbuf_locked = self.rcvbuf_locked = False
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
        self.mss_clamp = self.mss_cache = 536
        self.advmss = 1460
        self.pmtu = 0
        self.ca = Cubic()
        self.ca_state = "Open"
        self.cwnd, self.cwnd_cnt, self.ssthresh = 10, 0, 0x7FFFFFFF
        self.cwnd_limited = False
        self.max_packets_out = self.high_seq = self.prr_delivered = self.prr_out = self.prior_cwnd = 0
        self.lsndtime = 0
        self.confirm = False                      # something was acknowledged: the next hop is alive

    def keep_flow(self, flow: Flow) -> None:
        """What became of a segment sent becomes of the next ones (core.flow)."""
        self.flow = flow

    def _init_receive(self, net: Net) -> None:
        self.rcv_nxt = self.rcv_wup = self.rcv_wnd = self.copied_seq = 0
        self.rcv_wscale = self.rcv_ssthresh = self.window_clamp = 0
        self.rcvbuf = int(str(net.sysctl.get("net.ipv4.tcp_rmem")).split()[1])
        self.rcv_mss = 536
        self.ofo: list[Early] = []                         # sorted, neither overlapping nor touching
        self.ofo_recent: list[int] = []                    # where the latest came in, latest first
        self.ofo_fin = -1                                  # where a FIN that came too early stands
        self.ack_seq_ooo: tuple[int, int] | None = None    # duplicate to report (RFC 2883)
        self.fin_received = False
        self.ts_ok = self.sack_ok = False
        self.ts_offset = self.ts_recent = 0
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
        self.pending = timer.RETRANS              # what rto_at is for
        self.tlp_high = 0                         # snd_nxt when a loss probe left that is not answered yet
        self.tlp_retrans = False                  # … and it was old data
        self.rto_timer: Timer | None = None
        self.delack_timer: Timer | None = None
        self.keepalive_timer: Timer | None = None
