"""Text for a terminal, and the same text plain for a pipe.

A line is a list of (style, text) pieces; styles are names, not colours. rich is only loaded where
there is a terminal to colour: it costs a fifth of a short run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "title": "bold",
    "good": "bold green",
    "bad": "bold red",
    "dim": "dim",
    "name": "cyan",
    "reason": "yellow",
    "place": "magenta",
    "head": "bold underline",
}
Line = list[tuple[str, str]]


class Terminal:
    """Where a command writes to: coloured on a terminal, plain elsewhere."""

    def __init__(self) -> None:
        self._rich: Console | None = None
        self._busy = ""
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.theme import Theme

            self._rich = Console(theme=Theme(STYLES), highlight=False, soft_wrap=True)

    @property
    def is_terminal(self) -> bool:
        return self._rich is not None

    def line(self, *pieces: tuple[str, str] | str) -> None:
        """Write one line of pieces: text, or (style, text)."""
        self._wipe()
        if self._rich is None:
            sys.stdout.write("".join(piece if isinstance(piece, str) else piece[1] for piece in pieces) + "\n")
            return
        from rich.text import Text

        text = Text()
        for piece in pieces:
            if isinstance(piece, str):
                text.append(piece)
            else:
                text.append(piece[1], style=piece[0] or None)
        self._rich.print(text)

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Say on a terminal what goes on, in a line that goes away with the next; nothing elsewhere."""
        if self._rich is not None:
            self._wipe()
            self._busy = f"{what} …"[:79]
            sys.stdout.write(self._busy)
            sys.stdout.flush()
        try:
            yield
        finally:
            self._wipe()

    def _wipe(self) -> None:
        if self._busy:
            sys.stdout.write(f"\r{' ' * len(self._busy)}\r")
            sys.stdout.flush()
            self._busy = ""

    def block(self, text: str, style: str = "", indent: int = 0) -> None:
        """Write lines as they are."""
        for row in text.splitlines():
            self.line((style, " " * indent + row))


def error(message: str) -> None:
    """One clear line on standard error."""
    sys.stderr.write(f"k8semu: {message}\n")
