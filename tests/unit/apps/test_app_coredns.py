"""The DNS server over this machine's own sockets: asked by the real dig, and by bytes that no client sends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from dns_cluster import MYSQL, endpoint, endpoint_slice, events, service

from k8semu.apps.coredns import coredns
from k8semu.apps.feed import Feed, current_feed
from k8semu.kube.dns.forward import ask_tcp, ask_udp
from k8semu.kube.dns.message import (
    AA,
    IN,
    QR,
    RA,
    RD,
    TC,
    Edns,
    Message,
    Question,
    Rcode,
    Record,
    Type,
    build,
    parse,
)  # fmt: skip
from k8semu.kube.dns.names import parse_name
from k8semu.kube.dns.rdata import rdata_text

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind((HOST, 0))
        udp.bind(tcp.getsockname())
        return int(tcp.getsockname()[1])


@asynccontextmanager
async def served(feed: Feed | None = None, **args: Any) -> AsyncIterator[int]:
    """A server with the small cluster; its port."""
    port = free_port()
    if feed is None:
        feed = Feed()
        for event in events():
            feed.put(event)
    current_feed.set(feed)
    args = {"ready_port": 0, "health_port": 0, "metrics_port": 0, "loop": False, **args}
    task = asyncio.get_running_loop().create_task(coredns(address=HOST, port=port, **args))
    try:
        while not task.done():
            with contextlib.suppress(OSError):
                (await asyncio.open_connection(HOST, port))[1].close()
                break
            await asyncio.sleep(0)
        yield port
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def run(program: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(program())


def query(name: str, rtype: int = Type.A, number: int = 7) -> Message:
    return Message(number, RD, (Question(parse_name(name), rtype),))


def test_a_service_has_its_cluster_ip_by_udp_and_by_tcp() -> None:
    async def program() -> None:
        async with served() as port:
            for ask in (ask_udp, ask_tcp):
                reply = await ask((HOST, port), query("account-service.default.svc.cluster.local"), 5)
                assert [rdata_text(record) for record in reply.answers] == ["10.96.0.20"]
                assert reply.answers[0].ttl == 30

    run(program)


SERVICE = "account-service.default.svc.cluster.local"


async def raw(port: int, data: bytes, wait: float = 5.0) -> bytes | None:
    """What comes back for some bytes; None if nothing does before a good question is answered."""
    loop = asyncio.get_running_loop()
    got: asyncio.Queue[bytes] = asyncio.Queue()

    class Listener(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            got.put_nowait(data)

    transport, _ = await loop.create_datagram_endpoint(Listener, remote_addr=(HOST, port))
    try:
        transport.sendto(data)
        transport.sendto(build(query(SERVICE, number=0xBEEF)))
        answer = await asyncio.wait_for(got.get(), wait)
        return None if parse(answer).id == 0xBEEF else answer
    finally:
        transport.close()


HEADER = struct.Struct("!HHHHHH")
GOOD = build(Message(7, RD, (Question(parse_name(SERVICE), Type.A),)))


@pytest.mark.parametrize(
    "data", [b"x", GOOD[:11], HEADER.pack(7, QR, 1, 0, 0, 0) + GOOD[12:]], ids=["one byte", "half a header", "a reply"]
)
def test_to_some_bytes_there_is_no_answer(data: bytes) -> None:
    async def program() -> None:
        async with served() as port:
            assert await raw(port, data) is None

    run(program)


@pytest.mark.parametrize(
    ("data", "rcode", "questions"),
    [
        (GOOD[:20], Rcode.FORMERR, 0),                                              # a name that is cut off
        (HEADER.pack(7, RD, 2, 0, 0, 0) + GOOD[12:] * 2, Rcode.FORMERR, 0),         # two questions
        (HEADER.pack(7, RD, 0, 0, 0, 0), Rcode.FORMERR, 0),                         # none
        (HEADER.pack(7, RD, 1, 0, 0, 3) + GOOD[12:], Rcode.FORMERR, 0),             # three additional records
        (HEADER.pack(7, RD, 1, 0, 0, 1) + GOOD[12:] + b"\0\0", Rcode.FORMERR, 1),   # the OPT is cut off
        (HEADER.pack(7, 5 << 11, 1, 0, 0, 0) + GOOD[12:], Rcode.NOTIMP, 0),         # an update
        (HEADER.pack(7, RD, 1, 0, 0, 0), Rcode.SERVFAIL, 0),                        # a header alone
        (GOOD[:-2] + b"\0\x04", Rcode.REFUSED, 1),                                  # class HESIOD
    ],
)
def test_what_is_no_question_is_refused(data: bytes, rcode: Rcode, questions: int) -> None:
    async def program() -> None:
        async with served() as port:
            answer = await raw(port, data)
            assert answer is not None
            message = parse(answer)
            assert (message.id, message.rcode, len(message.questions)) == (7, rcode, questions)
            assert message.flags & QR
            assert not message.flags & AA

    run(program)


def test_an_edns_version_that_nobody_has_is_refused() -> None:
    async def program() -> None:
        async with served() as port:
            asked = Message(7, RD, (Question(parse_name(SERVICE), Type.A),), edns=Edns(1232, version=3))
            reply = await ask_udp((HOST, port), asked, 5)
            assert (reply.rcode, reply.answers) == (Rcode.BADVERS, ())
            assert reply.edns is not None
            assert reply.edns.version == 0

    run(program)


def many(count: int) -> Feed:
    feed = Feed()
    ends = [endpoint(f"172.18.0.{i + 1}") for i in range(count)]
    for event in events()[:-1]:
        feed.put(event)
    for thing in (service("many", "None", [MYSQL]), endpoint_slice("many-a", "many", ends, [MYSQL])):
        feed.put({"type": "ADDED", "object": thing})
    feed.put({"type": "BOOKMARK"})
    return feed


def test_what_does_not_fit_is_cut_by_udp_and_whole_by_tcp() -> None:
    async def program() -> None:
        name = parse_name("many.default.svc.cluster.local")
        async with served(many(100)) as port:
            plain = await ask_udp((HOST, port), Message(1, RD, (Question(name, Type.A),)), 5)
            assert plain.flags & TC
            assert len(plain.answers) == (512 - 12 - 36) // 16      # compressed, the name stands but once
            large = await ask_udp((HOST, port), Message(1, RD, (Question(name, Type.A),), edns=Edns(1232)), 5)
            assert large.flags & TC
            assert len(large.answers) == (1232 - 12 - 36 - 11) // 16
            whole = await ask_tcp((HOST, port), Message(1, RD, (Question(name, Type.A),)), 5)
            assert not whole.flags & TC
            assert len(whole.answers) == 100

    run(program)


def test_addresses_come_in_another_order_each_time_also_from_the_cache() -> None:
    async def program() -> None:
        async with served() as port:
            orders = set()
            for _ in range(12):
                reply = await ask_udp((HOST, port), query("db.default.svc.cluster.local"), 5)
                orders.add(tuple(rdata_text(record) for record in reply.answers))
            assert orders == {("172.17.0.5", "172.17.1.5"), ("172.17.1.5", "172.17.0.5")}

    run(program)


async def http(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


def test_it_is_ready_once_it_has_heard_the_whole_list() -> None:
    async def program() -> None:
        feed, ready, health = Feed(), free_port(), free_port()
        async with served(feed, ready_port=ready, health_port=health, startup_timeout=0.01) as port:
            assert (await http(ready, "/ready")).startswith(b"HTTP/1.1 503 ")
            assert (await http(health, "/health")).endswith(b"OK")
            reply = await ask_udp((HOST, port), query(SERVICE), 5)
            assert (reply.rcode, bool(reply.flags & AA)) == (Rcode.SERVFAIL, True)
            for event in events():
                feed.put(event)
            await asyncio.sleep(0)
            while not (await http(ready, "/ready")).startswith(b"HTTP/1.1 200 "):
                pass
            assert (await http(ready, "/metrics")).startswith(b"HTTP/1.1 404 ")
            reply = await ask_udp((HOST, port), query("db.default.svc.cluster.local"), 5)
            assert len(reply.answers) == 2

    run(program)


def test_it_tells_prometheus_what_it_was_asked() -> None:
    async def program() -> None:
        port_of_metrics = free_port()
        async with served(metrics_port=port_of_metrics) as port:
            for _ in range(3):
                await ask_udp((HOST, port), query(SERVICE), 5)
            page = (await http(port_of_metrics, "/metrics")).decode()
        assert page.startswith("HTTP/1.1 200 OK\r\n")
        assert 'proto="udp",server="dns://:53",type="A",view="",zone="."} 3\n' in page
        assert 'coredns_cache_hits_total{server="dns://:53",type="success",view="",zones="."} 2\n' in page

    run(program)


class Upstream(asyncio.DatagramProtocol):
    """Knows www.example.org; what it is asked stands in `asked`."""

    def __init__(self) -> None:
        self.asked: list[Question] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        message = parse(data)
        [question] = message.questions
        self.asked.append(question)
        known = question.name == parse_name("www.example.org") and question.rtype == Type.A
        answers = (Record(question.name, Type.A, 300, (bytes([203, 0, 113, 80]),)),) if known else ()
        flags = QR | RD | RA | (0 if known else Rcode.NXDOMAIN)
        self.transport.sendto(build(Message(message.id, flags, message.questions, answers)), addr)


@asynccontextmanager
async def upstream() -> AsyncIterator[tuple[int, Upstream]]:
    port = free_port()
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Upstream, (HOST, port))
    try:
        yield port, protocol
    finally:
        transport.close()


def test_names_outside_go_upstream_and_are_kept() -> None:
    async def program() -> None:
        async with upstream() as (above, knows), served(upstreams=[f"{HOST}:{above}"]) as port:
            for _ in range(2):
                reply = await ask_udp((HOST, port), query("www.example.org"), 5)
                assert [(rdata_text(r), r.ttl) for r in reply.answers] == [("203.0.113.80", 30)]
                assert reply.flags & RA
            assert knows.asked == [Question(parse_name("www.example.org"), Type.A, IN)]
            reply = await ask_udp((HOST, port), query("1.1.1.1.in-addr.arpa", Type.PTR), 5)
            assert reply.rcode == Rcode.NXDOMAIN
            assert knows.asked[-1].rtype == Type.PTR

    run(program)


def test_an_external_name_is_followed_upstream() -> None:
    async def program() -> None:
        async with upstream() as (above, _), served(upstreams=[f"{HOST}:{above}"]) as port:
            reply = await ask_udp((HOST, port), query("outside.default.svc.cluster.local"), 5)
            assert [rdata_text(record) for record in reply.answers] == ["www.example.org.", "203.0.113.80"]
            assert reply.flags & AA
            reply = await ask_udp((HOST, port), query("outside.default.svc.cluster.local", Type.AAAA), 5)
            assert (reply.rcode, [rdata_text(r) for r in reply.answers]) == (Rcode.NOERROR, ["www.example.org."])

    run(program)


@pytest.mark.parametrize("servers", [[], ["127.0.0.1:9"]], ids=["no upstream", "one that refuses"])
def test_without_an_upstream_that_answers_it_fails(servers: list[str]) -> None:
    async def program() -> None:
        async with served(upstreams=servers) as port:
            reply = await ask_udp((HOST, port), query("www.example.org"), 5)
            assert (reply.rcode, reply.flags & AA) == (Rcode.SERVFAIL, 0)
            reply = await ask_udp((HOST, port), query("outside.default.svc.cluster.local"), 5)
            assert (reply.rcode, [rdata_text(r) for r in reply.answers]) == (Rcode.NOERROR, ["www.example.org."])

    run(program)
