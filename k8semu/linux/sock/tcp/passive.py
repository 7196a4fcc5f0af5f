"""A connection that a peer began: the child of a listener.

Linux: net/ipv4/tcp_minisocks.c tcp_create_openreq_child(), tcp_child_process(),
       net/ipv4/inet_connection_sock.c inet_csk_complete_hashdance()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.sock.tcp import input, xmit
from k8semu.linux.sock.tcp.segment import ACK, SYN, Sent
from k8semu.linux.sock.tcp.sock import TcpSock
from k8semu.linux.sock.tcp.states import CLOSED, LISTEN, SYN_RECV

if TYPE_CHECKING:
    from k8semu.linux.core.skb import Skb
    from k8semu.linux.sock.tcp.minisocks import RequestSock
    from k8semu.linux.sock.tcp.segment import Header


def create_child(req: RequestSock) -> TcpSock:
    """A socket in SYN_RECV with what the handshake agreed on and the listener's options."""
    listener = req.listener
    sk = TcpSock(listener.sockets, None)
    sk.listener = listener
    sk.saddr, sk.daddr, sk.sport, sk.dport = req.flow
    sk.bound = True
    sk.deliver_step, sk.originate_step = listener.deliver_step, listener.originate_step
    sk.reuseaddr, sk.keepalive, sk.nodelay = listener.reuseaddr, listener.keepalive, listener.nodelay
    sk.reuseport = listener.reuseport
    sk.linger, sk.ttl, sk.user_timeout = listener.linger, listener.ttl, listener.user_timeout
    sk.keep_idle, sk.keep_intvl, sk.keep_cnt = listener.keep_idle, listener.keep_intvl, listener.keep_cnt
    sk.sndbuf, sk.sndbuf_locked = listener.sndbuf, listener.sndbuf_locked
    sk.rcvbuf, sk.rcvbuf_locked = listener.rcvbuf, listener.rcvbuf_locked
    sk.state = SYN_RECV
    xmit.set_header(sk)
    xmit.route(sk)
    sk.iss = sk.snd_una = req.snt_isn
    sk.snd_nxt = sk.write_seq = sk.pushed_seq = sk.snd_sml = sk.buf_seq = req.snt_isn + 1
    sent = Sent(sk.iss, sk.iss + 1, SYN | ACK, sk.clock.now)
    sent.tries = 1  # its round trip is taken from the timestamp
    sk.rtx.append(sent)
    sk.rcv_nxt = sk.rcv_wup = sk.copied_seq = req.rcv_isn + 1
    sk.rcv_wnd, sk.rcv_wscale = req.rcv_wnd, req.rcv_wscale if req.wscale is not None else 0
    sk.rcv_ssthresh = sk.rcv_wnd
    sk.snd_wscale = req.wscale or 0
    sk.snd_wl1 = req.rcv_isn
    sk.ts_ok, sk.ts_recent, sk.ts_offset = req.ts_ok, req.ts_recent, req.ts_offset
    sk.sack_ok = req.sack_ok
    sk.mss_clamp, sk.advmss = req.mss, min(req.advmss, req.mss)
    xmit.sync_mss(sk)
    sk.rcv_mss = min(sk.advmss, sk.mss_cache, 536)
    return sk


def child_process(sk: TcpSock, skb: Skb, h: Header) -> None:
    """The segment that completed the handshake is the child's first; then it is there to be accepted."""
    input.rcv_state_process(sk, skb, h)
    listener = sk.listener
    assert listener is not None
    if sk.state is CLOSED and sk.unread == 0 and not sk.has_news:
        return
    listener.accept_queue.append(sk)
    accept(listener)


def accept(listener: TcpSock) -> None:
    """Hand connections to the listening program, unless it has paused. Linux: inet_csk_accept()."""
    while listener.accepting and listener.accept_queue and listener.state is LISTEN:
        sk = listener.accept_queue.popleft()
        assert listener.owner is not None
        sk.owner = listener.owner.accepted(sk)
        sk.name_steps()
        sk.notify()
