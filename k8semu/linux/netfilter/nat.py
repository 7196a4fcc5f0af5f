"""Address translation: decided once per connection, undone on its replies.

    first packet   nat rules ─▶ setup(): alters the reply tuple, so that answers are recognised
    every packet   the connection's manips: old bytes out, new bytes in, checksums follow

    direction   PREROUTING, LOCAL_OUT (DST)       POSTROUTING, LOCAL_IN (SRC)
    original    daddr := what DNAT chose          saddr := what SNAT chose
    reply       daddr := the original saddr       saddr := the original daddr

Linux: net/netfilter/nf_nat_core.c, nf_nat_proto.c
Differs: which address of a range a source gets is a hash of our own (the kernel's is seeded at boot).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.hooks import Hook, HookFn
from k8semu.linux.core.skb import CtInfo, Skb, drop
from k8semu.linux.netfilter.conntrack.entry import (
    CONFIRMED,
    DST_NAT,
    DST_NAT_DONE,
    DYING,
    NO_MANIPS,
    SRC_NAT,
    SRC_NAT_DONE,
    CtEntry,
)
from k8semu.linux.netfilter.conntrack.tuples import flow_text, invert
from k8semu.linux.netfilter.manip import DST, SRC, Manip, manip_quoted
from k8semu.linux.netfilter.rule import Verdict
from k8semu.trace.steps import NatStep
from k8semu.wire.addr import ip_ntoa
from k8semu.wire.checksum import checksum, csum_replace
from k8semu.wire.header import IP, IP_CSUM, IP_DADDR, IP_SADDR, read_u16, read_u32, write_u16, write_u32

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.core.net import Net
    from k8semu.linux.netfilter.conntrack.core import Conntrack

_DONE = (SRC_NAT_DONE, DST_NAT_DONE)
_STATUS = (SRC_NAT, DST_NAT)
_ESTABLISHED, _ESTABLISHED_REPLY = CtInfo.ESTABLISHED, CtInfo.ESTABLISHED_REPLY
_RELATED, _RELATED_REPLY = CtInfo.RELATED, CtInfo.RELATED_REPLY
_MAX_ATTEMPTS = 128


class NatRange(msgspec.Struct, frozen=True):
    """What a rule allows: addresses (None: as they are) and ports. Linux: struct nf_nat_range2."""

    low: bytes | None = None
    high: bytes | None = None
    ports: tuple[int, int] | None = None
    random: bool = False
    random_fully: bool = False
    persistent: bool = False


NatRules = Callable[[Skb, Hook, "NetDevice | None", "NetDevice | None"], "Verdict | None"]
"""Walks the nat table for a new connection's packet."""


