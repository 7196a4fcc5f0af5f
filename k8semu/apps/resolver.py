"""The C library's resolver: a name to addresses, by /etc/hosts and by questions to the servers of /etc/resolv.conf.

    name ─▶ /etc/hosts ─▶ which names to ask for (search list, ndots) ─▶ A and AAAA of each, at the same time

    glibc   one connected socket per server and name; servers one after another, 5 s, two rounds;
            goes on through the search list after NODATA, too
    musl    one socket, all servers at once; goes on only after NXDOMAIN; no search list from ndots dots on

The errors are getaddrinfo's: EAI_NONAME (no such name), EAI_NODATA (a name without an address),
EAI_AGAIN (nobody answered, or SERVFAIL), EAI_FAIL.

Linux: resolv.conf(5), getaddrinfo(3); see `resolver_glibc`, `resolver_musl`
Differs: only IPv4 name servers and addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from k8semu.kube.dns.message import QR, FormatError, Message, Rcode, Type, parse
from k8semu.kube.dns.names import lower
from k8semu.kube.dns.rdata import rdata_text
from k8semu.kube.dns.resolv_conf import ResolvConf, parse_resolv_conf

EAI_NONAME, EAI_AGAIN, EAI_FAIL, EAI_NODATA = -2, -3, -4, -5
_WORDS = {
    EAI_NONAME: "Name or service not known",
    EAI_AGAIN: "Temporary failure in name resolution",
    EAI_FAIL: "Non-recoverable failure in name resolution",
    EAI_NODATA: "No address associated with hostname",
}
Libc = Literal["glibc", "musl"]
MAX_SERVERS = 3
EDNS_SIZE = 1200
PORT = 53
GAP = 0.00002
"""Seconds between two questions of one moment: sendmmsg(2) takes the first down to the wire before the second."""


def parse_hosts(text: str) -> dict[str, list[str]]:
    """/etc/hosts: the IPv4 addresses of each name, in lower case."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1 and ":" not in words[0]:
            for name in words[1:]:
                addresses = found.setdefault(name.lower(), [])
                if words[0] not in addresses:
                    addresses.append(words[0])
    return found


class Settings(Struct, frozen=True, kw_only=True):
    """What a resolv.conf says to the resolver, its limits applied."""

    servers: tuple[str, ...] = ("127.0.0.1",)
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: int = 5
    attempts: int = 2
    single_request: bool = False
    single_request_reopen: bool = False
    use_vc: bool = False
    edns0: bool = False
    trust_ad: bool = False
    no_aaaa: bool = False
    no_tld_query: bool = False
    rotate: bool = False

    @classmethod
    def of(cls, conf: ResolvConf) -> Settings:
        flags = {"single-request", "single-request-reopen", "use-vc", "edns0", "trust-ad", "no-aaaa", "no-tld-query",
                 "rotate"}  # fmt: skip
        numbers = {"ndots": (1, 15), "timeout": (5, 30), "attempts": (2, 5)}
        args: dict[str, Any] = {name: default for name, (default, _) in numbers.items()}
        for option in conf.options:
            name, _, value = option.partition(":")
            if name in numbers:
                args[name] = min(int(value), numbers[name][1]) if value.isdecimal() else args[name]
            elif option in flags:
                args[option.replace("-", "_")] = True
        servers = tuple(server for server in conf.nameservers if ":" not in server)[:MAX_SERVERS]
        return cls(servers=servers or ("127.0.0.1",), search=conf.search, **args)


class QuerySocket(asyncio.DatagramProtocol):
    """A socket, and what came in by it."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[tuple[bytes, Any] | Exception] = asyncio.Queue()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.put_nowait((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.got.put_nowait(exc)


class Resolver:
    """`lookup` is getaddrinfo's DNS part. `draw` gives sixteen random bits for a question's id."""

    def __init__(
        self, resolv_conf: str, hosts: str = "", draw: Callable[[], int] | None = None, libc: Libc = "glibc"
    ) -> None:
        self.settings = Settings.of(parse_resolv_conf(resolv_conf))
        self.hosts = parse_hosts(hosts)
        self.libc = libc
        self._numbers = 0
        self._draw = draw or self._count

    def _count(self) -> int:
        self._numbers += 1
        return self._numbers & 0xFFFF

    async def lookup(self, name: str, family: int = 0) -> list[str]:
        """The IPv4 addresses of a name; socket.gaierror. AAAA is asked for, too, unless `family` is AF_INET."""
        known = self.hosts.get(name.removesuffix(".").lower())
        if known:
            return list(known)
        types = [Type.A] if family == socket.AF_INET or self.settings.no_aaaa else [Type.A, Type.AAAA]
        error = EAI_NONAME
        with contextlib.suppress(ValueError):
            found = await self._call().search(name, types)
            if isinstance(found, list):
                return found
            error = found
        raise socket.gaierror(error, _WORDS[error])

    def _call(self) -> Any:
        if self.libc == "musl":
            from k8semu.apps.resolver_musl import Musl

            return Musl(self.settings, self._draw)
        from k8semu.apps.resolver_glibc import Glibc

        return Glibc(self.settings, self._draw)


def ipv4_addresses(messages: list[Message]) -> list[str]:
    """The IPv4 addresses in the replies: the question's own, and those that CNAMEs lead to."""
    return [
        rdata_text(record) for message in messages for record in message.answers
        if record.rtype == Type.A and len(record.data[0]) == 4
    ]  # fmt: skip


def has_address(messages: list[Message]) -> bool:
    return any(record.rtype in (Type.A, Type.AAAA) for message in messages for record in message.answers)


def matching(data: bytes, waiting: dict[int, Message]) -> Message | None:
    """The answer to one of the questions; None for anything else that came in."""
    try:
        answer = parse(data)
    except FormatError:
        return None
    query = waiting.get(answer.id)
    if query is None or not answer.flags & QR:
        return None
    if answer.questions:
        asked, said = query.questions[0], answer.questions[0]
        if (lower(asked.name), asked.rtype) != (lower(said.name), said.rtype):
            return None
    elif answer.rcode == Rcode.NOERROR:
        return None
    return answer
