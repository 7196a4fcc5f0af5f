"""traceroute: which machines does a packet pass? UDP probes whose TTL runs out one hop further each time.

    probe TTL 1 ─▶ first router ─▶ ICMP time exceeded
    probe TTL 2 ─▶ … second router ─▶ ICMP time exceeded
    probe TTL n ─▶ … the host itself ─▶ ICMP port unreachable: done

Shown: `traceroute [-n] HOST`, the output of traceroute 2.1
Linux: IP_RECVERR, ip(7)
Differs: one probe after the other; a real one has sixteen on their way at a time.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from k8semu.apps.icmp import icmp_of, open_probe_socket
from k8semu.wire.addr import ip_ntoa

FIRST_PORT = 33434
PAYLOAD = bytes(range(64, 96))
WAIT = 5.0


class _Probe(asyncio.DatagramProtocol):
    """One probe's answer: who, and whether it was the end."""

    def __init__(self, answer: asyncio.Future[tuple[str, str]]) -> None:
        self.answer = answer

    def error_received(self, exc: Exception) -> None:
        if self.answer.done():
            return
        error = icmp_of(exc) if isinstance(exc, OSError) else None
        if error is None:                        # no answer from anywhere: it could not be sent
            self.answer.set_exception(exc)
            return
        mark = ""
        if error.type == 3:
            mark = {3: "end", 0: "!N", 1: "!H", 2: "!P", 4: f"!F-{error.mtu}", 13: "!X"}.get(error.code, "!")
        self.answer.set_result((ip_ntoa(error.sender), mark))


async def _probe(host: str, ttl: int, port: int, wait: float) -> tuple[str, str, float] | None:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[str, str]] = loop.create_future()
    transport, _ = await open_probe_socket(lambda: _Probe(answer), ttl=ttl)
    try:
        sent = loop.time()
        transport.sendto(PAYLOAD, (host, port))
        sender, mark = await asyncio.wait_for(answer, wait)
        return sender, mark, (loop.time() - sent) * 1000
    except TimeoutError:
        return None
    finally:
        transport.close()


async def _name(address: str, numeric: bool) -> str:
    """``172.17.1.3``, or ``pody (172.17.1.3)``."""
    if numeric:
        return address
    try:
        name = (await asyncio.get_running_loop().getnameinfo((address, 0)))[0]
    except socket.gaierror:
        name = address
    return f"{name} ({address})"


async def traceroute(
    host: str, max_hops: int = 30, queries: int = 3, wait: float = WAIT, numeric: bool = False
) -> dict[str, Any]:
    """Trace the way to `host`: `hops` (address or None per TTL), what is printed, and the exit status."""
    loop = asyncio.get_running_loop()
    try:
        address = str((await loop.getaddrinfo(host, 0, family=socket.AF_INET))[0][4][0])
    except socket.gaierror as error:
        errors = [f"{host}: {error.strerror}", f"Cannot handle \"host\" cmdline arg `{host}' on position 1 (argc 1)"]
        return {"hops": [], "lines": [], "errors": errors, "code": 2}
    lines = [f"traceroute to {host} ({address}), {max_hops} hops max, 60 byte packets"]
    hops: list[str | None] = []
    port = FIRST_PORT
    try:
        for ttl in range(1, max_hops + 1):
            text, seen, done = f"{ttl:2d} ", None, False
            for _ in range(queries):
                result = await _probe(address, ttl, port, wait)
                port += 1
                if result is None:
                    text += " *"
                    continue
                sender, mark, ms = result
                if sender != seen:
                    text += f" {await _name(sender, numeric)}"
                    seen = sender
                text += f"  {ms:.3f} ms" + (f" {mark}" if mark not in ("", "end") else "")
                done = done or bool(mark)
            lines.append(text)
            hops.append(seen)
            if done:
                break
    except OSError as error:
        return {"hops": hops, "lines": lines, "errors": [f"connect: {error.strerror}"], "code": 1}
    return {"hops": hops, "lines": lines, "errors": [], "code": 0}
