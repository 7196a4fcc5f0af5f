"""SPDY/3.1 frames, as moby/spdystream speaks it.

    control   1|version 3|type   flags|length   …      SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY, …
    data      0|stream           flags|length   bytes

Header blocks are one zlib stream per direction, with a dictionary that both sides know.

RFC:     draft-mbelshe-httpbis-spdy-00 sections 2.2 (framing), 2.6 (control frames), 2.6.10.1 (compression)
Differs: header blocks are stored, not deflated, within their zlib stream: so they can be read in a capture, and
         are the same bytes whichever zlib this machine has.
Not modelled: flow control; spdystream has none, either.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import msgspec

VERSION = 3
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 1
CANCEL, PROTOCOL_ERROR = 5, 1
MAX_FRAME = 1 << 20
"""Bytes of a frame at most: spdystream's writers cut at 32 KiB, and no header block is nearly as long."""
MAX_HEADERS = 1 << 16
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    "Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 "
    "Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec "
    "00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset="
    "iso-8859-1,utf-,*,enq=0."
)


def _item(text: str) -> bytes:
    return struct.pack(">I", len(text)) + text.encode("latin-1")


_PAIRS = (("200 OK", "version"), ("HTTP/1.1", "url"), ("public", "set-cookie"), ("keep-alive", "origin"))
DICTIONARY = (
    b"".join(map(_item, _WORDS.split())) + b"".join(_item(word) for pair in _PAIRS for word in pair) + _TAIL.encode()
)


class SpdyError(Exception):
    """What came is no SPDY."""


class Frame(msgspec.Struct, frozen=True):
    """Base of all. `stream` 0: about the whole session."""

    stream: int = 0


class SynStream(Frame, frozen=True):
    headers: dict[str, str] = {}
    fin: bool = False


class SynReply(Frame, frozen=True):
    headers: dict[str, str] = {}
    fin: bool = False


class RstStream(Frame, frozen=True):
    status: int = CANCEL


class Ping(Frame, frozen=True):
    number: int = 0


class GoAway(Frame, frozen=True):
    """`stream`: the last one that was taken."""

    status: int = 0


class Data(Frame, frozen=True):
    data: bytes = b""
    fin: bool = False


class Other(Frame, frozen=True):
    """SETTINGS, HEADERS, WINDOW_UPDATE: nothing that is acted upon."""

    kind: int = 0


class Framer:
    """One end's view of both directions."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(0, zlib.DEFLATED, zlib.MAX_WBITS, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._buffer = bytearray()

    # --- out --------------------------------------------------------------------------------------

    def encode(self, frame: Frame) -> bytes:
        stream = frame.stream
        if isinstance(frame, Data):
            return struct.pack(">II", stream, frame.fin << 24 | len(frame.data)) + frame.data
        if isinstance(frame, SynStream):
            return _control(SYN_STREAM, frame.fin, struct.pack(">IIH", stream, 0, 0) + self._block(frame.headers))
        if isinstance(frame, SynReply):
            return _control(SYN_REPLY, frame.fin, struct.pack(">I", stream) + self._block(frame.headers))
        if isinstance(frame, RstStream):
            return _control(RST_STREAM, False, struct.pack(">II", stream, frame.status))
        if isinstance(frame, Ping):
            return _control(PING, False, struct.pack(">I", frame.number))
        assert isinstance(frame, GoAway)
        return _control(GOAWAY, False, struct.pack(">II", stream, frame.status))

    def _block(self, headers: dict[str, str]) -> bytes:
        pairs = b"".join(_item(name.lower()) + _item(value) for name, value in headers.items())
        block = struct.pack(">I", len(headers)) + pairs
        return self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    # --- in ---------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now. SpdyError ends it."""
        self._buffer += data
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            flags, length = second >> 24, second & 0xFFFFFF
            if length > MAX_FRAME:
                raise SpdyError(f"a frame of {length} bytes")
            if len(self._buffer) < 8 + length:
                return
            body = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            if first >> 31:
                yield self._control(first, flags, body)
            elif not first:
                raise SpdyError("stream id zero is disallowed")
            else:
                yield Data(first, body, bool(flags & FIN))

    def _control(self, first: int, flags: int, body: bytes) -> Frame:
        version, kind, fin = first >> 16 & 0x7FFF, first & 0xFFFF, bool(flags & FIN)
        if version != VERSION:
            raise SpdyError(f"SPDY version {version}")
        try:
            if kind == SYN_STREAM:
                return SynStream(_id(body), self._headers(body[10:]), fin)
            if kind == SYN_REPLY:
                return SynReply(_id(body), self._headers(body[4:]), fin)
            if kind == HEADERS:
                self._headers(body[4:])
                return Other(_id(body), kind)
            if kind == RST_STREAM:
                return RstStream(_id(body), struct.unpack_from(">I", body, 4)[0])
            if kind == PING:
                return Ping(number=struct.unpack_from(">I", body)[0])
            if kind == GOAWAY:
                stream, status = struct.unpack_from(">II", body)
                return GoAway(stream & 0x7FFFFFFF, status)
        except struct.error:
            raise SpdyError("a control frame that is too short") from None
        if kind not in (SETTINGS, WINDOW_UPDATE):
            raise SpdyError(f"unknown frame type {kind}")
        return Other(kind=kind)

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, MAX_HEADERS)
        except zlib.error as error:
            raise SpdyError(f"headers: {error}") from None
        if self._inflate.unconsumed_tail or self._inflate.eof:
            raise SpdyError("headers too long, or their zlib stream has ended")
        (count,) = struct.unpack_from(">I", plain)
        at, headers = 4, dict[str, str]()
        for _ in range(count):
            name, at = _text(plain, at)
            value, at = _text(plain, at)
            headers[name.lower()] = value
        return headers


def _id(body: bytes) -> int:
    (stream,) = struct.unpack_from(">I", body)
    number: int = stream & 0x7FFFFFFF
    if not number:
        raise SpdyError("stream id zero is disallowed")
    return number


def _text(plain: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", plain, at)
    end = at + 4 + length
    if end > len(plain):
        raise SpdyError("a header longer than its block")
    return plain[at + 4 : end].decode("latin-1"), end


def _control(kind: int, fin: bool, body: bytes) -> bytes:
    return struct.pack(">HHI", 0x8000 | VERSION, kind, fin << 24 | len(body)) + body
