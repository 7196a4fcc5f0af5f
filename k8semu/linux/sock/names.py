"""Names and addresses, as the C library resolves them on a machine with IPv4 only.

    numeric ─▶ itself      in /etc/hosts ─▶ that      else ─▶ `Sockets.resolver` (the C library's), or `resolve`

Linux: getaddrinfo(3), getnameinfo(3), services(5)
Differs: a few service names only; the answer for a name is not sorted by RFC 6724.
"""

from __future__ import annotations

import inspect
import socket
from typing import TYPE_CHECKING, Any

from k8semu.wire.addr import ip_aton, ip_ntoa

if TYPE_CHECKING:
    from k8semu.linux.sock.sockets import Sockets
    from k8semu.sim.loop import AddrInfo

# getaddrinfo's error numbers and words are glibc's on every machine that this runs on.
EAI_NONAME, EAI_AGAIN, EAI_FAMILY, EAI_SOCKTYPE, EAI_SERVICE = -2, -3, -6, -7, -8
_WORDS = {
    EAI_NONAME: "Name or service not known",
    EAI_AGAIN: "Temporary failure in name resolution",
    EAI_FAMILY: "ai_family not supported",
    EAI_SOCKTYPE: "ai_socktype not supported",
    EAI_SERVICE: "Servname not supported for ai_socktype",
}
SERVICES = {
    "ftp": 21, "ssh": 22, "smtp": 25, "domain": 53, "http": 80, "ntp": 123, "https": 443, "mysql": 3306,
    "postgresql": 5432, "redis": 6379, "http-alt": 8080,
}  # fmt: skip

_STREAM = (socket.SOCK_STREAM, socket.IPPROTO_TCP)
_DGRAM = (socket.SOCK_DGRAM, socket.IPPROTO_UDP)
_RAW = (socket.SOCK_RAW, 0)
Pairs = list[tuple[Any, int]]


def gai_error(number: int) -> socket.gaierror:
    """What Python raises for a getaddrinfo error."""
    return socket.gaierror(number, _WORDS[number])


def is_numeric(host: str) -> bool:
    """Is it a dotted IPv4 address?"""
    try:
        ip_aton(host)
    except ValueError:
        return False
    return True


def socket_address(addr: bytes, port: int) -> tuple[str, int]:
    """An address as Python's sockets write it."""
    return ip_ntoa(addr), port


def packed(sockets: Sockets, host: str) -> bytes:
    """`host` packed, if it needs no DNS; gaierror else. As socket.connect() and sendto() resolve."""
    if host == "":
        return bytes(4)
    if host == "<broadcast>":
        return b"\xff" * 4
    try:
        return ip_aton(sockets.hosts.get(host, host))
    except ValueError:
        raise gai_error(EAI_NONAME) from None


async def lookup(sockets: Sockets, host: str, family: int = 0) -> list[str]:
    """The addresses of a name; gaierror if it has none."""
    if is_numeric(host):
        return [host]
    name = host.rstrip(".").lower()
    if name in sockets.hosts:
        return [sockets.hosts[name]]
    if sockets.resolver is not None:
        return await sockets.resolver.lookup(host, family)
    found: Any = sockets.resolve(host) if sockets.resolve is not None else None
    if inspect.isawaitable(found):
        found = await found
    if not found:
        raise gai_error(EAI_NONAME)
    return [found] if isinstance(found, str) else list(found)


def _port(port: Any, pairs: Pairs) -> int:
    if isinstance(port, bytes):
        port = port.decode()
    if port in (None, ""):
        return 0
    try:
        number = int(port)
    except ValueError:
        if port not in SERVICES or pairs == [_RAW]:
            raise gai_error(EAI_SERVICE) from None
        return SERVICES[port]
    return number


def _pairs(kind: int, proto: int) -> Pairs:
    """The socket types and protocols that fit what was asked for."""
    pairs = [
        pair for pair in (_STREAM, _DGRAM, _RAW)
        if kind in (0, pair[0]) and (proto in (0, pair[1]) or pair == _RAW)
    ]  # fmt: skip
    if not pairs:
        raise gai_error(EAI_SOCKTYPE)
    if proto:
        pairs = [(t, proto) for t, _ in pairs]
    return pairs


async def getaddrinfo(
    sockets: Sockets, host: Any, port: Any, family: int, kind: int, proto: int, flags: int
) -> list[AddrInfo]:
    """Linux: getaddrinfo(3)."""
    if host is None and port is None:
        raise gai_error(EAI_NONAME)
    if isinstance(host, bytes):
        host = host.decode("idna")
    pairs = _pairs(kind, proto)
    number = _port(port, pairs)
    if isinstance(host, str) and ":" in host:
        return [(socket.AF_INET6, t, p, "", (host, number, 0, 0)) for t, p in pairs]
    if family not in (0, socket.AF_INET):
        raise gai_error(EAI_FAMILY if family != socket.AF_INET6 else EAI_NONAME)
    if host is None or host == "":
        addresses = ["0.0.0.0" if flags & socket.AI_PASSIVE else "127.0.0.1"]
    elif flags & socket.AI_NUMERICHOST and not is_numeric(host):
        raise gai_error(EAI_NONAME)
    else:
        addresses = await lookup(sockets, host, family)
    canonical = host if flags & socket.AI_CANONNAME and host else ""
    infos = [(socket.AF_INET, t, p, "", (address, number)) for address in addresses for t, p in pairs]
    return [(*info[:3], canonical if i == 0 else "", info[4]) for i, info in enumerate(infos)]


async def getnameinfo(sockets: Sockets, sockaddr: Any, flags: int) -> tuple[str, str]:
    """Linux: getnameinfo(3). Not modelled: reverse DNS: an address that is not in /etc/hosts stays an address."""
    host, port = sockaddr[:2]
    if not flags & socket.NI_NUMERICHOST:
        names = [name for name, address in sockets.hosts.items() if address == host]
        host = names[0] if names else host
        if not names and flags & socket.NI_NAMEREQD:
            raise gai_error(EAI_NONAME)
    services = [name for name, number in SERVICES.items() if number == port]
    return host, str(port) if flags & socket.NI_NUMERICSERV or not services else services[0]
