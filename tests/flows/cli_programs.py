"""Programs of tests: most end the process that plays the scenario, in the middle of it."""

from __future__ import annotations

import asyncio
import os
import signal


async def _end_by(number: signal.Signals) -> None:
    await asyncio.sleep(0.001)          # simulated: the cluster stands, the capture has begun
    os.kill(os.getpid(), number)
    for _ in range(1_000_000):          # a Ctrl-C that comes outside of k8semu's code comes again a moment later
        await asyncio.sleep(0)


async def interrupt() -> None:
    """As Ctrl-C."""
    await _end_by(signal.SIGINT)


async def interrupt_while_serving() -> None:
    """As Ctrl-C, while a connection is answered."""
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 80)
    await asyncio.open_connection("127.0.0.1", 80)
    await server.serve_forever()


class _Ending:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):       # Python looks for signals while it runs Python
            pass


async def interrupt_in_a_finalizer() -> None:
    """As Ctrl-C, where Python can raise nothing."""
    await asyncio.sleep(0.001)
    _Ending()
    for _ in range(100_000):
        await asyncio.sleep(0)


async def kill() -> None:
    """As `kill -9`."""
    await _end_by(signal.SIGKILL)


async def terminate() -> None:
    """As `kill`."""
    await _end_by(signal.SIGTERM)


async def crash() -> None:
    """A fault of its own."""
    await asyncio.sleep(0.001)
    raise RuntimeError("out of coffee")


async def speak_late(host: str, port: int, after: float) -> dict[str, str]:
    """Say a word some time after connecting; how the connection ended."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        await asyncio.sleep(after)
        writer.write(b"hello")
        await reader.read()
        await asyncio.sleep(0.05)                  # a reset would come after the end,
        writer.write(b"!")                         # and be noticed by who writes
        return {"ended": "reset" if writer.transport.is_closing() else "in order"}
    finally:
        writer.close()
