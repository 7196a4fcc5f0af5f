"""TCP as conntrack follows it: one table, direction × flags × state; and what is outside the window.

Linux: net/netfilter/nf_conntrack_proto_tcp.c tcp_conntracks, nf_conntrack_tcp_packet()
Differs: checksums are not verified here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from k8semu.linux.netfilter.conntrack import window as w
from k8semu.linux.netfilter.conntrack.entry import ASSURED, ORIGINAL, REPLY, SEEN_REPLY, CtEntry
from k8semu.linux.netfilter.conntrack.window import Segment, Window
from k8semu.sim.clock import NS_PER_S

NONE, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE, SYN_SENT2 = range(10)
IGNORE, INVALID, OUTSIDE = 10, 11, 12
"""What is let by; what no connection is answered so; what is outside the window."""

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
RETRANS, UNACKNOWLEDGED = _PREFIX + "max_retrans", _PREFIX + "unacknowledged"
_MOST_RETRANS = "net.netfilter.nf_conntrack_tcp_max_retrans"
_LIBERAL, _BELIEVE = "net.netfilter.nf_conntrack_tcp_be_liberal", "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst"
_OVER = frozenset({FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE})
_SOON_OVER = 120 * NS_PER_S

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


def follow(ct: CtEntry, direction: int, segment: Segment, now: int, values: Mapping[str, int | str]) -> int:
    """The state after a segment; IGNORE: it passes, and nothing changes; INVALID, OUTSIDE: it is no part of this.

    Raises `Reopen` where a new connection takes the tuple over.
    """
    index = INDEX[segment.flags]
    old = ct.state
    window = ct.window
    assert window is not None
    state = TRANSITIONS[direction][index][old]
    if state == INVALID:
        return INVALID
    if state == SYN_SENT and old >= TIME_WAIT:
        if ct.close_init or (ct.last_dir == direction and ct.last_index == RST_SET):
            raise Reopen
        state = IGNORE
    known = True      # does the window say something of it?
    if state == IGNORE:
        if not _answers_what_was_let_by(ct, window, direction, index, segment):
            _let_by(ct, window, direction, index, segment)
            return IGNORE
        window.in_step(ct.last_dir)
        ct.close_init = 0
        state = SYN_RECV
    elif state == TIME_WAIT and old == LAST_ACK and index == ACK_SET and _may_be_challenge(ct, window, direction):
        window.last_flags &= ~w.CHALLENGE
        return IGNORE
    elif state == SYN_SENT2:
        window.last_flags |= w.SIMULTANEOUS
    elif state == SYN_RECV and direction and index == ACK_SET and window.last_flags & w.SIMULTANEOUS:
        state = ESTABLISHED
    elif state == CLOSE and index == RST_SET:
        state, known = _reset(ct, window, direction, segment, bool(values[_BELIEVE]))
        if state == OUTSIDE:
            return OUTSIDE
    if known:
        again = ct.last_dir == direction
        verdict = window.judge(direction, segment, old, index == ACK_SET, again, bool(values[_LIBERAL]))
        if verdict == w.INVALID:
            _outside(ct, direction, index, now, values)
            return OUTSIDE
        if verdict == w.IGNORE:
            return IGNORE
    ct.last_index, ct.last_dir = index, direction
    if state == FIN_WAIT and old != FIN_WAIT:
        ct.close_init |= 1 << direction
    if state == ESTABLISHED and old in (SYN_RECV, ESTABLISHED) and ct.status & SEEN_REPLY:
        ct.status |= ASSURED
    return state


def _answers_what_was_let_by(ct: CtEntry, window: Window, direction: int, index: int, segment: Segment) -> bool:
    """A SYN that was ignored was a real one: back in step with the two ends."""
    syn = ct.last_index == SYN_SET and ct.last_dir != direction
    return index == SYNACK_SET and syn and segment.ack == window.last_end


def _let_by(ct: CtEntry, window: Window, direction: int, index: int, segment: Segment) -> None:
    ct.last_index, ct.last_dir = index, direction
    window.let_by(segment, index == SYN_SET and direction == ORIGINAL, ct.state == LAST_ACK)
    if ct.state == SYN_SENT and index == ACK_SET and direction == REPLY:
        window.last_ack = segment.ack


def _may_be_challenge(ct: CtEntry, window: Window, direction: int) -> bool:
    return ct.last_dir != direction and ct.last_index == SYN_SET and bool(window.last_flags & w.CHALLENGE)


def _reset(ct: CtEntry, window: Window, direction: int, segment: Segment, believed: bool) -> tuple[int, bool]:
    """The state after a RST, or OUTSIDE, and whether the window has to be asked."""
    if ct.state in _OVER:
        return CLOSE, False
    state = CLOSE
    theirs = window.seen[direction ^ 1]
    if theirs.flags & w.MAXACK and ct.last_index != SYN_SET:
        established = ct.state == ESTABLISHED and ct.status & ASSURED
        if not segment.seq and not established:
            return CLOSE, True
        if w.before(segment.seq, theirs.maxack) and not believed:
            return OUTSIDE, False
        if not established or segment.seq == theirs.maxack:
            return CLOSE, True
        if ct.last_index == ACK_SET and ct.last_dir == direction and segment.seq == window.last_end:
            return CLOSE, True
        state = ct.state     # not quite the number that is due: there may come a challenge (RFC 5961)
    replied, assured = ct.status & SEEN_REPLY, ct.status & ASSURED
    a_syn = replied and ct.last_index == SYN_SET and ct.last_dir != direction
    let_by = a_syn or (not assured and ct.last_index == ACK_SET)
    if let_by and segment.ack == window.last_end:
        return state, False
    challenged = ct.state == SYN_SENT and ct.last_index == ACK_SET and ct.last_dir == REPLY
    return state, not (challenged and segment.seq == window.last_ack)


def _outside(ct: CtEntry, direction: int, index: int, now: int, values: Mapping[str, int | str]) -> None:
    """The ends may be closing while we are out of step: do not keep it for days. Linux: nf_tcp_handle_invalid()."""
    if not ct.status & ASSURED or index not in (RST_SET, FIN_SET):
        return
    if ct.last_dir != direction and ct.last_index in (RST_SET, FIN_SET):
        if ct.expires - now >= _SOON_OVER:
            ct.expires = now + int(values[UNACKNOWLEDGED]) * NS_PER_S
    else:
        ct.last_index, ct.last_dir = index, direction


def renewal(ct: CtEntry, values: Mapping[str, int | str]) -> Callable[[], int]:
    """`lifetime` of an ESTABLISHED connection, again and again, for as long as no setting changes."""
    window = ct.window
    assert window is not None
    most = int(values[_MOST_RETRANS])
    long = int(values[TIMEOUTS[ESTABLISHED]])
    by_limit = {name: min(long, int(values[name])) * NS_PER_S for name in (RETRANS, UNACKNOWLEDGED)}
    by_limit[""] = long * NS_PER_S
    return lambda: by_limit[_limit(window, most)]


def lifetime(ct: CtEntry, state: int, values: Mapping[str, int | str], reset: bool = False) -> int:
    """How long (ns) a connection is remembered after a segment that left it in `state`."""
    window = ct.window
    assert window is not None
    timeout = int(values[TIMEOUTS[state]])
    limit = _limit(window, int(values[_MOST_RETRANS]))
    if reset and window.retrans < int(values[_MOST_RETRANS]):
        timeout = int(values[TIMEOUTS[CLOSE]])
    elif limit:
        timeout = min(timeout, int(values[limit]))
    return timeout * NS_PER_S


def _limit(window: Window, most: int) -> str:
    """The setting that bounds how long it is remembered: sent again and again, not acknowledged, or no room; or ''."""
    if window.retrans >= most:
        return RETRANS
    one, other = window.seen
    if (one.flags | other.flags) & w.UNACKNOWLEDGED:
        return UNACKNOWLEDGED
    return "" if window.last_win else RETRANS
