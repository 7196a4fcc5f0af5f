"""The head of a request, as nginx reads it: what it refuses, and what it passes over.

    414   a request line of more than 8 KiB           400   broken in any way, two ways to say where the body ends
    494   a header line of more than 8 KiB, or        405   TRACE, CONNECT
          more than 32 KiB of them (sent as 400)      501   a transfer coding other than chunked
                                                      505   HTTP/2.0 and later

What is left is read by h11, which finds the body's end.

nginx: src/http/ngx_http_parse.c ngx_http_parse_request_line(), ngx_http_parse_header_line();
       src/http/ngx_http_request.c ngx_http_process_request_header(), ngx_http_validate_host()
Differs: HTTP/0.9 is refused, a target with bytes beyond ASCII, and a vertical tab or form feed in a header.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from k8semu.kube.ingress.matching import BadPathError, normal_path

LONGEST_LINE = 8192
LONGEST_HEAD = 4 * LONGEST_LINE
_REQUEST = re.compile(rb"([A-Z_-]+) +([^\x00-\x20\x7f]+) +HTTP/([1-9]\d{0,2})\.(\d{1,3}) *").fullmatch
_NEWER = re.compile(rb"[A-Z_-]+ +/[^\x00-\x20\x7f]* +HTTP/(?:[2-9]|[1-9]\d)").match
_TARGET = re.compile(rb"(?:[A-Za-z][-+.A-Za-z0-9]*://([^/?#]*))?(/.*|\?.*|)", re.DOTALL).fullmatch
_AUTHORITY = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::\d*)?").fullmatch
_SPACED_NAME = re.compile(rb"[\x00-\x20\x7f]").search
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\x00-\x20\x7f/:]+)(?::[^\x00-\x20\x7f/]*)?").fullmatch
_LENGTH = re.compile(rb"\d{1,18}").fullmatch
ONCE = (
    b"content-length", b"transfer-encoding", b"host", b"authorization", b"expect", b"content-range", b"if-range",
    b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since",
)  # fmt: skip
"""Headers that come once. nginx: ngx_http_process_unique_header_line()"""


class Refused(NamedTuple):
    """The status that nginx gives."""

    status: int


class Head(NamedTuple):
    """A head that makes sense. `clean` is what h11 reads of it; `lines` keep their names as they came."""

    method: str
    target: str
    version: tuple[int, int]
    host: str
    """Of the target, if that is a whole URL, else of Host: without a port, in small letters; '' if there is none."""
    lines: list[tuple[str, str]]
    clean: bytes
    size: int
    """Bytes that it had."""

    def values(self, name: str) -> list[str]:
        """What a header (small letters) says."""
        return [value for key, value in self.lines if key.lower() == name]


def find_end(data: bytearray) -> int:
    """Where the head at the start of `data` ends: after the empty line; -1 while it has not."""
    ends = [at + len(mark) for mark in (b"\n\r\n", b"\n\n") if (at := data.find(mark)) >= 0]
    return min(ends, default=-1)


def too_long(data: bytes | bytearray) -> int:
    """The status for what has come of a head (or a whole one), if it is too long already, or no HTTP; else 0.

    Nobody waits for the end of what does not begin with a method: a TLS hello to the port for HTTP.
    """
    if data and not (65 <= data[0] <= 90 or data[0] in b"_-"):
        return 400
    line, newline, rest = bytes(data).partition(b"\n")
    if len(line) >= LONGEST_LINE:
        return 414
    if not newline:
        return 0
    if len(data) > LONGEST_HEAD or any(len(one) >= LONGEST_LINE for one in rest.split(b"\n")):
        return 494
    return 0


def hopeless(data: bytes | bytearray) -> int:
    """The status for a head that has not ended, if it can become none any more: nobody waits for its end; else 0."""
    line, newline, _ = bytes(data).partition(b"\n")
    return too_long(data) or (_no_request(line) if newline and not _REQUEST(line.removesuffix(b"\r")) else 0)


def read(raw: bytes) -> Head | Refused:
    """A whole head, with its empty line."""
    status = too_long(raw)
    if status:
        return Refused(status)
    first, *rows = raw.split(b"\n")
    match = _REQUEST(first.removesuffix(b"\r"))
    if match is None:
        return Refused(_no_request(first))
    if b"\0" in raw:
        return Refused(400)
    method, target, version = match[1], match[2], (int(match[3]), int(match[4]))
    place = _TARGET(target)
    if place is None or (place[1] is not None and not _AUTHORITY(place[1])):
        return Refused(400)
    if version[0] != 1:
        return Refused(505)
    lines = _lines([row.rstrip(b"\r") for row in rows])
    if lines is None:
        return Refused(400)
    status = _framing(lines, version, method)
    if status:
        # of two faults nginx names that of the path or the host
        early = status in (405, 501) and not (_is_path(place[2]) and _is_served(place[1], lines))
        return Refused(400 if early else status)
    return _whole(method, place, version, lines, len(raw))


def _no_request(line: bytes) -> int:
    """The status for a line that is none; nginx has seen the version before it sees how the line ends."""
    return 505 if _NEWER(line) else 400


def _lines(rows: list[bytes]) -> list[tuple[bytes, bytes]] | None:
    """The header lines (also one without a colon); None where nginx refuses them all: a space in a name, a line
    that goes on."""
    lines = []
    for row in rows:
        if not row:
            break
        name, _, value = row.partition(b":")
        if not name or _SPACED_NAME(name):
            return None
        lines.append((name, value.strip(b" ")))         # a tab is part of the value
    return lines


def _is_served(place: bytes | None, lines: list[tuple[bytes, bytes]]) -> bool:
    said = [value for name, value in lines if name.lower() == b"host"]
    return all(_is_host(text.decode("latin-1")) for text in (place, *said) if text is not None)


def _is_path(target: bytes) -> bool:
    try:
        normal_path(target.decode("latin-1"))
    except BadPathError:
        return target == b"" or target.startswith(b"?")
    return True


def _framing(lines: list[tuple[bytes, bytes]], version: tuple[int, int], method: bytes) -> int:
    """What is wrong with where the body is said to end, or with what may be said once, as a status; or 0.

    In nginx' order. nginx: ngx_http_process_request_header()
    """
    said: dict[bytes, bytes] = {}
    for name, value in lines:
        key = name.lower()
        if key in ONCE:
            if key in said:
                return 400
            said[key] = value
    length, coding = said.get(b"content-length"), said.get(b"transfer-encoding")
    if (b"host" not in said and version >= (1, 1)) or (length is not None and not _LENGTH(length)):
        return 400
    if coding is not None:
        if version < (1, 1):
            return 400
        if coding.lower() != b"chunked":
            return 501
        if length is not None:
            return 400
    return 405 if method in (b"TRACE", b"CONNECT") else 0


def _whole(
    method: bytes, place: re.Match[bytes], version: tuple[int, int], lines: list[tuple[bytes, bytes]], size: int
) -> Head | Refused:
    said = next((value for name, value in lines if name.lower() == b"host"), b"")
    wanted = [text.decode("latin-1") for text in (place[1], said) if text is not None]
    if (any(wanted) or version >= (1, 1)) and not all(map(_is_host, wanted)):
        return Refused(400)
    path = place[2] if place[2].startswith(b"/") else b"/" + place[2]
    lines = [line for line in lines if line[0].lower() != b"expect" or line[1].lower() == b"100-continue"]
    kept = [(name, value.strip(b" \t")) for name, value in lines if re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)]
    minor = b"1" if version >= (1, 1) else b"0"
    rows = [b"%s %s HTTP/1.%s" % (method, path, minor), *(b"%s: %s" % line for line in kept)]
    text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in kept]
    clean = b"\r\n".join(rows) + b"\r\n\r\n"
    return Head(method.decode(), path.decode("latin-1"), version, _plain(wanted[0]), text, clean, size)


def _is_host(text: str) -> bool:
    match = _HOST(text)
    return match is not None and ".." not in match[1] and match[1] != "."


def _plain(host: str) -> str:
    """``Shop.Example.com.:8080`` as the name of a server."""
    match = _HOST(host)
    return match[1].removesuffix(".").lower() if match is not None else ""
