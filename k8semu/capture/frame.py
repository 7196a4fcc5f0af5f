"""One frame of a capture, whatever file it came from."""

from __future__ import annotations

import msgspec

LINKTYPE_ETHERNET = 1
LINKTYPE_RAW = 101
"""Frames start with the IP header (tun devices). Linux: DLT_RAW as libpcap writes it."""

DIRECTION_NAMES = ("?", "in", "out")


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A frame as it was seen: `time` in ns, at `interface` (``host1/docker0``).

    `direction` is 1 inbound, 2 outbound, 0 unknown; `packet_id` is None where the file has none.
    """

    time: int
    interface: str
    direction: int
    data: bytes
    packet_id: int | None = None
    comments: tuple[str, ...] = ()
    linktype: int = LINKTYPE_ETHERNET


def seconds(time: int) -> str:
    """Nanoseconds as ``0.000123456``."""
    whole, ns = divmod(time, 1_000_000_000)
    return f"{whole}.{ns:09d}"
