"""ICMP: errors to senders, echo, redirects.

Linux: net/ipv4/icmp.c icmp_send(), icmp_rcv(), icmp_unreach(), icmp_echo(); net/ipv4/route.c ip_rt_send_redirect()
RFC: 792, 1122 section 3.2.2, 1191
Differs: only the rate limit per destination (icmp_ratelimit) is modelled, not the global one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import CtInfo, Skb, consume, drop
from k8semu.linux.ipv4.route import RouteError, Rtable
from k8semu.sim.clock import NS_PER_MS, NS_PER_S
from k8semu.trace.steps import IcmpStep, Originate
from k8semu.wire.addr import IP_ANY, ip_is_multicast, ip_ntoa
from k8semu.wire.build import icmp_build, ip_build
from k8semu.wire.checksum import checksum, csum_replace
from k8semu.wire.header import (
    ETH_HLEN,
    IP_DADDR,
    IP_FRAG,
    IP_OFFSET,
    IP_PROTO,
    IP_SADDR,
    IP_TOS,
    IPPROTO_ICMP,
    read_u16,
    transport,
    write_u16,
)

if TYPE_CHECKING:
    from k8semu.linux.ipv4.stack import Ipv4

ECHOREPLY, DEST_UNREACH, REDIRECT, ECHO, TIME_EXCEEDED, PARAMETERPROB = 0, 3, 5, 8, 11, 12
PORT_UNREACH, FRAG_NEEDED = 3, 4
REDIR_HOST = 1
TIMESTAMP, TIMESTAMPREPLY = 13, 14
MS_PER_DAY = 86_400_000
ERROR_TYPES = (DEST_UNREACH, 4, REDIRECT, TIME_EXCEEDED, PARAMETERPROB)

_UNREACH = {
    0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable",
    4: "fragmentation needed", 9: "network prohibited", 10: "host prohibited", 13: "administratively prohibited",
}  # fmt: skip

RATE_BURST = 6                       # Linux: XRLIM_BURST_FACTOR
ERROR_COST = NS_PER_S                # Linux: ip_rt_error_cost, HZ
ERROR_BURST = 5 * NS_PER_S           # Linux: ip_rt_error_burst
REDIRECT_LOAD = 20 * NS_PER_MS       # Linux: ip_rt_redirect_load, HZ/50
REDIRECT_NUMBER = 9
REDIRECT_SILENCE = REDIRECT_LOAD << (REDIRECT_NUMBER + 1)

_REPLIES = (CtInfo.ESTABLISHED_REPLY, CtInfo.RELATED_REPLY)
_BY_ERROR = Originate("the kernel (ICMP error)")
_BY_REPLY = Originate("the kernel (ICMP echo reply)")


class IcmpError(Struct, frozen=True):
    """An ICMP error that came in, about a packet that this namespace (or one behind it) sent."""

    net: Net
    type: int
    code: int
    mtu: int
    """The next hop's MTU for `fragmentation needed`, else 0."""
    sender: bytes
    inner: bytes
    """The packet it is about: IP header and at least 8 bytes of transport."""
    skb: Skb


def describe(icmp_type: int, code: int, info: int = 0) -> str:
    """``host unreachable``, ``fragmentation needed (mtu 1450)``."""
    if icmp_type == DEST_UNREACH:
        text = _UNREACH.get(code, f"unreachable code {code}")
        return f"{text} (mtu {info})" if code == FRAG_NEEDED else text
    if icmp_type == TIME_EXCEEDED:
        return "fragment reassembly time exceeded" if code else "time exceeded in transit"
    if icmp_type == REDIRECT:
        return f"redirect to {ip_ntoa(info.to_bytes(4, 'big'))}"
    return {ECHO: "echo request", ECHOREPLY: "echo reply"}.get(icmp_type, f"type {icmp_type} code {code}")


class _Peer:
    """What is remembered of a destination for rate limits. Linux: struct inet_peer."""

    __slots__ = ("n_redirects", "rate_last", "tokens")

    def __init__(self, now: int) -> None:
        self.rate_last = now - 60 * NS_PER_S
        self.tokens = 0
        self.n_redirects = 0

    def take(self, now: int, cost: int, most: int) -> bool:
        """Pay `cost` from what has come together since the last time, `most` at most."""
        self.tokens = min(self.tokens + now - self.rate_last, most)
        self.rate_last = now
        if self.tokens < cost:
            return False
        self.tokens -= cost
        return True


