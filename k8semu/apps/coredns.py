"""CoreDNS: the cluster's DNS server, an asyncio program on UDP and TCP port 53.

    watch events ─▶ ClusterState        question ─▶ loadbalance ─▶ cache ─▶ kubernetes ─▶ forward ─▶ reply

It listens once it has heard the whole list of objects (or after 5 s: then it answers SERVFAIL where
it cannot know that a name is not there). Whatever bytes come, it goes on.

Kubernetes: coredns core/dnsserver/server.go ServeDNS(), plugin/{ready,health,metrics}; github.com/miekg/dns server.go
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from functools import partial
from random import Random
from typing import Any, Literal

from msgspec.structs import replace

from k8semu.apps.watch import watch_events
from k8semu.errors import InputError
from k8semu.kube.dns.forward import Forward, ForwardError, TooManyError, ask_udp
from k8semu.kube.dns.message import (
    AA,
    IN,
    MAX_SIZE,
    MIN_SIZE,
    OPCODE,
    QR,
    RD,
    Edns,
    FormatError,
    Message,
    Question,
    Rcode,
    build,
    fit,
    parse,
    read_header,
)  # fmt: skip
from k8semu.kube.dns.metrics import Metrics
from k8semu.kube.dns.names import Name, parse_name
from k8semu.kube.dns.plugins import Cache, DrawBits, LoopGuard, reply_to, round_robin, with_edns
from k8semu.kube.dns.records import Answer, ClusterZone, ZoneOptions
from k8semu.kube.dns.state import ClusterState

IDLE_TIMEOUT = 10.0
"""Seconds that a TCP connection may stay without a question."""
CHAOS = 3
LOOP_DELAY, LOOP_GUARD_TIME = 2.0, 30.0
WATCHED = ("Namespace", "Service", "EndpointSlice")


class _Refused(Exception):
    """No reply was made: the server says `rcode` itself."""

    def __init__(self, rcode: int) -> None:
        super().__init__(rcode)
        self.rcode = rcode


class DnsServer:
    """The chain of plugins. `answer` takes any bytes, and returns what is to be sent, or None."""

    def __init__(self, zone: ClusterZone, cache: Cache | None, forward: Forward, random: Random) -> None:
        self.zone, self.cache, self.forward = zone, cache, forward
        self.draw: DrawBits = partial(random.getrandbits, 16)
        self.guard = LoopGuard(self.draw)
        self.metrics = Metrics()
        self.loop_found: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def answer(self, data: bytes, tcp: bool) -> bytes | None:
        """What to send back. Kubernetes: github.com/miekg/dns acceptfunc.go, server.go serveDNS()."""
        header = read_header(data)
        if header is None or header[1] & QR:
            return None     # no header, or somebody's answer: whoever sends that gets nothing
        number, flags, questions, answers, authority, additional = header
        opcode = flags >> 11 & 0xF
        if opcode not in (0, 4):
            return build(Message(number, _error_flags(flags, Rcode.NOTIMP)))
        if questions != 1 or answers > 1 or authority > 1 or additional > 2:
            return build(Message(number, _error_flags(flags & ~OPCODE, Rcode.FORMERR)))
        try:
            request = parse(data)
        except FormatError as error:
            asked = error.message.questions if error.message is not None else ()
            return build(Message(number, _error_flags(flags & ~OPCODE, Rcode.FORMERR), asked))
        reply = await self.respond(request, tcp)
        self.metrics.answered(request, reply, tcp)
        size = MAX_SIZE if tcp else max(request.edns.size if request.edns is not None else 0, MIN_SIZE)
        return fit(reply, size)

    def page(self) -> str:
        """What Prometheus is told."""
        return self.metrics.text(len(self.cache) if self.cache is not None else 0)

    async def respond(self, request: Message, tcp: bool) -> Message:
        """The reply to a message that is well formed."""
        if not request.questions:
            return with_edns(request, reply_to(request, Rcode.SERVFAIL))
        if request.edns is not None and request.edns.version != 0:
            reply = reply_to(request, 0)
            return replace(reply, edns=Edns(request.edns.size, request.edns.do, 0, Rcode.BADVERS >> 4))
        try:
            if request.questions[0].rclass not in (IN, CHAOS):
                raise _Refused(Rcode.REFUSED)
            reply = round_robin(await self._cached(request, tcp), self.draw)
        except _Refused as refused:
            reply = reply_to(request, refused.rcode)
        return with_edns(request, reply)

    async def _cached(self, request: Message, tcp: bool) -> Message:
        if self.cache is None:
            return await self._uncached(request, tcp)
        loop = asyncio.get_running_loop()
        known = self.cache.get(request, loop.time())
        self.metrics.cached(known)
        if known is not None:
            return known
        return self.cache.put(request, await self._uncached(request, tcp), loop.time())

    async def _uncached(self, request: Message, tcp: bool) -> Message:
        question = request.questions[0]
        answer = self.zone.answer(question)
        if answer is None or answer.through:
            return await self._forwarded(request, tcp)
        if answer.rcode == Rcode.REFUSED:
            raise _Refused(answer.rcode)
        if answer.chase is not None:
            answer = await self._chased(question, answer, tcp)
        return reply_to(
            request, AA | answer.rcode, answers=answer.answers, authority=answer.authority,
            additional=answer.additional,
        )  # fmt: skip

    async def _chased(self, question: Question, answer: Answer, tcp: bool) -> Answer:
        """The records behind an ExternalName; the CNAME alone, where nothing or only an error comes from there.

        Kubernetes: github.com/coredns/coredns plugin/backend_lookup.go A(), plugin/pkg/upstream Lookup()
        """
        assert answer.chase is not None
        asked = Message(self.draw(), RD, (Question(answer.chase, question.rtype),))
        try:
            found = await self._cached(asked, tcp)
        except _Refused:
            return replace(answer, chase=None)
        return replace(answer, answers=(*answer.answers, *found.answers), chase=None)

    async def _forwarded(self, request: Message, tcp: bool) -> Message:
        if self.guard.sees(request.questions[0]) and not self.loop_found.done():
            self.loop_found.set_result(None)
        try:
            return await self.forward.ask(request, tcp)
        except TooManyError:
            raise _Refused(Rcode.REFUSED) from None
        except ForwardError:
            raise _Refused(Rcode.SERVFAIL) from None


def _error_flags(flags: int, rcode: int) -> int:
    return (flags | QR) & ~(AA | 0xF) | rcode


# --- sockets ------------------------------------------------------------------------------------


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer, tasks: asyncio.TaskGroup) -> None:
        self.server, self.tasks = server, tasks
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.tasks.create_task(self._serve(data, addr))

    async def _serve(self, data: bytes, addr: Any) -> None:
        reply = await self.server.answer(data, tcp=False)
        if reply is not None:
            self.transport.sendto(reply, addr)


async def _serve_tcp(server: DnsServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Questions on one connection, one after another."""
    try:
        while True:
            [size] = struct.unpack("!H", await asyncio.wait_for(reader.readexactly(2), IDLE_TIMEOUT))
            reply = await server.answer(await asyncio.wait_for(reader.readexactly(size), IDLE_TIMEOUT), tcp=True)
            if reply is None:
                break
            writer.write(struct.pack("!H", len(reply)) + reply)
            await writer.drain()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


