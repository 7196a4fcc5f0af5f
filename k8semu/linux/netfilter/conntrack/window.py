"""Whether a TCP segment is within the window, as far as somebody in the middle can know it.

Of each side conntrack keeps what it has sent (`end`), what the other allows it to send (`maxend`), and the largest
window it has offered (`maxwin`). A segment is within the window if

    I    seq  <= maxend                         no more than the other side allows
    II   end  >= what was sent - its window     not long since acknowledged
    III  ack  <= what the other side has sent
    IV   ack  >= that - the largest window      not too old

I and III fail for what is INVALID, II and IV for what is old: that passes, and changes nothing.

Linux: net/netfilter/nf_conntrack_proto_tcp.c tcp_in_window(), tcp_options(), tcp_sack(), tcp_init_sender()
Source: Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter"
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8semu.linux.netfilter.conntrack.entry import CtEntry

FIN, SYN, RST, ACK = 1, 2, 4, 16
SACK_PERM, WINDOW_SCALE, LIBERAL, UNACKNOWLEDGED, MAXACK = 1, 2, 4, 8, 16
"""Flags of a `Side`. Linux: IP_CT_TCP_FLAG_SACK_PERM, …, IP_CT_TCP_FLAG_DATA_UNACKNOWLEDGED."""
ACCEPT, IGNORE, INVALID = range(3)
CHALLENGE, SIMULTANEOUS = 32, 64
"""Flags of a `Window`: an ACK may be a challenge (RFC 5961); both sides opened at once."""
_MASK, _HALF = 0xFFFFFFFF, 0x80000000
_LEAST_ACK_WINDOW = 66_000
_MOST_SCALE = 14
_HEADER = Struct("!IIBBH").unpack_from      # at sequence number: that, acknowledgement, offset, flags, window
_USUAL = Struct("!H20xIIBxH4xI").unpack_from    # at the length in IP: that, …, and four bytes of TCP's options
_TIMESTAMP = 0x0101080A
_ONLY_TIMESTAMP = _TIMESTAMP.to_bytes(4, "big")


def before(a: int, b: int) -> bool:
    """Is sequence number a before b, or just as far behind it? Linux: include/net/tcp.h before()."""
    return (a - b) & _MASK >= _HALF


class Segment:
    """What conntrack reads of a segment: `end` is the sequence number behind it, SYN and FIN counted."""

    __slots__ = ("ack", "end", "flags", "options", "seq", "win")

    def __init__(self, data: bytearray, th: int) -> None:
        """Of a frame whose TCP header begins at `th`."""
        self.seq: int
        self.ack: int
        self.flags: int
        self.win: int
        self.seq, self.ack, offset, self.flags, self.win = _HEADER(data, th + 4)
        behind = th + (offset >> 4 << 2)
        self.options = bytes(data[th + 20 : behind])
        length = 14 + (data[16] << 8 | data[17]) - behind + (self.flags >> 1 & 1) + (self.flags & 1)
        self.end = self.seq + length & _MASK

    def sacked(self) -> int:
        """The highest number that is acknowledged, be it selectively."""
        highest = self.ack
        if self.options[:4] == _ONLY_TIMESTAMP:
            return highest
        for kind, value in _options(self.options):
            if kind == 5 and value and len(value) % 8 == 0:
                for at in range(4, len(value), 8):
                    edge = int.from_bytes(value[at : at + 4], "big")
                    if before(highest, edge):
                        highest = edge
                break
        return highest


def _options(text: bytes) -> list[tuple[int, bytes]]:
    found = []
    at = 0
    while at < len(text) and text[at]:
        if text[at] == 1:
            at += 1
            continue
        size = text[at + 1] if at + 1 < len(text) else 0
        if size < 2 or at + size > len(text):
            break
        found.append((text[at], text[at + 2 : at + size]))
        at += size
    return found


class Side:
    """What one side has sent, and may send. Linux: struct ip_ct_tcp_state."""

    __slots__ = ("end", "flags", "maxack", "maxend", "maxwin", "scale")

    def __init__(self) -> None:
        self.end = self.maxend = self.maxwin = self.maxack = self.scale = self.flags = 0

    def begin(self, segment: Segment, maxend: int) -> None:
        """The first segment that is known of this side."""
        self.end, self.maxend, self.maxwin = segment.end, maxend & _MASK, segment.win or 1

    def read_options(self, segment: Segment) -> None:
        """Of a SYN."""
        self.scale = 0
        self.flags &= LIBERAL
        for kind, value in _options(segment.options):
            if kind == 4 and not value:
                self.flags |= SACK_PERM
            elif kind == 3 and len(value) == 1:
                self.scale = min(value[0], _MOST_SCALE)
                self.flags |= WINDOW_SCALE


class Window:
    """Both sides of a connection, by direction, and the last segment. Linux: struct ip_ct_tcp."""

    __slots__ = ("from_", "last_ack", "last_end", "last_flags", "last_scale", "last_seq", "last_win", "retrans", "seen")

    def __init__(self, segment: Segment, loose: bool) -> None:
        """`loose`: the connection is picked up in its midst. Linux: tcp_new()."""
        self.seen = Side(), Side()
        self.from_ = self.seen, self.seen[::-1]      # by direction: the sender's side, and the other
        self.last_seq = self.last_ack = self.last_end = self.last_win = self.last_scale = self.last_flags = 0
        self.retrans = 0         # how often the last ACK was sent again
        mine, theirs = self.seen
        mine.begin(segment, segment.end + (segment.win or 1) if loose else segment.end)
        if loose:
            mine.flags = theirs.flags = SACK_PERM | LIBERAL
        else:
            mine.read_options(segment)

    def judge(self, direction: int, segment: Segment, state: int, is_ack: bool, again: bool, liberal: bool) -> int:
        """ACCEPT, IGNORE or INVALID. `state` before it: 1 and 2 are SYN_SENT and SYN_RECV. Linux: tcp_in_window()."""
        mine, theirs = self.seen[direction], self.seen[direction ^ 1]
        flags, seq, ack, end, win = segment.flags, segment.seq, segment.ack, segment.end, segment.win
        sack = segment.sacked() if theirs.flags & SACK_PERM else ack
        if not mine.maxwin:
            if flags & SYN:
                self._begin(mine, theirs, segment, direction)
                if not flags & ACK:
                    return ACCEPT        # both opened at once
            else:
                mine.end, swin = end, win << mine.scale
                mine.maxwin = swin or 1
                mine.maxend = end + mine.maxwin & _MASK
                if not theirs.maxwin:
                    theirs.end = theirs.maxend = sack
                elif sack == theirs.end + 1 & _MASK:
                    theirs.end = sack    # the answer to a keepalive
        elif flags & SYN and before(mine.end, end) and state in (1, 2):
            self._begin(mine, theirs, segment, direction)
            if direction and not flags & ACK:
                return ACCEPT
        if not flags & ACK or (flags & RST and not ack):
            ack = sack = theirs.end
        if flags & RST and not seq and state == 1:
            seq = end = mine.end         # the answer to a SYN
        verdict = self._compare(mine, theirs, seq, sack, end)
        if verdict != ACCEPT:
            return ACCEPT if liberal or mine.flags & LIBERAL else verdict
        if not flags & SYN:
            win <<= mine.scale
        self._take(mine, theirs, ack, sack, end, win, bool(flags & ACK))
        if is_ack:
            self.note_ack(seq, ack, end, segment.win, again)
        return ACCEPT

    def _begin(self, mine: Side, theirs: Side, segment: Segment, direction: int) -> None:
        """Linux: tcp_init_sender()."""
        mine.begin(segment, segment.end)
        mine.read_options(segment)
        if direction and not mine.flags & theirs.flags & WINDOW_SCALE:
            mine.scale = theirs.scale = 0

    def _compare(self, mine: Side, theirs: Side, seq: int, sack: int, end: int) -> int:
        oldest = theirs.end - max(mine.maxwin, _LEAST_ACK_WINDOW) - 1 & _MASK
        received = bool(theirs.maxwin) and before(mine.end - theirs.maxwin - 1, end)
        if not before(seq, mine.maxend + 1):
            overshot = end - mine.maxend + 1 & _MASK
            if received and before(oldest, sack) and overshot <= theirs.maxwin and before(sack, theirs.end + 1):
                mine.end = end           # if it is let through, it may be acknowledged
                mine.flags |= UNACKNOWLEDGED
                return IGNORE
            return INVALID
        if not before(sack, theirs.end + 1):
            return INVALID
        if theirs.maxwin and not received:
            return IGNORE
        return ACCEPT if before(oldest, sack) else IGNORE

    def _take(self, mine: Side, theirs: Side, ack: int, sack: int, end: int, win: int, has_ack: bool = True) -> None:
        offered = win + (sack - ack & _MASK)
        if mine.maxwin < offered:
            mine.maxwin = offered
        if mine.end - end & _MASK >= _HALF:
            mine.end = end
            mine.flags |= UNACKNOWLEDGED
        if has_ack:
            if not mine.flags & MAXACK:
                mine.maxack = ack
                mine.flags |= MAXACK
            elif mine.maxack - ack & _MASK >= _HALF:
                mine.maxack = ack
        if theirs.maxwin and mine.maxend - end & _MASK >= _HALF:
            theirs.maxwin += end - mine.maxend & _MASK
        allowed = sack + win & _MASK
        if theirs.maxend - 1 - allowed & _MASK >= _HALF:
            theirs.maxend = allowed if win else allowed + 1 & _MASK
        if ack == theirs.end:
            theirs.flags &= ~UNACKNOWLEDGED

    def note_ack(self, seq: int, ack: int, end: int, win: int, again: bool) -> None:
        """`again`: the last segment came from this side, too. It may be the same one."""
        if again and end == self.last_end and ack == self.last_ack and seq == self.last_seq and win == self.last_win:
            self.retrans += 1
            return
        self.last_seq, self.last_ack, self.last_end, self.last_win = seq, ack, end, win
        self.retrans = 0

    def let_by(self, segment: Segment, index_syn: bool, last_ack: bool) -> None:
        """A segment that the two ends may take otherwise than we do: it is remembered, and changes nothing.

        `index_syn`: it is a SYN of the original direction; `last_ack`: in state LAST_ACK.
        """
        self.last_seq, self.last_end, self.last_win = segment.seq, segment.end, segment.win
        if index_syn:
            said = Side()
            said.read_options(segment)
            self.last_scale, self.last_flags = said.scale, said.flags | (CHALLENGE if last_ack else 0)

    def in_step(self, direction: int) -> None:
        """The SYN of `direction` that was let by was a real one: both sides begin with it."""
        mine, theirs = self.seen[direction], self.seen[direction ^ 1]
        mine.end = mine.maxend = self.last_end
        mine.maxwin, mine.scale = self.last_win or 1, self.last_scale
        self.last_flags &= ~CHALLENGE
        mine.flags = self.last_flags
        theirs.end = theirs.maxend = theirs.maxwin = theirs.maxack = theirs.scale = theirs.flags = 0


def within(data: bytearray, th: int, ct: CtEntry, direction: int) -> bool:
    """`Window.judge`, quickly, for a frame whose segment has ACK alone, timestamps alone, and is well within.

    Then it is the last one of `ct` (whose `last_index` is the caller's to say). False, and nothing has changed, where
    it is not, or where numbers wrap: for the sake of speed they are compared as they are. All is written out here,
    since this is done to most frames; a test holds it to `judge`.
    """
    if len(data) < th + 32:
        return False
    length, seq, ack, offset, win, options = _USUAL(data, th - 18)
    window = ct.window
    if options != _TIMESTAMP or offset & 0xF0 != 0x80 or window is None:
        return False
    end = seq + length - 52     # the IP header is 20 bytes, TCP's 32
    mine, theirs = window.from_[direction]
    sent = mine.end
    if (
        seq == window.last_end and ack == window.last_ack and win == window.last_win and ct.last_dir == direction
        and seq == sent and sent < end <= mine.maxend and mine.flags & MAXACK
    ):  # fmt: skip
        mine.end = window.last_end = end     # it goes on where the last one ended, and says nothing else
        mine.flags |= UNACKNOWLEDGED
        window.last_seq = seq
        window.retrans = 0
        return True
    maxwin, room, acked = mine.maxwin, theirs.maxwin, theirs.end
    if (
        not maxwin or not room or end > mine.maxend or ack > acked or end < sent - room
        or ack < acked - (maxwin if maxwin > _LEAST_ACK_WINDOW else _LEAST_ACK_WINDOW)
    ):  # fmt: skip
        return False
    offered = win << mine.scale
    if maxwin < offered:
        mine.maxwin = offered
    if end > sent:
        mine.end = end
        mine.flags |= UNACKNOWLEDGED
    if not mine.flags & MAXACK:
        mine.maxack = ack
        mine.flags |= MAXACK
    elif mine.maxack - ack & _MASK >= _HALF:
        mine.maxack = ack
    allowed = ack + offered & _MASK
    if theirs.maxend - 1 - allowed & _MASK >= _HALF:
        theirs.maxend = allowed if win else allowed + 1 & _MASK
    if ack == acked and theirs.flags & UNACKNOWLEDGED:
        theirs.flags ^= UNACKNOWLEDGED
    if end == window.last_end and ack == window.last_ack and ct.last_dir == direction:
        window.note_ack(seq, ack, end, win, again=True)
    else:
        window.last_seq, window.last_ack, window.last_end, window.last_win = seq, ack, end, win
        window.retrans = 0
    ct.last_dir = direction
    return True
