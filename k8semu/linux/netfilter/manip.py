"""Writing other addresses and ports into a packet, checksums following.

A connection has up to four manips, made once: for the source and the destination of packets in
each direction. RFC 1624 makes the change of a checksum a sum that is known beforehand.

Linux: net/netfilter/nf_nat_proto.c nf_nat_manip_pkt()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.netfilter.conntrack.tuples import get_tuple
from k8semu.trace.steps import NatStep
from k8semu.wire.addr import ip_ntoa
from k8semu.wire.checksum import csum_replace
from k8semu.wire.header import IP, IP_CSUM, IP_DADDR, IP_SADDR, read_u16, read_u32, write_u16, write_u32

if TYPE_CHECKING:
    from k8semu.linux.core.skb import Skb

SRC, DST = 0, 1
"""What is translated. Linux: enum nf_nat_manip_type."""

_CSUM_AT = {6: 16, 17: 6, 1: 2}


class Manip:
    """Writes one address and port (or ICMP identifier) into packets of one direction."""

    __slots__ = (
        "addr", "addr_int", "at", "csum_at", "ip_delta", "port", "port_at", "port_bytes", "quick", "step",
        "transport_delta", "udp", "was_addr", "was_port",
    )  # fmt: skip

    def __init__(self, key: bytes, side: int, was: bytes, origin: str) -> None:
        """`key` is the tuple the packet shall have, `was` the one it has; `side` says which half to write."""
        proto = key[12]
        self.at = IP_SADDR if side == SRC else IP_DADDR
        self.addr = key[0:4] if side == SRC else key[4:8]
        self.addr_int = int.from_bytes(self.addr, "big")
        self.csum_at = _CSUM_AT.get(proto, -1)
        self.udp = proto == 17
        if proto == 1:
            self.port_at, self.port = 4, int.from_bytes(key[8:10], "big")
        elif proto in (6, 17, 132):
            self.port_at = 0 if side == SRC else 2
            self.port = int.from_bytes(key[8:10] if side == SRC else key[10:12], "big")
        else:
            self.port_at, self.port = -1, 0
        self.step = NatStep(_manip_text(key, was, side), origin)
        self.quick = proto in (6, 17)
        self.was_addr = was[0:4] if side == SRC else was[4:8]
        self.was_port = was[8:10] if side == SRC else was[10:12]
        self.port_bytes = self.port.to_bytes(2, "big")
        old = int.from_bytes(self.was_addr, "big")
        self.ip_delta = _delta(old, self.addr_int)
        self.transport_delta = _delta(old + int.from_bytes(self.was_port, "big"), self.addr_int + self.port)

    def apply(self, skb: Skb) -> None:
        """Linux: nf_nat_manip_pkt(); a packet that carries the new values already stays as it is.

        The checksums of a TCP or UDP packet that looks as it should move by sums made beforehand.
        """
        if self._rewrite(skb.data):
            if skb.rec is not None:
                skb.rec.action(self._again)
                if self.udp:  # a datagram without a checksum is another matter
                    skb.rec.refuse()
            skb.steps.append(self.step)
            return
        done = len(skb.steps)
        self._apply_slow(skb)
        if skb.rec is not None and len(skb.steps) > done:  # else it had been translated under a bridge
            skb.rec.refuse()

    def _again(self, data: bytearray, packet_id: int) -> None:
        self._rewrite(data)

    def _rewrite(self, data: bytearray) -> bool:
        """The quick way; False if it cannot be gone."""
        at = self.at
        if self.quick and data[14] == 0x45 and data[at : at + 4] == self.was_addr:
            port = 34 + self.port_at
            check_at = 34 + self.csum_at
            check = data[check_at] << 8 | data[check_at + 1]
            if data[port : port + 2] == self.was_port and (check or not self.udp):
                data[at : at + 4] = self.addr
                data[port : port + 2] = self.port_bytes
                total = (check ^ 0xFFFF) + self.transport_delta
                total = (total & 0xFFFF) + (total >> 16)
                check = ((total & 0xFFFF) + (total >> 16)) ^ 0xFFFF
                if self.udp and not check:
                    check = 0xFFFF
                data[check_at] = check >> 8
                data[check_at + 1] = check & 0xFF
                total = ((data[24] << 8 | data[25]) ^ 0xFFFF) + self.ip_delta
                total = (total & 0xFFFF) + (total >> 16)
                check = ((total & 0xFFFF) + (total >> 16)) ^ 0xFFFF
                data[24] = check >> 8
                data[25] = check & 0xFF
                return True
        return False

    def _apply_slow(self, skb: Skb) -> None:
        data = skb.data
        at, new = self.at, self.addr_int
        (old,) = read_u32(data, at)
        if old != new:
            write_u32(data, at, new)
            (check,) = read_u16(data, IP_CSUM)
            write_u16(data, IP_CSUM, csum_replace(check, old, new))
        if self._transport(data, old, new) or old != new:
            skb.steps.append(self.step)

    def _transport(self, data: bytearray, old: int, new: int) -> bool:
        """Port and checksum; True if the port changed."""
        if self.port_at < 0:
            return False
        th = IP + ((data[IP] & 15) << 2)
        at = th + self.port_at
        (old_port,) = read_u16(data, at)
        port = self.port
        if self.port_at == 4:  # ICMP: no addresses in its checksum, an identifier only in queries
            old = new = 0
            if data[th] in (3, 4, 5, 11, 12):
                return False
        changed: bool = old_port != port
        if changed:
            write_u16(data, at, port)
        if self.csum_at < 0 or (old == new and not changed):
            return changed
        at = th + self.csum_at
        (check,) = read_u16(data, at)
        if not (self.udp and not check):
            check = csum_replace(check, old + old_port, new + port)
            write_u16(data, at, 0xFFFF if self.udp and not check else check)
        return changed


def _delta(old: int, new: int) -> int:
    """What a complemented checksum grows by (RFC 1624)."""
    return 0xFFFF - old % 0xFFFF + new % 0xFFFF


def _manip_text(key: bytes, was: bytes, side: int) -> str:
    a, p = (0, 8) if side == SRC else (4, 10)
    word = "src" if side == SRC else "dst"
    if key[12] == 1:
        text = f"{word} {ip_ntoa(was[a:a + 4])} -> {ip_ntoa(key[a:a + 4])}"
        same = was[8:10] == key[8:10]
        return text if same else f"{text}, id {int.from_bytes(was[8:10], 'big')} -> {int.from_bytes(key[8:10], 'big')}"
    if key[12] not in (6, 17, 132):
        return f"{word} {ip_ntoa(was[a:a + 4])} -> {ip_ntoa(key[a:a + 4])}"
    ports = int.from_bytes(was[p : p + 2], "big"), int.from_bytes(key[p : p + 2], "big")
    return f"{word} {ip_ntoa(was[a:a + 4])}:{ports[0]} -> {ip_ntoa(key[a:a + 4])}:{ports[1]}"


def manip_quoted(data: bytearray, ip: int, key: bytes, side: int) -> None:
    """Give the quoted packet at `ip` the source or destination of `key`; its checksums follow where present."""
    if get_tuple(data, ip, full=False) is None:
        return
    at = ip + 12 if side == SRC else ip + 16
    (old,) = read_u32(data, at)
    new = int.from_bytes(key[0:4] if side == SRC else key[4:8], "big")
    write_u32(data, at, new)
    (check,) = read_u16(data, ip + 10)
    write_u16(data, ip + 10, csum_replace(check, old, new))
    proto = key[12]
    th = ip + ((data[ip] & 15) << 2)
    if proto == 1:
        at, port, old, new = th + 4, int.from_bytes(key[8:10], "big"), 0, 0
    elif proto in (6, 17):
        at = th if side == SRC else th + 2
        port = int.from_bytes(key[8:10] if side == SRC else key[10:12], "big")
    else:
        return
    (old_port,) = read_u16(data, at)
    write_u16(data, at, port)
    at = th + _CSUM_AT[proto]
    if at + 2 > len(data):
        return
    (check,) = read_u16(data, at)
    if proto == 17 and not check:
        return
    check = csum_replace(check, old + old_port, new + port)
    write_u16(data, at, 0xFFFF if proto == 17 and not check else check)
