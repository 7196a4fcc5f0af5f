"""The connections of virtual servers: where a client's packets go, and in which state each is.

    in     client ─▶ virtual server      out    real server ─▶ client

A connection is found by either. It lives as long as its state allows after each packet; one that has
expired goes when somebody looks, so no timer keeps a run alive, and with it the entry of connection
tracking.

Linux: net/netfilter/ipvs/ip_vs_conn.c, ip_vs_proto_tcp.c, ip_vs_proto_udp.c
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.netfilter.conntrack.tuples import PROTO_BYTE, invert
from k8semu.linux.netfilter.manip import DST, SRC, Manip
from k8semu.sim.clock import NS_PER_S
from k8semu.trace.steps import IpvsChange
from k8semu.wire.addr import ip_ntoa

if TYPE_CHECKING:
    from k8semu.linux.core.net import Net
    from k8semu.linux.netfilter.ipvs.service import RealServer, VirtualServer

(NONE, ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN,
 SYNACK) = range(11)  # fmt: skip
TCP_STATES = (
    "NONE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK",
    "LISTEN", "SYNACK",
)  # fmt: skip
TCP_TIMEOUTS = [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120]
"""Seconds, by state. `ipvsadm --set` changes those of ESTABLISHED and FIN_WAIT."""
UDP_TIMEOUT = 300
_ACTIVE = frozenset({ESTABLISHED, SYN_SENT, SYN_RECV, SYNACK})
IN, OUT = 0, 1
_NEXT = {
    # by segment (SYN, FIN, ACK, RST) and present state, in the order above
    IN: (
        (SYN_RECV, ESTABLISHED, ESTABLISHED, *[SYN_RECV] * 8),
        (CLOSE, CLOSE_WAIT, SYN_SENT, TIME_WAIT, TIME_WAIT, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, TIME_WAIT),
        (ESTABLISHED, ESTABLISHED, SYN_SENT, ESTABLISHED, FIN_WAIT, TIME_WAIT, CLOSE, CLOSE_WAIT, CLOSE, LISTEN,
         ESTABLISHED),
        (CLOSE, CLOSE, CLOSE, SYN_RECV, CLOSE, CLOSE, CLOSE, CLOSE, LAST_ACK, LISTEN, SYN_RECV),
    ),
    OUT: (
        (SYN_SENT, ESTABLISHED, SYN_SENT, SYN_RECV, *[SYN_SENT] * 5, LISTEN, SYN_RECV),
        (TIME_WAIT, FIN_WAIT, SYN_SENT, TIME_WAIT, FIN_WAIT, TIME_WAIT, CLOSE, TIME_WAIT, LAST_ACK, LISTEN,
         TIME_WAIT),
        (ESTABLISHED, ESTABLISHED, SYN_SENT, ESTABLISHED, FIN_WAIT, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK,
         ESTABLISHED, ESTABLISHED),
        (CLOSE, CLOSE, SYN_SENT, CLOSE, CLOSE, TIME_WAIT, CLOSE, CLOSE, CLOSE, CLOSE, CLOSE),
    ),
}  # fmt: skip
PROTOCOLS = {6: "TCP", 17: "UDP"}
_SWEEP = 256
_WAIT_FOR_CONTROLLED = 60 * NS_PER_S


def _at(address: bytes, port: bytes) -> str:
    return f"{ip_ntoa(address)}:{port[0] << 8 | port[1]}"


def _segment(flags: int) -> int:
    """Which row of the table. Linux: tcp_state_idx()."""
    if flags & 0x04:
        return 3
    if flags & 0x02:
        return 0
    if flags & 0x01:
        return 1
    return 2 if flags & 0x10 else -1


class Conn:
    """One connection, or with `template` where a client's next ones go. `key` is the tuple of what comes in."""

    __slots__ = (
        "answer", "assured", "control", "controlled", "dest", "expires", "inactive", "key", "manip_in", "manip_out",
        "nfct", "proto", "service", "state", "template", "timeout",
    )  # fmt: skip

    def __init__(
        self, service: VirtualServer, key: bytes, dest: RealServer, dport: int, nfct: bool, template: bool = False
    ) -> None:
        self.service, self.key, self.dest, self.nfct, self.template = service, key, dest, nfct, template
        self.proto = key[12]
        port = dport.to_bytes(2, "big")
        self.answer = dest.address + key[0:4] + port + key[8:10] + PROTO_BYTE[self.proto]
        self.state = NONE
        self.timeout = 3 * NS_PER_S
        self.expires = 0
        self.inactive = True
        self.assured = False
        self.control: Conn | None = None
        self.controlled = 0          # how many connections this template has
        if not template:
            sent, shown = invert(self.answer), invert(key)
            assert sent is not None
            assert shown is not None
            self.manip_in = Manip(sent, DST, key, service.origin)
            self.manip_out = Manip(shown, SRC, self.answer, service.origin)

    @property
    def vaddr(self) -> bytes:
        return self.key[4:8]

    @property
    def vport(self) -> int:
        return self.key[10] << 8 | self.key[11]

    @property
    def state_name(self) -> str:
        if self.template:
            return "ASSURED" if self.assured else "NONE"
        return TCP_STATES[self.state] if self.proto == 6 else "UDP"

    @property
    def key_text(self) -> str:
        """``TCP 172.17.0.2:4000 10.96.0.20:80``."""
        key, protocol = self.key, PROTOCOLS.get(self.proto, "IP")
        return f"{protocol} {_at(key[0:4], key[8:10])} {_at(key[4:8], key[10:12])}"

    @property
    def text(self) -> str:
        """The line of `ipvsadm -Lnc` with single blanks, without the time."""
        protocol, source, virtual = self.key_text.split()
        return f"{protocol} {self.state_name} {source} {virtual} {_at(self.answer[0:4], self.answer[8:10])}"

    def follow(self, direction: int, flags: int, tcp_timeouts: list[int], udp_timeout: int) -> bool:
        """A packet passes; True if it changes what is known. Linux: set_tcp_state(), udp_state_transition()."""
        if self.proto != 6:
            self.timeout = udp_timeout * NS_PER_S
            self.state = NONE
            return direction == OUT and self._assure()
        before = self.state
        row = _segment(flags)
        state = _NEXT[direction][row][self.state] if row >= 0 else CLOSE
        if state != self.state:
            self._count(state in _ACTIVE)
            if state == ESTABLISHED:
                self._assure()
        self.state = state
        self.timeout = tcp_timeouts[state] * NS_PER_S
        return state != before

    def _assure(self) -> bool:
        """Its template is known to be of use. Linux: ip_vs_control_assure_ct()."""
        if self.control is None or self.control.assured:
            return False
        self.control.assured = True
        return True

    def _count(self, active: bool) -> None:
        dest = self.dest
        if active and self.inactive:
            dest.active += 1
            dest.inactive -= 1
        elif not active and not self.inactive:
            dest.active -= 1
            dest.inactive += 1
        self.inactive = not active


