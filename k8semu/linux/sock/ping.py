"""Ping sockets: ICMP echo for programs without privilege; the echo identifier is the port.

    socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP): a program sends and receives ICMP messages, type to data

Linux: net/ipv4/ping.c
"""

from __future__ import annotations

import errno

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import Skb, drop
from k8semu.linux.ipv4.icmp import ECHO, IcmpError
from k8semu.linux.sock.dgram import DgramSock, os_error
from k8semu.wire.addr import IP_ANY, ip_ntoa
from k8semu.wire.checksum import checksum
from k8semu.wire.header import IP_SADDR, IP_TTL, IPPROTO_ICMP, U16, read_addrs, transport

ICMP_HLEN = 8


class PingSock(DgramSock):
    """One ping socket; `sport` is its echo identifier."""

    __slots__ = ("table",)
    protocol = IPPROTO_ICMP
    proto_name = "icmp"

    def __init__(self, table: Ping) -> None:
        super().__init__(table.net)
        self.table = table

    def _get_port(self, addr: bytes, port: int) -> None:
        self.table.get_port(self, port)

    def _name(self) -> str:
        return f"icmp id {self.sport}"

    def sendto(self, data: bytes | bytearray | memoryview, addr: bytes | None = None, port: int = 0) -> None:
        """Send an echo request; the kernel fills in identifier and checksum. Linux: ping_v4_sendmsg()."""
        if len(data) > 0xFFFF:
            raise os_error(errno.EMSGSIZE)
        if len(data) < ICMP_HLEN or data[0] != ECHO or data[1] != 0:
            raise os_error(errno.EINVAL)
        if addr is None:
            if not self.connected:
                raise os_error(errno.EDESTADDRREQ)
            addr = self.daddr
        self._check_sendable()
        self.autobind()
        addr = self._reach(addr)
        rt = self._route(addr)
        message = bytearray(data)
        U16.pack_into(message, 4, self.sport)
        U16.pack_into(message, 2, 0)
        U16.pack_into(message, 2, checksum(message))
        self._send(rt, addr, message)

    def _errno_of_redirect(self) -> int:
        return errno.EREMOTEIO

    def close(self) -> None:
        self.table.release(self)
        super().close()


class Ping:
    """The ping sockets of a namespace. Linux: struct ping_table."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self._socks: dict[int, PingSock] = {}
        net.ipv4.icmp.echo_reply = self.rcv
        net.ipv4.err_handlers[IPPROTO_ICMP] = self.err

    def socket(self) -> PingSock:
        """A new socket. Linux: socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)."""
        return PingSock(self)

    def get_port(self, sock: PingSock, ident: int) -> None:
        """Take an identifier, or a free one for 0. Linux: ping_get_port()."""
        if ident == 0:
            ident = 1 + self.net.random("ping-id").below(0xFFFF)
            while ident in self._socks:
                ident = ident % 0xFFFF + 1
        elif ident in self._socks:
            raise os_error(errno.EADDRINUSE)
        sock.sport = ident
        self._socks[ident] = sock

    def release(self, sock: PingSock) -> None:
        if self._socks.get(sock.sport) is sock:
            del self._socks[sock.sport]

    def _lookup(self, ident: int, daddr: bytes) -> PingSock | None:
        sock = self._socks.get(ident)
        return sock if sock is not None and sock.rcv_saddr in (IP_ANY, daddr) else None

    def rcv(self, skb: Skb) -> None:
        """An echo reply, its checksum verified. Linux: ping_rcv()."""
        data = skb.data
        th = transport(data)
        saddr, daddr = read_addrs(data, IP_SADDR)
        ident = U16.unpack_from(data, th + 4)[0]
        sock = self._lookup(ident, daddr)
        if sock is None:
            drop(skb, Drop.NO_SOCKET, f"nobody at {ip_ntoa(daddr)} pings with id {ident}")
            return
        held = len(sock.queue)
        ttl = data[IP_TTL]
        sock.receive(skb, data[th:], (saddr, 0))
        if len(sock.queue) > held:
            sock.queue[-1][0].ttl = ttl      # what IP_RECVTTL would tell

    def err(self, error: IcmpError) -> None:
        """Find whose echo request it is about. Linux: ping_err()."""
        inner = error.inner
        at = (inner[0] & 0x0F) * 4
        if inner[at] != ECHO or inner[at + 1] != 0:
            return
        sock = self._lookup(U16.unpack_from(inner, at + 4)[0], inner[12:16])
        if sock is not None:
            sock.icmp_error(error)
