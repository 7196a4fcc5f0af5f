"""What UDP and ping sockets share: addresses, options, the receive queue, pending errors.

    packet ─▶ receive ─▶ queue ─▶ owner.readable() … read() ─▶ (bytes, address)
    ICMP error ─▶ icmp_error ─▶ pending error ─▶ reported by the next read or send

Linux: net/ipv4/datagram.c, net/core/sock.c, net/ipv4/ip_sockglue.c, net/ipv4/ip_output.c ip_append_data()
Differs: a queued packet counts its length and 160 bytes against SO_RCVBUF, close to what the kernel's
truesize comes to for small ones.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from typing import Protocol

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import Skb, deliver, drop
from k8semu.linux.ipv4.icmp import DEST_UNREACH, FRAG_NEEDED, PARAMETERPROB, REDIRECT, TIME_EXCEEDED, IcmpError
from k8semu.linux.ipv4.route import RouteError, Rtable
from k8semu.sim.program import Frame, current_packet, current_program
from k8semu.trace.steps import Deliver, Originate
from k8semu.wire.addr import IP_ANY, IP_LOOPBACK, ip_is_multicast, ip_ntoa
from k8semu.wire.build import ip_build

Address = tuple[bytes, int]

SKB_OVERHEAD = 160
MIN_RCVBUF = 2304          # Linux: SOCK_MIN_RCVBUF
PMTUDISC_DONT, PMTUDISC_WANT, PMTUDISC_DO, PMTUDISC_PROBE, PMTUDISC_INTERFACE, PMTUDISC_OMIT = range(6)

# Option numbers are Linux's on every machine that this runs on.
SOL_IP, IP_TOS, IP_TTL, IP_MTU_DISCOVER, IP_RECVERR, IP_MTU = 0, 1, 2, 10, 11, 14
SOL_SOCKET, SO_REUSEADDR, SO_ERROR, SO_BROADCAST, SO_SNDBUF, SO_RCVBUF, SO_REUSEPORT = 1, 2, 4, 6, 7, 8, 15

# errno, and whether it is fatal. Linux: net/ipv4/icmp.c icmp_err_convert[]
_UNREACH = (
    (errno.ENETUNREACH, False), (errno.EHOSTUNREACH, False), (errno.ENOPROTOOPT, True), (errno.ECONNREFUSED, True),
    (errno.EMSGSIZE, False), (errno.EOPNOTSUPP, False), (errno.ENETUNREACH, True), (errno.EHOSTDOWN, True),
    (64, True), (errno.ENETUNREACH, True), (errno.EHOSTUNREACH, True), (errno.ENETUNREACH, False),
    (errno.EHOSTUNREACH, False), (errno.EHOSTUNREACH, True), (errno.EHOSTUNREACH, True), (errno.EHOSTUNREACH, True),
)  # fmt: skip


def os_error(number: int) -> OSError:
    """The exception that a system call's errno becomes in Python."""
    return OSError(number, os.strerror(number))


class DgramOwner(Protocol):
    """Who reads a datagram socket."""

    def readable(self) -> None:
        """There is something to read, or an error to report."""