class _Http(asyncio.Protocol):
    """`/ready` and `/health`: a status and a word; `/metrics`: what `page` says."""

    def __init__(self, path: bytes, state: ClusterState | None, page: Callable[[], str] | None = None) -> None:
        self.path, self.state, self.page = path, state, page
        self.got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.got = (self.got + data)[:8192]
        if b"\r\n\r\n" not in self.got:
            return
        words = self.got.split(b"\r\n", 1)[0].split(b" ")
        status, body = b"200 OK", b"OK"
        if len(words) < 2 or words[1].partition(b"?")[0] != self.path:
            status, body = b"404 Not Found", b"404 page not found\n"
        elif self.state is not None and not self.state.synced:
            status, body = b"503 Service Unavailable", b"kubernetes"
        elif self.page is not None:
            body = self.page().encode()
        head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close"
        self.transport.write(head % (status, len(body)) + b"\r\n\r\n" + body)
        self.transport.close()


# --- the program --------------------------------------------------------------------------------


async def _watch(zone: ClusterZone, events: AsyncIterator[Any], listed: asyncio.Event) -> None:
    """Keep the state up to date; the SOA's serial is the second of the last change."""
    loop = asyncio.get_running_loop()
    started, state = loop.time(), zone.state
    async for event in events:
        before = state.changed
        state.take(event)
        if state.changed != before:
            zone.serial = zone.options.epoch + int(loop.time() - started)
        if state.synced:
            listed.set()


