"""What a program is told while it runs: messages (JSON values), in order.

A component that watches the API server hears of changes here when the control plane is `instant`:
each message is a watch event, ``{"type": "ADDED", "object": {…}}``. In the emulator the messages come
by `Cluster.feed`, in the kernel twin by a pipe.

The other way round, `report` has whoever feeds a program hear something of it (a load balancer's controller hears
which backends are well). In the kernel twin nobody listens: what followed from it in the emulator is in the journal.

Kubernetes: client-go's watch.Interface
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any


class Feed:
    """Messages for one program. `put` from outside, `get` inside; `reported` is told what the program reports."""

    def __init__(self) -> None:
        self.reported: Callable[[Any], None] | None = None
        self._messages: deque[Any] = deque()
        self._waiting: asyncio.Future[None] | None = None

    def put(self, message: Any) -> None:
        self._messages.append(message)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def get(self) -> Any:
        """The next message, as soon as there is one."""
        while not self._messages:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self._messages.popleft()


current_feed: ContextVar[Feed] = ContextVar("current_feed")


async def next_message() -> Any:
    """The next message to this program."""
    return await current_feed.get().get()


def report(message: Any) -> None:
    """Have the one who feeds this program hear something (JSON values)."""
    reported = current_feed.get().reported
    if reported is not None:
        reported(message)
