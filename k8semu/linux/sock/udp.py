"""UDP: datagrams between ports.

    rcv ─▶ length, checksum ─▶ lookup ─▶ socket's queue
                                  └─ none ─▶ ICMP port unreachable, NO_SOCKET

Linux: net/ipv4/udp.c
RFC: 768, 1122 section 4.1
Differs: sockets of one port are searched one by one; a machine has few.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from struct import Struct
from zlib import crc32

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import Skb, drop
from k8semu.linux.ipv4.icmp import DEST_UNREACH, PORT_UNREACH, IcmpError
from k8semu.linux.sock.dgram import DgramSock, os_error
from k8semu.wire.addr import IP_ANY, ip_ntoa
from k8semu.wire.checksum import ones_sum, pseudo_sum, transport_checksum
from k8semu.wire.header import IP_SADDR, IPPROTO_UDP, U16, read_addrs, transport

_HEADER = Struct("!HHHH")
UDP_HLEN = 8
MAX_PAYLOAD = 65535 - 20 - UDP_HLEN


class UdpSock(DgramSock):
    """One UDP socket."""

    __slots__ = ("table",)
    protocol = IPPROTO_UDP
    proto_name = "udp"

    def __init__(self, table: Udp) -> None:
        super().__init__(table.net)
        self.table = table

    def _get_port(self, addr: bytes, port: int) -> None:
        self.table.get_port(self, addr, port)

    def sendto(self, data: bytes | bytearray | memoryview, addr: bytes | None = None, port: int = 0) -> None:
        """Send one datagram; without `addr` to the connected peer. Linux: udp_sendmsg()."""
        if len(data) > 0xFFFF:
            raise os_error(errno.EMSGSIZE)
        if addr is None:
            if not self.connected:
                raise os_error(errno.EDESTADDRREQ)
            addr, port = self.daddr, self.dport
        elif port == 0:
            raise os_error(errno.EINVAL)
        self._check_sendable()
        self.autobind()
        addr = self._reach(addr)
        rt = self._route(addr)
        if len(data) > MAX_PAYLOAD:
            raise os_error(errno.EMSGSIZE)
        length = len(data) + UDP_HLEN
        segment = bytearray(_HEADER.pack(self.sport, port, length, 0)) + data
        source = self.saddr if self.saddr != IP_ANY else rt.saddr
        U16.pack_into(segment, 6, transport_checksum(source, addr, IPPROTO_UDP, segment) or 0xFFFF)
        self._send(rt, addr, segment)

    def close(self) -> None:
        if not self.closed:
            self.table.release(self)
        super().close()


class Udp:
    """The UDP part of a namespace. Linux: struct udp_table."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self._ports: dict[int, list[UdpSock]] = {}      # latest bound first
        self._hash_secret = 0
        net.ipv4.protocols[IPPROTO_UDP] = self.rcv
        net.ipv4.err_handlers[IPPROTO_UDP] = self.err

    def socket(self) -> UdpSock:
        """A new socket. Linux: socket(AF_INET, SOCK_DGRAM, 0)."""
        return UdpSock(self)

    def all(self) -> Iterator[UdpSock]:
        """Every bound socket, by port."""
        for port in sorted(self._ports):
            yield from reversed(self._ports[port])

    # --- ports --------------------------------------------------------------------------------

    def get_port(self, sock: UdpSock, addr: bytes, port: int) -> None:
        """Take `port`, or a free one for 0. Linux: udp_lib_get_port()."""
        if port == 0:
            port = self._free_port(sock, addr)
        elif self._in_use(sock, addr, port):
            raise os_error(errno.EADDRINUSE)
        sock.sport = port
        self._ports.setdefault(port, []).insert(0, sock)

    def _free_port(self, sock: UdpSock, addr: bytes) -> int:
        """A random one of the range, or the next that is free. Linux tries the others in strides."""
        low, high = local_port_range(self.net)
        count = high - low + 1
        first = self.net.random("ephemeral-port").below(count)
        for i in range(count):
            port = low + (first + i) % count
            if not self._in_use(sock, addr, port) and port not in self.net.udp_encap:
                return port
        raise os_error(errno.EADDRINUSE)

    def _in_use(self, sock: UdpSock, addr: bytes, port: int) -> bool:
        """Linux: udp_lib_lport_inuse(), inet_rcv_saddr_equal()."""
        if port in self.net.udp_encap:  # a tunnel in the kernel holds it on 0.0.0.0
            return True
        for other in self._ports.get(port, ()):
            if other.reuseaddr and sock.reuseaddr:
                continue
            if IP_ANY in (addr, other.rcv_saddr) or addr == other.rcv_saddr:
                if other.reuseport and sock.reuseport:
                    continue
                return True
        return False

    def release(self, sock: UdpSock) -> None:
        """Give the port back. Linux: udp_lib_unhash()."""
        socks = self._ports.get(sock.sport)
        if socks is not None and sock in socks:
            socks.remove(sock)
            if not socks:
                del self._ports[sock.sport]

    # --- receiving ----------------------------------------------------------------------------

    def rcv(self, skb: Skb) -> None:
        """Linux: __udp4_lib_rcv()."""
        data = skb.data
        th = transport(data)
        if len(data) < th + UDP_HLEN:
            drop(skb, Drop.PKT_TOO_SMALL, "UDP header cut short")
            return
        sport, dport, length, check = _HEADER.unpack_from(data, th)
        if length < UDP_HLEN or length > len(data) - th:
            drop(skb, Drop.PKT_TOO_SMALL, f"UDP length {length} in {len(data) - th} bytes")
            return
        if length < len(data) - th:
            del data[th + length :]
        saddr, daddr = read_addrs(data, IP_SADDR)
        if check and (pseudo_sum(saddr, daddr, IPPROTO_UDP, length) + ones_sum(memoryview(data)[th:])) % 0xFFFF:
            drop(skb, Drop.UDP_CSUM)
            return
        if skb.dst is not None and skb.dst.type in ("broadcast", "multicast"):
            self._deliver_to_many(skb, th, saddr, sport, daddr, dport)
            return
        sock = self.lookup(saddr, sport, daddr, dport)
        if sock is not None:
            sock.receive(skb, data[th + UDP_HLEN :], (saddr, sport))
            return
        self.net.ipv4.icmp_send(skb, DEST_UNREACH, PORT_UNREACH, 0)
        drop(skb, Drop.NO_SOCKET, f"nothing listens on udp {ip_ntoa(daddr)}:{dport}")

    def lookup(self, saddr: bytes, sport: int, daddr: bytes, dport: int) -> UdpSock | None:
        """The socket that fits best: connected, then bound to the address, then any. Linux: __udp4_lib_lookup()."""
        best, badness = None, 0
        for sock in self._ports.get(dport, ()):
            score = _score(sock, saddr, sport, daddr)
            if score > badness:
                best, badness = sock, score
        if best is not None and best.reuseport and not best.connected:
            return self._select(best, badness, saddr, sport, daddr, dport)
        return best

    def _select(
        self, best: UdpSock, badness: int, saddr: bytes, sport: int, daddr: bytes, dport: int
    ) -> UdpSock:
        """One of a SO_REUSEPORT group, the same for the same flow. Linux: reuseport_select_sock()."""
        group = [
            sock for sock in reversed(self._ports[dport])
            if sock.reuseport and _score(sock, saddr, sport, daddr) == badness
        ]  # fmt: skip
        if len(group) < 2:
            return best
        if not self._hash_secret:
            self._hash_secret = self.net.random("udp-hash").bits(31) + 1
        key = saddr + daddr + U16.pack(sport) + U16.pack(dport)
        mixed = crc32(key, self._hash_secret) * 0x9E3779B1 & 0xFFFFFFFF
        return group[mixed * len(group) >> 32]

    def _deliver_to_many(
        self, skb: Skb, th: int, saddr: bytes, sport: int, daddr: bytes, dport: int
    ) -> None:
        """A broadcast reaches every socket that fits. Linux: __udp4_lib_mcast_deliver()."""
        socks = [sock for sock in self._ports.get(dport, ()) if _score(sock, saddr, sport, daddr)]
        if not socks:
            drop(skb, Drop.NO_SOCKET, f"nothing listens for broadcasts on udp port {dport}")
            return
        copies = [skb.copy() for _ in socks[1:]]
        for sock, copy in zip(socks, [skb, *copies], strict=True):
            sock.receive(copy, copy.data[th + UDP_HLEN :], (saddr, sport))

    def err(self, error: IcmpError) -> None:
        """Find whose packet it is about. Linux: __udp4_lib_err()."""
        inner = error.inner
        at = (inner[0] & 0x0F) * 4
        sport, dport = U16.unpack_from(inner, at)[0], U16.unpack_from(inner, at + 2)[0]
        sock = self.lookup(inner[16:20], dport, inner[12:16], sport)
        if sock is not None:
            sock.icmp_error(error)


def _score(sock: UdpSock, saddr: bytes, sport: int, daddr: bytes) -> int:
    """How well `sock` fits; 0: not at all. Linux: compute_score()."""
    score = 1
    if sock.rcv_saddr != IP_ANY:
        if sock.rcv_saddr != daddr:
            return 0
        score += 4
    if sock.connected:
        if sock.daddr != saddr or sock.dport != sport:
            return 0
        score += 8
    return score


def local_port_range(net: Net) -> tuple[int, int]:
    """net.ipv4.ip_local_port_range: the lowest and the highest port for those who do not care."""
    low, high = str(net.sysctl.get("net.ipv4.ip_local_port_range")).split()
    return int(low), int(high)
