"""What a command says: an exit status, its standard output, and its standard error."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Output(msgspec.Struct, frozen=True):
    """`code` as the shell sees it; `text` and `errors` end with a newline unless empty."""

    text: str
    code: int = 0
    errors: str = ""

    @property
    def shown(self) -> str:
        """What is to be read on a terminal: the errors last."""
        return self.text + self.errors


class UsageError(Exception):
    """The words are not ones the program takes; its message and exit status."""

    def __init__(self, text: str, code: int = 255) -> None:
        super().__init__(text)
        self.output = Output("", code, text + "\n")


def lines(rows: Sequence[str]) -> Output:
    """One line each."""
    return Output("".join(row + "\n" for row in rows))


def choose(word: str, among: Sequence[str]) -> str | None:
    """The name that `word` abbreviates, as iproute2 matches words: the first that starts with it."""
    return next((name for name in among if word and name.startswith(word)), None)
