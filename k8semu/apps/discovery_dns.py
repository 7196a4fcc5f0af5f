"""A client that finds its servers by DNS alone, and keeps what it heard for as long as it likes.

    cache  0       asks before each call, as a plain getaddrinfo() does
          30       as long as CoreDNS' TTL, as kubeadm sets it; Java without a security manager, too
          -1       Java with one, and many connection pools: for ever
          nothing  as long as the record's TTL says; getaddrinfo() does not tell it, so then as 0

    rule   first         the first address of the answer, as most clients take it
           round-robin   one address of the answer after the other

It asks by getaddrinfo(), or, with `server`, that DNS server itself.

What is kept too long is the address of a Pod that may be gone: the call goes there all the same.

Java: sun.net.InetAddressCachePolicy
Differs: nothing is tried again at another address, as nothing in DNS says that one should.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from k8semu.apps.http_client import error_name
from k8semu.apps.registry.client import call_instance, summary
from k8semu.apps.registry.http import Answer, Request, serve

RULES = ("first", "round-robin")
TIMEOUT = 1.0
FOR_EVER = float("inf")


class Resolver:
    """Addresses by name, asked for again when they are older than `cache` seconds (below 0: never)."""

    def __init__(self, cache: float | None, server: str = "") -> None:
        self.cache, self.server = cache, server
        self.lookups = 0
        self._known: dict[str, tuple[float, list[str]]] = {}   # until when they are good

    async def addresses(self, name: str, port: int) -> list[str]:
        """IPv4 addresses in the order of the answer; gaierror if there are none. A failure is not kept."""
        loop = asyncio.get_running_loop()
        known = self._known.get(name)
        if known is not None and loop.time() < known[0]:
            return known[1]
        self.lookups += 1
        ttl = 0
        if self.server:
            found, ttl = await ask(self.server, name, self.lookups)
        else:
            infos = await loop.getaddrinfo(name, port, family=socket.AF_INET, type=socket.SOCK_STREAM)
            found = [str(info[4][0]) for info in infos]
        keep = ttl if self.cache is None else self.cache if self.cache >= 0 else FOR_EVER
        addresses = list(dict.fromkeys(found))
        self._known[name] = loop.time() + keep, addresses
        return addresses


async def ask(server: str, name: str, number: int, timeout: float = 5.0) -> tuple[list[str], int]:
    """The addresses of `name` at the server ``172.17.0.2:8600``, and their TTL; gaierror if there are none."""
    from k8semu.kube.dns.forward import ask_udp
    from k8semu.kube.dns.message import Message, Question, Type, rcode_name
    from k8semu.kube.dns.names import parse_name

    host, _, port = server.rpartition(":")
    query = Message(number & 0xFFFF, questions=(Question(parse_name(name), Type.A),))
    reply = await ask_udp((host, int(port)), query, timeout)
    found = [record for record in reply.answers if record.rtype == Type.A]
    addresses = [socket.inet_ntoa(raw) for record in found for raw in record.data if isinstance(raw, bytes) and raw]
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, rcode_name(reply.rcode))
    return addresses, min(record.ttl for record in found)


class Client:
    """Calls a name, at an address that it has found by itself."""

    def __init__(self, name: str, port: int, resolver: Resolver, rule: str, timeout: float) -> None:
        if rule not in RULES:
            raise ValueError(f"no rule {rule!r}: there are {', '.join(RULES)}")
        self.name, self.port, self.resolver, self.rule, self.timeout = name, port, resolver, rule, timeout
        self.host = name if port == 80 else f"{name}:{port}"
        self.addresses: list[str] = []
        self._number = -1

    async def get(self, path: str) -> dict[str, Any]:
        """A call, and what came of it."""
        self._number += 1
        try:
            self.addresses = await self.resolver.addresses(self.name, self.port)
        except (OSError, TimeoutError) as error:
            return {"status": 0, "servedBy": "", "error": error_name(error), "instance": ""}
        address = self.addresses[0 if self.rule == "first" else self._number % len(self.addresses)]
        return await call_instance(f"{address}:{self.port}", path, self.timeout, Host=self.host)


async def dns_client(
    name: str, port: int = 80, count: int = 1, interval: float = 0.0, cache: float | None = None, rule: str = "first",
    server: str = "", path: str = "/", timeout: float = TIMEOUT,
) -> dict[str, Any]:  # fmt: skip
    """Call `name` `count` times, `interval` seconds apart.

    `calls` has for each `servedBy`, `error`, `instance` (the address called); `shares` and `errors` how many
    of which, `lookups` how often DNS was asked, `addresses` what it said last.
    """
    client = Client(name, port, Resolver(cache, server), rule, timeout)
    calls = []
    for number in range(count):
        if number:
            await asyncio.sleep(interval)
        calls.append(await client.get(path))
    return {**summary(calls), "lookups": client.resolver.lookups, "addresses": client.addresses, "error": ""}


async def consumer(
    name: str, ports: list[int], port: int = 80, cache: float | None = None, rule: str = "first", server: str = "",
    timeout: float = TIMEOUT,
) -> None:  # fmt: skip
    """A service that calls `name` for each request it gets, on `ports`, and passes the answer on.

    502 with the error's name if the call fails. It runs until cancelled, and so does what it keeps of DNS.
    """
    client = Client(name, port, Resolver(cache, server), rule, timeout)

    async def answer(request: Request) -> Answer:
        result = await client.get(request.path)
        status = 502 if result["error"] else result["status"]
        return Answer(status, json.dumps(result).encode() + b"\n", "application/json")

    await asyncio.gather(*(serve(answer, port) for port in ports))
