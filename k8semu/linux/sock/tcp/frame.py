"""Frames that no established socket sends: SYNs, and answers on behalf of nobody.

Linux: net/ipv4/tcp_output.c tcp_make_synack(), net/ipv4/tcp_ipv4.c tcp_v4_send_reset(), tcp_v4_send_ack()
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from k8semu.linux.core.skb import Skb
from k8semu.linux.ipv4.route import RouteError
from k8semu.linux.sock.tcp.segment import ACK, MASK, RST, Header
from k8semu.trace.steps import Originate
from k8semu.wire.build import tcp_template
from k8semu.wire.checksum import checksum, transport_checksum
from k8semu.wire.header import IP, IP_CSUM, IPPROTO_TCP, write_u16

if TYPE_CHECKING:
    from k8semu.linux.core.net import Net

TS_OPTIONS = (("NOP", None), ("NOP", None), ("Timestamp", (0, 0)))
_IP = Struct("!HHHBBH4s4s")
_TCP = Struct("!HHIIBBHHH")
_TS = Struct("!II")
TCP = 34
OPTIONS = 54
_SYN_TS = OPTIONS + 8    # after MSS (4), SACK permitted or padding (2), kind and length (2)
_ACK_TS = OPTIONS + 4    # after two NOPs, kind and length

ADDRESSES = tuple[bytes, bytes, int, int]  # saddr, daddr, sport, dport


def lay_out(
    flow: ADDRESSES, seq: int, ack: int, flags: int, window: int,
    options: tuple[tuple[str, object], ...] = (), ts: tuple[int, int] | None = None, ttl: int = 64, ident: int = 0,
) -> bytearray:  # fmt: skip
    """A whole frame without payload; `ts` is written where `options` has a zero timestamp."""
    saddr, daddr, sport, dport = flow
    frame = bytearray(tcp_template(options))
    length = len(frame) - TCP
    _IP.pack_into(frame, IP + 2, 20 + length, ident, 0x4000, ttl, IPPROTO_TCP, 0, saddr, daddr)
    write_u16(frame, IP_CSUM, checksum(memoryview(frame)[IP:TCP]))
    _TCP.pack_into(frame, TCP, sport, dport, seq & MASK, ack & MASK, length << 2, flags, min(window, 0xFFFF), 0, 0)
    if ts is not None:
        _TS.pack_into(frame, _ACK_TS if options is TS_OPTIONS else _SYN_TS, ts[0] & MASK, ts[1] & MASK)
    write_u16(frame, TCP + 16, transport_checksum(saddr, daddr, IPPROTO_TCP, memoryview(frame)[TCP:]))
    return frame


_kernel = Originate("tcp (no socket)")


def send(net: Net, flow: ADDRESSES, frame: bytearray, by: Originate = _kernel) -> None:
    """Route and send a frame of nobody's; without a route it is not sent."""
    try:
        rt = net.ipv4.route_output(flow[1], flow[0])
    except RouteError:
        return
    net.ipv4.local_out(net.originate(frame, by), rt)


def reply_flow(skb: Skb, h: Header) -> ADDRESSES:
    """The addresses of an answer to `skb`."""
    return h.key[4:8], h.key[0:4], h.dport, h.sport


def send_reset(skb: Skb, h: Header) -> None:
    """Answer a segment that belongs to nobody, unless it is itself a RST.

    With an ACK the RST takes its number from there; without, it acknowledges what came.
    Linux: net/ipv4/tcp_ipv4.c tcp_v4_send_reset()
    """
    if h.flags & RST:
        return
    if skb.dst is not None and skb.dst.type != "local":
        return
    flow = reply_flow(skb, h)
    ttl = skb.net.sysctl.ip_default_ttl
    if h.flags & ACK:
        frame = lay_out(flow, h.ack, 0, RST, 0, ttl=ttl)
    else:
        frame = lay_out(flow, 0, h.seq + h.length, RST | ACK, 0, ttl=ttl)
    send(skb.net, flow, frame)


def send_ack(
    net: Net, flow: ADDRESSES, seq: int, ack: int, window: int, ts: tuple[int, int] | None
) -> None:
    """An acknowledgement for what is less than a socket. Linux: net/ipv4/tcp_ipv4.c tcp_v4_send_ack()."""
    options = TS_OPTIONS if ts is not None else ()
    send(net, flow, lay_out(flow, seq, ack, ACK, window, options, ts, net.sysctl.ip_default_ttl))