class Nat:
    """The translations of one namespace."""

    __slots__ = ("_by_source", "_rules", "_table", "net")

    def __init__(self, net: Net, table: Conntrack, rules: NatRules) -> None:
        self.net = net
        self._table = table
        self._rules = rules
        self._by_source: dict[bytes, CtEntry] = {}  # source half of the original tuple -> its latest translation

    # --- hooks --------------------------------------------------------------------------------

    def hook(self, hook: Hook) -> HookFn:
        """The function for one hook. Linux: nf_nat_inet_fn()."""
        side = DST if hook in (Hook.PREROUTING, Hook.LOCAL_OUT) else SRC
        reply_side = 2 + side
        check_device = hook is Hook.POSTROUTING

        def fn(skb: Skb, indev: NetDevice | None, outdev: NetDevice | None) -> bool:
            ct = skb.ct
            if ct is None:
                return True
            info = skb.ctinfo
            if info is _ESTABLISHED:
                if ct.manips is NO_MANIPS:
                    return True
                if check_device and ct.masq_index and outdev is not None and ct.masq_index != outdev.ifindex:
                    return self._moved(skb, ct)
                manip = ct.manips[side]
            elif info is _ESTABLISHED_REPLY:
                manip = ct.manips[reply_side]
            else:
                return self._slow(skb, ct, hook, side, indev, outdev)
            if manip is not None:
                manip.apply(skb)
            return True

        return fn

    def _moved(self, skb: Skb, ct: CtEntry) -> bool:
        """The way out changed under a masqueraded connection. Linux: nf_nat_oif_changed()."""
        self._table.destroy(ct, "way out changed")
        drop(skb, Drop.NETFILTER_DROP, "nat: the masqueraded connection now leaves by another device")
        return False

    def _slow(
        self, skb: Skb, ct: CtEntry, hook: Hook, side: int, indev: NetDevice | None, outdev: NetDevice | None
    ) -> bool:
        """New and related packets."""
        reply = skb.ctinfo is _RELATED_REPLY
        related = reply or skb.ctinfo is _RELATED
        if related and skb.data[23] == 1:
            return self._icmp_reply(skb, ct, side, reply)
        if not ct.status & _DONE[side]:
            verdict = self._rules(skb, hook, indev, outdev)
            if verdict is Verdict.DROP:
                return False
            if not ct.status & _DONE[side]:
                self.null_binding(ct, side)
        manip = ct.manips[2 * reply + side]
        if manip is not None:
            manip.apply(skb)
        return True

    # --- deciding -----------------------------------------------------------------------------

    def null_binding(self, ct: CtEntry, side: int) -> None:
        """No rule applies: the address stays, the port too unless it is taken. Linux: nf_nat_alloc_null_binding()."""
        addr = ct.reply[4:8] if side == SRC else ct.reply[0:4]
        self.setup(ct, NatRange(addr, addr), side)

    def setup(self, ct: CtEntry | None, wanted: NatRange, side: int, origin: str = "") -> Verdict:
        """Bind one side of a connection; `origin` asked for it. Linux: nf_nat_setup_info()."""
        if ct is None or ct.status & (_DONE[side] | CONFIRMED):
            return Verdict.ACCEPT  # a connection older than the nat table stays as it is
        current = invert(ct.reply)
        assert current is not None
        new = self._unique_tuple(current, wanted, ct, side)
        if new != current:
            reply = invert(new)
            assert reply is not None
            ct.reply = reply
            ct.status |= _STATUS[side]
            ct.origins = (origin, ct.origins[DST]) if side == SRC else (ct.origins[SRC], origin)
            self._make_manips(ct)
            if side == SRC:
                self._remember_source(ct)
        ct.status |= _DONE[side]
        return Verdict.ACCEPT

    def _make_manips(self, ct: CtEntry) -> None:
        out = invert(ct.reply)
        back = invert(ct.orig)
        assert out is not None
        assert back is not None
        manips: list[Manip | None] = [None, None, None, None]
        if ct.status & SRC_NAT:
            manips[SRC] = Manip(out, SRC, ct.orig, ct.origins[SRC])
            manips[2 + DST] = Manip(back, DST, ct.reply, ct.origins[SRC])
        if ct.status & DST_NAT:
            manips[DST] = Manip(out, DST, ct.orig, ct.origins[DST])
            manips[2 + SRC] = Manip(back, SRC, ct.reply, ct.origins[DST])
        ct.manips = tuple(manips)

    def _used(self, key: bytes, ct: CtEntry) -> bool:
        """Would the answers to `key` be taken for another connection's? Linux: nf_conntrack_tuple_taken().

        Two packets that a socket sends at once (a resolver's A and AAAA) are one connection, although the
        second was tracked before the first was confirmed: `Conntrack.confirm` joins them.
        """
        reply = invert(key)
        assert reply is not None
        found = self._table.find(reply)
        return found is not None and found[0] is not ct and found[0].orig != ct.orig

    def _unique_tuple(self, current: bytes, wanted: NatRange, ct: CtEntry, side: int) -> bytes:
        """Linux: get_unique_tuple()."""
        anew = wanted.random or wanted.random_fully
        if side == SRC and not wanted.random_fully:
            if _in_range(current, wanted) and not self._used(current, ct):
                return current
            same = self._same_source(current, wanted)
            if same is not None and not self._used(same, ct):
                return same
        key = _best_address(current, wanted, side)
        if not anew:
            if wanted.ports is not None:
                port = _port(key, side)
                low, high = wanted.ports
                if low <= port <= high and (low == high or not self._used(key, ct)):
                    return key
            elif not self._used(key, ct):
                return key
        return self._unique_port(key, wanted, ct, side)

    def _same_source(self, current: bytes, wanted: NatRange) -> bytes | None:
        """What the same source became in another connection. Linux: find_appropriate_src()."""
        other = self._by_source.get(_source(current))
        if other is None or other.status & DYING or other.expires <= self.net.clock.now:
            return None
        at = 8 if other.proto == 1 else 10
        key = other.reply[4:8] + current[4:8] + other.reply[at : at + 2] + current[10:]
        return key if _in_range(key, wanted) else None

    def _remember_source(self, ct: CtEntry) -> None:
        if len(self._by_source) > 2 * len(self._table.table) + 256:
            self._by_source = {k: e for k, e in self._by_source.items() if not e.status & DYING}
        self._by_source[_source(ct.orig)] = ct

    def _unique_port(self, key: bytes, wanted: NatRange, ct: CtEntry, side: int) -> bytes:
        """Linux: nf_nat_l4proto_unique_tuple()."""
        proto = key[12]
        if wanted.ports is not None:
            low, high = wanted.ports
        elif proto == 1:
            low, high = 0, 65535
        elif side == DST or proto not in (6, 17, 132):
            return key
        else:
            low, high = _default_ports(_port(key, side))
        size = high - low + 1
        attempts = min(size, _MAX_ATTEMPTS)
        if wanted.random or wanted.random_fully or side == SRC:
            offset = self.net.random("nat-port").bits(16)
        else:
            offset = 0
        while True:
            for step in range(attempts):
                key = _with_port(key, side, low + (offset + step) % size)
                if not self._used(key, ct):
                    return key
            if attempts >= size or attempts < 16:
                return key
            attempts //= 2
            offset = self.net.random("nat-port").bits(16)

    # --- ICMP errors --------------------------------------------------------------------------

    def _icmp_reply(self, skb: Skb, ct: CtEntry, side: int, reply: bool) -> bool:
        """Translate an ICMP error and the packet it quotes. Linux: nf_nat_icmp_reply_translation()."""
        data = skb.data
        th = IP + ((data[IP] & 15) << 2)
        if data[th] == 5:  # redirects on translated connections would show them the wrong way
            done = ct.status & (SRC_NAT_DONE | DST_NAT_DONE) == SRC_NAT_DONE | DST_NAT_DONE
            if not done or ct.status & (SRC_NAT | DST_NAT):
                drop(skb, Drop.NETFILTER_DROP, "nat: an ICMP redirect on a translated connection")
                return False
        if not ct.status & _STATUS[1 - side if reply else side]:
            return True
        other = ct.orig if reply else ct.reply
        target = invert(other)
        assert target is not None
        manip_quoted(data, th + 8, other, 1 - side)
        write_u16(data, th + 2, 0)
        write_u16(data, th + 2, checksum(memoryview(data)[th:]))
        at, addr = (IP_SADDR, target[0:4]) if side == SRC else (IP_DADDR, target[4:8])
        (old,) = read_u32(data, at)
        new = int.from_bytes(addr, "big")
        write_u32(data, at, new)
        (check,) = read_u16(data, IP_CSUM)
        write_u16(data, IP_CSUM, csum_replace(check, old, new))
        word = "src" if side == SRC else "dst"
        what = f"icmp error: {word} {ip_ntoa(old.to_bytes(4, 'big'))} -> {ip_ntoa(addr)}, quotes {flow_text(other)}"
        skb.steps.append(NatStep(what, ct.origins[1 - side if reply else side]))
        return True


