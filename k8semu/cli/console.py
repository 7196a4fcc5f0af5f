"""Text for a terminal, and the same text plain for a pipe.

A line is a list of (style, text) pieces; styles are names, not colours. rich is only loaded where
there is a terminal to colour: it costs a fifth of a short run.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from k8semu.errors import OutputError

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
    "note": "dim",
    "look": "none",
}
PROSE = ("note", "look", "reason")
"""Styles of sentences, which a terminal is given in lines of its width; all else it breaks by itself, so that
what is copied from it is one line."""
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

    def line(self, *pieces: tuple[str, str] | str) -> None:
        """Write one line of pieces: text, or (style, text)."""
        self._wipe()
        if self._rich is None:
            sys.stdout.write("".join(piece if isinstance(piece, str) else piece[1] for piece in pieces) + "\n")
            return
        *lead, last = pieces or ("",)
        if not isinstance(last, str) and last[0] in PROSE:
            before = "".join(piece if isinstance(piece, str) else piece[1] for piece in lead)
            first, *rest = _wrapped(last[1], self._rich.width - len(before))
            self._print((*lead, (last[0], first)))
            for row in rest:
                self._print((" " * len(before), (last[0], row)))
            return
        self._print(pieces)

    def _print(self, pieces: tuple[tuple[str, str] | str, ...]) -> None:
        from rich.text import Text

        assert self._rich is not None
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


class StandardOutput(io.TextIOWrapper):
    """Standard output of this process: what it cannot take is an OutputError, not one of many places' OSErrors.

    What its encoding has no letter for is printed as `?`: a story has lines and arrows, and Latin-1 has none.
    """

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as exc:
            raise OutputError(exc) from exc

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as exc:
            raise OutputError(exc) from exc

    def give_up(self) -> None:
        """Nothing more can be written: whatever is still held back, and what follows, goes nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def take_streams() -> None:
    """Make this process' standard streams ones that fail in a line; before anything is printed.

    Raises OutputError where there is no standard output at all (`>&-`).
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  (for as long as the process lives)
    old = sys.stdout
    if old is None:
        raise OutputError(OSError(errno.EBADF, os.strerror(errno.EBADF)))
    if isinstance(old, io.TextIOWrapper):
        line, through = old.line_buffering, old.write_through
        sys.stdout = StandardOutput(
            old.detach(), old.encoding, "replace", line_buffering=line, write_through=through
        )


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words; one that is too long stands alone."""
    import textwrap

    return textwrap.wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False) or [""]


def error(message: str) -> None:
    """One clear line on standard error."""
    complain(f"k8semu: {message}\n")


def complain(text: str) -> None:
    """Write to standard error; what it cannot take is lost, as nobody can be told."""
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
