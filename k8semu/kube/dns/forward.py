"""Ask another server: what is not the cluster's name goes to the servers of the node's resolv.conf.

    UDP for a question that came by UDP, TCP for one that came by TCP; 2 s for an answer, 5 s in all
    a server that failed is asked for ``. NS`` every 0.5 s until it answers; failed twice, it counts as down

Kubernetes: coredns plugin/forward, plugin/pkg/proxy
Differs: a connection of its own for each question (CoreDNS keeps them for 10 s); at most two attempts
    fail at once (`max_connect_attempts 2`), since a refused port answers without any delay.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import Any

from msgspec.structs import replace

from k8semu.kube.dns.message import QR, RD, FormatError, Message, Question, Type, build, parse
from k8semu.kube.dns.names import ROOT, lower
from k8semu.kube.dns.plugins import DrawBits

READ_TIMEOUT, DEADLINE = 2.0, 5.0
PROBE_INTERVAL, PROBE_TIMEOUT, MAX_FAILS = 0.5, 1.0, 2
MAX_ATTEMPTS = 2
MAX_CONCURRENT = 1000


class ForwardError(Exception):
    """No server answered."""


class TooManyError(ForwardError):
    """More questions wait for an answer than `max_concurrent` allows."""


class _Ask(asyncio.DatagramProtocol):
    """One question by UDP: the first message with its id is the answer."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        with contextlib.suppress(FormatError):
            message = parse(data)
            if message.id == self.number and message.flags & QR and not self.answer.done():
                self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def exchange_udp(server: tuple[str, int], query: Message, timeout: float) -> bytes:
    """One question, one answer, which `parse` takes; OSError, TimeoutError."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Ask(query.id), remote_addr=server)
    try:
        transport.sendto(build(query))
        return await asyncio.wait_for(protocol.answer, timeout)
    finally:
        transport.close()
        protocol.answer.cancel()


async def exchange_tcp(server: tuple[str, int], query: Message, timeout: float) -> bytes:
    """The same by TCP; OSError, TimeoutError. Any bytes."""

    async def exchange() -> bytes:
        reader, writer = await asyncio.open_connection(*server)
        try:
            raw = build(query)
            writer.write(struct.pack("!H", len(raw)) + raw)
            [size] = struct.unpack("!H", await reader.readexactly(2))
            return await reader.readexactly(size)
        except asyncio.IncompleteReadError:
            raise ConnectionResetError("the server closed the connection") from None
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    return await asyncio.wait_for(exchange(), timeout)


async def ask_udp(server: tuple[str, int], query: Message, timeout: float) -> Message:
    """One question, one answer; OSError, TimeoutError."""
    return parse(await exchange_udp(server, query, timeout))


async def ask_tcp(server: tuple[str, int], query: Message, timeout: float) -> Message:
    """The same by TCP; OSError, TimeoutError, FormatError."""
    return parse(await exchange_tcp(server, query, timeout))


class Upstream:
    """One server, and how it does."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.fails = 0
        self.probe: asyncio.Task[None] | None = None

    @property
    def down(self) -> bool:
        return self.fails >= MAX_FAILS


class Forward:
    """The servers, asked in random order."""

    def __init__(self, servers: list[tuple[str, int]], draw: DrawBits) -> None:
        self.upstreams = [Upstream(server) for server in servers]
        self._draw = draw
        self._waiting = 0

    async def ask(self, request: Message, tcp: bool) -> Message:
        """The answer of one of them, with the request's id; ForwardError."""
        if self._waiting >= MAX_CONCURRENT:
            raise TooManyError(f"more than {MAX_CONCURRENT} questions at a time")
        self._waiting += 1
        try:
            return await self._ask(request, tcp)
        finally:
            self._waiting -= 1

    def _order(self) -> list[Upstream]:
        """The servers that are up, then (when all are down) any of them."""
        order = list(self.upstreams)
        for i in range(len(order) - 1):
            j = i + self._draw() % (len(order) - i)
            order[i], order[j] = order[j], order[i]
        return [upstream for upstream in order if not upstream.down] or order[:1]

    async def _ask(self, request: Message, tcp: bool) -> Message:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DEADLINE
        refused = 0
        while self.upstreams and loop.time() < deadline and refused < MAX_ATTEMPTS * len(self.upstreams):
            for upstream in self._order():
                query = replace(request, id=self._draw())
                started = loop.time()
                try:
                    answer = await (ask_tcp if tcp else ask_udp)(upstream.server, query, READ_TIMEOUT)
                except (OSError, TimeoutError, FormatError):
                    refused += loop.time() - started < READ_TIMEOUT
                    self._suspect(upstream)
                    if loop.time() >= deadline:
                        break
                else:
                    return self._checked(request, replace(answer, id=request.id))
        raise ForwardError("no upstream answers")

    def _checked(self, request: Message, answer: Message) -> Message:
        asked, answered = request.questions[0], answer.questions[:1]
        same = answered and (lower(answered[0].name), answered[0].rtype) == (lower(asked.name), asked.rtype)
        if not same:
            raise ForwardError("an upstream answers another question")
        return answer

    # --- health -------------------------------------------------------------------------------

    def _suspect(self, upstream: Upstream) -> None:
        if upstream.probe is None or upstream.probe.done():
            upstream.probe = asyncio.get_running_loop().create_task(self._probe(upstream))

    async def _probe(self, upstream: Upstream) -> None:
        """Ask until it answers."""
        while True:
            query = Message(self._draw(), RD, (Question(ROOT, Type.NS),))
            try:
                await ask_udp(upstream.server, query, PROBE_TIMEOUT)
            except (OSError, TimeoutError):
                upstream.fails += 1
                await asyncio.sleep(PROBE_INTERVAL)
            else:
                upstream.fails = 0
                return

    def close(self) -> None:
        for upstream in self.upstreams:
            if upstream.probe is not None:
                upstream.probe.cancel()
