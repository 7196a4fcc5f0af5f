"""The words of `nft -f`, and where each stands.

Linux: nftables src/scanner.l
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from k8semu.errors import CommandError

_TOKEN = re.compile(
    r"""(?P<space>[ \t]+|\\\n|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<quoted>"[^"\n]*")
      | (?P<ip>\d+\.\d+\.\d+\.\d+(?![\w.]))
      | (?P<time>(?:\d+(?:ms|[dhms]))+(?![\w]))
      | (?P<num>0x[0-9a-fA-F]+(?![\w])|\d+(?![\w.]))
      | (?P<dot>\.(?![\w/\-.]))
      | (?P<word>[A-Za-z_.][\w/\-.]*\*?|\d[\w/.]*)
      | (?P<op>!=|==|<=|>=|<<|>>|[{}();:,.=<>&|^!/@*$+-])
      | (?P<junk>.)""",
    re.VERBOSE,
)


class Token(msgspec.Struct, frozen=True, gc=False):
    """One word. `kind`: word, num, ip, time, quoted, op, newline, end. `text` is without quotes.

    `line` counts from 1; `first` and `last` are columns, from 1.
    """

    kind: str
    text: str
    line: int
    first: int
    last: int

    @property
    def after(self) -> Token:
        """The word and what ends its line: nft counts that too where a whole command is wrong."""
        return Token(self.kind, self.text, self.line, self.first, self.last + 1)


class NftError(Exception):
    """A text that nft refuses: where (from `at` up to `to`), and why in its words."""

    def __init__(
        self, at: Token, message: str, to: Token | None = None, beside: tuple[Token, Token] | None = None
    ) -> None:
        super().__init__(message)
        self.at = at
        self.to = to or at
        self.message = message
        self.beside = beside  # what it does not go with


def as_command_error(error: NftError, text: str) -> CommandError:
    """The error as nft prints it: file, line, columns, the line itself and what in it is wrong."""
    at = error.at
    last = error.to.last if error.to.line == at.line else at.last
    lines = text.split("\n")
    line = lines[at.line - 1] if at.line <= len(lines) else ""
    if at.kind == "end" and at.line > len(lines):
        line = lines[-1]
    marks = " " * (at.first - 1) + "^" * max(1, last - at.first + 1)
    if error.beside is not None and error.beside[1].last < at.first:
        first, before = error.beside[0].first, error.beside[1].last
        marks = " " * (first - 1) + "~" * (before - first + 1) + marks[before:]
    return CommandError(f"/dev/stdin:{at.line}:{at.first}-{last}: Error: {error.message}\n{line}\n{marks}")


def tokens(text: str) -> Iterator[Token]:
    """The words of a text, ending with one of kind `end`."""
    line, start = 1, 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        at = match.start()
        if kind == "newline":
            yield Token("newline", "\n", line, at - start + 1, at - start + 1)
            line, start = line + 1, match.end()
        elif kind == "space":
            if "\n" in match[0]:
                line, start = line + 1, match.end()
        elif kind == "junk":
            here = Token("junk", match[0], line, at - start + 1, at - start + 1)
            raise NftError(here, "syntax error, unexpected junk")
        else:
            assert kind is not None
            kind = "op" if kind == "dot" else kind
            word = match[0][1:-1] if kind == "quoted" else match[0]
            yield Token(kind, word, line, at - start + 1, match.end() - start)
    yield Token("end", "", line, 1 if start == len(text) else len(text) - start + 1, 1)
