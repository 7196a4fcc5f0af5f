"""TCP options: read from a header, and laid out in the order that Linux uses.

Linux: net/ipv4/tcp_input.c tcp_parse_options(), net/ipv4/tcp_output.c tcp_options_write()
RFC: 9293 (MSS), 7323 (timestamps, window scale), 2018 (SACK)
"""

from __future__ import annotations

from struct import Struct

EOL, NOP, MSS, WSCALE, SACK_PERM, SACK, TIMESTAMP = 0, 1, 2, 3, 4, 5, 8
MAX_WSCALE = 14

TS_ALIGNED = 0x0101080A     # nop, nop, timestamp, length 10: the only option of most segments
TS_ALIGNED_LEN = 12
read_ts = Struct("!III").unpack_from
_TWO = Struct("!II")
_ONE = Struct("!H")


class Options:
    """What a segment's options say; None or False where an option is absent."""

    __slots__ = ("mss", "sack", "sack_ok", "ts", "wscale")

    def __init__(self) -> None:
        self.mss: int | None = None
        self.wscale: int | None = None
        self.sack_ok = False
        self.ts: tuple[int, int] | None = None      # TSval, TSecr
        self.sack: list[tuple[int, int]] = []       # as on the wire


def parse_options(data: bytearray, at: int, end: int) -> Options:
    """Read the options in `data[at:end]`; what is malformed ends the reading, as in Linux."""
    found = Options()
    while at < end:
        kind = data[at]
        if kind == EOL:
            break
        if kind == NOP:
            at += 1
            continue
        if at + 1 >= end:
            break
        length = data[at + 1]
        if length < 2 or at + length > end:
            break
        body = at + 2
        if kind == TIMESTAMP and length == 10:
            found.ts = _TWO.unpack_from(data, body)
        elif kind == MSS and length == 4:
            found.mss = _ONE.unpack_from(data, body)[0]
        elif kind == WSCALE and length == 3:
            found.wscale = min(data[body], MAX_WSCALE)
        elif kind == SACK_PERM and length == 2:
            found.sack_ok = True
        elif kind == SACK and length >= 10 and (length - 2) % 8 == 0:
            found.sack = [_TWO.unpack_from(data, body + i) for i in range(0, length - 2, 8)]
        at += length
    return found


def syn_options(
    mss: int, sack: bool, ts: tuple[int, int] | None, wscale: int | None
) -> tuple[tuple[str, object], ...]:
    """The options of a SYN or SYN-ACK, named as Scapy names them, in Linux's order."""
    options: list[tuple[str, object]] = [("MSS", mss)]
    if ts is not None:
        options += [("SAckOK", b"")] if sack else [("NOP", None), ("NOP", None)]
        options.append(("Timestamp", ts))
    elif sack:
        options += [("NOP", None), ("NOP", None), ("SAckOK", b"")]
    if wscale is not None:
        options += [("NOP", None), ("WScale", wscale)]
    return tuple(options)


def sack_option(blocks: list[tuple[int, int]]) -> bytes:
    """NOP NOP SACK for `blocks` (left and right edges as on the wire)."""
    words = [edge for block in blocks for edge in block]
    return bytes((NOP, NOP, SACK, 2 + 8 * len(blocks))) + Struct(f"!{len(words)}I").pack(*words)
