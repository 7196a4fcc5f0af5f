"""What a program is told while it runs: messages (JSON values), in order.

A component that watches the API server hears of changes here when the control plane is `instant`:
each message is a watch event, ``{"type": "ADDED", "object": {…}}``. In the emulator the messages come
by `Cluster.feed`, in the kernel twin by a pipe.

Kubernetes: client-go's watch.Interface
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import ContextVar
from typing import Any


class Feed:
    """Messages for one program. `put` from outside, `get` inside."""

    def __init__(self) -> None:
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
