"""Programs of one's own that print."""

from __future__ import annotations

import asyncio
import sys


async def ticks() -> None:
    """A line a second; the first time also one on standard error."""
    count = 0
    while True:
        print("tick", count)
        if not count:
            print("no end", file=sys.stderr)
        count += 1
        await asyncio.sleep(1)
