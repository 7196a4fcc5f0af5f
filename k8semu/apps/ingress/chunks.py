"""The frames of a chunked body, followed in the bytes as they come, before h11 reads them.

    5;ext=1\\r\\n hello \\r\\n 0\\r\\n Trailer: 1\\r\\n \\r\\n        `total` is 5 as soon as the first line is there

So a body that promises to be too long is refused before it comes, and what nginx takes for a line's end (LF
alone) becomes what h11 takes for one.

nginx: src/http/ngx_http_parse.c ngx_http_parse_chunked()
RFC: 9112 7.1
"""

from __future__ import annotations

import re

import h11

LONGEST_LINE = 4096
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?", re.DOTALL).fullmatch
_SIZE_SO_FAR = re.compile(rb"[0-9a-fA-F]{0,15}[ \t]*(?:;.*)?\r?", re.DOTALL).fullmatch


class Chunks:
    """`total`: bytes that the chunks so far are to have together."""

    def __init__(self) -> None:
        self.total = 0
        self._left = 0
        self._line = bytearray()
        self._expected = "size"  # then "end" of its data; after the last one "trailer", then "nothing"

    def feed(self, data: bytes) -> bytes:
        """The bytes as h11 is to see them. h11.RemoteProtocolError if they are no chunks."""
        out = bytearray()
        at = 0
        while at < len(data) and self._expected != "nothing":
            if self._left:
                part = data[at : at + self._left]
                self._left -= len(part)
                out += part
                at += len(part)
                continue
            end = data.find(b"\n", at)
            part = data[at : end + 1 if end >= 0 else len(data)]
            self._line += part
            at += len(part)
            if end < 0:
                self._check_so_far()
                break
            line = bytes(self._line[:-1]).removesuffix(b"\r")
            self._line.clear()
            self._take(line)
            out += line + b"\r\n"
        return bytes(out) + data[at:]

    def _check_so_far(self) -> None:
        """Complain as soon as a line can become none that fits."""
        line = bytes(self._line)
        fits = {"size": _SIZE_SO_FAR(line) is not None, "end": line in (b"", b"\r")}.get(self._expected, True)
        if not fits or len(line) > LONGEST_LINE:
            raise h11.RemoteProtocolError("no chunk")

    def _take(self, line: bytes) -> None:
        if self._expected == "end":
            if line:
                raise h11.RemoteProtocolError("a chunk is longer than it said")
            self._expected = "size"
        elif self._expected == "trailer":
            self._expected = "trailer" if line else "nothing"
        else:
            match = _SIZE(line)
            if match is None or len(line) > LONGEST_LINE:
                raise h11.RemoteProtocolError("no chunk size")
            self._left = int(match[1], 16)
            self.total += self._left
            self._expected = "end" if self._left else "trailer"
