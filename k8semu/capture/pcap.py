"""Classic captures: one file per interface, as `tcpdump --time-stamp-precision=nano -w` on each.

A folder of them is complete or not there at all. No file stays open while frames come in (a
cluster has hundreds of interfaces): frames are collected and appended file by file.

RFC: draft-ietf-opsawg-pcap
Shown: `tcpdump -nr DIR/NAME/host1.docker0.pcap`
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO

from k8semu.capture.frame import LINKTYPE_ETHERNET, Frame
from k8semu.capture.whole import Whole, WholeFolder, cannot_write
from k8semu.errors import CaptureError
from k8semu.sim.clock import Clock

MAGIC_NANO = 0xA1B23C4D
MAGIC_MICRO = 0xA1B2C3D4
SNAPLEN = 262144
KEYS = "tls.keys"
BUFFER = 1 << 20
"""Bytes kept in memory over all interfaces."""

_RECORD = Struct("<IIII")


def file_header(linktype: int) -> bytes:
    """The 24 bytes in front of the frames."""
    return Struct("<IHHiIII").pack(MAGIC_NANO, 2, 4, 0, 0, SNAPLEN, linktype)


class PcapFolder(Whole):
    """Writes `path`/NODE.DEVICE.pcap for every interface; the folder appears at `close`.

    TLS secrets lie beside them in `path`/tls.keys: `tshark -o tls.keylog_file:DIR/NAME/tls.keys -r …`.
    """

    def __init__(self, path: Path) -> None:
        self.frames = 0
        self._folder = WholeFolder(path)
        self._interfaces: dict[tuple[str, int], int] = {}
        self._files: list[Path] = []
        self._buffers: list[bytearray] = []
        self._buffered = 0

    def interface(self, name: str, linktype: int = LINKTYPE_ETHERNET) -> int:
        """The number of the interface called ``NODE/DEVICE``; its file is there even if it stays silent."""
        number = self._interfaces.get((name, linktype))
        if number is None:
            number = self._interfaces[name, linktype] = len(self._files)
            self._files.append(self._free_name(name.replace("/", ".")))
            self._buffers.append(bytearray(file_header(linktype)))
        return number

    def _free_name(self, stem: str) -> Path:
        path, again = self._folder.hidden / f"{stem}.pcap", 1
        while path in self._files:       # a/b.c and a.b/c
            again += 1
            path = self._folder.hidden / f"{stem}-{again}.pcap"
        return path

    def names(self, names: Mapping[bytes, str]) -> None:
        """Classic captures have no place for names."""

    def secrets(self, lines: bytes) -> None:
        """Keep TLS secrets (NSS key log lines)."""
        self._append(self._folder.hidden / KEYS, lines)

    def pack(
        self, interface: int, time: int, direction: int, data: bytes | bytearray, packet_id: int
    ) -> bytes:
        """A frame's record; the format knows no direction and no packet id."""
        length = len(data)
        return _RECORD.pack(time // 1_000_000_000, time % 1_000_000_000, length, length) + data

    def sight(
        self, interface: int, direction: int, comments: bytes, clock: Clock, waiting: deque[Any],
        most: int, make_room: Callable[[int], None],
    ) -> Callable[[bytearray, int], None]:  # fmt: skip
        """What takes frames again and again: into the buffer, or behind those that wait."""

        def sight(data: bytearray, packet_id: int) -> None:
            record = self.pack(interface, clock.now, direction, data, packet_id)
            if len(waiting) >= most:
                make_room(1)
            if waiting:
                waiting.append((interface, record))
            else:
                self.write(interface, record, b"")

        return sight

    def put(self, records: list[tuple[int, bytes]]) -> None:
        """Write records that packers made."""
        for interface, record in records:
            self.write(interface, record, b"")

    def comment(self, lines: Iterable[str]) -> bytes:
        """Nor comments."""
        return b""

    def write(self, interface: int, packed: bytes, comments: bytes) -> None:
        self.frames += 1
        self._buffers[interface] += packed
        self._buffered += len(packed)
        if self._buffered > BUFFER:
            self.flush()

    def flush(self) -> None:
        """Append what is buffered to the files."""
        for path, buffer in zip(self._files, self._buffers, strict=True):
            if buffer:
                self._append(path, buffer)
                buffer.clear()
        self._buffered = 0

    def _append(self, path: Path, data: bytes | bytearray) -> None:
        try:
            with path.open("ab") as file:
                file.write(data)
        except OSError as error:
            self.abort()
            raise cannot_write(self._folder.path / path.name, error) from error

    def close(self) -> None:
        self.flush()
        self._folder.close()

    def abort(self) -> None:
        self._folder.abort()


_FORMS = {
    MAGIC_MICRO.to_bytes(4, "little"): ("<", 1000),
    MAGIC_MICRO.to_bytes(4, "big"): (">", 1000),
    MAGIC_NANO.to_bytes(4, "little"): ("<", 1),
    MAGIC_NANO.to_bytes(4, "big"): (">", 1),
}


class PcapReader:
    """Frames of a classic capture of either byte order and precision, all of one `interface`."""

    def __init__(self, stream: BinaryIO, file: str, interface: str) -> None:
        self.file = file
        self.interfaces = [interface]
        self.names: dict[bytes, str] = {}
        self._stream = stream

    def __iter__(self) -> Iterator[Frame]:
        header = self._stream.read(24)
        form = _FORMS.get(header[:4])
        if form is None:
            raise self._error("not a capture" if header else "not a capture: the file is empty", 0)
        if len(header) < 24:
            raise self._error("cut off: the file ends inside its header", 0)
        order, scale = form
        record, at = Struct(order + "IIII"), 24
        linktype = Struct(order + "I").unpack_from(header, 20)[0] & 0x0FFFFFFF
        while head := self._stream.read(16):
            if len(head) < 16:
                raise self._error("cut off: the file ends inside a frame's head", at)
            sec, frac, captured, _ = record.unpack(head)
            if captured > SNAPLEN:
                raise self._error(f"a frame of {captured} bytes: no frame is that long", at)
            data = self._stream.read(captured)
            if len(data) < captured:
                raise self._error(f"cut off: {len(data)} of a frame's {captured} bytes", at)
            yield Frame(sec * 1_000_000_000 + frac * scale, self.interfaces[0], 0, data, linktype=linktype)
            at += 16 + captured

    def _error(self, what: str, offset: int) -> CaptureError:
        return CaptureError(what, file=self.file, path=f"byte {offset}")
