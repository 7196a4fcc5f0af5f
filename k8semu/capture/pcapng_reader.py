"""pcapng read: frames one by one, of either byte order, also what k8semu does not write; or what is wrong, and where.

RFC: draft-ietf-opsawg-pcapng
Shown: `capinfos FILE`
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Any, BinaryIO, NamedTuple

from k8semu.capture.frame import Frame
from k8semu.capture.pcapng import (
    DSB,
    EPB,
    IDB,
    NRB,
    OPT_COMMENT,
    OPT_EPB_FLAGS,
    OPT_EPB_PACKETID,
    OPT_IF_NAME,
    OPT_TSRESOL,
    SHB,
    TLS_KEY_LOG,
)
from k8semu.errors import CaptureError

SPB = 3
OPT_TSOFFSET = 14
MAX_BLOCK = 16 << 20
"""No reader takes larger blocks (as Wireshark)."""
_U32 = Struct("<I")


class _Interface(NamedTuple):
    name: str
    linktype: int
    snaplen: int
    units: int            # ticks of the clock in a second
    offset: int           # seconds to add

    def nanoseconds(self, ticks: int) -> int:
        return ticks * 1_000_000_000 // self.units + self.offset * 1_000_000_000


class PcapngReader:
    """Frames of a pcapng file, one by one; CaptureError says what is wrong and at which byte.

    `interfaces`, `names` and `secrets` (TLS key log lines) fill while frames are read.
    """

    def __init__(self, stream: BinaryIO, file: str) -> None:
        self.file = file
        self.interfaces: list[str] = []
        self.names: dict[bytes, str] = {}
        self.secrets = b""
        self._stream = stream
        self._section: list[_Interface] = []
        self._order = "<"
        self._at = 0           # of the block being read

    def __iter__(self) -> Iterator[Frame]:
        for kind, body in self.blocks():
            if kind in (EPB, SPB):
                yield self.frame(kind, body)

    def frame(self, kind: int, body: bytes) -> Frame:
        """What an EPB or SPB holds."""
        return self._enhanced(body) if kind == EPB else self._simple(body)

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Every block, as its kind and its body."""
        while True:
            head = self._stream.read(8)
            if not head:
                if self._at == 0:
                    raise self._error("not a capture: the file is empty")
                return
            kind, body = self._read_block(head)
            if kind == SHB:
                self._section = []
            elif kind == IDB:
                self._describe(body)
            elif kind == NRB:
                self._resolve(body)
            elif kind == DSB:
                self._keep(body)
            yield kind, body
            self._at += len(body) + 12

    def _error(self, what: str, offset: int | None = None) -> CaptureError:
        return CaptureError(what, file=self.file, path=f"byte {self._at if offset is None else offset}")

    def _read_block(self, head: bytes) -> tuple[int, bytes]:
        if self._at == 0 and head[:4] != _U32.pack(SHB):
            raise self._error("not a pcapng capture")
        if len(head) < 8:
            raise self._error(f"cut off: {len(head)} bytes of a block's head")
        body = b""
        if head[:4] == _U32.pack(SHB):
            body = self._read(4)
            self._order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(body, "")
            if not self._order:
                raise self._error("a section without a byte-order magic")
        kind, total = Struct(self._order + "II").unpack(head)
        if total % 4 or total < 12 + len(body) or total > MAX_BLOCK:
            raise self._error(f"a block of {total} bytes: no block has that length")
        body += self._read(total - 12 - len(body))
        (again,) = Struct(self._order + "I").unpack(self._read(4))
        if again != total:
            raise self._error(f"a block of {total} bytes says {again} at its end")
        return kind, body

    def _read(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) < count:
            raise self._error("cut off: the file ends inside this block")
        return data

    def _unpack(self, form: str, body: bytes, what: str) -> tuple[Any, ...]:
        struct = Struct(self._order + form)
        if len(body) < struct.size:
            raise self._error(f"{what} of {len(body)} bytes, at least {struct.size} expected")
        return struct.unpack_from(body)

    def _options(self, body: bytes) -> Iterator[tuple[int, bytes]]:
        """(code, value) until the end mark; RFC: a block may also end without one."""
        at, head = 0, Struct(self._order + "HH")
        while at < len(body):
            if at + 4 > len(body):
                raise self._error("an option is cut off")
            code, length = head.unpack_from(body, at)
            if code == 0:
                return
            at += 4
            if at + length > len(body):
                raise self._error(f"option {code} of {length} bytes leaves its block")
            yield code, body[at : at + length]
            at += length + -length % 4

    def _describe(self, body: bytes) -> None:
        linktype, _, snaplen = self._unpack("HHI", body, "an interface description")
        name, units, offset = f"{len(self._section)}", 1_000_000, 0
        for code, value in self._options(body[8:]):
            if code == OPT_IF_NAME:
                name = value.rstrip(b"\0").decode("utf-8", "replace")
            elif code == OPT_TSRESOL and value:
                units = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
            elif code == OPT_TSOFFSET:
                (offset,) = self._unpack("q", value, "if_tsoffset")
        self._section.append(_Interface(name, linktype, snaplen, units, offset))
        if name not in self.interfaces:
            self.interfaces.append(name)

    def _resolve(self, body: bytes) -> None:
        for code, value in self._options(body):   # records have the form of options
            if code == 1 and len(value) > 4:
                self.names[value[:4]] = value[4:].split(b"\0")[0].decode("utf-8", "replace")

    def _keep(self, body: bytes) -> None:
        kind, length = self._unpack("II", body, "a block of secrets")
        if 8 + length > len(body):
            raise self._error(f"secrets of {length} bytes leave their block")
        if kind == TLS_KEY_LOG:
            self.secrets += body[8 : 8 + length]

    def _interface(self, number: int) -> _Interface:
        if number >= len(self._section):
            raise self._error(f"a frame of interface {number}, which is not described")
        return self._section[number]

    def _enhanced(self, body: bytes) -> Frame:
        number, high, low, captured, _ = self._unpack("5I", body, "a frame")
        interface = self._interface(number)
        end = 20 + captured
        if end > len(body):
            raise self._error(f"a frame of {captured} bytes leaves its block")
        direction, packet_id, comments = 0, None, []
        for code, value in self._options(body[end + -captured % 4 :]):
            if code == OPT_COMMENT:
                comments.append(value.decode("utf-8", "replace"))
            elif code == OPT_EPB_FLAGS:
                direction = self._unpack("I", value, "epb_flags")[0] & 3
            elif code == OPT_EPB_PACKETID:
                (packet_id,) = self._unpack("Q", value, "epb_packetid")
        return Frame(
            interface.nanoseconds(high << 32 | low), interface.name, direction % 3, body[20:end],
            packet_id, tuple(comments), interface.linktype,
        )  # fmt: skip

    def _simple(self, body: bytes) -> Frame:
        (length,) = self._unpack("I", body, "a simple frame")
        interface = self._interface(0)
        length = min(length, interface.snaplen or length)
        if 4 + length > len(body):
            raise self._error(f"a frame of {length} bytes leaves its block")
        return Frame(0, interface.name, 0, body[4 : 4 + length], linktype=interface.linktype)
