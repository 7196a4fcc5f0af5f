"""Compare what Linux and the emulator did with the same lab (`netlab.py`), frame by frame as text.

What the kernel draws at random is left out: IP identifications other than those the lab gave, and
the source port of VXLAN. Checksums are said to be right or wrong.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from netlab import Frames, Lab, Seen

from k8semu.wire.addr import ip_ntoa, mac_ntoa
from k8semu.wire.checksum import checksum, transport_checksum

REAL = Path(__file__).parent / "kernel" / "netlab_real.py"
OURS = (77, 78, 79, 80, 81)
"""Identifications that labs give."""


def start_real(lab: Lab) -> subprocess.Popen[str]:
    """Begin to play a lab in the kernel."""
    steps = []
    for kind, *args in lab.steps:
        if kind == "tell":
            args = [args[0], str(args[1])]
        steps.append([kind, *(a.hex() if isinstance(a, bytes) else a for a in args)])
    process = subprocess.Popen(
        ["unshare", "-Urnm", sys.executable, str(REAL)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps({"netns": lab.netns, "steps": steps}))
    process.stdin.close()
    process.stdin = None
    return process


def finish_real(process: subprocess.Popen[str]) -> Seen:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    answer = json.loads(out)
    seen = Seen()
    seen.errors, seen.shown = answer["errors"], answer["shown"]
    for name, frames in answer["taps"].items():
        seen.taps[name] = [(direction, bytes.fromhex(data)) for direction, data in frames]
    return seen


AT_ONCE = 6
ATTEMPTS = 3
"""A busy machine's kernel may come late: a lab that differs is played again, alone."""


def in_both(labs: Sequence[Callable[[], Lab]]) -> Iterator[tuple[str, str]]:
    """(ours, Linux's) report of each lab. Labs mostly wait, so a few play in the kernel at the same time."""
    for start in range(0, len(labs), AT_ONCE):
        some = labs[start : start + AT_ONCE]
        playing = [start_real(lab()) for lab in some]
        ours = [report(lab().run()) for lab in some]
        linux = [report(finish_real(process)) for process in playing]
        for lab, mine, theirs in zip(some, ours, linux, strict=True):
            for _ in range(ATTEMPTS - 1):
                if mine == theirs:
                    break
                theirs = report(finish_real(start_real(lab())))
            yield mine, theirs


def text(frame: bytes) -> str:
    """One frame as a line."""
    words = [f"{mac_ntoa(frame[6:12])} > {mac_ntoa(frame[0:6])}"]
    ethertype = frame[12] << 8 | frame[13]
    if ethertype == 0x0806:
        body = frame[14:42]
        op = {1: "request", 2: "reply"}.get(body[7], f"op {body[7]}")
        words.append(
            f"arp {op} {mac_ntoa(body[8:14])} {ip_ntoa(body[14:18])} > {mac_ntoa(body[18:24])} {ip_ntoa(body[24:28])}"
        )
    elif ethertype == 0x0800:
        words.append(ip_text(frame[14:]))
    else:
        words.append(f"type {ethertype:04x} {frame[14:].hex()}")
    return " ".join(words)


def ip_text(packet: bytes, quoted: bool = False) -> str:
    if len(packet) < 20:
        return f"short {packet.hex()}"
    hlen = (packet[0] & 15) * 4
    ident = packet[4] << 8 | packet[5]
    frag = packet[6] << 8 | packet[7]
    length = packet[2] << 8 | packet[3]
    words = [
        f"{ip_ntoa(packet[12:16])} > {ip_ntoa(packet[16:20])} proto {packet[9]} ttl {packet[8]} tos {packet[1]:#x}",
        f"id {ident if ident in OURS else '*' if ident else 0} frag {frag:#06x} len {length}",
        "" if checksum(packet[:hlen]) == 0 else "BADSUM",
    ]
    payload = packet[hlen:] if quoted else packet[hlen:length]
    if quoted and packet[9] == 17 and payload[2:4] == b"\x21\x18":
        words.append(f"udp * > 8472 {len(payload)}")
    elif frag & 0x1FFF or quoted:
        words.append(_bytes(payload))
    elif packet[9] == 1 and len(payload) >= 8:
        words.append(f"icmp {payload[0]}/{payload[1]} {payload[4:8].hex()}")
        if not frag & 0x2000:
            words.append("ok" if checksum(payload) == 0 else "BADSUM")
        if payload[0] in (3, 5, 11, 12):
            words.append(f"[{ip_text(payload[8:], quoted=True)}]")
        else:
            words.append(_bytes(payload[8:]))
    elif packet[9] == 17 and len(payload) >= 8:
        sport, dport = payload[0] << 8 | payload[1], payload[2] << 8 | payload[3]
        size, check = payload[4] << 8 | payload[5], payload[6:8]
        state = "none"
        if check != b"\0\0" and not frag & 0x2000:
            whole = transport_checksum(packet[12:16], packet[16:20], 17, payload[:6] + b"\0\0" + payload[8:]) or 0xFFFF
            state = "ok" if whole.to_bytes(2, "big") == check else "BADSUM"
        words.append(f"udp {'*' if dport in (8472, 6784) else sport} > {dport} len {size} csum {state}")
        if dport in (8472, 6784) and len(payload) > 30 and not frag & 0x2000:
            words.append(f"vxlan {payload[8:16].hex()} {{ {text(payload[16:])} }}")
        else:
            words.append(_bytes(payload[8:]))
    else:
        words.append(_bytes(payload))
    return " ".join(word for word in words if word)


def _bytes(data: bytes) -> str:
    """Payload, short."""
    return data.hex() if len(data) <= 16 else f"{data[:8].hex()}..{len(data)} {zlib.crc32(data):08x}"


def lines(name: str, frames: Frames) -> list[str]:
    """All frames of a tap as lines."""
    shown = []
    for direction, frame in frames:
        if frame[12:14] == b"\x08\x00" and frame[23:24] == b"\x02":
            continue  # IGMP: a bridge that snoops on groups joins 224.0.0.106 after a random while
        if direction == "--":
            shown.append("--")
        elif frame[:1] and frame[0] >> 4 == 4 and "tun" in name:
            shown.append(f"{direction} {ip_text(frame)}")
        else:
            shown.append(f"{direction} {text(frame)}")
    return shown


def report(seen: Seen) -> str:
    """Everything a run left, as text to compare."""
    out = []
    for name in sorted(seen.taps):
        out += [f"== {name}", *lines(name, seen.taps[name])]
    out.append("== errors")
    out += [f"{i}: {error}" for i, error in enumerate(seen.errors) if error]
    for shown in seen.shown:
        rows = [line.rstrip() for line in shown.splitlines()]
        if rows and "lladdr" in shown:
            rows.sort()  # neighbours have no order
        out += ["== shown", *rows]
    return "\n".join(out)
