"""The words of `nft -f`, and where each stands.

Linux: nftables src/scanner.l
"""

from __future__ import annotations

import re

import msgspec

from k8semu.errors import CommandError

_TOKEN = re.compile(
    r"""[ \t]*(?:
        (?P<dot>\.(?![\w/\-.]))
      | (?P<word>[A-Za-z_.][\w/\-.]*\*?)
      | (?P<op>!=|==|<=|>=|<<|>>|[{}();:,=<>&|^!/@*$+-])
      | (?P<ip>\d+\.\d+\.\d+\.\d+(?![\w.]))
      | (?P<newline>\n)
      | (?P<time>(?:\d+(?:ms|[dhms]))+(?![\w]))
      | (?P<num>0x[0-9a-fA-F]+(?![\w])|\d+(?![\w.]))
      | (?P<odd>\d[\w/.]*)
      | (?P<quoted>"[^"\n]*")
      | (?P<skip>\\\n|\#[^\n]*|\Z)
      | (?P<junk>.)
    )""",
    re.VERBOSE,
)
_AS = {"dot": "op", "odd": "word"}


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


def as_command_error(error: NftError, text: str, above: int = 0) -> CommandError:
    """The error as nft prints it: file, line, columns, the line itself and what in it is wrong.

    `above`: how many lines stand before the first that the error's words count.
    """
    at = error.at
    number = at.line + above
    last = error.to.last if error.to.line == at.line else at.last
    lines = text.split("\n")
    line = lines[number - 1] if number <= len(lines) else lines[-1]
    marks = " " * (at.first - 1) + "^" * max(1, last - at.first + 1)
    if error.beside is not None and error.beside[1].last < at.first:
        first, before = error.beside[0].first, error.beside[1].last
        marks = " " * (first - 1) + "~" * (before - first + 1) + marks[before:]
    return CommandError(f"/dev/stdin:{number}:{at.first}-{last}: Error: {error.message}\n{line}\n{marks}")


def tokens(text: str) -> list[Token]:
    """The words of a text, ending with one of kind `end`."""
    found: list[Token] = []
    line, start, end = 1, 0, len(text)
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        assert kind is not None
        word = match[kind]
        last = match.end() - start
        first = last - len(word) + 1
        if kind == "word" or kind == "op":
            found.append(Token(kind, word, line, first, last))
        elif kind == "newline":
            found.append(Token(kind, word, line, first, last))
            line, start = line + 1, match.end()
        elif kind == "skip":
            if word[:1] == "\\":
                line, start = line + 1, match.end()
        elif kind == "junk":
            raise NftError(Token(kind, word, line, first, last), "syntax error, unexpected junk")
        else:
            found.append(Token(_AS.get(kind, kind), word[1:-1] if kind == "quoted" else word, line, first, last))
    column = 1 if start == end else end - start + 1
    found.append(Token("end", "", line, column, column))
    return found