class ConnTable:
    """All connections of a namespace. Shown: `ipvsadm -Lnc`."""

    __slots__ = ("_answers", "_conns", "_soonest", "_sweep_at", "_templates", "net")

    def __init__(self, net: Net) -> None:
        self.net = net
        self._conns: dict[bytes, Conn] = {}
        self._answers: dict[bytes, Conn] = {}
        self._templates: dict[bytes, Conn] = {}
        self._sweep_at = _SWEEP
        self._soonest = 0   # nothing expires before

    def find_in(self, key: bytes) -> Conn | None:
        """By the tuple of a client's packet. Linux: ip_vs_conn_in_get()."""
        return self._alive(self._conns.get(key))

    def find_out(self, key: bytes) -> Conn | None:
        """By the tuple of a real server's answer. Linux: ip_vs_conn_out_get()."""
        return self._alive(self._answers.get(key))

    def find_template(self, key: bytes) -> Conn | None:
        """Linux: ip_vs_ct_in_get()."""
        return self._alive(self._templates.get(key))

    def _alive(self, conn: Conn | None) -> Conn | None:
        if conn is None or conn.expires > self.net.clock.now:
            return conn
        return None if self._expired(conn) else conn

    def _expired(self, conn: Conn) -> bool:
        """Its time is over; a template waits for its connections. Linux: ip_vs_conn_expire()."""
        if conn.controlled:
            self._sweep(self._conns)
        if conn.controlled:
            conn.expires = self.net.clock.now + _WAIT_FOR_CONTROLLED
            return False
        self.remove(conn)
        return True

    def add(self, conn: Conn) -> None:
        """Linux: ip_vs_conn_new(), ip_vs_bind_dest()."""
        self.put(conn)
        dest = conn.dest
        self.told(conn)
        if conn.template:
            self._templates[conn.key] = conn
            dest.persistent += 1
            return
        self._conns[conn.key] = conn
        self._answers[conn.answer] = conn
        dest.inactive += 1
        self.net.new_epoch()
        if len(self._conns) > self._sweep_at:
            self.sweep()
            self._sweep_at = 2 * len(self._conns) + _SWEEP

    def remove(self, conn: Conn) -> None:
        """Linux: ip_vs_conn_unlink(), ip_vs_conn_drop_conntrack()."""
        dest = conn.dest
        if conn.template:
            if self._templates.get(conn.key) is conn:
                del self._templates[conn.key]
                dest.persistent -= 1
                self.told(conn, gone=True)
            return
        if self._conns.get(conn.key) is not conn:
            return
        del self._conns[conn.key]
        self.told(conn, gone=True)
        if self._answers.get(conn.answer) is conn:
            del self._answers[conn.answer]
        if conn.inactive:
            dest.inactive -= 1
        else:
            dest.active -= 1
        if conn.control is not None:
            conn.control.controlled -= 1
        self.net.new_epoch()
        if conn.nfct:
            tracked = self.net.netfilter.conntrack.find(conn.key)
            if tracked is not None:
                self.net.netfilter.conntrack.destroy(tracked[0], "its ipvs connection is gone")

    def told(self, conn: Conn, gone: bool = False) -> None:
        """What is known of a connection, or of its template, has changed."""
        if self.net.trace is not None:
            self.net.change(IpvsChange(conn.key_text, "" if gone else conn.text))
            if conn.control is not None and not gone:
                self.net.change(IpvsChange(conn.control.key_text, conn.control.text))

    def put(self, conn: Conn) -> None:
        """It was used: its time begins anew. Linux: ip_vs_conn_put()."""
        conn.expires = self.net.clock.now + conn.timeout
        self._soonest = min(self._soonest, conn.expires)

    def sweep(self) -> None:
        """Forget what has expired: connections, then the templates that waited for them."""
        now = self.net.clock.now
        if now < self._soonest:
            return
        self._sweep(self._conns)
        self._sweep(self._templates)
        live = (conn.expires for table in (self._conns, self._templates) for conn in table.values())
        self._soonest = min(live, default=0)

    def _sweep(self, table: dict[bytes, Conn]) -> None:
        now = self.net.clock.now
        for conn in [conn for conn in table.values() if conn.expires <= now]:
            self._expired(conn)

    def all(self) -> list[Conn]:
        """The live ones, in the order in which they began; templates last."""
        self.sweep()
        return [*self._conns.values(), *self._templates.values()]
