"""What the receiver offers: the window grows with what the program reads, and never takes back.

Linux: net/ipv4/tcp_output.c __tcp_select_window(), tcp_select_window(), tcp_select_initial_window()
       net/ipv4/tcp_input.c tcp_rcv_space_adjust(), tcp_grow_window(); net/ipv4/tcp.c tcp_cleanup_rbuf()
RFC: 9293 section 3.8.6, 1122 section 4.2.3.3 (silly window)
Differs: memory is counted in bytes of payload, half of the buffer being overhead, so that exact
window sizes differ from Linux's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.sim.clock import NS_PER_MS

if TYPE_CHECKING:
    from k8semu.linux.core.net import Net
    from k8semu.linux.sock.tcp.sock import TcpSock


def limits(net: Net, name: str) -> tuple[int, int, int]:
    """`net.ipv4.tcp_rmem` or `tcp_wmem`: least, initial and most."""
    low, initial, high = str(net.sysctl.values[f"net.ipv4.{name}"]).split()
    return int(low), int(initial), int(high)


def initial(sk: TcpSock, mss: int) -> tuple[int, int]:
    """The first window and our window scale. Linux: tcp_select_initial_window().

    64240 for a SYN on an MTU of 1500, 65160 for a SYN-ACK with timestamps: whole segments in 64 KiB.
    """
    net = sk.net
    most = limits(net, "tcp_rmem")[2]
    space = sk.rcvbuf // 2
    if space > mss:
        space -= space % mss
    wscale = 0
    if net.sysctl.integer("net.ipv4.tcp_window_scaling"):
        space_max = sk.rcvbuf // 2 if sk.rcvbuf_locked else max(most, net.sysctl.integer("net.core.rmem_max"))
        wscale = min(max(space_max.bit_length() - 1 - 15, 0), 14)
    return min(space, 65535), wscale


def open_window(sk: TcpSock) -> None:
    """The connection is up: from here on the buffer says what can be offered. Linux: tcp_init_buffer_space()."""
    sk.window_clamp = max(sk.rcvbuf // 2, sk.rcv_wnd)
    sk.rcv_ssthresh = min(sk.rcv_ssthresh or sk.rcv_wnd, sk.window_clamp)
    sk.drs_space = min(sk.rcv_wnd, 10 * sk.advmss)
    sk.drs_seq = sk.copied_seq
    sk.drs_time = sk.clock.now


def calculate(sk: TcpSock) -> int:
    """The window we could offer now. Linux: __tcp_select_window()."""
    full = sk.rcvbuf >> 1
    free = full - (sk.rcv_nxt - sk.copied_seq)
    if sk.ofo:
        free -= sum([early.end - early.seq for early in sk.ofo])
    scale = sk.rcv_wscale
    mss = min(sk.rcv_mss, full)
    if free < full >> 1:
        free = max(free, 0) >> scale << scale
        if free < full >> 4 or free < mss:
            return 0
    free = min(free, sk.rcv_ssthresh)
    if scale:
        return (free + (1 << scale) - 1) >> scale << scale
    window = sk.rcv_wnd
    if window <= free - mss or window > free:
        window = free - free % mss
    return window


def select(sk: TcpSock) -> int:
    """The window to write into a segment that leaves now; what was offered is never taken back."""
    current = sk.rcv_wup + sk.rcv_wnd - sk.rcv_nxt
    if current < 0:
        current = 0
    new = calculate(sk)
    if new < current:
        scale = sk.rcv_wscale
        new = (current + (1 << scale) - 1) >> scale << scale
    sk.rcv_wnd = new
    sk.rcv_wup = sk.rcv_nxt
    return new


def receive_window(sk: TcpSock) -> int:
    """How much more the peer may send, by what we last told it. Linux: tcp_receive_window()."""
    return max(sk.rcv_wup + sk.rcv_wnd - sk.rcv_nxt, 0)


def grow(sk: TcpSock) -> None:
    """Data came: dare to offer more. Linux: tcp_grow_window()."""
    if sk.rcv_ssthresh < sk.window_clamp:
        sk.rcv_ssthresh = min(sk.rcv_ssthresh + 2 * sk.advmss, sk.window_clamp)


def rcv_space_adjust(sk: TcpSock) -> None:
    """A program that reads fast gets a bigger buffer. Linux: tcp_rcv_space_adjust()."""
    now = sk.clock.now
    if now - sk.drs_time < (sk.srtt or NS_PER_MS):
        return
    copied = sk.copied_seq - sk.drs_seq
    if copied > sk.drs_space and not sk.rcvbuf_locked:
        most = limits(sk.net, "tcp_rmem")[2]
        buffer = min(2 * (2 * copied + 16 * sk.advmss), most)
        if buffer > sk.rcvbuf:
            sk.rcvbuf = buffer
            sk.window_clamp = buffer // 2
        sk.drs_space = copied
    sk.drs_seq = sk.copied_seq
    sk.drs_time = now


def cleanup_rbuf(sk: TcpSock) -> None:
    """The program has read: tell the peer when that opens the window well. Linux: __tcp_cleanup_rbuf()."""
    from k8semu.linux.sock.tcp.output import send_ack

    urgent = sk.ack_pending and sk.rcv_nxt - sk.rcv_wup > sk.rcv_mss
    if not urgent and not sk.fin_received:
        now_open = receive_window(sk)
        if 2 * now_open <= sk.window_clamp:
            could = calculate(sk)
            urgent = could > 0 and could >= 2 * now_open
    if urgent:
        send_ack(sk)