def _source(key: bytes) -> bytes:
    return key[0:4] + key[8:10] + key[12:13]


def _port(key: bytes, side: int) -> int:
    at = 8 if side == SRC or key[12] == 1 else 10
    return key[at] << 8 | key[at + 1]


def _with_port(key: bytes, side: int, port: int) -> bytes:
    at = 8 if side == SRC or key[12] == 1 else 10
    return key[:at] + port.to_bytes(2, "big") + key[at + 2 :]


def _default_ports(port: int) -> tuple[int, int]:
    """A port is replaced by one of its own kind: privileged ones stay so."""
    if port >= 1024:
        return 1024, 65535
    return (1, 511) if port < 512 else (600, 1023)


def _in_range(key: bytes, wanted: NatRange) -> bool:
    """Linux: nf_in_range()."""
    if wanted.low is not None and wanted.high is not None and not wanted.low <= key[0:4] <= wanted.high:
        return False
    return wanted.ports is None or wanted.ports[0] <= _port(key, SRC) <= wanted.ports[1]


def _best_address(key: bytes, wanted: NatRange, side: int) -> bytes:
    """Spread over the range by source (and destination, unless persistent). Linux: find_best_ips_proto()."""
    if wanted.low is None or wanted.high is None:
        return key
    addr = wanted.low
    if wanted.high != wanted.low:
        low, high = int.from_bytes(wanted.low, "big"), int.from_bytes(wanted.high, "big")
        mix = int.from_bytes(key[0:4], "big") * 0x9E3779B1
        if not wanted.persistent:
            mix ^= int.from_bytes(key[4:8], "big") * 0x85EBCA6B
        addr = (low + (mix >> 7 & 0xFFFFFFFF) % (high - low + 1)).to_bytes(4, "big")
    return addr + key[4:] if side == SRC else key[0:4] + addr + key[8:]
