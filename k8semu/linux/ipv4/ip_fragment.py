"""Fragments: cutting packets that are too long, and putting them together again.

Linux: net/ipv4/ip_output.c ip_do_fragment(), net/ipv4/ip_fragment.c ip_defrag()
RFC: 791, 815
Differs: the memory limit (ipfrag_high_thresh) is a number of queues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.skb import Skb, consume, drop
from k8semu.linux.ipv4.ip_output import finish_output2
from k8semu.linux.ipv4.route import Rtable
from k8semu.sim.clock import NS_PER_S, Timer
from k8semu.trace.steps import FragStep
from k8semu.wire.addr import ip_ntoa
from k8semu.wire.header import (
    ETH_HLEN,
    IP,
    IP_DADDR,
    IP_FRAG,
    IP_ID,
    IP_LEN,
    IP_MF,
    IP_OFFSET,
    IP_PROTO,
    IP_SADDR,
    ip_hlen,
    ip_send_check,
    read_u16,
    write_u16,
)

if TYPE_CHECKING:
    from k8semu.linux.ipv4.stack import Ipv4

MAX_QUEUES = 1024
_HELD = FragStep("held until the rest arrives")
Key = tuple[bytes, bytes, int, int, str]


class _Queue:
    """The fragments of one packet so far. Linux: struct ipq."""

    __slots__ = ("end", "key", "parts", "timer", "total")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.parts: dict[int, Skb] = {}          # offset in bytes -> the fragment
        self.total: int | None = None            # length of the whole payload, once the last part is known
        self.timer: Timer | None = None
        self.end = 0                             # how far the parts reach

    def runs(self) -> list[tuple[int, int]]:
        """The bytes that are there, as (first, end) of each unbroken run."""
        runs: list[tuple[int, int]] = []
        for offset in sorted(self.parts):
            end = offset + len(self.parts[offset].data) - IP - ip_hlen(self.parts[offset].data)
            if runs and runs[-1][1] == offset:
                runs[-1] = (runs[-1][0], end)
            else:
                runs.append((offset, end))
        return runs

    def complete(self) -> bool:
        return self.total is not None and self.runs() == [(0, self.total)]


class Fragments:
    """Fragmentation and reassembly of a namespace."""

    def __init__(self, ipv4: Ipv4) -> None:
        self.ipv4 = ipv4
        self.net = ipv4.net
        self._queues: dict[Key, _Queue] = {}

    # --- cutting ------------------------------------------------------------------------------

    def cut(self, skb: Skb, rt: Rtable, mtu: int) -> None:
        """Send a packet longer than `mtu` in pieces; with DF, refuse. Linux: ip_fragment(), ip_do_fragment()."""
        data = skb.data
        if skb.frag_max and len(data) - ETH_HLEN <= min(mtu, skb.frag_max):
            finish_output2(self.ipv4, skb, rt)
            return
        if data[IP_FRAG] & 0x40 and (not skb.frag_max or skb.frag_max > mtu):
            self.ipv4.icmp_send(skb, 3, 4, mtu)
            drop(skb, Drop.PKT_TOO_BIG, f"{len(data) - ETH_HLEN} bytes with DF, and the MTU is {mtu}")
            return
        if skb.frag_max:
            mtu = min(mtu, skb.frag_max)
        for piece in self.pieces(skb, mtu):
            finish_output2(self.ipv4, piece, rt)

    def pieces(self, skb: Skb, mtu: int) -> list[Skb]:
        """A packet longer than `mtu` as fragments; none, and the packet dropped, if not even 8 bytes fit."""
        data = skb.data
        hlen = ip_hlen(data)
        step = (mtu - hlen) & ~7
        if step < 8:
            drop(skb, Drop.PKT_TOO_BIG, f"an MTU of {mtu} holds no fragment")
            return []
        payload = bytes(data[IP + hlen :])
        (flags,) = read_u16(data, IP_FRAG)
        first_offset, more_after = (flags & IP_OFFSET) * 8, flags & IP_MF
        count = -(-len(payload) // step)
        skb.steps.append(FragStep(f"cut into {count} of at most {step + hlen} bytes"))
        pieces = [skb, *(skb.copy() for _ in range(count - 1))]
        for i, piece in enumerate(pieces):
            part = payload[i * step : (i + 1) * step]
            more = more_after if i == count - 1 else IP_MF
            _reframe(piece, hlen, part, (first_offset + i * step) // 8 | more | (flags & 0x4000))
        return pieces

    # --- putting together ---------------------------------------------------------------------

    def defrag(self, skb: Skb, user: str) -> Skb | None:
        """Take a fragment in; the whole packet if this was the missing piece. Linux: ip_defrag().

        `user` keeps apart who asks: local delivery and connection tracking.
        """
        data = skb.data
        key = (
            bytes(data[IP_SADDR : IP_SADDR + 4]), bytes(data[IP_DADDR : IP_DADDR + 4]),
            read_u16(data, IP_ID)[0], data[IP_PROTO], user,
        )  # fmt: skip
        queue = self._queues.get(key)
        if queue is None:
            if len(self._queues) >= MAX_QUEUES:
                drop(skb, Drop.NOMEM, "too many incomplete packets")
                return None
            queue = self._queues[key] = _Queue(key)
            queue.timer = self.net.clock.timer(
                self.net.sysctl.integer("net.ipv4.ipfrag_time") * NS_PER_S, self._expire, queue
            )
        if not self._insert(queue, skb):
            return None
        if not queue.complete():
            skb.steps.append(_HELD)
            return None
        return self._assemble(queue, skb)

    def _insert(self, queue: _Queue, skb: Skb) -> bool:
        """Linux: ip_frag_queue(), inet_frag_queue_insert(). What contradicts the rest ends all of it."""
        data = skb.data
        (flags,) = read_u16(data, IP_FRAG)
        offset = (flags & IP_OFFSET) * 8
        more = bool(flags & IP_MF)
        end = offset + len(data) - IP - ip_hlen(data)
        if more and end & 7:
            del data[len(data) - (end & 7) :]
            end &= ~7
        fault = ""
        if end <= offset or end > 65535:
            fault = f"fragment of {end - offset} bytes at {offset}"
        elif not more and (end < queue.end or queue.total not in (None, end)):
            fault = f"the last fragment ends at {end}, within what came before"
        elif queue.total is not None and end > queue.total:
            fault = f"fragment beyond the end at {queue.total}"
        if fault:
            self._discard(queue, Drop.IP_INHDR, fault)
            drop(skb, Drop.IP_INHDR, fault)
            return False
        for first, last in queue.runs():
            if first <= offset and end <= last:
                drop(skb, Drop.DUP_FRAG, f"bytes {offset} to {end} are there already")
                return False
            if offset < last and first < end:
                self._discard(queue, Drop.DUP_FRAG, "overlapping fragments")
                drop(skb, Drop.DUP_FRAG, "overlapping fragments")
                return False
        if not more:
            queue.total = end
        queue.end = max(queue.end, end)
        queue.parts[offset] = skb
        return True

    def _assemble(self, queue: _Queue, last: Skb) -> Skb | None:
        self._forget(queue)
        parts = [queue.parts[offset] for offset in sorted(queue.parts)]
        head = parts[0]
        hlen = ip_hlen(head.data)
        payload = b"".join(bytes(part.data[IP + ip_hlen(part.data) :]) for part in parts)
        last.frag_max = max(len(part.data) - ETH_HLEN for part in parts)
        largest = max(parts, key=lambda part: len(part.data))
        df = bool(largest.data[IP_FRAG] & 0x40)  # Linux: max_df_size
        if len(payload) + hlen > 65535:
            for part in parts:
                drop(part, Drop.IP_INHDR, "the whole would be too long")
            return None
        last.data[: IP + ip_hlen(last.data)] = head.data[: IP + hlen]
        last.data = last.data[: IP + hlen]
        _reframe(last, hlen, payload, 0x4000 if df else 0)
        last.steps.append(FragStep(f"put together from {len(parts)}"))
        for part in parts:
            if part is not last:
                consume(part, f"fragment: part of packet {last.id}")
        return last

    def _expire(self, queue: _Queue) -> None:
        """Linux: ip_expire()."""
        head = queue.parts.get(0)
        ours = queue.key[4] == "local" or self.ipv4.addr_type(queue.key[1]) == "local"
        if head is not None and ours:
            self.ipv4.icmp_send(head, 11, 1)
        self._discard(queue, Drop.FRAG_REASM_TIMEOUT, f"fragments of {ip_ntoa(queue.key[0])} missing")

    def _discard(self, queue: _Queue, reason: Drop, detail: str) -> None:
        self._forget(queue)
        for part in queue.parts.values():
            drop(part, reason, detail)

    def _forget(self, queue: _Queue) -> None:
        self._queues.pop(queue.key, None)
        if queue.timer is not None:
            queue.timer.cancel()


def _reframe(skb: Skb, hlen: int, payload: bytes, flags: int) -> None:
    """Give `skb` another payload and fragment field behind the IP header it has."""
    data = skb.data
    data[IP + hlen :] = payload
    write_u16(data, IP_LEN, hlen + len(payload))
    write_u16(data, IP_FRAG, flags)
    ip_send_check(data)