async def _look_for_loop(server: DnsServer, port: int) -> None:
    """Ask ourselves for a name that nobody knows, until that is answered; soon after, the guard goes to sleep.

    Kubernetes: coredns plugin/loop/setup.go
    """
    now = asyncio.get_running_loop().time
    deadline = now() + LOOP_GUARD_TIME
    while now() < deadline:
        with contextlib.suppress(OSError, TimeoutError):
            await ask_udp(("127.0.0.1", port), Message(server.draw(), RD, (server.guard.question,)), 6.0)
            break
        await asyncio.sleep(LOOP_DELAY)
    await asyncio.sleep(LOOP_DELAY)
    server.guard.on = False


async def _loop_found(server: DnsServer) -> None:
    await server.loop_found
    raise InputError('Loop detected for zone "."', hint="an upstream of this server forwards to it again")


def _server_address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return host, int(port or 53)


async def coredns(
    zone: str = "cluster.local", ttl: int = 30, pods: Literal["disabled", "insecure", "verified"] = "insecure",
    upstreams: list[str] | None = None, seed: int = 1, address: str = "0.0.0.0", port: int = 53,
    ready_port: int = 8181, health_port: int = 8080, metrics_port: int = 9153, local: list[str] | None = None,
    cache: int = 30, cache_disable: list[str] | None = None, endpoint_pod_names: bool = False, loop: bool = True,
    startup_timeout: float = 5.0, epoch: int = 1_767_225_600, api: str = "",
) -> None:  # fmt: skip
    """Serve until cancelled. `local`: the server's own addresses; `cache` 0: none; `upstreams`: ``10.0.0.1[:53]``."""
    reverse: tuple[Name, ...] = ((b"in-addr", b"arpa"), (b"ip6", b"arpa"))
    options = ZoneOptions(
        zones=(parse_name(zone.lower()), *reverse), fallthrough=reverse, pods=pods, ttl=ttl,
        endpoint_pod_names=endpoint_pod_names, local=tuple(local or ()), epoch=epoch,
    )  # fmt: skip
    random = Random(seed)
    forward = Forward([_server_address(text) for text in upstreams or ()], partial(random.getrandbits, 16))
    kept = Cache(cache, tuple(parse_name(name.lower()) for name in cache_disable or ())) if cache else None
    server = DnsServer(ClusterZone(ClusterState(), options), kept, forward, random)
    listed = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_watch(server.zone, watch_events(api, WATCHED, "coredns"), listed))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(listed.wait(), startup_timeout)
            await serve(server, tasks, address, port, ready_port, health_port, metrics_port)
            if loop and upstreams:
                tasks.create_task(_look_for_loop(server, port))
                tasks.create_task(_loop_found(server))
            await asyncio.get_running_loop().create_future()
    finally:
        forward.close()


async def serve(
    server: DnsServer, tasks: asyncio.TaskGroup, address: str, port: int, ready_port: int = 0, health_port: int = 0,
    metrics_port: int = 0,
) -> None:  # fmt: skip
    """Open the ports; they close with the loop's transports when the program ends."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(server, tasks), (address, port))
    servers: list[Any] = [transport]
    try:
        servers.append(await asyncio.start_server(partial(_serve_tcp, server), address, port))
        for number, path, state in ((ready_port, b"/ready", server.zone.state), (health_port, b"/health", None)):
            if number:
                servers.append(await loop.create_server(_http(path, state), address, number))
        if metrics_port:
            servers.append(await loop.create_server(_http(b"/metrics", None, server.page), address, metrics_port))
    except BaseException:
        for one in servers:
            one.close()
        raise
    tasks.create_task(_hold(servers))


def _http(path: bytes, state: ClusterState | None, page: Callable[[], str] | None = None) -> Any:
    return lambda: _Http(path, state, page)


async def _hold(servers: list[Any]) -> None:
    """Close what is open when the program ends."""
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        for one in servers:
            one.close()
