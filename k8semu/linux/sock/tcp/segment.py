"""Segments: as they come in, and as they wait for their acknowledgement.

RFC: 9293 section 3.1
"""

from __future__ import annotations

from struct import Struct

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128

MASK = 0xFFFFFFFF
TCP_HEADER = Struct("!HHIIBBHHH")  # sport, dport, seq, ack, data offset, flags, window, checksum, urgent
read_header = TCP_HEADER.unpack_from


def unwrap(near: int, wire: int) -> int:
    """The sequence number that is `wire` modulo 2^32 and closest to `near`."""
    return near + ((wire - near + 0x80000000 & MASK) - 0x80000000)


def flag_names(flags: int) -> str:
    """``SYN,ACK`` and the like, for traces."""
    names = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
    return ",".join(name for bit, name in enumerate(names) if flags >> bit & 1)


class Header:
    """A received segment's header, read once. `seq` and `ack` are still as on the wire."""

    __slots__ = ("ack", "data", "dport", "end", "flags", "key", "options", "seq", "sport", "th", "window")

    def __init__(
        self, key: bytes, sport: int, dport: int, seq: int, ack: int, flags: int, window: int,
        th: int, options: int, data: int, end: int,
    ) -> None:  # fmt: skip
        self.key = key          # saddr, daddr, sport, dport: the sender's view, 12 bytes
        self.sport, self.dport, self.seq, self.ack = sport, dport, seq, ack
        self.flags, self.window = flags, window
        self.th = th            # offset of the TCP header in the frame
        self.options = options  # … of its options
        self.data = data        # … of the payload
        self.end = end          # … after the payload

    @property
    def length(self) -> int:
        """Sequence numbers that the segment takes: payload, SYN, FIN."""
        return self.end - self.data + (self.flags & SYN and 1) + (self.flags & FIN)


class Sent:
    """A segment in flight, at most one MSS long. Linux: struct sk_buff on the tcp_rtx_queue, tcp_skb_cb.

    `chunk`: where that began which was sent in one go, and would be cut anew if the MSS shrinks.
    """

    __slots__ = ("chunk", "end", "flags", "lost", "retrans", "sacked", "sent_at", "seq", "tries")

    def __init__(self, seq: int, end: int, flags: int, sent_at: int, chunk: int = -1) -> None:
        self.seq, self.end, self.flags, self.sent_at, self.chunk = seq, end, flags, sent_at, chunk
        self.sacked = False
        self.lost = False
        self.retrans = False  # its retransmission is in flight
        self.tries = 0        # how often it was sent again


class Unsent:
    """What is queued to be sent in one go, up to half a window long. Linux: struct sk_buff on sk_write_queue."""

    __slots__ = ("end", "flags", "seq")

    def __init__(self, seq: int, end: int, flags: int) -> None:
        self.seq, self.end, self.flags = seq, end, flags
