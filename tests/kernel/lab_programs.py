"""Programs for tests of the kernel twin."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

from k8semu.apps.device import DeviceProtocol, connect_tun
from k8semu.apps.feed import next_message


async def listen(port: int) -> None:
    """Hold a port until cancelled."""
    server = await asyncio.start_server(lambda r, w: None, "0.0.0.0", port)
    await server.serve_forever()


async def knock(port: int) -> str:
    """'open', or the error's name."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        return type(error).__name__
    writer.close()
    return "open"


async def parrot(port: int) -> None:
    """Answer every connection with what the program was last told; crash when told to."""
    told = ["nothing yet"]

    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(told[-1]).encode())
        writer.close()

    async with await asyncio.start_server(answer, "0.0.0.0", port):
        while told[-1] != "crash":
            told.append(await next_message())
    raise RuntimeError("as told")


async def hear(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    text = (await reader.read()).decode()
    writer.close()
    return text


async def resolve(name: str) -> str:
    loop = asyncio.get_running_loop()
    return str((await loop.getaddrinfo(name, 80, family=socket.AF_INET))[0][4][0])


async def greet(host: str, timeout: float) -> str:
    """Call a host for a while; the error's name."""
    try:
        async with asyncio.timeout(timeout):
            await asyncio.open_connection(host, 80)
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    return "open"


async def pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def crash(after: float = 0.0) -> None:
    if after:
        await asyncio.sleep(after)
    raise RuntimeError("on purpose")


async def devices() -> list[str]:
    return sorted(path.name for path in Path("/sys/class/net").iterdir())


async def read(path: str) -> str:
    return Path(path).read_text().strip()


async def echo_tun(name: str) -> None:
    """Send back what a tun device is given, addresses exchanged."""

    class Echo(DeviceProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def packet_received(self, data: bytes) -> None:
            self.transport.send(data[:12] + data[16:20] + data[12:16] + data[20:])

    await connect_tun(Echo, name)
    await asyncio.get_running_loop().create_future()


async def send_udp(host: str, port: int, text: str) -> str:
    loop = asyncio.get_running_loop()
    answer = loop.create_future()

    class Waits(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            answer.set_result(data.decode())

    transport, _ = await loop.create_datagram_endpoint(Waits, ("10.0.0.1", port))
    transport.sendto(text.encode(), (host, port))
    try:
        return str(await asyncio.wait_for(answer, 5))
    finally:
        transport.close()


async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "awake"