class DgramSock:
    """A datagram socket. `sport` is 0 until it is bound; `daddr` is 0.0.0.0 until it is connected."""

    __slots__ = (
        "_deliver_step", "_originate_step", "broadcast", "closed", "daddr", "dport", "errors", "ident", "net", "owner",
        "pmtudisc", "program", "queue", "rcv_saddr", "rcvbuf", "recverr", "reuseaddr", "reuseport", "rmem", "saddr",
        "sndbuf", "sport", "tos", "ttl",
    )  # fmt: skip
    protocol = 0
    proto_name = ""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.owner: DgramOwner | None = None
        self.program = current_program.get()
        self.saddr = self.rcv_saddr = self.daddr = IP_ANY
        self.sport = self.dport = 0
        self.ident = 0                             # of a connected socket
        self.ttl: int | None = None
        self.tos = 0
        self.pmtudisc = PMTUDISC_DONT if net.sysctl.integer("net.ipv4.ip_no_pmtu_disc") else PMTUDISC_WANT
        self.broadcast = self.recverr = self.reuseaddr = self.reuseport = self.closed = False
        self.rcvbuf = net.sysctl.integer("net.core.rmem_default")
        self.sndbuf = net.sysctl.integer("net.core.wmem_default")
        self.queue: deque[tuple[Frame, Address]] = deque()
        self.rmem = 0
        self.errors: deque[OSError] = deque()
        self._deliver_step: Deliver | None = None
        self._originate_step: Originate | None = None

    # --- names --------------------------------------------------------------------------------

    @property
    def local(self) -> Address:
        """Linux: getsockname()."""
        return self.saddr, self.sport

    @property
    def remote(self) -> Address:
        """Linux: getpeername()."""
        return self.daddr, self.dport

    @property
    def connected(self) -> bool:
        return self.daddr != IP_ANY

    def _renamed(self) -> None:
        self._deliver_step = self._originate_step = None

    def _name(self) -> str:
        return f"{self.proto_name} {ip_ntoa(self.saddr)}:{self.sport}"

    @property
    def deliver_step(self) -> Deliver:
        step = self._deliver_step
        if step is None:
            step = self._deliver_step = Deliver(f"{self._name()} ({self.program})")
        return step

    @property
    def originate_step(self) -> Originate:
        step = self._originate_step
        if step is None:
            step = self._originate_step = Originate(f"{self.program} {self._name()}")
        return step

    # --- binding ------------------------------------------------------------------------------

    def bind(self, addr: bytes, port: int) -> None:
        """Take a local address and port (0: any). Linux: net/ipv4/af_inet.c __inet_bind()."""
        kind = "local" if addr == IP_ANY else self.net.ipv4.addr_type(addr)
        if kind == "unicast" and not self.net.sysctl.integer("net.ipv4.ip_nonlocal_bind"):
            raise os_error(errno.EADDRNOTAVAIL)
        if self.sport:
            raise os_error(errno.EINVAL)
        self._get_port(addr, port)
        self.rcv_saddr = addr
        self.saddr = addr if kind in ("local", "unicast") else IP_ANY
        self._renamed()

    def autobind(self) -> None:
        """A port for a socket that sends without having asked for one. Linux: inet_autobind()."""
        if not self.sport:
            self._get_port(self.rcv_saddr, 0)
            self._renamed()

    def _get_port(self, addr: bytes, port: int) -> None:
        raise NotImplementedError

    def connect(self, addr: bytes, port: int) -> None:
        """Fix the peer; packets of others no longer arrive. Linux: net/ipv4/datagram.c __ip4_datagram_connect()."""
        self.autobind()
        addr = self._reach(addr)
        rt = self._route(addr)
        self.saddr = rt.saddr if self.saddr == IP_ANY else self.saddr
        self.rcv_saddr = rt.saddr if self.rcv_saddr == IP_ANY else self.rcv_saddr
        self.daddr, self.dport = addr, port
        self.ident = self.net.random("ip-id-connected").bits(16)
        self._renamed()

    def close(self) -> None:
        """What was not read is lost. Linux: udp_destroy_sock(), inet_release()."""
        self.closed = True
        self.queue.clear()
        self.errors.clear()
        self.owner = None

    # --- sending ------------------------------------------------------------------------------

    def _reach(self, addr: bytes) -> bytes:
        """To 0.0.0.0 means to this machine."""
        if addr != IP_ANY:
            return addr
        return self.saddr if self.saddr != IP_ANY else IP_LOOPBACK

    def _route(self, addr: bytes) -> Rtable:
        try:
            rt = self.net.ipv4.route_output(addr, None if self.saddr == IP_ANY else self.saddr)
        except RouteError as error:
            raise os_error(error.errno or errno.ENETUNREACH) from None
        if rt.type == "broadcast" and not self.broadcast:
            raise os_error(errno.EACCES)
        return rt

    def _check_sendable(self) -> None:
        if self.closed:
            raise os_error(errno.EBADF)
        if self.errors:
            raise self.errors.popleft()

    def _send(self, rt: Rtable, daddr: bytes, segment: bytes | bytearray) -> None:
        """One IP packet. DF is set where it fits the path; else it may be cut. Linux: __ip_make_skb()."""
        ipv4 = self.net.ipv4
        size = len(segment) + 20
        if size > 65535:
            raise os_error(errno.EMSGSIZE)
        strict = self.pmtudisc in (PMTUDISC_DO, PMTUDISC_PROBE)
        mtu = ipv4.mtu(rt, daddr) if self.pmtudisc != PMTUDISC_PROBE else rt.dev.mtu
        if strict and size > mtu:
            too_long = os_error(errno.EMSGSIZE)
            too_long.mtu = mtu  # type: ignore[attr-defined]  # what the error queue would tell
            raise too_long
        df = strict or (self.pmtudisc == PMTUDISC_WANT and size <= mtu)
        if self.connected:
            ident = self.ident
            self.ident = (ident + 1) & 0xFFFF
        else:
            ident = ipv4.next_ident()
        ttl = self.ttl
        if ttl is None:
            ttl = 1 if ip_is_multicast(daddr) else self.net.sysctl.ip_default_ttl
        saddr = self.saddr if self.saddr != IP_ANY else rt.saddr
        frame = ip_build(saddr, daddr, self.protocol, len(segment), ttl, self.tos, df, ident)
        frame += segment
        packet_id = current_packet.get()
        if packet_id is None:
            packet_id = self.net.world.next_packet_id()
        error = ipv4.local_out(Skb(self.net, frame, packet_id, self.originate_step), rt)
        if error and (error != errno.ENOBUFS or self.recverr):
            raise os_error(error)

    # --- receiving ----------------------------------------------------------------------------

    def receive(self, skb: Skb, data: bytes | bytearray, sender: Address) -> None:
        """Queue what came in; ends `skb`. Linux: __udp_enqueue_schedule_skb(), sock_queue_rcv_skb_reason()."""
        if self.rmem > self.rcvbuf:
            drop(skb, Drop.SOCKET_RCVBUFF, f"{self._name()} ({self.program}) reads too slowly")
            return
        self.rmem += len(data) + SKB_OVERHEAD
        self.queue.append((Frame.of(data, skb.id), sender))
        deliver(skb, self.deliver_step)
        if self.owner is not None:
            self.owner.readable()

    @property
    def has_news(self) -> bool:
        return bool(self.errors or self.queue)

    def read(self) -> tuple[Frame, Address] | None:
        """The next datagram and its sender, None if there is none; a pending error is raised. Linux: recvfrom()."""
        if self.errors:
            raise self.errors.popleft()
        if not self.queue:
            return None
        data, sender = self.queue.popleft()
        self.rmem -= len(data) + SKB_OVERHEAD
        return data, sender

    # --- errors -------------------------------------------------------------------------------

    def icmp_error(self, error: IcmpError) -> None:
        """An ICMP error about a packet of this socket. Linux: __udp4_lib_err(), ping_err().

        Without IP_RECVERR only a connected socket hears of it, and only if it is fatal; there it can
        only hold one. With IP_RECVERR each is kept.
        """
        number, hard = self._errno_of(error)
        if number is None or (not self.recverr and not (hard and self.connected)):
            return
        exc = os_error(number)
        exc.icmp = error  # type: ignore[attr-defined]  # what recvmsg(MSG_ERRQUEUE) would tell
        if not self.recverr:
            self.errors.clear()
        self.errors.append(exc)
        if self.owner is not None:
            self.owner.readable()

    def _errno_of(self, error: IcmpError) -> tuple[int | None, bool]:
        if error.type == TIME_EXCEEDED:
            return errno.EHOSTUNREACH, False
        if error.type == PARAMETERPROB:
            return errno.EPROTO, True
        if error.type == DEST_UNREACH:
            if error.code == FRAG_NEEDED:
                return (errno.EMSGSIZE, True) if self.pmtudisc != PMTUDISC_DONT else (None, False)
            return _UNREACH[error.code] if error.code < len(_UNREACH) else (errno.EHOSTUNREACH, False)
        if error.type == REDIRECT:
            return self._errno_of_redirect(), False
        return None, False

    def _errno_of_redirect(self) -> int | None:
        return None

    # --- options ------------------------------------------------------------------------------

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        """Linux: setsockopt(2); ENOPROTOOPT for what is not modelled."""
        number = value if isinstance(value, int) else int.from_bytes(value[:4], "little", signed=True)
        if level == SOL_SOCKET:
            self._set_socket_option(name, number)
        elif level == SOL_IP:
            self._set_ip_option(name, number)
        else:
            raise os_error(errno.ENOPROTOOPT)

    def _set_socket_option(self, name: int, value: int) -> None:
        sysctl = self.net.sysctl
        if name == SO_REUSEADDR:
            self.reuseaddr = bool(value)
        elif name == SO_REUSEPORT:
            self.reuseport = bool(value)
        elif name == SO_BROADCAST:
            self.broadcast = bool(value)
        elif name == SO_RCVBUF:
            self.rcvbuf = max(min(value, sysctl.integer("net.core.rmem_max")) * 2, MIN_RCVBUF)
        elif name == SO_SNDBUF:
            self.sndbuf = max(min(value, sysctl.integer("net.core.wmem_max")) * 2, MIN_RCVBUF * 2)
        else:
            raise os_error(errno.ENOPROTOOPT)

    def _set_ip_option(self, name: int, value: int) -> None:
        if name == IP_TTL and (value == -1 or 1 <= value <= 255):
            self.ttl = None if value == -1 else value
        elif name == IP_TOS:
            self.tos = value & 0xFF
        elif name == IP_MTU_DISCOVER and PMTUDISC_DONT <= value <= PMTUDISC_OMIT:
            self.pmtudisc = value
        elif name == IP_RECVERR:
            self.recverr = bool(value)
            if not value:
                self.errors.clear()
        else:
            raise os_error(errno.EINVAL if name in (IP_TTL, IP_MTU_DISCOVER) else errno.ENOPROTOOPT)

    def getsockopt(self, level: int, name: int) -> int:
        """Linux: getsockopt(2)."""
        if (level, name) == (SOL_SOCKET, SO_ERROR):
            return (self.errors.popleft().errno or 0) if self.errors else 0
        if (level, name) == (SOL_IP, IP_MTU):
            if not self.connected:
                raise os_error(errno.ENOTCONN)
            return self.net.ipv4.mtu(self._route(self.daddr), self.daddr)
        values = {
            (SOL_SOCKET, SO_REUSEADDR): self.reuseaddr, (SOL_SOCKET, SO_REUSEPORT): self.reuseport,
            (SOL_SOCKET, SO_BROADCAST): self.broadcast, (SOL_SOCKET, SO_RCVBUF): self.rcvbuf,
            (SOL_SOCKET, SO_SNDBUF): self.sndbuf, (SOL_IP, IP_TOS): self.tos, (SOL_IP, IP_RECVERR): self.recverr,
            (SOL_IP, IP_TTL): self.net.sysctl.ip_default_ttl if self.ttl is None else self.ttl,
            (SOL_IP, IP_MTU_DISCOVER): self.pmtudisc,
            (SOL_SOCKET, 3): int(socket.SOCK_DGRAM),   # SO_TYPE
        }  # fmt: skip
        if (level, name) not in values:
            raise os_error(errno.ENOPROTOOPT)
        return int(values[level, name])
