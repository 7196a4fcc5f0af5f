"""Consul's DNS interface: its services by name, on port 8600.

    [TAG.]NAME.service[.DATACENTER].consul    A: addresses, SRV: address names and ports, of all but critical instances
    _NAME._TAG.service.consul                 SRV, as RFC 2782 has it; the tag tcp stands for any
    NODE.node[.DATACENTER].consul             A
    ac110003.addr.DATACENTER.consul           A: the address that the name is made of

The TTL is 0: who keeps the answer does so on their own account. An answer by UDP has at most three
addresses, each time others: a client cannot see from it how many there are.

Consul:  agent/dns.go
Shown:   dig @172.17.0.2 -p 8600 account.service.consul SRV
Differs: answers are turned round by one at each question, where Consul shuffles them.
Not modelled: prepared queries, reverse lookups, recursors (a name outside .consul is refused).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from k8semu.apps.registry.consul import CRITICAL, PASSING, Agent, Service
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
    Record,
    Type,
    build,
    fit,
    parse,
    read_header,
)
from k8semu.kube.dns.names import Name, lower
from k8semu.kube.dns.rdata import address, soa, srv

PORT = 8600
DOMAIN: Name = (b"consul",)
TTL = 0
UDP_ANSWERS = 3
"""How many records an answer by UDP has at most, to a question without EDNS."""
Found = tuple[int, tuple[Record, ...], tuple[Record, ...]]
"""rcode, answers, additional."""
NOT_THERE: Found = (Rcode.NXDOMAIN, (), ())


class ConsulDns:
    """Answers questions from an agent; `serial` gives the SOA's."""

    def __init__(self, agent: Agent, serial: Callable[[], int]) -> None:
        self.agent, self.serial = agent, serial
        self._turns: dict[str, int] = {}

    def answer(self, data: bytes, udp: bool = True) -> bytes:
        """The message that answers `data`; b'' if nothing does."""
        header = read_header(data)
        if header is None or header[1] & QR:
            return b""
        number, flags = header[:2]
        back = QR | flags & (OPCODE | RD)
        if flags & OPCODE:
            return build(Message(number, back | Rcode.NOTIMP))
        try:
            query = parse(data)
        except FormatError:
            return build(Message(number, back | Rcode.FORMERR))
        if len(query.questions) != 1 or query.questions[0].rclass != IN:
            return build(Message(number, back | Rcode.FORMERR))
        [question] = query.questions
        if lower(question.name)[-1:] != DOMAIN:
            return build(Message(number, back | Rcode.REFUSED, query.questions))
        rcode, answers, additional = self._lookup(question, lower(question.name)[:-1])
        if udp and query.edns is None:
            answers = answers[:UDP_ANSWERS]
        targets = [record.data[-1] for record in answers]
        reply = Message(
            number, back | AA | rcode, query.questions, answers, () if answers else (self._soa(),),
            tuple(record for record in additional if record.name in targets),
            Edns(query.edns.size) if query.edns is not None else None,
        )  # fmt: skip
        size = query.edns.size if query.edns is not None else MIN_SIZE
        return fit(reply, size if udp else MAX_SIZE)

    def _soa(self) -> Record:
        data = soa((b"ns", *DOMAIN), (b"hostmaster", *DOMAIN), self.serial(), 3600, 600, 86_400, 0)
        return Record(DOMAIN, Type.SOA, TTL, data)

    def _lookup(self, question: Question, labels: Name) -> Found:
        """`labels` in small letters, without the domain."""
        agent = self.agent
        if not labels:
            return Rcode.NOERROR, (self._soa(),) if question.rtype in (Type.SOA, Type.ANY) else (), ()
        if labels[-1] == agent.datacenter.lower().encode() and len(labels) > 1:
            labels = labels[:-1]
        match labels:
            case [node, b"node"] if node == agent.node.lower().encode():
                return Rcode.NOERROR, _addresses(question, [agent.address]), ()
            case [word, b"addr"] if len(word) == 8 and all(letter in b"0123456789abcdef" for letter in word):
                return Rcode.NOERROR, _addresses(question, [socket.inet_ntoa(bytes.fromhex(word.decode()))]), ()
            case [service, tag, b"service"] if service[:1] == tag[:1] == b"_":
                return self._service(question, service[1:], b"" if tag == b"_tcp" else tag[1:])
            case [name, b"service"]:
                return self._service(question, name, b"")
            case [tag, name, b"service"]:
                return self._service(question, name, tag)
        return NOT_THERE

    def _service(self, question: Question, name: bytes, tag: bytes) -> Found:
        """Instances that are not critical, beginning with another one each time."""
        agent = self.agent
        real = next((known for known in agent.names() if known.lower().encode() == name), "")
        usable = [
            one for one in agent.instances(real)
            if agent.status(one.id) != CRITICAL and (not tag or tag in [known.lower().encode() for known in one.tags])
        ]  # fmt: skip
        if not usable:
            return NOT_THERE
        turn = self._turns[real] = (self._turns.get(real, -1) + 1) % len(usable)
        usable = usable[turn:] + usable[:turn]
        if question.rtype == Type.SRV:
            return self._srv(question, usable)
        return Rcode.NOERROR, _addresses(question, [one.address or agent.address for one in usable]), ()

    def _srv(self, question: Question, usable: list[Service]) -> Found:
        answers, additional = [], []
        zone = (b"addr", self.agent.datacenter.encode(), *DOMAIN)
        for one in usable:
            [record] = _addresses(Question(zone, Type.A), [one.address or self.agent.address]) or (None,)
            if record is None:
                continue
            [raw] = record.data
            assert isinstance(raw, bytes)
            target: Name = (raw.hex().encode(), *zone)
            weight = one.passing_weight if self.agent.status(one.id) == PASSING else one.warning_weight
            data = srv(1, min(weight, 65_535), one.port, target)
            answers.append(Record(question.name, Type.SRV, TTL, data))
            additional.append(Record(target, Type.A, TTL, (raw,)))
        return Rcode.NOERROR, tuple(answers), tuple(dict.fromkeys(additional))


def _addresses(question: Question, texts: list[str]) -> tuple[Record, ...]:
    """A records of those that are IPv4 addresses; none if another type is asked for."""
    found = []
    for text in dict.fromkeys(texts) if question.rtype in (Type.A, Type.ANY) else ():
        try:
            kind, data = address(text)
        except ValueError:
            continue
        if kind == Type.A:
            found.append(Record(question.name, Type.A, TTL, data))
    return tuple(found)


# --- the sockets ----------------------------------------------------------------------------------


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, dns: ConsulDns) -> None:
        self.dns = dns

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        answer = self.dns.answer(data)
        if answer:
            self.transport.sendto(answer, addr)


async def serve_dns(dns: ConsulDns, port: int = PORT) -> None:
    """Answer by UDP and TCP until cancelled."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                answer = dns.answer(await reader.readexactly(size), udp=False)
                if not answer:
                    return
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(dns), ("0.0.0.0", port))
    server = await asyncio.start_server(converse, "0.0.0.0", port)
    try:
        await server.serve_forever()
    finally:
        server.close()
        transport.close()
