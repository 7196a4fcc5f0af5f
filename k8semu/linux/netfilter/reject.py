"""The answer of REJECT: an ICMP error, or a TCP reset.

Linux: net/ipv4/netfilter/nf_reject_ipv4.c
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from k8semu.linux.core.hooks import Hook
from k8semu.linux.core.skb import CtInfo, Skb
from k8semu.trace.steps import HookStep, Originate
from k8semu.wire.addr import ip_ntoa
from k8semu.wire.build import ip_build
from k8semu.wire.checksum import checksum, transport_checksum
from k8semu.wire.header import IP, IP_FRAG, IP_OFFSET, IP_PROTO, read_addrs, read_u16, transport, write_u16

if TYPE_CHECKING:
    from k8semu.linux.core.net import Net

_TCP = Struct("!HHIIBBHHH")
_BY_RESET = Originate("REJECT --reject-with tcp-reset")
_RST, _ACK, _SYN, _FIN = 0x04, 0x10, 0x02, 0x01
_MULTICAST = "multicast"


def nf_send_unreach(net: Net, skb: Skb, code: int, hook: Hook) -> None:
    """ICMP destination unreachable, unless the packet itself is broken. Linux: nf_send_unreach()."""
    data = skb.data
    if read_u16(data, IP_FRAG)[0] & IP_OFFSET:
        return
    th = transport(data)
    proto = data[IP_PROTO]
    saddr, daddr = bytes(data[26:30]), bytes(data[30:34])
    if proto in (6, 17) and (proto == 6 or data[th + 6 : th + 8] != b"\0\0"):
        if transport_checksum(saddr, daddr, proto, memoryview(data)[th:]) not in (0, 0xFFFF):
            return
    elif proto == 1 and checksum(memoryview(data)[th:]) not in (0, 0xFFFF):
        return
    net.ipv4.icmp_send(skb, 3, code, 0)


def nf_send_reset(net: Net, skb: Skb, hook: Hook) -> None:
    """A RST that the sender believes comes from its peer. Linux: nf_send_reset()."""
    data = skb.data
    th = transport(data)
    if read_u16(data, IP_FRAG)[0] & IP_OFFSET or len(data) < th + 20 or data[th + 13] & _RST:
        return
    saddr, daddr = read_addrs(data, IP + 12)
    if transport_checksum(saddr, daddr, 6, memoryview(data)[th:]) not in (0, 0xFFFF):
        return
    if net.ipv4.addr_type(daddr) in ("broadcast", _MULTICAST):
        return
    sport, dport, seq, ack, offset, flags, _, _, _ = _TCP.unpack_from(data, th)
    size = len(data) - th - (offset >> 4) * 4
    if flags & _ACK:
        reply = (ack, 0, _RST)
    else:
        length = size + bool(flags & _SYN) + bool(flags & _FIN)
        reply = (0, (seq + length) & 0xFFFFFFFF, _RST | _ACK)
    try:
        rt = net.ipv4.route_output(saddr, daddr if net.ipv4.addr_type(daddr) == "local" else None)
    except OSError:
        skb.steps.append(HookStep(hook.name, "filter", "no TCP reset: there is no route to the sender"))
        return
    frame = ip_build(daddr, saddr, 6, 20, ttl=net.sysctl.ip_default_ttl, df=True)
    segment = bytearray(_TCP.pack(dport, sport, reply[0], reply[1], 0x50, reply[2], 0, 0, 0))
    write_u16(segment, 16, transport_checksum(daddr, saddr, 6, segment))
    frame += segment
    reset = net.originate(frame, _BY_RESET)
    if skb.ct is not None:  # Linux: nf_ct_attach()
        reset.ct = skb.ct
        original = skb.ctinfo in (CtInfo.NEW, CtInfo.ESTABLISHED, CtInfo.RELATED)
        reset.ctinfo = CtInfo.RELATED_REPLY if original else CtInfo.RELATED
    skb.steps.append(HookStep(hook.name, "filter", f"REJECT sends a TCP reset to {ip_ntoa(saddr)}:{sport}"))
    net.ipv4.local_out(reset, rt)
