"""The words of a command line as getopt(3) reads them: -c 3, -c3, -nq1, --max-time 3, --max-time=3.

Linux: getopt_long(3)
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class BadOption(Exception):
    """`problem` is ``unknown`` or ``value``, `option` without its dashes; `long` if it had two."""

    def __init__(self, problem: str, option: str, long: bool) -> None:
        super().__init__(f"{problem} {option}")
        self.problem, self.option, self.long = problem, option, long


class Words(msgspec.Struct):
    """`options` by their short letter, each with its values ('' for one without); `rest` are the others."""

    options: dict[str, list[str]] = {}
    rest: list[str] = []

    def last(self, option: str) -> str | None:
        """The value that counts: the last one."""
        return self.options[option][-1] if option in self.options else None


def split(argv: list[str], flags: str, valued: str, long: Mapping[str, str]) -> Words:
    """Read a command line: letters of `flags` stand alone, those of `valued` take a value."""
    found = Words()
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            found.rest += words
            break
        if word.startswith("--"):
            name, given, value = word[2:].partition("=")
            if name not in long:
                raise BadOption("unknown", name, True)
            _take(found, long[name], value if given else None, words, valued, name)
        elif word.startswith("-") and len(word) > 1:
            _short(found, word[1:], words, flags, valued)
        else:
            found.rest.append(word)
    return found


def _short(found: Words, letters: str, words: list[str], flags: str, valued: str) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in valued:
            _take(found, letter, letters or None, words, valued, "")
            return
        if letter not in flags:
            raise BadOption("unknown", letter, False)
        _take(found, letter, None, words, valued, "")


def _take(found: Words, letter: str, value: str | None, words: list[str], valued: str, long: str) -> None:
    if letter in valued and value is None:
        if not words:
            raise BadOption("value", long or letter, bool(long))
        value = words.pop(0)
    found.options.setdefault(letter, []).append(value or "")
