"""WebSocket frames and handshake, as bytes and as values.

    Sec-WebSocket-Key ─▶ accept_key ─▶ Sec-WebSocket-Accept         bytes ─▶ Frames.feed ─▶ whole messages

What a client sends is masked with numbers of its own choice: here they are drawn from a stream that is named,
so that a run is the same run.

RFC: 6455
Not modelled: extensions
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL, PROTOCOL_ERROR, TOO_BIG = 1000, 1002, 1009
MAX_MESSAGE = 1 << 20
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocketError(Exception):
    """What came is no WebSocket; `code` is the one to close with."""

    def __init__(self, why: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(why)
        self.code = code


class Message(NamedTuple):
    """TEXT or BINARY whole, or a control frame."""

    opcode: int
    data: bytes


def accept_key(key: str) -> str:
    """What a server answers to a client's key. RFC: 6455 section 4.2.2."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def masked(data: bytes, mask: bytes) -> bytes:
    """`data` with `mask` laid over it; twice is once back."""
    size = len(data)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")


def encode(opcode: int, data: bytes, mask: bytes | None = None) -> bytes:
    """One frame that is a whole message."""
    size, bit = len(data), 0x80 if mask is not None else 0
    if size < 126:
        head = struct.pack(">BB", 0x80 | opcode, bit | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", 0x80 | opcode, bit | 126, size)
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, bit | 127, size)
    return head + data if mask is None else head + mask + masked(data, mask)


class Frames:
    """Reads one direction. `from_client`: its frames have to be masked."""

    def __init__(self, from_client: bool) -> None:
        self._from_client = from_client
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._opcode = 0

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole now. WebSocketError ends it."""
        self._buffer += data
        while (frame := self._frame()) is not None:
            fin, opcode, payload = frame
            if opcode >= CLOSE:
                if not fin or len(payload) > 125:
                    raise WebSocketError("a control frame in parts, or too long")
                yield Message(opcode, payload)
                continue
            if (opcode == CONTINUATION) != bool(self._opcode):
                raise WebSocketError("a message within another, or its rest without a beginning")
            self._opcode = self._opcode or opcode
            self._parts.append(payload)
            if sum(map(len, self._parts)) > MAX_MESSAGE:
                raise WebSocketError("a message too long", TOO_BIG)
            if fin:
                message = Message(self._opcode, b"".join(self._parts))
                self._parts, self._opcode = [], 0
                yield message

    def _frame(self) -> tuple[bool, int, bytes] | None:
        """(last of its message, opcode, payload) of the next frame, if it is whole."""
        held = self._buffer
        if len(held) < 2:
            return None
        if held[0] & 0x70 or held[0] & 0xF not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise WebSocketError("bits or an opcode that nobody agreed on")
        if bool(held[1] & 0x80) != self._from_client:
            raise WebSocketError("a frame that is masked by the wrong side")
        size, at = held[1] & 0x7F, 2
        if size > 125:
            width = 2 if size == 126 else 8
            if len(held) < at + width:
                return None
            size, at = int.from_bytes(held[at : at + width], "big"), at + width
        if size > MAX_MESSAGE:
            raise WebSocketError("a frame too long", TOO_BIG)
        mask = bytes(held[at : at + 4]) if self._from_client else b""
        at += len(mask) if len(mask) in (0, 4) else 4
        if len(held) < at + size or (self._from_client and len(mask) < 4):
            return None
        payload = bytes(held[at : at + size])
        fin, opcode = bool(held[0] & 0x80), held[0] & 0xF
        del held[: at + size]
        return fin, opcode, masked(payload, mask) if mask else payload
