"""pcapng written: captures with named interfaces, nanoseconds, packet ids, reasons and name records.

    SHB  who wrote it: nothing of the machine or the day
    IDB  one per capture point, when it becomes known (a device may be made during the run)
    NRB  addresses and the names of what has them
    DSB  TLS secrets, in front of the first frame that they decrypt
    EPB  a frame: epb_flags (in 1, out 2), epb_packetid, one opt_comment per decision

Always little-endian, so that the same run is the same bytes on every machine. Nothing is kept of a
frame once it is written.

RFC: draft-ietf-opsawg-pcapng
Shown: `tshark -r FILE -T fields -e frame.interface_name -e frame.packet_id -e frame.comment`; `tshark -r FILE -Y http`
       shows also what was said over TLS
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from struct import Struct
from typing import Any, Protocol

from k8semu.capture.frame import LINKTYPE_ETHERNET, Frame
from k8semu.capture.whole import Whole, WholeFile
from k8semu.sim.clock import Clock

SHB, IDB, NRB, EPB, DSB = 0x0A0D0D0A, 1, 4, 6, 10
TLS_KEY_LOG = 0x544C534B
"""The secrets type of a DSB that holds NSS key log lines."""
BYTE_ORDER_MAGIC = 0x1A2B3C4D
OPT_COMMENT, OPT_IF_NAME, OPT_USERAPPL, OPT_TSRESOL = 1, 2, 4, 9
OPT_EPB_FLAGS, OPT_EPB_PACKETID = 2, 5
NANOSECONDS = 9
PACKETID_SIZE = 12
"""Of the option, which `pack` writes last."""
MAX_COMMENT = 0xFFFC
BUFFER = 1 << 18
FIRST = 1 << 14
"""The buffer begins with so much and doubles when it has to: memory that is never touched costs nothing."""
PAGE = 4096
LARGE = BUFFER - PAGE
"""Octets of a block that find room in a buffer of which all pages were handed over."""

_U32 = Struct("<I")
_HEAD = Struct("<II")
_FRONT = Struct("<7I").pack
_FLAGS_OPTION = OPT_EPB_FLAGS | 4 << 16       # code and length, read as one little-endian word
_PACKETID_OPTION = OPT_EPB_PACKETID | 8 << 16


class Stream(Protocol):
    """Where a writer writes: a `WholeFile`, or an `io.BytesIO`."""

    def write(self, data: bytes | memoryview, /) -> object: ...


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return Struct("<HH").pack(code, len(value)) + _pad(value)


def _block(kind: int, body: bytes) -> bytes:
    total = len(body) + 12
    return _HEAD.pack(kind, total) + body + _U32.pack(total)


class PcapngWriter:
    """Writes one section to `out`; `frames` counts the frames in it. `pack`, `write` and what `sight` makes are hot."""

    def __init__(self, out: Stream) -> None:
        self.frames = 0
        self._out = out
        self._buffer = bytearray(FIRST)
        self._size = FIRST                   # its length, which every frame asks for
        self._end = 0                        # of what stands in it
        self._interfaces: dict[tuple[str, int], int] = {}
        self._packers: dict[int, Callable[..., bytes]] = {}
        self._ends: dict[int, tuple[bytes, bytes]] = {}
        section = Struct("<IHHq").pack(BYTE_ORDER_MAGIC, 1, 0, -1)
        self._append(_block(SHB, section + _option(OPT_USERAPPL, b"k8semu") + bytes(4)))

    def interface(self, name: str, linktype: int = LINKTYPE_ETHERNET) -> int:
        """The number of the interface called `name`; the first call describes it in the file."""
        number = self._interfaces.get((name, linktype))
        if number is None:
            number = self._interfaces[name, linktype] = len(self._interfaces)
            options = _option(OPT_IF_NAME, name.encode()) + _option(OPT_TSRESOL, bytes([NANOSECONDS]))
            self._append(_block(IDB, Struct("<HHI").pack(linktype, 0, 0) + options + bytes(4)))
        return number

    def names(self, names: Mapping[bytes, str]) -> None:
        """Say which name each packed IPv4 address has; may be called again as names become known."""
        if names:
            records = b"".join(
                Struct("<HH").pack(1, len(addr) + len(name.encode()) + 1) + _pad(addr + name.encode() + b"\0")
                for addr, name in names.items()
            )
            self._append(_block(NRB, records + bytes(4)))

    def secrets(self, lines: bytes) -> None:
        """Keep TLS secrets (NSS key log lines), in front of every frame that is not written yet."""
        self._append(_block(DSB, _HEAD.pack(TLS_KEY_LOG, len(lines)) + _pad(lines)))

    def pack(
        self, interface: int, time: int, direction: int, data: bytes | bytearray, packet_id: int
    ) -> bytes:
        """A frame's block without its two ends and its comments: a copy of `data` as it is now."""
        length = len(data)
        packer = self._packers.get(length)
        if packer is None:  # "…s" pads with zeros up to the next multiple of four by itself
            packer = self._packers[length] = Struct(f"<5I{length + -length % 4}s3IQ").pack
        return packer(
            interface, time >> 32, time & 0xFFFFFFFF, length, length, data,
            _FLAGS_OPTION, direction, _PACKETID_OPTION, packet_id,
        )  # fmt: skip

    def sight(
        self, interface: int, direction: int, comments: bytes, clock: Clock, waiting: deque[Any],
        most: int, make_room: Callable[[int], None],
    ) -> Callable[[bytearray, int], None]:  # fmt: skip
        """What takes frames that have direction and comments in common: into the buffer, or behind those that wait."""
        flags = Struct("<III").pack(_FLAGS_OPTION, direction, _PACKETID_OPTION)
        shapes: dict[int, tuple[Struct, bytes]] = {}
        fronts: dict[int, tuple[int, Struct, int, bytes, bytes]] = {}
        buffer = self._buffer

        def at(length: int, now: int) -> tuple[int, Struct, int, bytes, bytes]:
            if length not in shapes:
                padded = length + -length % 4
                packer = Struct(f"<28s{padded}s12sQ{len(comments) + 8}s")
                shapes[length] = packer, comments + _HEAD.pack(0, packer.size)
            packer, tail = shapes[length]
            front = _FRONT(EPB, packer.size, interface, now >> 32, now & 0xFFFFFFFF, length, length)
            made = fronts[length] = now, packer, packer.size, front, tail
            return made

        def sight(data: bytearray, packet_id: int) -> None:
            now, length = clock.now, len(data)
            made = fronts.get(length)
            if made is None or made[0] is not now:   # frames come in bursts, at one instant
                made = at(length, now)
            _, packer, size, front, tail = made
            if len(waiting) >= most:
                make_room(1)
            if waiting:
                waiting.append(packer.pack(front, data, flags, packet_id, tail))
                return
            end = self._end
            if end + size > self._size:
                if size > LARGE:
                    self.put([packer.pack(front, data, flags, packet_id, tail)])
                    return
                end = self._room(size)
            packer.pack_into(buffer, end, front, data, flags, packet_id, tail)
            self._end = end + size
            self.frames += 1

        return sight

    def put(self, records: list[bytes]) -> None:
        """Write blocks of frames that packers made."""
        for record in records:
            self._append(record)
        self.frames += len(records)

    def comment(self, lines: Iterable[str]) -> bytes:
        """Comments, ready for `write`: one per line."""
        return b"".join(_option(OPT_COMMENT, line.encode()[:MAX_COMMENT]) for line in lines)

    def write(self, interface: int, packed: bytes, comments: bytes) -> None:
        """A frame that `pack` has packed, with what `comment` made of its comments."""
        total = len(packed) + len(comments) + 16
        ends = self._ends.get(total)
        if ends is None:
            ends = self._ends[total] = (_HEAD.pack(EPB, total), _HEAD.pack(0, total))
        self._append(b"".join((ends[0], packed, comments, ends[1])))
        self.frames += 1

    def frame(self, frame: Frame) -> None:
        """Write one whole frame, also one without a packet id."""
        number = self.interface(frame.interface, frame.linktype)
        packed = self.pack(number, frame.time, frame.direction, frame.data, frame.packet_id or 0)
        if frame.packet_id is None:
            packed = packed[:-PACKETID_SIZE]
        self.write(number, packed, self.comment(frame.comments))

    def _append(self, block: bytes) -> None:
        for at in range(0, len(block), LARGE):
            part = block[at : at + LARGE]
            end = self._end
            if end + len(part) > self._size:
                end = self._room(len(part))
            self._end = end + len(part)
            self._buffer[end : self._end] = part

    def _room(self, size: int) -> int:
        """Where so many octets find room, at most LARGE: in a longer buffer, or in one of which all that fills
        pages was handed over, which the file system takes faster than parts of them."""
        end = self._end
        while self._size < BUFFER and end + size > self._size:
            self._buffer += bytes(self._size)
            self._size *= 2
        if end + size > BUFFER:
            whole = end & -PAGE
            self._out.write(memoryview(self._buffer)[:whole])
            self._end = end - whole
            self._buffer[: self._end] = self._buffer[whole:end]
        return self._end

    def flush(self) -> None:
        """Hand all that is buffered to the file."""
        self._out.write(memoryview(self._buffer)[: self._end])
        self._end = 0

    def close(self) -> None:
        self.flush()

    def abort(self) -> None:
        self._end = 0


class PcapngFile(PcapngWriter, Whole):
    """A capture file at `path` that appears whole at `close`, or never."""

    def __init__(self, path: Path) -> None:
        self._file = WholeFile(path)
        super().__init__(self._file)

    def close(self) -> None:
        super().close()
        self._file.close()

    def abort(self) -> None:
        super().abort()
        self._file.abort()
