"""One connection: its two tuples, its status, and what NAT does to its packets.

Linux: include/net/netfilter/nf_conntrack.h struct nf_conn, nf_conntrack_common.h enum ip_conntrack_status
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.linux.netfilter.conntrack.tuples import PROTO_NAME, tuple_text
from k8semu.sim.clock import NS_PER_S

if TYPE_CHECKING:
    from k8semu.linux.netfilter.conntrack.window import Window
    from k8semu.linux.netfilter.manip import Manip

EXPECTED = 1 << 0
SEEN_REPLY = 1 << 1
ASSURED = 1 << 2
CONFIRMED = 1 << 3
SRC_NAT = 1 << 4
DST_NAT = 1 << 5
SRC_NAT_DONE = 1 << 7
DST_NAT_DONE = 1 << 8
DYING = 1 << 9

NO_MANIPS: tuple[Manip | None, ...] = (None, None, None, None)

ORIGINAL, REPLY = 0, 1


class CtEntry:
    """A connection. `expires` in ns; `manips[direction << 1 | maniptype]` is applied to its packets."""

    __slots__ = (
        "close_init", "expires", "last_dir", "last_index", "manips", "mark", "masq_index", "orig", "origins",
        "proto", "reply", "state", "status", "stream_after", "window",
    )  # fmt: skip

    def __init__(self, orig: bytes, reply: bytes) -> None:
        self.orig, self.reply = orig, reply
        self.proto = orig[12]
        self.status = 0
        self.expires = 0
        self.mark = 0
        self.manips = NO_MANIPS
        self.masq_index = 0
        self.origins = ("", "")  # who asked for the translation of the source, of the destination
        self.state = 0           # TCP
        self.last_index = self.last_dir = 0
        self.close_init = 0      # bit per direction: has sent FIN first
        self.window: Window | None = None
        self.stream_after = 0    # UDP: traffic both ways after this time makes a stream

    @property
    def src_nat(self) -> bool:
        return bool(self.status & SRC_NAT)

    @property
    def dst_nat(self) -> bool:
        return bool(self.status & DST_NAT)

    @property
    def key_text(self) -> str:
        """Protocol number and original tuple."""
        return f"{self.proto} {tuple_text(self.orig)}"

    def seconds_left(self, now: int) -> int:
        """Until it is forgotten."""
        return max(0, self.expires - now) // NS_PER_S

    def text(self, now: int | None) -> str:
        """The line of `conntrack -L`; without `now`, without the seconds left."""
        from k8semu.linux.netfilter.conntrack.tcp import STATE_NAMES

        name = PROTO_NAME.get(self.proto, "unknown")
        words = [f"{name:<8} {self.proto}"]
        if now is not None:
            words.append(str(self.seconds_left(now)))
        if self.proto == 6:
            words.append(STATE_NAMES[self.state])
        words.append(tuple_text(self.orig))
        if not self.status & SEEN_REPLY:
            words.append("[UNREPLIED]")
        words.append(tuple_text(self.reply))
        if self.status & ASSURED:
            words.append("[ASSURED]")
        words.append(f"mark={self.mark} use=1")
        return " ".join(words)
