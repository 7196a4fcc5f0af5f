"""TCP as conntrack follows it: one table, direction × flags × state.

Linux: net/netfilter/nf_conntrack_proto_tcp.c tcp_conntracks, nf_conntrack_tcp_packet()
Differs: sequence numbers and windows are not followed, so no packet is INVALID for being outside
the window, and a RST is believed whatever its sequence number; checksums are not verified here.
"""

from __future__ import annotations

from k8semu.linux.netfilter.conntrack.entry import ASSURED, ORIGINAL, SEEN_REPLY, CtEntry

NONE, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE, SYN_SENT2 = range(10)
IGNORE, INVALID = 10, 11

STATE_NAMES = (
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
    "SYN_SENT2",
)  # fmt: skip

_PREFIX = "net.netfilter.nf_conntrack_tcp_timeout_"
TIMEOUTS = tuple(
    _PREFIX + name
    for name in ("syn_sent", "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack",
                 "time_wait", "close", "syn_sent")
)  # fmt: skip
UNACKNOWLEDGED = 300  # s: nf_conntrack_tcp_timeout_unacknowledged

SYN_SET, SYNACK_SET, FIN_SET, ACK_SET, RST_SET, NONE_SET = range(6)

_LETTERS = {
    "NO": NONE, "SS": SYN_SENT, "SR": SYN_RECV, "ES": ESTABLISHED, "FW": FIN_WAIT, "CW": CLOSE_WAIT,
    "LA": LAST_ACK, "TW": TIME_WAIT, "CL": CLOSE, "S2": SYN_SENT2, "IG": IGNORE, "IV": INVALID,
}  # fmt: skip


def _row(text: str) -> tuple[int, ...]:
    return tuple(_LETTERS[word] for word in text.split())


# columns: the state before      NO SS SR ES FW CW LA TW CL S2
TRANSITIONS = (
    (  # original direction
        _row("SS SS IG IG IG IG IG SS SS S2"),  # SYN
        _row("IV IV SR IV IV IV IV IV IV SR"),  # SYN+ACK
        _row("IV IV FW FW LA LA LA TW CL IV"),  # FIN
        _row("ES IV ES ES CW CW TW TW CL IV"),  # ACK
        _row("IV CL CL CL CL CL CL CL CL CL"),  # RST
        _row("IV IV IV IV IV IV IV IV IV IV"),
    ),
    (  # reply direction
        _row("IV S2 IV IV IV IV IV SS IV S2"),  # SYN
        _row("IV SR IG IG IG IG IG IG IG SR"),  # SYN+ACK
        _row("IV IV FW FW LA LA LA TW CL IV"),  # FIN
        _row("IV IG SR ES CW CW TW TW CL IG"),  # ACK
        _row("IV CL CL CL CL CL CL CL CL CL"),  # RST
        _row("IV IV IV IV IV IV IV IV IV IV"),
    ),
)


def _index(flags: int) -> int:
    if flags & 0x04:
        return RST_SET
    if flags & 0x02:
        return SYNACK_SET if flags & 0x10 else SYN_SET
    if flags & 0x01:
        return FIN_SET
    return ACK_SET if flags & 0x10 else NONE_SET


INDEX = tuple(_index(flags) for flags in range(256))

_VALID = frozenset(
    {0x02, 0x02 | 0x20, 0x12, 0x04, 0x14, 0x11, 0x11 | 0x20, 0x10, 0x10 | 0x20}
)  # SYN, SYN URG, SYN ACK, RST, RST ACK, FIN ACK (URG), ACK (URG)
VALID_FLAGS = tuple((flags & ~0xC8 & 0xFF) in _VALID for flags in range(256))
"""By flags without ECE, CWR, PSH. Linux: tcp_valid_flags."""


def new_state(flags: int, loose: bool) -> int | None:
    """The state of a connection that begins with such a segment; None if none may. Linux: tcp_new()."""
    state = TRANSITIONS[ORIGINAL][INDEX[flags]][NONE]
    if state >= IGNORE or (state != SYN_SENT and not loose):
        return None
    return state


class Reopen(Exception):
    """A SYN reuses the tuple of a connection that is over: it becomes a new one."""


def follow(ct: CtEntry, direction: int, flags: int) -> int | None:
    """The state after a segment: one of the states, IGNORE (nothing changes), or None (INVALID).

    Raises `Reopen` where a new connection takes the tuple over.
    """
    index = INDEX[flags]
    old = ct.state
    state = TRANSITIONS[direction][index][old]
    if state == INVALID:
        return None
    if state == SYN_SENT and old >= TIME_WAIT:
        if ct.close_init or (ct.last_dir == direction and ct.last_index == RST_SET):
            raise Reopen
        state = IGNORE
    elif state == IGNORE and index == SYNACK_SET and ct.last_index == SYN_SET and ct.last_dir != direction:
        state = SYN_RECV  # the SYN that was ignored was a real one: back in step with the two ends
    ct.last_index, ct.last_dir = index, direction
    if state == FIN_WAIT and old != FIN_WAIT:
        ct.close_init |= 1 << direction
    if state == ESTABLISHED and old in (SYN_RECV, ESTABLISHED) and ct.status & SEEN_REPLY:
        ct.status |= ASSURED
    return state
