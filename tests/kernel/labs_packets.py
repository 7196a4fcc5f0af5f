"""Packets that are broken, and packets in pieces.

Each function is a lab (`netlab.py`) that `test_linux_facts.py` plays in the kernel and in the emulator.
"""

from __future__ import annotations

from netlab import Lab, as_lab, framed, icmp_echo, mac_bytes, two_nodes, udp

from k8semu.linux.core.commands import LinkSet, Sysctl
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import icmp_build, ip_build
from k8semu.wire.checksum import checksum

NODE = "172.17.0.1"
ELSEWHERE = bytes.fromhex("0200000000a1")
BROADCAST = b"\xff" * 6


def routed(*taps: tuple[str, str]) -> Lab:
    """Two nodes with routes to each other's Pods; the neighbours know each other."""
    lab = two_nodes(overlay=False)
    for netns, dev in taps:
        lab.tap(netns, dev)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", 1))
    lab.wait(0.3)
    return lab


class Sender:
    """Sends frames out of px with their header checksum set right after the damage."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.good = framed(
            icmp_echo("172.17.0.2", "172.17.1.3", 2), mac_bytes("px", "eth0"), mac_bytes("h1", "docker0")
        )

    def frame(self, frame: bytes) -> None:
        self.lab.inject("px", "eth0", frame)
        self.lab.wait(0.03)

    def with_bytes(self, *patches: tuple[int, bytes]) -> None:
        frame = bytearray(self.good)
        for at, data in patches:
            frame[at : at + len(data)] = data
        end = 14 + (frame[14] & 15) * 4
        frame[24:26] = b"\0\0"
        frame[24:26] = checksum(frame[14:end]).to_bytes(2, "big")
        self.frame(bytes(frame))


@as_lab
def broken_headers() -> Lab:
    """Checksums, versions, lengths, options, padding, frames for others."""
    lab = routed(("px", "eth0"), ("h1", "eth0"), ("h1", "docker0"))
    send = Sender(lab)
    send.frame(send.good[:24] + b"\0\1" + send.good[26:])
    for first in (b"\x65", b"\x44", b"\x4f"):
        send.with_bytes((14, first))
    for length in (b"\x08\x00", b"\x00\x10"):
        send.with_bytes((16, length))
    send.frame(send.good[:30])
    send.frame(send.good[:50])
    send.frame(send.good + b"padding" * 4)
    send.with_bytes((36, b"\xde\xad"))
    send.with_bytes((30, ip_aton(NODE)), (36, b"\xde\xad"))
    send.with_bytes((30, ip_aton(NODE)), (23, b"\x63"))
    send.with_bytes((0, BROADCAST))
    send.with_bytes((0, ELSEWHERE))
    send.with_bytes((22, b"\0"))
    return lab


@as_lab
def impossible_addresses() -> Lab:
    """Sources and destinations that no packet on a wire may have."""
    lab = routed(("px", "eth0"), ("h1", "eth0"), ("h1", "docker0"))
    send = Sender(lab)
    for source in ("127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", NODE, "172.17.0.255", "10.100.0.2"):
        send.with_bytes((26, ip_aton(source)))
    for target in ("127.0.0.1", "0.0.0.0", "172.17.0.255", NODE, "10.100.0.2", "10.100.0.255", "240.0.0.1"):
        send.with_bytes((30, ip_aton(target)))
    return lab


@as_lab
def icmp_that_nobody_awaits() -> Lab:
    """ICMP messages of all kinds to a node that asked for none."""
    lab = routed(("px", "eth0"), ("h1", "docker0"))
    for kind in (0, 3, 4, 5, 11, 12, 15, 17, 42):
        message = icmp_build(kind, 0, 0, b"body" * 10)
        packet = ip_build(ip_aton("172.17.0.2"), ip_aton(NODE), 1, len(message), ident=77) + message
        lab.inject("px", "eth0", framed(packet, mac_bytes("px", "eth0"), mac_bytes("h1", "docker0")))
        lab.wait(0.03)
    return lab


class Pieces:
    """Sends fragments of one echo request of 1000 bytes from px to py."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.payload = bytes(icmp_echo("172.17.0.2", "172.17.1.3", 2, size=1000)[34:])

    def send(self, *parts: tuple[int, int, bool], ident: int = 79, df: bool = False) -> None:
        """Each part is (offset, size, are there more?)."""
        for offset, size, more in parts:
            piece = ip_build(ip_aton("172.17.0.2"), ip_aton("172.17.1.3"), 1, size, ident=ident, df=df)
            piece[20:22] = ((0x4000 if df else 0) | (0x2000 if more else 0) | offset // 8).to_bytes(2, "big")
            piece[24:26] = b"\0\0"
            piece[24:26] = checksum(piece[14:34]).to_bytes(2, "big")
            piece += self.payload[offset : offset + size]
            self.lab.inject("px", "eth0", framed(piece, mac_bytes("px", "eth0"), mac_bytes("h1", "docker0")))
        self.lab.wait(0.06)


@as_lab
def fragments_join() -> Lab:
    """In any order, twice, overlapping, of odd size, with DF, beyond the end, too late."""
    lab = routed(("px", "eth0"), ("py", "eth0"))
    first, second, third = (0, 400, True), (400, 400, True), (800, 208, False)
    pieces = Pieces(lab)
    pieces.send(first, second, third)
    pieces.send(third, second, first)
    pieces.send(first, first, second, third)
    pieces.send(first, (200, 400, True), second, third, ident=80)
    pieces.send(first, second, (400, 200, True), third, ident=81)
    pieces.send((0, 404, True), second, third, ident=77)
    pieces.send(first, second, third, df=True)
    pieces.send(first, second, (800, 200, False), third, ident=78)
    pieces.send(first, (400, 608, False), third, ident=78)
    lab.tell("py", Sysctl(name="net.ipv4.ipfrag_time", value=1))
    pieces.send(first, ident=81)
    lab.wait(1.15)
    pieces.send(second, ident=81)
    lab.wait(1.15)
    return lab


@as_lab
def fragments_are_cut() -> Lab:
    """By a router whose next link takes less; DF is answered; fragments are cut again."""
    lab = routed(("px", "eth0"), ("h1", "eth0"), ("py", "eth0"))
    lab.tell("h1", LinkSet(name="eth0", mtu=600))
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", 3, size=1000, df=False))
    lab.wait(0.2)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", 4, size=1000))
    lab.wait(0.2)
    lab.send("px", udp("172.17.0.2", "172.17.1.3", 3, 4, b"z" * 1472, df=False))
    lab.wait(0.2)
    Pieces(lab).send((0, 608, True), (608, 400, False), ident=81)
    lab.send("h1", icmp_echo("10.100.0.2", "10.100.0.3", 5, size=500))
    lab.wait(0.1)
    return lab
