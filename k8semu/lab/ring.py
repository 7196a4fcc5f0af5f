"""Frames from the kernel into memory that we share with it: one ring for all devices of a namespace.

    block: [header | frame | frame | …]   kernel fills ─▶ hands over (full, or after RETIRE ms) ─▶ we read, give back

A ring is not bound to a device, so it also has what later devices see; a device's number is turned
into its name when its first frame is read.

Linux: net/packet/af_packet.c tpacket_rcv(), Documentation/networking/packet_mmap.rst (TPACKET_V3)
"""

from __future__ import annotations

import mmap
import socket
import struct
from collections.abc import Iterator

import msgspec

from k8semu.capture.frame import LINKTYPE_ETHERNET, LINKTYPE_RAW
from k8semu.lab.devices import device_name
from k8semu.wire.checksum import transport_checksum

SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 1, 5, 6, 10
PACKET_MR_PROMISC, TPACKET_V3 = 1, 2
ETH_P_ALL = 3
TP_STATUS_KERNEL, TP_STATUS_USER, TP_STATUS_CSUMNOTREADY = 0, 1, 8
ARPHRD_LOOPBACK, ARPHRD_NONE = 772, 0xFFFE
PACKET_OUTGOING = 4

BLOCK = 1 << 18
RETIRE = 4
"""Milliseconds after which the kernel hands over a block that is not full."""

_BLOCK = struct.Struct("=IIIII")        # version, offset to private, status, packets, offset to first
_HEADER = struct.Struct("=IIIIIIHH")    # next, sec, nsec, snaplen, len, status, mac, net
_SLL = struct.Struct("=HHiHBB")         # family, protocol, ifindex, hatype, pkttype, halen
_SLL_AT = 48


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A frame as the kernel showed it; `outgoing` as the device sees it."""

    time: int
    device: str
    outgoing: bool
    data: bytes
    linktype: int


class Ring:
    """The frames of the namespace that the process is in when this is made; it may leave afterwards."""

    def __init__(self, size: int) -> None:
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        self.blocks = max(4, size // BLOCK)
        request = struct.pack("=7I", BLOCK, self.blocks, 2048, BLOCK // 2048 * self.blocks, RETIRE, 0, 0)
        self.sock.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
        self.memory = mmap.mmap(self.sock.fileno(), BLOCK * self.blocks)
        self._next = 0
        self._names: dict[int, str] = {}
        self.lost = 0

    def fileno(self) -> int:
        return self.sock.fileno()

    def close(self) -> None:
        self.memory.close()
        self.sock.close()

    def promiscuous(self, device: str) -> None:
        """Take also what is not for the device, as tcpdump does. The process must be in the namespace."""
        request = struct.pack("=iHH8x", socket.if_nametoindex(device), PACKET_MR_PROMISC, 0)
        self.sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)

    def count_lost(self) -> int:
        """How many frames the kernel had no room for, ever."""
        _, dropped, _ = struct.unpack("=III", self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))
        self.lost += dropped
        return self.lost

    def read(self) -> Iterator[Seen]:
        """What the kernel has handed over since; give up the blocks as they are read."""
        while True:
            start = self._next * BLOCK
            _, _, status, packets, at = _BLOCK.unpack_from(self.memory, start)
            if not status & TP_STATUS_USER:
                return
            at += start
            for _ in range(packets):
                step, *_ = header = _HEADER.unpack_from(self.memory, at)
                frame = self._frame(at, header)
                if frame is not None:
                    yield frame
                at += step
            struct.pack_into("=I", self.memory, start + 8, TP_STATUS_KERNEL)
            self._next = (self._next + 1) % self.blocks

    def _frame(self, at: int, header: tuple[int, ...]) -> Seen | None:
        _, sec, nsec, length, _, status, mac, _ = header
        _, _, ifindex, hatype, kind, _ = _SLL.unpack_from(self.memory, at + _SLL_AT)
        if hatype == ARPHRD_LOOPBACK and kind == PACKET_OUTGOING:
            return None  # it comes in again at once: libpcap shows it once, too
        data = self.memory[at + mac : at + mac + length]
        if status & TP_STATUS_CSUMNOTREADY:
            data = fill_checksum(data)
        linktype = LINKTYPE_RAW if hatype == ARPHRD_NONE else LINKTYPE_ETHERNET
        return Seen(sec * 1_000_000_000 + nsec, self._name(ifindex), kind == PACKET_OUTGOING, data, linktype)

    def _name(self, ifindex: int) -> str:
        name = self._names.get(ifindex)
        if name is None:
            name = self._names[ifindex] = device_name(self.sock, ifindex) or f"gone{ifindex}"
        return name


def fill_checksum(data: bytes) -> bytes:
    """What a network card would have done: loopback frames carry no TCP or UDP checksum."""
    if len(data) < 34 or data[12:14] != b"\x08\0":
        return data
    start = 14 + (data[14] & 15) * 4
    end = min(len(data), 14 + (data[16] << 8 | data[17]))
    field = {6: 16, 17: 6}.get(data[23])
    if field is None or start + field + 2 > end:
        return data
    segment = bytearray(data[start:end])
    segment[field : field + 2] = b"\0\0"
    check = transport_checksum(data[26:30], data[30:34], data[23], segment) or 0xFFFF
    segment[field : field + 2] = check.to_bytes(2, "big")
    return data[:start] + bytes(segment) + data[end:]
