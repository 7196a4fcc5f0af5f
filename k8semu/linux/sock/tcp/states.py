"""The states of a connection.

                       CLOSED ── listen ──▶ LISTEN ── SYN ──▶ SYN_RECV
                         │                                       │ ACK
                      connect                                    ▼
                         └──▶ SYN_SENT ────── SYN-ACK ────▶ ESTABLISHED
             we close first ◀────────────────────────────────────┴────────▶ peer closes first
    FIN_WAIT1 ─ ACK ▶ FIN_WAIT2 ─ FIN ▶ TIME_WAIT          CLOSE_WAIT ─ close ▶ LAST_ACK ─ ACK ▶ CLOSED
        └─ FIN ▶ CLOSING ─ ACK ▶ TIME_WAIT

Linux: include/net/tcp_states.h; the words are those that `ss` and `conntrack` share
RFC: 9293 section 3.3.2
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """A connection's state; its value is its name."""

    ESTABLISHED = "ESTABLISHED"
    SYN_SENT = "SYN_SENT"
    SYN_RECV = "SYN_RECV"
    FIN_WAIT1 = "FIN_WAIT1"
    FIN_WAIT2 = "FIN_WAIT2"
    TIME_WAIT = "TIME_WAIT"
    CLOSED = "CLOSED"
    CLOSE_WAIT = "CLOSE_WAIT"
    LAST_ACK = "LAST_ACK"
    LISTEN = "LISTEN"
    CLOSING = "CLOSING"


ESTABLISHED = State.ESTABLISHED
SYN_SENT = State.SYN_SENT
SYN_RECV = State.SYN_RECV
FIN_WAIT1 = State.FIN_WAIT1
FIN_WAIT2 = State.FIN_WAIT2
TIME_WAIT = State.TIME_WAIT
CLOSED = State.CLOSED
CLOSE_WAIT = State.CLOSE_WAIT
LAST_ACK = State.LAST_ACK
LISTEN = State.LISTEN
CLOSING = State.CLOSING

AFTER_CLOSE = {
    State.ESTABLISHED: State.FIN_WAIT1,
    State.SYN_RECV: State.FIN_WAIT1,
    State.CLOSE_WAIT: State.LAST_ACK,
}
"""Where closing our direction leads, with a FIN. Linux: net/ipv4/tcp.c new_state[]."""

CAN_SEND = frozenset((State.ESTABLISHED, State.CLOSE_WAIT))
CAN_TRANSMIT = frozenset((State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT1, State.CLOSING, State.LAST_ACK))
"""Queued data and FIN still go out."""
