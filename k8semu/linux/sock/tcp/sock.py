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
from typing import TYPE_CHECKING

from k8semu.linux.sock.tcp import output, sockopt, timer, window
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
from k8semu.linux.sock.tcp.tcb import Tcb
from k8semu.trace.steps import Deliver, Originate, SockStep
from k8semu.wire.addr import IP_ANY, ip_ntoa

if TYPE_CHECKING:
    from k8semu.linux.sock.owner import TcpOwner


class TcpSock(Tcb):
    """One TCP socket. Sequence numbers are plain integers that never wrap."""

    __slots__ = ()

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
