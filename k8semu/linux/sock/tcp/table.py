"""Who gets a segment: connections by their four numbers, then listeners by address and port.

    tcp_rcv ─▶ hash[saddr, daddr, sport, dport] ─▶ TcpSock, RequestSock or TimeWait
                        └─ none ─▶ listeners[port] ─ none ─▶ RST

Ports are taken by Linux's rules: two sockets may share one when their addresses differ (0.0.0.0
overlaps all), when both have SO_REUSEADDR and neither listens, or when both have SO_REUSEPORT: then
each connection goes to one of the listeners, by a hash of its four numbers. A TIME_WAIT holds its port
as a socket does.

Linux: net/ipv4/tcp_ipv4.c tcp_v4_rcv(), tcp_v4_err(); net/ipv4/inet_hashtables.c
       __inet_lookup(), __inet_hash_connect(); net/ipv4/inet_connection_sock.c inet_csk_get_port()
Shown: `ss -tan`
Differs: programs run as root, so ports below 1024 are free to all, and all are one user's.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING
from zlib import crc32

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.skb import Skb, drop
from k8semu.linux.sock.tcp import frame, input, passive
from k8semu.linux.sock.tcp.errors import icmp_errno, os_error, sock_err
from k8semu.linux.sock.tcp.minisocks import RequestSock, TimeWait
from k8semu.linux.sock.tcp.segment import MASK, Header, read_header
from k8semu.linux.sock.tcp.sock import TcpSock
from k8semu.linux.sock.tcp.states import CLOSED, LISTEN, SYN_SENT, TIME_WAIT, State
from k8semu.trace.steps import Deliver
from k8semu.wire.addr import IP_ANY, ip_ntoa
from k8semu.wire.checksum import FOLD_FROM, fold
from k8semu.wire.header import IP, IPPROTO_TCP

if TYPE_CHECKING:
    from k8semu.linux.core.net import Net
    from k8semu.linux.ipv4.icmp import IcmpError

Entry = TcpSock | RequestSock | TimeWait
Row = tuple[str, tuple[bytes, int], tuple[bytes, int], str, int, int]
"""state, local, remote, program, recv_q, send_q"""


class TcpTable:
    """All TCP sockets of a namespace; registers itself as protocol 6."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.hash: dict[bytes, Entry] = {}
        self.listeners: dict[int, list[TcpSock]] = {}
        self.ports: dict[int, list[TcpSock | TimeWait]] = {}     # Linux: bhash
        self._reuseport_secret = 0      # drawn where there is a group
        self.kernel_step = Deliver("tcp (no socket any more)")
        net.ipv4.protocols[IPPROTO_TCP] = self.tcp_rcv
        net.ipv4.err_handlers[IPPROTO_TCP] = self.tcp_err

    @cached_property
    def _isn_secret(self) -> int:
        """Drawn with the first connection: most namespaces of a large cluster have none."""
        return self.net.random("tcp-isn").bits(32)

    @cached_property
    def _ts_secret(self) -> int:
        return self.net.random("tcp-ts").bits(32)

    # --- receive ------------------------------------------------------------------------------

    def tcp_rcv(self, skb: Skb) -> None:
        """A segment for this namespace; ends `skb`. Linux: tcp_v4_rcv()."""
        data = skb.data
        th = IP + ((data[IP] & 0x0F) << 2)
        end = len(data)
        if end - th < 20:
            drop(skb, Drop.PKT_TOO_SMALL, f"{end - th} bytes are no TCP header")
            return
        sport, dport, seq, ack, offset, flags, window, _, _ = read_header(data, th)
        body = th + (offset >> 4 << 2)
        if body < th + 20 or body > end:
            drop(skb, Drop.PKT_TOO_SMALL, f"TCP header length {body - th}")
            return
        key = bytes(data[26:38]) if th == 34 else bytes(data[26:34] + data[th : th + 4])
        total = int.from_bytes(data[th:], "big") << ((end - th & 1) << 3)
        if end > FOLD_FROM:
            total = fold(total)
        total += int.from_bytes(key[:8], "big")
        if (total + 6 + end - th) % 0xFFFF:
            drop(skb, Drop.TCP_CSUM, "TCP checksum")
            return
        if skb.dst is not None and skb.dst.type not in ("local", "unicast"):
            drop(skb, Drop.OTHERHOST, f"TCP to {ip_ntoa(key[4:8])}, a {skb.dst.type} address")
            return
        h = Header(key, sport, dport, seq, ack, flags, window, th, th + 20, body, end)
        sk = self.hash.get(key)
        if isinstance(sk, TcpSock):
            input.do_rcv(sk, skb, h)
        elif sk is None or (isinstance(sk, TimeWait) and self._gone(sk)):
            listener = self.lookup_listener(key[4:8], dport, key)
            if listener is None:
                frame.send_reset(skb, h)
                drop(skb, Drop.NO_SOCKET, f"nobody has tcp {ip_ntoa(key[4:8])}:{dport}")
            else:
                input.do_rcv(listener, skb, h)
        else:
            sk.rcv(skb, h)

    def tcp_err(self, error: IcmpError) -> None:
        """An ICMP error quotes a segment of ours. Linux: tcp_v4_err()."""
        inner = error.inner
        hlen = (inner[0] & 0x0F) << 2
        if len(inner) < hlen + 8:
            return
        key = bytes(inner[16:20] + inner[12:16] + inner[hlen + 2 : hlen + 4] + inner[hlen : hlen + 2])
        wire_seq = int.from_bytes(inner[hlen + 4 : hlen + 8], "big")
        sk = self.hash.get(key)
        if isinstance(sk, TcpSock):
            sock_err(sk, error, wire_seq)
        elif isinstance(sk, RequestSock) and wire_seq == sk.snt_isn and icmp_errno(error.type, error.code):
            sk.forget()

    def lookup_listener(self, addr: bytes, port: int, key: bytes) -> TcpSock | None:
        """Who listens: at this very address before at any. Linux: inet_lookup_listener(), compute_score()."""
        found = None
        for sk in self.listeners.get(port, ()):
            if sk.saddr == addr:
                found = sk
                break
            if sk.saddr == IP_ANY:
                found = sk
        return self._of_group(found, port, key) if found is not None and found.reuseport else found

    def _of_group(self, sk: TcpSock, port: int, key: bytes) -> TcpSock:
        """The one of a SO_REUSEPORT group that a connection is for. Linux: reuseport_select_sock()."""
        group = [other for other in self.listeners[port] if other.reuseport and other.saddr == sk.saddr]
        if len(group) < 2:
            return sk
        if not self._reuseport_secret:
            self._reuseport_secret = self.net.random("tcp-reuseport").bits(31) + 1
        mixed = crc32(key, self._reuseport_secret) * 0x9E3779B1 & 0xFFFFFFFF
        return group[mixed * len(group) >> 32]

    def _gone(self, tw: TimeWait) -> bool:
        if not tw.expired:
            return False
        self.kill(tw)
        return True

    # --- ports --------------------------------------------------------------------------------

    def _holders(self, port: int) -> list[TcpSock | TimeWait]:
        """Who holds a port now; expired TIME_WAITs are cleared away."""
        holders = self.ports.get(port)
        if holders is None:
            return []
        for tw in [other for other in holders if type(other) is TimeWait and other.expired]:
            self.kill(tw)
        return holders

    def _conflict(self, sk: TcpSock, port: int) -> bool:
        """Linux: inet_csk_bind_conflict()."""
        for other in self._holders(port):
            if other is sk:
                continue
            addr = other.addr_bound if type(other) is TcpSock and other.state is LISTEN else other.saddr
            if addr != IP_ANY and sk.saddr != IP_ANY and addr != sk.saddr:
                continue
            shared = sk.reuseaddr and other.reuseaddr and other.state is not LISTEN
            if not shared and not (sk.reuseport and other.reuseport):
                return True
        return False

    def get_port(self, sk: TcpSock, port: int) -> None:
        """bind(2): take `port`, or any free one for 0; EADDRINUSE. Linux: inet_csk_get_port()."""
        if port == 0:
            for candidate in self._candidates(odd_first=True):
                if not self._holders(candidate):
                    port = candidate
                    break
        if port == 0 or self._conflict(sk, port):
            raise os_error(errno.EADDRINUSE)
        sk.sport = port
        self._take(sk)

    def _take(self, sk: TcpSock | TimeWait) -> None:
        holders = self.ports.setdefault(sk.sport, [])
        if sk not in holders:
            holders.append(sk)

    def _candidates(self, odd_first: bool) -> Iterable[int]:
        """Ephemeral ports from a random place on: connect tries the range's even half first, bind the odd one."""
        low, high = (int(word) for word in str(self.net.sysctl.values["net.ipv4.ip_local_port_range"]).split())
        reserved = _reserved(str(self.net.sysctl.values["net.ipv4.ip_local_reserved_ports"]))
        size = high - low + 1
        start = self.net.random("ephemeral-port").below(size) & ~1
        for parity in (1, 0) if odd_first else (0, 1):
            for offset in range(0, size, 2):
                port = low + (start + offset + parity) % size
                if port not in reserved:
                    yield port

    def hash_connect(self, sk: TcpSock) -> None:
        """connect(2): a port if there is none yet, and the place in the hash. Linux: __inet_hash_connect()."""
        if sk.sport:
            key = _key(sk, sk.sport)
            if not self._unique(key):
                raise os_error(errno.EADDRNOTAVAIL)
        else:
            for port in self._candidates(odd_first=False):
                key = _key(sk, port)
                if self._free_for_connect(port) and self._unique(key):
                    sk.sport = port
                    break
            else:
                raise os_error(errno.EADDRNOTAVAIL)
        sk.key = key
        self.hash[key] = sk
        self._take(sk)

    def _free_for_connect(self, port: int) -> bool:
        """No bound or listening socket has it; other connections may, towards elsewhere."""
        return not any(
            type(other) is TcpSock and (other.state in (LISTEN, CLOSED) or other.addr_bound != IP_ANY)
            for other in self._holders(port)
        )

    def _unique(self, key: bytes) -> bool:
        """Is the four-tuple free? Linux: __inet_check_established()."""
        other = self.hash.get(key)
        return other is None or (type(other) is TimeWait and self._gone(other))

    # --- first numbers ------------------------------------------------------------------------

    def isn(self, key: bytes) -> int:
        """The first sequence number: each four-tuple's own, growing with time, so that a connection that takes
        the numbers of an earlier one is seen to be new. Linux: secure_tcp_seq(), seq_scale(). RFC: 6528."""
        return crc32(key, self._isn_secret) + (self.net.clock.now >> 6) & MASK

    def ts_offset(self, key: bytes) -> int:
        """Where a four-tuple's timestamps begin. Linux: secure_tcp_ts_off()."""
        return crc32(key, self._ts_secret)

    # --- listeners and children ---------------------------------------------------------------

    def start_listening(self, sk: TcpSock) -> None:
        """listen(2): EADDRINUSE when somebody listens there already. Linux: inet_csk_listen_start()."""
        if not sk.sport:
            self.get_port(sk, 0)
        elif self._conflict(sk, sk.sport):
            raise os_error(errno.EADDRINUSE)
        self._take(sk)
        self.listeners.setdefault(sk.sport, []).append(sk)

    def stop_listening(self, sk: TcpSock) -> None:
        """Handshakes under way are forgotten, connections not accepted are reset. Linux: inet_csk_listen_stop()."""
        same_port = self.listeners[sk.sport]
        same_port.remove(sk)
        if not same_port:
            del self.listeners[sk.sport]
        for req in list(sk.requests.values()):
            req.forget()
        for child in sk.accept_queue:
            child.abort()
        sk.accept_queue.clear()
        self.release(sk)

    def child(self, req: RequestSock, skb: Skb, h: Header) -> None:
        """A handshake is done: the new connection, its first segment, its owner. Linux: tcp_v4_syn_recv_sock()."""
        sk = passive.create_child(req)
        sk.key = req.key
        self.hash[sk.key] = sk
        self._take(sk)
        passive.child_process(sk, skb, h)

    # --- the end ------------------------------------------------------------------------------

    def time_wait(self, sk: TcpSock, substate: State) -> None:
        """The connection is over, its numbers are kept for a while. Linux: tcp_time_wait()."""
        if substate is TIME_WAIT:
            sk.set_state(TIME_WAIT)
        tw = TimeWait(sk, substate)
        sk.done()
        self.hash[tw.key] = tw
        self._take(tw)

    def kill(self, tw: TimeWait) -> None:
        """Linux: inet_twsk_deschedule_put()."""
        if self.hash.get(tw.key) is tw:
            del self.hash[tw.key]
        self._leave_port(tw)

    def release(self, sk: TcpSock) -> None:
        """Take a socket out of all tables. Linux: inet_unhash(), inet_put_port()."""
        if self.hash.get(sk.key) is sk:
            del self.hash[sk.key]
        self._leave_port(sk)

    def destroy(self) -> None:
        """The namespace goes away: its sockets end without a word, and no timer of theirs is left."""
        for same_port in list(self.listeners.values()):
            for listener in list(same_port):
                listener.accept_queue.clear()
                listener.close()
        for entry in list(self.hash.values()):
            if isinstance(entry, TcpSock):
                entry.orphan = True
                entry.done()
            elif isinstance(entry, RequestSock):
                entry.forget()
            else:
                self.kill(entry)

    def _leave_port(self, sk: TcpSock | TimeWait) -> None:
        holders = self.ports.get(sk.sport)
        if holders is not None and sk in holders:
            holders.remove(sk)
            if not holders:
                del self.ports[sk.sport]

    # --- listing ------------------------------------------------------------------------------

    def listing(self) -> list[Row]:
        """One row per socket, listeners first, by port. Linux: inet_diag."""
        rows: list[Row] = []
        for port in sorted(self.listeners):
            for sk in self.listeners[port]:
                rows.append((LISTEN, sk.local, sk.remote, sk.program, len(sk.accept_queue), sk.backlog))
        found = []
        for entry in list(self.hash.values()):
            if type(entry) is TimeWait and self._gone(entry):
                continue
            found.append(_row(entry))
        return rows + sorted(found, key=lambda row: (row[1][1], row[1][0], row[2]))


def _row(entry: Entry) -> Row:
    key = entry.key
    local = key[4:8], key[10] << 8 | key[11]
    remote = key[0:4], key[8] << 8 | key[9]
    if isinstance(entry, TcpSock):
        waiting = entry.write_seq - entry.snd_una if entry.state is not SYN_SENT else 1
        return entry.state, local, remote, entry.program, max(entry.unread, 0), waiting
    return entry.state, local, remote, "", 0, 0


def _key(sk: TcpSock, port: int) -> bytes:
    """The hash key: addresses and ports as they stand in what the peer sends."""
    return sk.daddr + sk.saddr + sk.dport.to_bytes(2, "big") + port.to_bytes(2, "big")


def _reserved(text: str) -> set[int]:
    """``8080,9148-9150`` as ports."""
    ports: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first:
            ports.update(range(int(first), int(last or first) + 1))
    return ports
