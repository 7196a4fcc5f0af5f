"""TCP conversations by chance, past a router that follows them: right, wrong and at the edges of the window.

    c (10.0.1.2) ── r, which drops what is INVALID ── s (10.0.2.2)
"""

from __future__ import annotations

import random
import struct

from labs_rules import QUIET, between, rules
from netlab import Lab, framed, mac_bytes

from k8semu.wire.addr import ip_aton
from k8semu.wire.build import ip_build
from k8semu.wire.checksum import transport_checksum

C, S = ip_aton("10.0.1.2"), ip_aton("10.0.2.2")
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}
FOLLOW = "*filter\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"
HANDSHAKE, USUAL = ("S", "SA", "A"), ("A", "A", "A", "PA", "PA", "FA", "R", "RA", "S", "SA", "A")
EDGES = (
    0, 0, 0, 0, 1, -1, 2, 1000, -1000, 65_535, 65_536, -65_535, -65_537, 66_001, -66_001, 200_000, -200_000, 1 << 31,
)  # fmt: skip


class Side:
    """One end, as it would be: the next number that it sends, and what it has acknowledged."""

    def __init__(self, chance: random.Random) -> None:
        self.next = chance.choice([0, 1, 1000, 0xFFFFFFF0, chance.getrandbits(32)])
        self.scale = chance.choice([None, 0, 2, 7])


def segment(chance: random.Random, mine: Side, theirs: Side, ports: tuple[int, int], ends: tuple[bytes, bytes],
            flags: str, ident: int, wild: bool) -> bytes:  # fmt: skip
    """A segment by `mine`, which is as it should be unless `wild`."""
    edge = chance.choice(EDGES) if wild else 0
    seq, ack = mine.next + edge, theirs.next + (chance.choice(EDGES) if wild else 0) if "A" in flags else 0
    if wild and "R" in flags and chance.random() < 0.3:
        seq = 0
    payload = bytes(chance.choice([0, 1, 100, 1400])) if "P" in flags or (wild and chance.random() < 0.3) else b""
    window = chance.choice([0, 1, 100, 29_200, 65_535]) if wild else 65_535
    options = b"\1\1\x08\x0a" + bytes(8) if chance.random() < 0.6 else b""
    if "S" in flags:
        options = b"\x02\x04\x05\xb4" + (b"" if mine.scale is None else bytes([1, 3, 3, mine.scale]))
        options += chance.choice([b"", b"\4\2\1\1"])
    elif wild and chance.random() < 0.2:
        left = theirs.next + chance.choice(EDGES)
        options = b"\1\1\5\x0a" + struct.pack("!II", left & 0xFFFFFFFF, left + 1000 & 0xFFFFFFFF)
    head = struct.pack("!HHIIBBH", *ports, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, (20 + len(options)) // 4 << 4,
                       sum(FLAGS[flag] for flag in flags), window)  # fmt: skip
    check = transport_checksum(*ends, 6, head + b"\0\0\0\0" + options + payload)
    text = head + check.to_bytes(2, "big") + b"\0\0" + options + payload
    if not edge and not (wild and "R" in flags):
        mine.next = mine.next + len(payload) + ("S" in flags) + ("F" in flags) & 0xFFFFFFFF
    return bytes(ip_build(*ends, 6, len(text), df=True, ident=ident) + text)


def talks(seed: int, connections: int, segments: int) -> Lab:
    """The lab; each segment has an IP id of its own."""
    chance = random.Random(seed)
    lab = between()
    rules(lab, "r", FOLLOW)
    for netns in ("c", "s"):
        rules(lab, netns, QUIET)
        lab.tap(netns, "eth0")
    ident = 0
    for port in range(2000, 2000 + connections):
        sides = Side(chance), Side(chance)
        begins = chance.random() < 0.8
        for number in range(segments):
            proper = begins and number < 3
            by = number % 2 if proper else chance.randrange(2)
            flags = HANDSHAKE[number] if proper else chance.choice(USUAL)
            ident += 1
            ports, ends = ((port, 80), (C, S)) if by == 0 else ((80, port), (S, C))
            packet = segment(chance, sides[by], sides[1 - by], ports, ends, flags, ident,
                             not proper and chance.random() < 0.5)  # fmt: skip
            far, dev = (("c", "e1"), ("s", "e2"))[by]
            lab.inject(far, "eth0", framed(packet, mac_bytes(far, "eth0"), mac_bytes("r", dev)))
        lab.wait(0.01)
    lab.wait(0.3)
    return lab


def passed(taps: dict[str, list[tuple[str, bytes]]]) -> list[int]:
    """The ids of the segments that came through."""
    return sorted(frame[18] << 8 | frame[19] for frames in taps.values() for way, frame in frames
                  if way == "in" and frame[12:14] == b"\x08\x00" and frame[23] == 6)  # fmt: skip
