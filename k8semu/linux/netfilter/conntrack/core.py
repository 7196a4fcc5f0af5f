"""The table of connections: look up, make, confirm, expire.

    PREROUTING, LOCAL_OUT   track()    which connection? a new one stays with its packet …
    LOCAL_IN, POSTROUTING   confirm()  … until the packet has passed everything: then it is entered

Entries expire when somebody looks, so no timer keeps a run alive.

Linux: net/netfilter/nf_conntrack_core.c nf_conntrack_in(), __nf_conntrack_confirm()
Differs: no expectations (helpers), no accounting, no zones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.skb import CtInfo, Skb, drop
from k8semu.linux.netfilter.conntrack import tcp
from k8semu.linux.netfilter.conntrack.entry import (
    ASSURED,
    CONFIRMED,
    DYING,
    ORIGINAL,
    REPLY,
    SEEN_REPLY,
    CtEntry,
)
from k8semu.linux.netfilter.conntrack.tuples import (
    ICMP_NEW,
    PROTO_BYTE,
    flow_text,
    get_tuple,
    invert,
)
from k8semu.linux.netfilter.conntrack.window import Segment, Window, within
from k8semu.sim.clock import NS_PER_S
from k8semu.trace.steps import CtChange, CtStep

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.core.net import Net

STREAM_AFTER = 2 * NS_PER_S
ICMP_ERRORS = frozenset({3, 4, 5, 11, 12})
_ESTABLISHED, _ESTABLISHED_REPLY = CtInfo.ESTABLISHED, CtInfo.ESTABLISHED_REPLY
_NEW, _RELATED, _RELATED_REPLY, _UNTRACKED = CtInfo.NEW, CtInfo.RELATED, CtInfo.RELATED_REPLY, CtInfo.UNTRACKED
_PROTO_TCP, _PROTO_UDP = PROTO_BYTE[6], PROTO_BYTE[17]
_SWEEP = 256
_TCP_ESTABLISHED = tcp.ESTABLISHED

_steps: dict[str, CtStep] = {}


def ct_step(what: str) -> CtStep:
    """A step that many packets share."""
    step = _steps.get(what)
    if step is None:
        step = _steps[what] = CtStep(what)
    return step


class Conntrack:
    """The connections of one namespace. Shown: `conntrack -L`."""

    __slots__ = ("_sweep_at", "net", "table", "values")

    def __init__(self, net: Net) -> None:
        self.net = net
        self.table: dict[bytes, tuple[CtEntry, int]] = {}  # both directions
        self.values = net.sysctl.values
        self._sweep_at = _SWEEP

    # --- hooks --------------------------------------------------------------------------------

    def track(self, skb: Skb, indev: NetDevice | None, outdev: NetDevice | None) -> bool:
        """Linux: nf_conntrack_in()."""
        if skb.ct is not None or skb.ctinfo is _UNTRACKED:
            return True  # looped back, or seen already under a bridge
        data = skb.data
        proto = data[23]
        if data[14] == 0x45 and not (data[20] & 0x1F) | data[21]:
            size = len(data)
            if proto == 6 and size >= 54:
                return self._track(skb, bytes(data[26:38]) + _PROTO_TCP, 34, True)
            if proto == 17 and size >= 42:
                return self._track(skb, bytes(data[26:38]) + _PROTO_UDP, 34, True)
        if skb.rec is not None:
            skb.rec.refuse()
        if (data[20] & 0x1F) | data[21]:
            return True
        th = 14 + ((data[14] & 15) << 2)
        if proto == 1 and len(data) >= th + 8 and data[th] in ICMP_ERRORS:
            self._icmp_error(skb, th)
            return True
        key = get_tuple(data)
        if key is None:
            skb.steps.append(ct_step("INVALID: header cut short"))
            return True
        return self._track(skb, key, th, True)

    def confirm(self, skb: Skb, indev: NetDevice | None, outdev: NetDevice | None) -> bool:
        """Enter a new connection into the table. Linux: __nf_conntrack_confirm()."""
        ct = skb.ct
        if ct is None or ct.status & CONFIRMED:
            return True
        if skb.ctinfo is _ESTABLISHED_REPLY or skb.ctinfo is _RELATED_REPLY:
            return True
        if ct.status & DYING:
            drop(skb, Drop.NETFILTER_DROP, "conntrack: the connection was forgotten meanwhile")
            return False
        theirs = self.find(ct.orig) or self.find(ct.reply)
        if theirs is not None:
            return self._clash(skb, ct, theirs[0])
        ct.status |= CONFIRMED
        ct.expires += self.net.clock.now  # until now it was counted from the confirmation
        ct.stream_after = self.net.clock.now + STREAM_AFTER
        self.table[ct.orig] = (ct, ORIGINAL)
        self.table[ct.reply] = (ct, REPLY)
        skb.steps.append(CtStep(f"confirmed {flow_text(ct.orig)}"))
        self.told(ct)
        if len(self.table) > self._sweep_at:
            self.gc()
        return True

    def _clash(self, skb: Skb, ct: CtEntry, theirs: CtEntry) -> bool:
        """Two packets began the same connection. Linux: nf_ct_resolve_clash()."""
        if ct.proto != 6 and theirs.orig == ct.orig and theirs.reply == ct.reply:
            skb.ct = theirs
            skb.ctinfo = _NEW
            skb.steps.append(ct_step("clash: joins the entry that another packet made"))
            return True
        drop(skb, Drop.NETFILTER_DROP, f"conntrack: insert failed, {flow_text(ct.reply)} is taken")
        return False

    # --- which connection ---------------------------------------------------------------------

    def find(self, key: bytes) -> tuple[CtEntry, int] | None:
        """The entry of a tuple and its direction, unless expired."""
        found = self.table.get(key)
        if found is None:
            return None
        if found[0].expires <= self.net.clock.now:
            self.destroy(found[0], "expired")
            return None
        return found

    def _track(self, skb: Skb, key: bytes, th: int, may_reopen: bool) -> bool:
        """Linux: resolve_normal_ct(), nf_conntrack_handle_packet()."""
        found = self.table.get(key)
        if found is None:
            return self._new(skb, key, th)
        ct, direction = found
        now = self.net.clock.now
        if ct.expires <= now:
            self.destroy(ct, "expired")
            return self._new(skb, key, th)
        if direction:
            info = _ESTABLISHED_REPLY
        elif ct.status & SEEN_REPLY:
            info = _ESTABLISHED
        else:
            info = _NEW
        before = ct.status << 8 | ct.state
        if ct.proto == 6:
            flags = skb.data[th + 13]
            if (
                ct.state == _TCP_ESTABLISHED and flags & 0x37 == 0x10 and ct.status & ASSURED
                and within(skb.data, th, ct, direction)
            ):  # fmt: skip
                ct.last_index = tcp.ACK_SET
                ct.expires = now + tcp.lifetime(ct, _TCP_ESTABLISHED, self.values)
                skb.ct = ct
                skb.ctinfo = info
                if skb.rec is not None:
                    skb.rec.connection(ct, ct.expires - now)
                    skb.rec.window(within, ct, direction, tcp.renewal(ct, self.values))
                return True
            if skb.rec is not None:
                skb.rec.refuse()
            if not tcp.VALID_FLAGS[flags]:
                skb.steps.append(ct_step("INVALID: TCP flags"))
                return True
            try:
                state = tcp.follow(ct, direction, Segment(skb.data, th), now, self.values)
            except tcp.Reopen:
                self.destroy(ct, "reopened")
                return self._track(skb, key, th, False) if may_reopen else True
            if state >= tcp.INVALID:
                why = "outside the window" if state == tcp.OUTSIDE else f"not expected in {tcp.STATE_NAMES[ct.state]}"
                skb.steps.append(ct_step(f"INVALID: {why}"))
                return True
            if state != tcp.IGNORE:
                self._tcp_refresh(skb, ct, state, flags, now)
        elif ct.proto == 17:
            self._udp_refresh(ct, direction, now)
        else:
            ct.expires = now + self._timeout(ct.proto)
        if skb.rec is not None:
            if ct.proto == 17 and (ct.status & ASSURED or not (direction or ct.status & SEEN_REPLY)):
                skb.rec.connection(ct, ct.expires - now)
            else:
                skb.rec.refuse()
        skb.ct = ct
        skb.ctinfo = info
        if direction and not ct.status & SEEN_REPLY:
            ct.status |= SEEN_REPLY
            skb.steps.append(ct_step("first reply"))
        if before != ct.status << 8 | ct.state:
            self.told(ct)
        return True

    def told(self, ct: CtEntry) -> None:
        """What is known of a connection has changed."""
        if self.net.trace is not None and ct.status & (CONFIRMED | DYING) == CONFIRMED:
            self.net.change(CtChange(ct.key_text, ct.text(None)))

    def _tcp_refresh(self, skb: Skb, ct: CtEntry, state: int, flags: int, now: int) -> None:
        """New state and timeout. Linux: nf_conntrack_tcp_packet()."""
        before = ct.state
        if state != ct.state:
            skb.steps.append(ct_step(f"tcp {tcp.STATE_NAMES[ct.state]} -> {tcp.STATE_NAMES[state]}"))
            ct.state = state
        timeout = tcp.lifetime(ct, state, self.values, tcp.INDEX[flags] == tcp.RST_SET)
        if not ct.status & SEEN_REPLY:
            if flags & 0x04:  # a RST is the only answer: the packet is translated, the entry is gone
                self.destroy(ct, "reset")
                return
            if tcp.INDEX[flags] == tcp.SYN_SET and before == tcp.SYN_SENT:
                return           # sent again and again, it would keep the entry for ever
            if state == tcp.ESTABLISHED:
                timeout = min(timeout, int(self.values[tcp.UNACKNOWLEDGED]) * NS_PER_S)
        ct.expires = now + timeout

    def _udp_refresh(self, ct: CtEntry, direction: int, now: int) -> None:
        """Linux: nf_conntrack_udp_packet()."""
        if ct.status & SEEN_REPLY and now > ct.stream_after:
            ct.expires = now + int(self.values["net.netfilter.nf_conntrack_udp_timeout_stream"]) * NS_PER_S
            ct.status |= ASSURED
            return
        ct.expires = now + int(self.values["net.netfilter.nf_conntrack_udp_timeout"]) * NS_PER_S

    def _timeout(self, proto: int) -> int:
        kind = {17: "udp", 1: "icmp"}.get(proto, "generic")
        return int(self.values[f"net.netfilter.nf_conntrack_{kind}_timeout"]) * NS_PER_S

    def _new(self, skb: Skb, key: bytes, th: int) -> bool:
        """Linux: init_conntrack()."""
        if skb.rec is not None:
            skb.rec.refuse()
        reply = invert(key)
        proto = key[12]
        if reply is None or (proto == 1 and key[10] not in ICMP_NEW):
            skb.steps.append(ct_step("INVALID: answers nothing that is known"))
            return True
        ct = CtEntry(key, reply)
        if proto == 6:
            flags = skb.data[th + 13]
            loose = bool(self.values["net.netfilter.nf_conntrack_tcp_loose"])
            state = tcp.new_state(flags, loose) if tcp.VALID_FLAGS[flags] else None
            if state is None:
                skb.steps.append(ct_step("INVALID: no connection begins so"))
                return True
            segment = Segment(skb.data, th)
            ct.window = Window(segment, state != tcp.SYN_SENT)
            ct.window.judge(ORIGINAL, segment, tcp.NONE, tcp.INDEX[flags] == tcp.ACK_SET, False, True)
            ct.state = state
            ct.last_index = tcp.INDEX[flags]
            ct.expires = tcp.lifetime(ct, state, self.values)
            if state == tcp.ESTABLISHED:
                ct.expires = min(ct.expires, int(self.values[tcp.UNACKNOWLEDGED]) * NS_PER_S)
        else:
            ct.expires = self._timeout(proto)
        if not self._room(skb):
            return False
        skb.ct = ct
        skb.ctinfo = _NEW
        skb.steps.append(CtStep(f"new {flow_text(key)}"))
        return True

    def _room(self, skb: Skb) -> bool:
        """Linux: __nf_conntrack_alloc(), early_drop()."""
        limit = int(self.values["net.netfilter.nf_conntrack_max"])
        if not limit or len(self.table) < 2 * limit:
            return True
        self.gc()
        if len(self.table) < 2 * limit:
            return True
        for ct, _ in self.table.values():
            if not ct.status & ASSURED:
                self.destroy(ct, "early drop")
                return True
        drop(skb, Drop.NETFILTER_DROP, "nf_conntrack: table full, dropping packet")
        return False

    def _icmp_error(self, skb: Skb, th: int) -> None:
        """An ICMP error belongs to the connection of the packet it quotes. Linux: nf_conntrack_inet_error()."""
        data = skb.data
        inner = th + 8
        key = None
        if len(data) >= inner + 20 and data[inner] >> 4 == 4 and data[inner] & 15 >= 5:
            key = get_tuple(data, inner, full=False)
        answer = invert(key) if key is not None else None
        found = self.find(answer) if answer is not None else None
        if found is None:
            skb.steps.append(ct_step("INVALID: an ICMP error about nothing that is known"))
            return
        ct, direction = found
        mine = ct.reply if direction else ct.orig
        if mine[4:8] != bytes(data[30:34]):
            skb.steps.append(ct_step("INVALID: an ICMP error for somebody else"))
            return
        skb.ct = ct
        skb.ctinfo = _RELATED_REPLY if direction else _RELATED
        skb.steps.append(CtStep(f"related to {flow_text(ct.orig)}"))

    # --- the end ------------------------------------------------------------------------------

    def destroy(self, ct: CtEntry, why: str = "deleted") -> None:
        """Linux: nf_ct_delete()."""
        ct.status |= DYING
        entered = False
        for key in (ct.orig, ct.reply):
            found = self.table.get(key)
            if found is not None and found[0] is ct:
                del self.table[key]
                entered = True
        if entered and self.net.trace is not None:
            self.net.change(CtChange(ct.key_text, "", why))

    def gc(self) -> None:
        """Forget what has expired. Linux: gc_worker()."""
        now = self.net.clock.now
        for ct, direction in list(self.table.values()):
            if direction == ORIGINAL and ct.expires <= now:
                self.destroy(ct, "expired")
        self._sweep_at = 2 * len(self.table) + _SWEEP

    def entries(self) -> list[CtEntry]:
        """All live connections, in the order in which they were entered."""
        self.gc()
        return [ct for ct, direction in self.table.values() if direction == ORIGINAL]

    def list(self) -> str:
        """What `conntrack -L` prints on its standard output. Differs: in order of entry, not of hash."""
        now = self.net.clock.now
        return "".join(ct.text(now) + "\n" for ct in self.entries())
