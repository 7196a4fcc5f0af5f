"""A client that finds its servers by DNS alone, and keeps what it heard for as long as it likes.

    cache  0    asks before each call, as a plain getaddrinfo() does
           5    asks again when the record's TTL is over: well behaved (5 s is what CoreDNS gives)
          30    Java without a security manager (networkaddress.cache.ttl)
          -1    Java with one, and many connection pools: for ever

    rule   first         the first address of the answer, as most clients take it
           round-robin   one address of the answer after the other

What is kept too long is the address of a Pod that may be gone: the call goes there all the same.

Java: sun.net.InetAddressCachePolicy
Differs: nothing is tried again at another address, as nothing in DNS says that one should.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from k8semu.apps.http_client import error_name
from k8semu.apps.registry.client import call_instance, summary

RULES = ("first", "round-robin")
TIMEOUT = 1.0


class Resolver:
    """Addresses by name, asked for again when they are older than `cache` seconds (below 0: never)."""

    def __init__(self, cache: float) -> None:
        self.cache = cache
        self.lookups = 0
        self._known: dict[str, tuple[float, list[str]]] = {}

    async def addresses(self, name: str, port: int) -> list[str]:
        """IPv4 addresses in the order of the answer; gaierror if there are none. A failure is not kept."""
        loop = asyncio.get_running_loop()
        known = self._known.get(name)
        if known is not None and (self.cache < 0 or loop.time() - known[0] < self.cache):
            return known[1]
        self.lookups += 1
        found = await loop.getaddrinfo(name, port, family=socket.AF_INET, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        self._known[name] = loop.time(), addresses
        return addresses


async def dns_client(
    name: str, port: int = 80, count: int = 1, interval: float = 0.0, cache: float = 30.0, rule: str = "first",
    path: str = "/", timeout: float = TIMEOUT,
) -> dict[str, Any]:  # fmt: skip
    """Call `name` `count` times, `interval` seconds apart.

    `calls` has for each `servedBy`, `error`, `instance` (the address called); `shares` and `errors` how many
    of which, `lookups` how often DNS was asked, `addresses` what it said last.
    """
    if rule not in RULES:
        raise ValueError(f"no rule {rule!r}: there are {', '.join(RULES)}")
    resolver, host = Resolver(cache), name if port == 80 else f"{name}:{port}"
    addresses: list[str] = []
    calls: list[dict[str, Any]] = []
    for number in range(count):
        if number:
            await asyncio.sleep(interval)
        try:
            addresses = await resolver.addresses(name, port)
        except OSError as error:
            calls.append({"status": 0, "servedBy": "", "error": error_name(error), "instance": ""})
            continue
        address = addresses[0 if rule == "first" else number % len(addresses)]
        calls.append(await call_instance(f"{address}:{port}", path, timeout, Host=host))
    return {**summary(calls), "lookups": resolver.lookups, "addresses": addresses, "error": ""}
