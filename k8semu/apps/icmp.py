"""ICMP echo for programs, on an emulated machine and on a real one alike.

    transport, protocol = await open_ping_socket(Pinger, ttl=3)
    transport.sendto(echo_request(sequence, payload), ("172.17.1.3", 0))
        ─▶ protocol.datagram_received(message, address)      the reply, ICMP header first
        ─▶ protocol.error_received(exc)                      exc.icmp says what ICMP said, and who

`open_probe_socket` is the same for UDP (traceroute).

Linux: icmp(7) SOCK_DGRAM, ip(7) IP_RECVERR; a real kernel allows ping sockets to the groups in
net.ipv4.ping_group_range
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from k8semu.wire.build import icmp_build

ECHO, ECHOREPLY, DEST_UNREACH, TIME_EXCEEDED = 8, 0, 3, 11
IP_TTL, IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL = 2, 10, 11, 12
_PMTUDISC = {"dont": 0, "want": 1, "do": 2}
_EXTENDED_ERR = struct.Struct("=IBBBBII")   # struct sock_extended_err: errno, origin, type, code, pad, info, data
ORIGIN_ICMP = 2

Factory = Callable[[], asyncio.DatagramProtocol]


class IcmpInfo(Struct, frozen=True):
    """What an ICMP error said, and who sent it. On an emulated machine `linux.ipv4.icmp.IcmpError` says the same."""

    type: int
    code: int
    mtu: int
    sender: bytes


def echo_request(sequence: int, payload: bytes = b"") -> bytes:
    """An ICMP echo request; the kernel writes the identifier and the checksum."""
    return bytes(icmp_build(ECHO, 0, sequence & 0xFFFF, payload))


def echo_sequence(message: bytes) -> int:
    """The sequence number of an echo request or reply."""
    return int.from_bytes(message[6:8], "big")


def reply_ttl(message: bytes) -> int | None:
    """The TTL that a reply came with, if it is known."""
    return getattr(message, "ttl", None)


def icmp_of(exc: OSError) -> IcmpInfo | None:
    """The ICMP error behind an exception, if there is one."""
    return getattr(exc, "icmp", None)


def is_emulated(loop: asyncio.AbstractEventLoop) -> bool:
    """Does this program run on an emulated machine?"""
    return hasattr(loop, "connect_tun")


async def open_ping_socket(
    factory: Factory, *, ttl: int | None = None, local_addr: str | None = None
) -> tuple[asyncio.DatagramTransport, Any]:
    """A datagram transport for ICMP echo messages; every ICMP error about them is told."""
    return await _open(factory, socket.IPPROTO_ICMP, ttl, local_addr)


async def open_probe_socket(
    factory: Factory, *, ttl: int | None = None, local_addr: str | None = None
) -> tuple[asyncio.DatagramTransport, Any]:
    """A datagram transport for UDP; every ICMP error about its datagrams is told."""
    return await _open(factory, socket.IPPROTO_UDP, ttl, local_addr)


def set_ttl(transport: asyncio.DatagramTransport, ttl: int) -> None:
    """The TTL of what is sent from now on."""
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)


def set_pmtudisc(transport: asyncio.DatagramTransport, how: str) -> None:
    """`ping -M`: may what is too long be cut (``dont``), may it not (``do``), or as the path says (``want``)?"""
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, _PMTUDISC[how])


async def _open(
    factory: Factory, proto: int, ttl: int | None, local_addr: str | None
) -> tuple[asyncio.DatagramTransport, Any]:
    loop = asyncio.get_running_loop()
    transport: Any
    if is_emulated(loop):
        transport, protocol = await loop.create_datagram_endpoint(factory, family=socket.AF_INET, proto=proto)
        sock = transport.get_extra_info("socket")
        if local_addr is not None:
            sock.bind((local_addr, 0))
    else:
        sock = _TtlSocket(socket.AF_INET, socket.SOCK_DGRAM, proto)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        if local_addr is not None:
            sock.bind((local_addr, 0))
        transport, reader = await loop.create_datagram_endpoint(lambda: _ErrorQueue(factory(), sock), sock=sock)
        protocol = reader.protocol
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    if ttl is not None:
        set_ttl(transport, ttl)
    return transport, protocol


class _Message(bytes):
    """What was received, and the TTL it came with: what the emulated sockets give."""

    ttl: int


class _TtlSocket(socket.socket):
    """A real socket whose messages say their TTL."""

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        data, ancillary, _, address = self.recvmsg(size, 64, flags)
        message = _Message(data)
        for level, kind, value in ancillary:
            if (level, kind) == (socket.IPPROTO_IP, IP_TTL):
                message.ttl = int.from_bytes(value[:4], sys.byteorder)
        return message, address


class _ErrorQueue(asyncio.DatagramProtocol):
    """Stands before a program's protocol on a real machine and reads the socket's error queue for it."""

    def __init__(self, protocol: asyncio.DatagramProtocol, sock: socket.socket) -> None:
        self.protocol, self._sock = protocol, sock
        self.connection_made = protocol.connection_made          # type: ignore[method-assign]
        self.connection_lost = protocol.connection_lost          # type: ignore[method-assign]
        self.datagram_received = protocol.datagram_received      # type: ignore[method-assign]

    def error_received(self, exc: Exception) -> None:
        errors = self._drain()
        for error in errors or [exc]:
            self.protocol.error_received(error)

    def _drain(self) -> list[Exception]:
        errors: list[Exception] = []
        while True:
            try:
                _, ancillary, _, _ = self._sock.recvmsg(64, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return errors
            errors += [_extended(data) for level, kind, data in ancillary if (level, kind) == (0, IP_RECVERR)]


def _extended(data: bytes) -> OSError:
    """The exception for a struct sock_extended_err and the offender behind it."""
    number, origin, icmp_type, code, _, info, _ = _EXTENDED_ERR.unpack_from(data)
    exc = OSError(number, os.strerror(number))
    if number == errno.EMSGSIZE:
        exc.mtu = info  # type: ignore[attr-defined]
    if origin == ORIGIN_ICMP:
        at = _EXTENDED_ERR.size
        exc.icmp = IcmpInfo(icmp_type, code, info, data[at + 4 : at + 8])  # type: ignore[attr-defined]
    return exc
