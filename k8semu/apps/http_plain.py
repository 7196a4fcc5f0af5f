"""The plain messages of HTTP/1.1, read and written without h11: a GET without a body, and its whole answer.

    GET /path HTTP/1.1, one Host, no body                     ─▶ Asked
    HTTP/1.1 200 OK, one Content-Length and as many bytes     ─▶ Told

Anything else is None: another method or version, another framing, an upgrade, a byte that is unusual, and
whatever is wrong or has not come as a whole. That is h11's to read, which reads these to the same; importing it
takes a tenth of a short run.

RFC: 9112
"""

from __future__ import annotations

import msgspec

Lines = list[tuple[str, str]]
"""Header fields, each name as it is written."""
UNUSUAL = frozenset(("transfer-encoding", "upgrade", "expect"))
WITHOUT_BODY = (204, 304)


class Asked(msgspec.Struct, frozen=True):
    """A request; names of `headers` in small letters."""

    target: bytes
    headers: list[tuple[bytes, bytes]]
    method: bytes = b"GET"


class Told(msgspec.Struct, frozen=True):
    """A response."""

    status: int
    reason: str
    lines: Lines
    body: bytes


def request(method: str, target: str, lines: Lines) -> bytes | None:
    """A request without a body as it is sent."""
    if method != "GET" or not _is_target(target) or not lines or lines[0][0].lower() != "host":
        return None
    if _names(lines) is None or any(name.lower() in ("content-length", "host") for name, _ in lines[1:]):
        return None
    return _head(f"GET {target} HTTP/1.1", lines)


def asked(data: bytes) -> Asked | None:
    """The request that `data` is."""
    start, lines, rest = _parts(data)
    method, _, target = start.removesuffix(" HTTP/1.1").partition(" ")
    names = _names(lines)
    if method != "GET" or not start.endswith(" HTTP/1.1") or not _is_target(target) or names is None or rest:
        return None
    if names.count("host") != 1 or "content-length" in names:
        return None
    fields = zip(names, (value for _, value in lines), strict=True)
    return Asked(target.encode(), [(name.encode(), value.encode()) for name, value in fields])


def response(status: int, reason: str, lines: Lines, body: bytes) -> bytes:
    """A response as it is sent; `lines` say how long its body is."""
    return _head(f"HTTP/1.1 {status} {reason}", lines) + body


def told(data: bytes) -> Told | None:
    """The answer to a GET that `data` begins with."""
    start, lines, rest = _parts(data)
    version, _, status = start.partition(" ")
    code, blank, reason = status.partition(" ")
    names = _names(lines)
    if version != "HTTP/1.1" or not blank or len(code) != 3 or not code.isdigit() or names is None:
        return None
    if int(code) < 200 or int(code) in WITHOUT_BODY or not _is_text(reason) or names.count("content-length") != 1:
        return None
    length = lines[names.index("content-length")][1]
    if not length.isdigit() or len(length) > 9 or len(rest) < int(length):
        return None
    return Told(int(code), reason, lines, rest[: int(length)])


def _head(start: str, lines: Lines) -> bytes:
    return "".join([start, "\r\n", *(f"{name}: {value}\r\n" for name, value in lines), "\r\n"]).encode()


def _parts(data: bytes) -> tuple[str, Lines, bytes]:
    """First line, header fields, and what is behind them; ('', [], b'') if the head is not whole, or not plain."""
    head, end, rest = data.partition(b"\r\n\r\n")
    start, *fields = head.decode("latin-1").split("\r\n")
    if not end or not head.isascii() or any(":" not in field for field in fields):
        return "", [], b""
    lines = [(name, value.strip(" ")) for name, _, value in (field.partition(":") for field in fields)]
    return start, lines, rest


def _names(lines: Lines) -> list[str] | None:
    """The names in small letters; None if one of the fields is not plain."""
    names = [name.lower() for name, _ in lines]
    for (name, value), small in zip(lines, names, strict=True):
        if not name.replace("-", "").isalnum() or small in UNUSUAL or not _is_text(value):
            return None
        if small == "connection" and value not in ("close", "keep-alive"):
            return None
    return names


def _is_text(value: str) -> bool:
    """Printable ASCII, and no blank at either end."""
    return value.isascii() and value.isprintable() and value == value.strip()


def _is_target(target: str) -> bool:
    return target != "" and " " not in target and _is_text(target)
