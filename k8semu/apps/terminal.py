"""What a program in the background has printed so far, as its terminal shows it.

In the emulator a step can look at it while the program goes on; in the kernel twin, when it has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any


class Terminal:
    """Standard output and standard error, each as text."""

    access: Callable[..., None] | None = None
    """Where a server writes its access log, with what an `Access` has; None: nobody reads it."""

    def __init__(self) -> None:
        self.output: list[str] = []
        self.errors: list[str] = []
        self._waiting: asyncio.Future[None] | None = None

    def print(self, line: str) -> None:
        self.write(f"{line}\n")

    def write(self, text: str) -> None:
        """On standard output."""
        self.output.append(text)
        self._wake()

    def error(self, line: str) -> None:
        """A line on standard error."""
        self.errors.append(f"{line}\n")
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def first_word(self) -> None:
        """Until there is something to read."""
        if not self.output and not self.errors:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting

    @property
    def shown(self) -> str:
        """What is to be read: the errors last."""
        return "".join(self.output) + "".join(self.errors)

    def result(self, code: int) -> dict[str, Any]:
        """What a command returns (JSON values)."""
        return {"output": "".join(self.output), "errors": "".join(self.errors), "code": code}


current_terminal: ContextVar[Terminal | None] = ContextVar("current_terminal", default=None)


def terminal() -> Terminal:
    """The program's own; a new one where it has none."""
    found = current_terminal.get()
    if found is None:
        found = Terminal()
        current_terminal.set(found)
    return found
