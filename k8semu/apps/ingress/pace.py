"""How fast an answer goes out: `limit-rate`, after the first `limit-rate-after` kilobytes.

nginx:   src/http/ngx_http_write_filter_module.c ngx_http_write_filter()
Differs: whole seconds are those since the request, and not the clock's: so the pieces are the same in every run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Pace:
    """`rate` in bytes a second, `after` in bytes, `began`: the loop's time when the request came."""

    def __init__(self, rate: int, after: int, began: float) -> None:
        self.rate, self.after, self.began = rate, after, began
        self._sent = 0

    async def write(self, data: bytes, out: Callable[[bytes], Awaitable[None]]) -> None:
        """Hand `data` to `out`, in pieces, each when it is due."""
        while data:
            elapsed = asyncio.get_running_loop().time() - self.began
            most = self.rate * (int(elapsed) + 1) - (self._sent - self.after)
            if most <= 0:
                await asyncio.sleep(1.001 - elapsed % 1)
                continue
            piece, data = data[:most], data[most:]
            await out(piece)
            over = max(0, self._sent + len(piece) - self.after) - max(0, self._sent - self.after)
            self._sent += len(piece)
            if over and data:
                await asyncio.sleep(over / self.rate)
