"""One segment, laid out and sent: route, MSS, header, options, checksums.

The header was laid out once by Scapy; here its fields are written and both checksums computed from
what stays the same in a connection and what does not.

Linux: net/ipv4/tcp_output.c __tcp_transmit_skb(), tcp_established_options(), tcp_current_mss(), tcp_mtu_to_mss()
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING

from k8semu.linux.core.recording import Recording
from k8semu.linux.core.skb import Skb
from k8semu.linux.ipv4.route import RouteError
from k8semu.linux.sock.tcp import timer, window
from k8semu.linux.sock.tcp.options import TS_ALIGNED, TS_ALIGNED_LEN, sack_option
from k8semu.linux.sock.tcp.segment import MASK
from k8semu.sim.clock import NS_PER_MS
from k8semu.wire.build import tcp_template
from k8semu.wire.checksum import sum_and_remember

if TYPE_CHECKING:
    from k8semu.linux.ipv4.route import Rtable
    from k8semu.linux.sock.tcp.sock import TcpSock

MIN_MSS = 48
_STAMP = Struct("!III").pack


@lru_cache(maxsize=16)
def _headers(options: int) -> Callable[..., bytes]:
    """What packs a frame's headers with so many bytes of TCP options, from the link header on."""
    return Struct(f"!16sHHHBBH8sHHIIHHHH{options}s").pack


# --- route, MSS -------------------------------------------------------------------------------


def set_header(sk: TcpSock) -> None:
    """Addresses are known: sum up what stays the same in every header."""
    addrs = int.from_bytes(sk.saddr + sk.daddr, "big") % 0xFFFF
    sk.addr_sum = addrs + 6
    sk.header_sum = 0x4500 + 0x4000 + (sk.ttl << 8 | 6) + addrs
    sk.ident = sk.net.random("ip-id").bits(16)


def route(sk: TcpSock) -> Rtable | None:
    """The cached route, looked up again when the tables have changed. Linux: __sk_dst_check()."""
    rt = sk.rt
    ipv4 = sk.net.ipv4
    if rt is None or rt.generation != ipv4.fib.generation:
        try:
            rt = ipv4.route_output(sk.daddr, sk.saddr)
        except RouteError as error:
            sk.err_soft = error.errno or 0
            rt = None
        sk.rt = rt
    return rt


def advmss(rt: Rtable) -> int:
    """The MSS to tell a peer: what fits the device. Linux: ipv4_default_advmss()."""
    return max(min(rt.mtu or rt.dev.mtu, 65535) - 40, MIN_MSS)


def sync_mss(sk: TcpSock) -> None:
    """Fit segments to the path's MTU and the peer's MSS. Linux: tcp_sync_mss(), tcp_mtu_to_mss()."""
    rt = route(sk)
    if rt is None:
        return
    sk.pmtu = sk.net.ipv4.mtu(rt, sk.daddr)
    mss = max(min(sk.pmtu - 40, sk.mss_clamp), MIN_MSS)
    if sk.ts_ok:
        mss -= TS_ALIGNED_LEN
    if sk.max_window and mss > max(sk.max_window >> 1, 68):   # Linux: tcp_bound_to_half_wnd()
        mss = max(sk.max_window >> 1 if sk.max_window > 536 else sk.max_window, 68 - 20)
    sk.mss_cache = mss


def current_mss(sk: TcpSock) -> int:
    """How much data a segment carries now: less when SACK blocks ride along. Linux: tcp_current_mss()."""
    rt = sk.rt
    if rt is not None and sk.net.ipv4.mtu(rt, sk.daddr) != sk.pmtu:
        sync_mss(sk)
    if sk.ofo and sk.sack_ok:
        return sk.mss_cache - len(sack_blocks(sk))
    return sk.mss_cache


