"""After `101 Switching Protocols`: bytes in both directions, until one side ends.

nginx: src/http/ngx_http_upstream.c ngx_http_upstream_process_upgraded()
"""

from __future__ import annotations

import asyncio
import contextlib

from k8semu.apps.ingress.stream import within

READ = 1 << 16


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes, idle: float) -> None:
    if first:
        writer.write(first)
    with contextlib.suppress(OSError, TimeoutError):
        while data := await within(reader.read(READ), idle):
            writer.write(data)
            await writer.drain()


async def tunnel(
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes],
    backend: tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes], idle: float,
) -> None:  # fmt: skip
    """Pass on what each side says; the bytes with each are what has come of it already."""
    ways = [
        asyncio.ensure_future(_copy(client[0], backend[1], client[2], idle)),
        asyncio.ensure_future(_copy(backend[0], client[1], backend[2], idle)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