class Icmp:
    """The ICMP part of a namespace. `echo_reply` takes echo replies (ping sockets set it)."""

    def __init__(self, ipv4: Ipv4) -> None:
        self.ipv4 = ipv4
        self.net = ipv4.net
        self.echo_reply: Callable[[Skb], None] | None = None
        self._peers: dict[bytes, _Peer] = {}

    # --- errors out ---------------------------------------------------------------------------

    def send(self, skb: Skb, icmp_type: int, code: int, info: int = 0) -> None:
        """Tell the sender of `skb` what became of it. The caller ends `skb`. Linux: icmp_send()."""
        data = skb.data
        if not self._may_answer(data, icmp_type):
            return
        target = bytes(data[IP_SADDR : IP_SADDR + 4])
        daddr = bytes(data[IP_DADDR : IP_DADDR + 4])
        local = skb.dst is not None and skb.dst.type == "local" and self.ipv4.addr_type(daddr) == "local"
        try:
            rt = self.ipv4.route_output(target, daddr if local else None)
        except RouteError:
            return
        if not self._allow(rt, target, icmp_type, code):
            return
        room = min(self.ipv4.mtu(rt, target), 576) - 20 - 8
        body = bytes(data[ETH_HLEN : ETH_HLEN + room])
        tos = (data[IP_TOS] & 0x1E) | 0xC0
        message = icmp_build(icmp_type, code, info, body)
        frame = ip_build(
            rt.saddr, target, IPPROTO_ICMP, len(message), self.net.sysctl.ip_default_ttl, tos,
            df=False, ident=self.ipv4.next_ident(),
        )  # fmt: skip
        frame += message
        skb.steps.append(IcmpStep(f"{describe(icmp_type, code, info)} to {ip_ntoa(target)}"))
        error = self.net.originate(frame, _BY_ERROR)
        _attach(error, skb)
        self.ipv4.local_out(error, rt)

    def _may_answer(self, data: bytearray, icmp_type: int) -> bool:
        """No errors about broadcasts, later fragments, or errors (RFC 1122 3.2.2)."""
        if data[0] & 1:
            return False
        if read_u16(data, IP_FRAG)[0] & IP_OFFSET:
            return False
        saddr, daddr = bytes(data[IP_SADDR : IP_SADDR + 4]), bytes(data[IP_DADDR : IP_DADDR + 4])
        if self.ipv4.addr_type(daddr) in ("broadcast", "multicast"):
            return False
        if saddr == IP_ANY or ip_is_multicast(saddr) or self.ipv4.addr_type(saddr) == "broadcast":
            return False
        if data[IP_PROTO] == IPPROTO_ICMP and icmp_type in ERROR_TYPES:
            th = transport(data)
            if th >= len(data) or data[th] in ERROR_TYPES or data[th] > 18:
                return False
        return True

    def _allow(self, rt: Rtable, target: bytes, icmp_type: int, code: int) -> bool:
        """Linux: icmpv4_mask_allow(), icmpv4_xrlim_allow(), inet_peer_xrlim_allow()."""
        if icmp_type == DEST_UNREACH and code == FRAG_NEEDED:
            return True
        limit = self.net.sysctl.integer("net.ipv4.icmp_ratelimit") * NS_PER_MS
        mask = self.net.sysctl.integer("net.ipv4.icmp_ratemask")
        if rt.dev.name == "lo" or limit == 0 or not mask >> icmp_type & 1:
            return True
        return self._peer(target).take(self.net.clock.now, limit, RATE_BURST * limit)

    def send_error(self, skb: Skb, code: int) -> None:
        """There is no way for a received `skb`: say so, but pay for it twice. Linux: ip_error()."""
        peer = self._peer(bytes(skb.data[IP_SADDR : IP_SADDR + 4]))
        if peer.take(self.net.clock.now, ERROR_COST, ERROR_BURST):
            self.send(skb, DEST_UNREACH, code)

    def _peer(self, addr: bytes) -> _Peer:
        peer = self._peers.get(addr)
        if peer is None:
            peer = self._peers[addr] = _Peer(self.net.clock.now)
        return peer

    def send_redirect(self, skb: Skb, rt: Rtable) -> None:
        """There is a shorter way: tell the sender, less and less often. Linux: ip_rt_send_redirect()."""
        now = self.net.clock.now
        peer = self._peer(bytes(skb.data[IP_SADDR : IP_SADDR + 4]))
        if now > peer.rate_last + REDIRECT_SILENCE:
            peer.n_redirects = 0
        if peer.n_redirects >= REDIRECT_NUMBER:
            peer.rate_last = now
            return
        if peer.n_redirects and now <= peer.rate_last + (REDIRECT_LOAD << peer.n_redirects):
            return
        gateway = rt.gateway or bytes(skb.data[IP_DADDR : IP_DADDR + 4])
        self.send(skb, REDIRECT, REDIR_HOST, int.from_bytes(gateway, "big"))
        peer.rate_last = now
        peer.n_redirects += 1

    # --- in -----------------------------------------------------------------------------------

    def rcv(self, skb: Skb) -> None:
        """Linux: icmp_rcv()."""
        data = skb.data
        th = transport(data)
        if len(data) < th + 8:
            drop(skb, Drop.HDR_TRUNC, "ICMP cut short")
            return
        if checksum(memoryview(data)[th:]) != 0:
            drop(skb, Drop.ICMP_CSUM)
            return
        icmp_type = data[th]
        broadcast = skb.dst is not None and skb.dst.type in ("broadcast", "multicast")
        if icmp_type == ECHO:
            self._echo(skb, th, broadcast)
        elif icmp_type == TIMESTAMP:
            self._timestamp(skb, th, broadcast)
        elif icmp_type == ECHOREPLY and self.echo_reply is not None:
            self.echo_reply(skb)
        elif icmp_type in ERROR_TYPES and not broadcast:
            self._error(skb, th)
        elif icmp_type == ECHOREPLY:
            drop(skb, Drop.NO_SOCKET, "nobody pinged")
        else:
            drop(skb, Drop.UNHANDLED_PROTO, f"ICMP type {icmp_type}")

    def _echo(self, skb: Skb, th: int, broadcast: bool) -> None:
        """Linux: icmp_echo()."""
        sysctl = self.net.sysctl
        if sysctl.integer("net.ipv4.icmp_echo_ignore_all") or (
            broadcast and sysctl.integer("net.ipv4.icmp_echo_ignore_broadcasts")
        ):
            consume(skb, "echo request: told to ignore it")
            return
        message = bytearray(memoryview(skb.data)[th:])
        check = csum_replace(message[2] << 8 | message[3], ECHO << 8 | message[1], message[1])
        message[0] = ECHOREPLY
        write_u16(message, 2, check)
        self._reply(skb, message, broadcast, "echo")

    def _timestamp(self, skb: Skb, th: int, broadcast: bool) -> None:
        """The time of the world, which begins at midnight, in ms. Linux: icmp_timestamp(), inet_current_timestamp()."""
        if broadcast and self.net.sysctl.integer("net.ipv4.icmp_echo_ignore_broadcasts"):
            consume(skb, "timestamp request: told to ignore it")
            return
        data = skb.data
        if len(data) < th + 12:
            drop(skb, Drop.HDR_TRUNC, "ICMP timestamp cut short")
            return
        now = (self.net.clock.now // NS_PER_MS % MS_PER_DAY).to_bytes(4, "big")
        rest = int.from_bytes(data[th + 4 : th + 8], "big")
        message = icmp_build(TIMESTAMPREPLY, 0, rest, data[th + 8 : th + 12] + 2 * now)
        self._reply(skb, message, broadcast, "timestamp")

    def _reply(self, skb: Skb, message: bytearray, broadcast: bool, what: str) -> None:
        """Send `message` back to where `skb` came from. Linux: icmp_reply()."""
        data = skb.data
        target = bytes(data[IP_SADDR : IP_SADDR + 4])
        spec_dst = bytes(data[IP_DADDR : IP_DADDR + 4])
        assert skb.iif is not None
        if broadcast:
            spec_dst = self.ipv4.select_addr(skb.iif, target)
        try:
            rt = self.ipv4.route_output(target, spec_dst)
        except RouteError as error:
            drop(skb, Drop.IP_OUTNOROUTES, f"{what} reply: {error.strerror}")
            return
        frame = ip_build(
            spec_dst, target, IPPROTO_ICMP, len(message), self.net.sysctl.ip_default_ttl, data[IP_TOS],
            df=False, ident=self.ipv4.next_ident(),
        )  # fmt: skip
        frame += message
        reply = self.net.originate(frame, _BY_REPLY)
        reply.mark = 0
        consume(skb, f"{what} request: answered to {ip_ntoa(target)}")
        self.ipv4.local_out(reply, rt)

    def _error(self, skb: Skb, th: int) -> None:
        """Someone tells us what became of a packet of ours. Linux: icmp_unreach(), icmp_redirect()."""
        data = skb.data
        icmp_type, code = data[th], data[th + 1]
        inner = bytes(data[th + 8 :])
        if len(inner) < 20 or len(inner) < (inner[0] & 0x0F) * 4 + 8 or inner[0] >> 4 != 4:
            drop(skb, Drop.HDR_TRUNC, "ICMP error about too little")
            return
        sender = bytes(data[IP_SADDR : IP_SADDR + 4])
        info = int.from_bytes(data[th + 4 : th + 8], "big")
        mtu = 0
        if icmp_type == DEST_UNREACH and code == FRAG_NEEDED:
            mtu = info & 0xFFFF
            self.ipv4.update_pmtu(inner[16:20], mtu)
        elif icmp_type == REDIRECT:
            mtu = info      # an error queue has the gateway there. Linux: icmp_socket_deliver()
            self.ipv4.redirects.heed(skb, sender, inner[16:20], info.to_bytes(4, "big"))
        handler = self.ipv4.err_handlers.get(inner[9])
        if handler is not None:
            handler(IcmpError(self.net, icmp_type, code, mtu, sender, inner, skb))
        if not skb.ended:
            consume(skb, f"ICMP {describe(icmp_type, code, mtu)}")


def _attach(error: Skb, cause: Skb) -> None:
    """An error belongs to the connection of what caused it, even before that is confirmed.

    Linux: icmp_glue_bits(), nf_conntrack_attach()
    """
    if cause.ct is not None:
        error.ct = cause.ct
        error.ctinfo = CtInfo.RELATED if cause.ctinfo in _REPLIES else CtInfo.RELATED_REPLY
