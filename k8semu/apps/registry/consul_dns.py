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
import re
import socket
from collections.abc import Callable
from typing import Any

from k8semu.apps.registry import dns_wire as wire
from k8semu.apps.registry.consul import CRITICAL, PASSING, Agent, Service
from k8semu.apps.registry.dns_wire import Query, Record

PORT = 8600
DOMAIN = "consul"
TTL = 0
UDP_ANSWERS = 3
Answered = tuple[int, list[Record], list[Record]]
"""rcode, answers, additional."""


class ConsulDns:
    """Answers questions from an agent; `serial` gives the SOA's."""

    def __init__(self, agent: Agent, serial: Callable[[], int]) -> None:
        self.agent, self.serial = agent, serial
        self._turns: dict[str, int] = {}

    def answer(self, data: bytes, udp: bool = True) -> bytes:
        """The message that answers `data`; b'' if nothing does."""
        try:
            query = wire.decode_query(data)
        except wire.DnsError:
            return data[:2] + b"\x80\x01" + bytes(8) if len(data) >= 12 and not data[2] & 0x80 else b""
        if query.opcode:
            return wire.encode_response(query, wire.NOTIMP)
        name = query.name.lower()
        if name != DOMAIN and not name.endswith(f".{DOMAIN}"):
            return wire.encode_response(query, wire.REFUSED)
        rcode, answers, additional = self._lookup(query, name.split(".")[:-1])
        if udp:
            answers = answers[:UDP_ANSWERS]
            targets = {record.data[6:] for record in answers}
            additional = [record for record in additional if wire.encode_name(record.name) in targets]
        authority = [] if answers else [self._soa()]
        limit = wire.MAX_UDP if udp else 65_535
        return wire.encode_response(query, rcode, answers, authority, additional, limit)

    def _soa(self) -> Record:
        numbers = (self.serial(), 3600, 600, 86_400, 0)
        return wire.soa_record(DOMAIN, TTL, f"ns.{DOMAIN}", f"hostmaster.{DOMAIN}", numbers)

    def _lookup(self, query: Query, labels: list[str]) -> Answered:
        agent = self.agent
        if not labels:
            return wire.NOERROR, [self._soa()] if query.type in (wire.SOA, wire.ANY) else [], []
        if labels[-1] == agent.datacenter.lower() and len(labels) > 1:
            labels = labels[:-1]
        match labels:
            case [node, "node"] if node == agent.node.lower():
                return wire.NOERROR, _addresses(query, [agent.address]), []
            case [hex_address, "addr"] if re.fullmatch("[0-9a-f]{8}", hex_address):
                return wire.NOERROR, _addresses(query, [socket.inet_ntoa(bytes.fromhex(hex_address))]), []
            case [service, tag, "service"] if service[:1] == tag[:1] == "_":
                return self._service(query, service[1:], "" if tag == "_tcp" else tag[1:])
            case [name, "service"]:
                return self._service(query, name, "")
            case [tag, name, "service"]:
                return self._service(query, name, tag)
        return wire.NXDOMAIN, [], []

    def _service(self, query: Query, name: str, tag: str) -> Answered:
        """Names are told apart by the letter only, not by its case."""
        agent = self.agent
        real = next((known for known in agent.names() if known.lower() == name), name)
        usable = [
            one for one in agent.instances(real)
            if agent.status(one.id) != CRITICAL and (not tag or tag in [known.lower() for known in one.tags])
        ]  # fmt: skip
        if not usable:
            return wire.NXDOMAIN, [], []
        turn = self._turns[real] = (self._turns.get(real, -1) + 1) % len(usable)
        usable = usable[turn:] + usable[:turn]
        if query.type == wire.SRV:
            return self._srv(query, usable)
        return wire.NOERROR, _addresses(query, [one.address or agent.address for one in usable]), []

    def _srv(self, query: Query, usable: list[Service]) -> Answered:
        answers, additional = [], []
        for one in usable:
            address = one.address or self.agent.address
            if not _is_ipv4(address):
                continue
            target = f"{socket.inet_aton(address).hex()}.addr.{self.agent.datacenter}.{DOMAIN}"
            weight = one.passing_weight if self.agent.status(one.id) == PASSING else one.warning_weight
            answers.append(wire.srv_record(query.name, TTL, 1, min(weight, 65_535), one.port, target))
            additional.append(wire.a_record(target, TTL, address))
        return wire.NOERROR, answers, list(dict.fromkeys(additional))


def _is_ipv4(text: str) -> bool:
    return bool(re.fullmatch(r"(\d{1,3}\.){3}\d{1,3}", text, re.ASCII)) and max(map(int, text.split("."))) < 256


def _addresses(query: Query, addresses: list[str]) -> list[Record]:
    if query.type not in (wire.A, wire.ANY):
        return []
    return [wire.a_record(query.name, TTL, address) for address in dict.fromkeys(addresses) if _is_ipv4(address)]


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
