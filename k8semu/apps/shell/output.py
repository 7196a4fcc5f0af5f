"""What a command says: an exit status and its text (stdout and stderr as a terminal shows them)."""

from __future__ import annotations

import msgspec


class Output(msgspec.Struct, frozen=True):
    """`code` as the shell sees it; `text` ends with a newline unless empty."""

    text: str
    code: int = 0


class UsageError(Exception):
    """The words are not ones the program takes; its message and exit status."""

    def __init__(self, text: str, code: int = 255) -> None:
        super().__init__(text)
        self.output = Output(text + "\n", code)


def lines(rows: list[str]) -> Output:
    """One line each."""
    return Output("".join(row + "\n" for row in rows))


def choose(word: str, among: list[str]) -> str | None:
    """The name that `word` abbreviates, as iproute2 matches words: the first that starts with it."""
    return next((name for name in among if word and name.startswith(word)), None)