def size_goal(sk: TcpSock, mss: int) -> int:
    """How much is queued to go in one piece: up to half of the peer's window. Linux: tcp_xmit_size_goal()."""
    most = 65535 - 320
    if sk.max_window > 536:
        most = min(most, sk.max_window >> 1)
    return max(most // mss, 1) * mss


# --- laying out -------------------------------------------------------------------------------


def ts_now(sk: TcpSock) -> int:
    """Our timestamp: milliseconds from a random start. Linux: tcp_time_stamp_ts()."""
    return sk.clock.now // NS_PER_MS + sk.ts_offset & MASK


def sack_blocks(sk: TcpSock) -> bytes:
    """The SACK option for what came out of order, latest first; b'' if there is nothing to say."""
    blocks: list[tuple[int, int]] = []
    if sk.ack_seq_ooo is not None:
        blocks.append(sk.ack_seq_ooo)
    for start in sk.ofo_recent:
        for early in sk.ofo:
            if early.seq <= start < early.end and (early.seq, early.end) not in blocks:
                blocks.append((early.seq, early.end))
    most = 3 if sk.ts_ok else 4
    if not blocks:
        return b""
    return sack_option([(left & MASK, right & MASK) for left, right in blocks[:most]])


Segment = tuple[int, int, bytes]
"""Sequence number, flags and payload of a segment to be sent."""


def transmit(sk: TcpSock, seq: int, flags: int, payload: bytes = b"") -> int:
    """Lay out one segment and send it: 0 or an errno. Linux: __tcp_transmit_skb()."""
    return transmit_all(sk, [(seq, flags, payload)])


def transmit_all(sk: TcpSock, segments: list[Segment]) -> int:
    """Lay out segments that leave right after each other, and send them: 0 or the errno of the last that failed."""
    net = sk.net
    rt = sk.rt
    if rt is None or rt.generation != net.ipv4.fib.generation:
        rt = route(sk)
        if rt is None:
            return sk.err_soft
    if sk.confirm:
        sk.confirm = False
        net.ipv4.confirm(rt, sk.daddr)
    frames = _lay_out(sk, segments)
    _acks_sent(sk, len(segments))
    if segments[0][2] or segments[-1][2]:
        _data_sent(sk)
    sent = error = 0
    if sk.flow is not None:
        first = net.world.peek_packet_id()
        sent = sk.flow.carry([(data, first + i, [0]) for i, data in enumerate(frames)], apart=True)
        net.world.number_packets(sent)
    for data in frames[sent:]:
        error = _send(sk, data, rt) or error
    return error


def _lay_out(sk: TcpSock, segments: list[Segment]) -> list[bytearray]:
    """Headers, options and payloads; all checksums are right."""
    offered = min(window.select(sk) >> sk.rcv_wscale, 0xFFFF)
    ident, ttl, addresses, ack = sk.ident, sk.ttl, sk.saddr + sk.daddr, sk.rcv_nxt & MASK
    sport, dport = sk.sport, sk.dport
    start = tcp_template()[:16]
    stamp = b""
    if sk.ts_ok:
        stamp = _STAMP(TS_ALIGNED, sk.clock.now // NS_PER_MS + sk.ts_offset & MASK, sk.ts_recent)
    options: bytes | None = None
    frames = []
    for seq, flags, payload in segments:
        if options is not stamp:
            sacks = _sacks(sk)
            options = stamp + sacks if sacks else stamp
            size = 20 + len(options)
            offset = size << 10
            pack = _headers(len(options))
            known = sk.addr_sum + sport + dport + ack + offset + offered + int.from_bytes(options, "big")
        ident = ident + 1 & 0xFFFF
        seq &= MASK
        length = size + len(payload)
        ip_check = 0xFFFF - ((sk.header_sum + 20 + length + ident) % 0xFFFF or 0xFFFF)
        total = known + seq + flags + length
        if payload:
            total += sum_and_remember(payload)
        data = bytearray(pack(
            start, 20 + length, ident, 0x4000, ttl, 6, ip_check, addresses, sport, dport,
            seq, ack, offset | flags, offered, 0xFFFF - (total % 0xFFFF or 0xFFFF), 0, options,
        ))  # fmt: skip
        data += payload
        frames.append(data)
    sk.ident = ident
    return frames


def _sacks(sk: TcpSock) -> bytes:
    """The SACK option, where there is something to say; a duplicate is reported once."""
    if not sk.sack_ok or not (sk.ofo or sk.ack_seq_ooo is not None):
        return b""
    option = sack_blocks(sk)
    sk.ack_seq_ooo = None
    return option


def _send(sk: TcpSock, data: bytearray, rt: Rtable) -> int:
    """Send a segment that is the first of its flow, or not like those before it; or else as they were."""
    net = sk.net
    packet_id = net.world.next_packet_id()
    if sk.flow is not None and sk.flow.carry([(data, packet_id, [0])]):
        return 0
    skb = Skb(net, data, packet_id, sk.originate_step)
    if net.world.flow_cache and net.hooks.by_flow and rt.type == "unicast" and rt.dev.hard_header_len:
        skb.rec = Recording(net, data, sk.keep_flow)
    return net.ipv4.local_out(skb, rt)


def _acks_sent(sk: TcpSock, count: int) -> None:
    """So many segments left, each with an ACK. Linux: tcp_event_ack_sent()."""
    sk.quick = max(sk.quick - count, 0)
    sk.ack_pending = sk.ack_now = False
    sk.delack_at = 0
    if sk.delack_timer is not None:
        sk.delack_timer.cancel()
        sk.delack_timer = None


def _data_sent(sk: TcpSock) -> None:
    """Data soon after data: this is a conversation, acknowledgements can ride along. Linux: tcp_event_data_sent()."""
    now = sk.clock.now
    sk.lsndtime = now
    if sk.lrcvtime and now - sk.lrcvtime < timer.ATO_MIN:
        sk.pingpong = True
