"""TLS records in TCP streams: where each one lies, and its name as far as it can be read without keys.

    segments ─▶ TlsStreams.pieces ─▶ Client Hello 512 │ Application Data 16401 … │ … goes on

A connection speaks TLS from the first segment on that begins with a Client Hello or a Server Hello; so
one that is upgraded later (STARTTLS) is known, too. A record may go on in the next segments.

RFC: 8446 section 5.1 (records), 4 (handshake messages), 6 (alerts); 6066 section 3 (server name)
Shown: `tshark -O tls`
Not modelled: DTLS, QUIC.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
CLIENT_HELLO, SERVER_HELLO = 1, 2
HEADER = 5
MAX_LENGTH = (1 << 14) + 2048
"""Of a record's body: TLS 1.2 lets a cipher add 2048 bytes, 1.3 only 256."""
REMEMBERED = 4096
"""Ends of segments that are kept per direction of a connection: a repeated segment is found among them."""

TYPES = {20: "Change Cipher Spec", 21: "Alert", 22: "Handshake", 23: "Application Data"}
MESSAGES = {
    0: "Hello Request", 1: "Client Hello", 2: "Server Hello", 4: "New Session Ticket", 11: "Certificate",
    12: "Server Key Exchange", 13: "Certificate Request", 14: "Server Hello Done", 15: "Certificate Verify",
    16: "Client Key Exchange", 20: "Finished", 22: "Certificate Status",
}  # fmt: skip
ALERTS = {
    0: "close notify", 10: "unexpected message", 20: "bad record MAC", 22: "record overflow",
    40: "handshake failure", 42: "bad certificate", 43: "unsupported certificate", 44: "certificate revoked",
    45: "certificate expired", 46: "certificate unknown", 47: "illegal parameter", 48: "unknown CA",
    49: "access denied", 50: "decode error", 51: "decrypt error", 70: "protocol version",
    71: "insufficient security", 80: "internal error", 86: "inappropriate fallback", 90: "user canceled",
    109: "missing extension", 110: "unsupported extension", 112: "unrecognized name",
    116: "certificate required", 120: "no application protocol",
}  # fmt: skip


class Piece(NamedTuple):
    """What of one record lies in a segment, at `payload[start:end]`.

    `text` names the record if it begins here, and is "" if it began in an earlier segment; `body` is where
    that begins which is behind its header. A piece of nothing known (`length` 0): its place in the stream is lost.
    """

    start: int
    body: int
    end: int
    text: str
    length: int


class _Point(NamedTuple):
    """Between two bytes of a stream: how much of the running record is to come, or of a header what has come."""

    remaining: int = 0
    length: int = 0
    head: bytes = b""
    sealed: bool = False      # TLS 1.2: handshake messages are encrypted from here on


class TlsStreams:
    """TLS in the streams that one interface sees. `key` names a direction of a connection."""

    def __init__(self) -> None:
        self._points: dict[Hashable, dict[int, _Point]] = {}

    def forget(self, key: Hashable) -> None:
        """A new connection begins there."""
        self._points.pop(key, None)

    def pieces(self, key: Hashable, seq: int, payload: bytes) -> list[Piece]:
        """The records in a segment; [] if this direction speaks no TLS, as far as is known."""
        points = self._points.get(key)
        point = points.get(seq) if points is not None else None
        if point is None:
            if starts_tls(payload):
                point = _Point()
                points = self._points.setdefault(key, {})
            elif points is not None:
                return [Piece(0, 0, len(payload), "", 0)]
            else:
                return []
        assert points is not None
        found, end = _read(point, payload)
        points[(seq + len(payload)) & 0xFFFFFFFF] = end
        if len(points) > REMEMBERED:
            del points[next(iter(points))]
        return found


def starts_tls(payload: bytes) -> bool:
    """Does a segment begin with a hello, or is it the one alert that a server may answer with instead?"""
    if len(payload) < HEADER + 2 or payload[1] != 3 or payload[2] > 4:
        return False
    length = int.from_bytes(payload[3:5], "big")
    if payload[0] == ALERT:
        return length == 2 and len(payload) == HEADER + 2 and payload[5] in (1, 2) and payload[6] in ALERTS
    return payload[0] == HANDSHAKE and 4 < length <= MAX_LENGTH and payload[5] in (CLIENT_HELLO, SERVER_HELLO)


def _read(point: _Point, payload: bytes) -> tuple[list[Piece], _Point]:
    pieces: list[Piece] = []
    remaining, length, head, sealed = point
    at = 0
    while at < len(payload):
        if remaining:
            end = min(len(payload), at + remaining)
            pieces.append(Piece(at, at, end, "", length))
            remaining -= end - at
            at = end
            continue
        whole = (head + payload[at : at + HEADER])[:HEADER]
        body = at + len(whole) - len(head)
        if len(whole) < HEADER:
            pieces.append(Piece(at, body, body, "", HEADER))
            return pieces, _Point(0, 0, whole, sealed)
        kind, length = whole[0], int.from_bytes(whole[3:5], "big")
        if kind not in TYPES or whole[1] != 3 or length > MAX_LENGTH:
            pieces.append(Piece(at, at, len(payload), "", 0))     # no TLS any more, or garbled
            return pieces, _Point()
        end = min(len(payload), body + length)
        pieces.append(Piece(at, body, end, _name(kind, length, payload[body:end], sealed), length))
        sealed |= kind == CHANGE_CIPHER_SPEC
        remaining, head, at = length - (end - body), b"", end
    return pieces, _Point(remaining, length, head, sealed)


def _name(kind: int, length: int, body: bytes, sealed: bool) -> str:
    """``Client Hello (shop.example) 512``: what a record holds, and how many bytes."""
    text = TYPES[kind]
    if kind == HANDSHAKE and body:
        text = "Encrypted Handshake Message" if sealed else MESSAGES.get(body[0], text)
        name = server_name(body) if body[0] == CLIENT_HELLO and not sealed else ""
        text += f" ({name})" if name else ""
    elif kind == ALERT and not sealed and length == len(body) == 2:
        level = {1: "warning", 2: "fatal"}.get(body[0], str(body[0]))
        text += f" ({level}, {ALERTS.get(body[1], str(body[1]))})"
    return f"{text} {length}"


def server_name(hello: bytes) -> str:
    """The host name that a Client Hello (or as much of it as is there) asks for; '' if it names none."""
    at = 4 + 2 + 32                                                  # type and length, version, random
    for width in (1, 2, 1):                                          # session id, cipher suites, compression
        at += width + int.from_bytes(hello[at : at + width], "big")
    at += 2
    while at + 4 <= len(hello):
        extension, length = int.from_bytes(hello[at : at + 2], "big"), int.from_bytes(hello[at + 2 : at + 4], "big")
        if extension == 0:
            size = int.from_bytes(hello[at + 7 : at + 9], "big")
            name = hello[at + 9 : at + 9 + size]
            text = name.decode("ascii", "replace")
            return text if len(name) == size and text.isprintable() else ""
        at += 4 + length
    return ""


def mask(payload: bytes, pieces: list[Piece]) -> bytes:
    """`payload` without what a run cannot repeat: record headers stay, their bodies become zeros.

    Bodies of one or two bytes stay: they are the same each time (and say which alert it is).
    """
    masked = bytearray(payload)
    for _, body, end, _, length in pieces:
        if length > 2 or not length:
            masked[body:end] = bytes(end - body)
    return bytes(masked)
