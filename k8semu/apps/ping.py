"""ping: is there an answer, how long does it take, and if not, who says why?

    send ── interval ──▶ send ── interval ──▶ send ── until all have answered, or `timeout` ──▶ end

Shown: `ping -c N HOST`, the output of iputils ping
Linux: iputils ping/ping_common.c main_loop(), schedule_exit()
RFC: 792
Differs: an error is of the oldest request that nothing was heard of; the last is waited for four seconds, not ten.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import socket
from typing import Any

from k8semu.apps.http_client import error_name
from k8semu.apps.icmp import IcmpInfo, echo_request, echo_sequence, icmp_of, open_ping_socket, reply_ttl, set_pmtudisc
from k8semu.wire.addr import ip_ntoa

REDIRECT = 5
_WHY = {
    (3, 0): "Destination Net Unreachable", (3, 1): "Destination Host Unreachable",
    (3, 2): "Destination Protocol Unreachable", (3, 3): "Destination Port Unreachable",
    (3, 13): "Packet filtered", (11, 0): "Time to live exceeded", (11, 1): "Frag reassembly time exceeded",
}  # fmt: skip


class _Pinger(asyncio.DatagramProtocol):
    """Sends requests, and notes what comes of each."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.lines: list[str] = []
        self.times: list[float] = []
        self.sent: dict[int, float] = {}
        self.errors: dict[int, str] = {}
        self.answered: set[int] = set()
        self.pipe = 1
        self.no_route = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, sequence: int, payload: bytes, address: str) -> None:
        self.sent[sequence] = asyncio.get_running_loop().time()
        self.transport.sendto(echo_request(sequence, payload), (address, 0))

    @property
    def silent(self) -> list[int]:
        """The requests of which nothing was heard."""
        return [number for number in self.sent if number not in self.answered and number not in self.errors]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        sequence = echo_sequence(data)
        if sequence not in self.sent or sequence in self.answered:
            return
        ms = (asyncio.get_running_loop().time() - self.sent[sequence]) * 1000
        ttl = reply_ttl(data)
        said = f" ttl={ttl}" if ttl is not None else ""
        self.lines.append(f"{len(data)} bytes from {addr[0]}: icmp_seq={sequence}{said} time={_ms(ms)} ms")
        self.times.append(ms)
        self.answered.add(sequence)
        self._acknowledge(sequence)

    def error_received(self, exc: Exception) -> None:
        silent = self.silent
        if not isinstance(exc, OSError) or not silent:
            return
        sequence, info = silent[0], icmp_of(exc)
        if info is not None and info.type == REDIRECT:      # news of a shorter way; the answer still comes
            self.lines.append(_redirected(info, sequence))
            return
        self.no_route = exc.errno == errno.ENETUNREACH and info is None and sequence == 1
        self.lines.append(_describe(exc, sequence))
        self.errors[sequence] = error_name(exc)
        self._acknowledge(sequence)

    def _acknowledge(self, sequence: int) -> None:
        """How many requests were under way at the same time. Linux: iputils ping/ping.h acknowledge()"""
        self.pipe = max(self.pipe, len(self.sent) - sequence + 1)
        self.heard.set()


def _redirected(info: IcmpInfo, sequence: int) -> str:
    what = {0: "Redirect Network", 1: "Redirect Host"}.get(info.code, "Redirect")
    nexthop = ip_ntoa(info.mtu.to_bytes(4, "big"))      # where other errors have an MTU
    return f"From {ip_ntoa(info.sender)} icmp_seq={sequence} {what}(New nexthop: {nexthop})"


def _describe(error: OSError, sequence: int) -> str:
    info = icmp_of(error)
    if info is None:
        if error.errno == errno.EMSGSIZE:
            mtu = f", mtu={error.mtu}" if hasattr(error, "mtu") else ""
            return f"ping: local error: message too long{mtu}"
        return f"ping: sendmsg: {error.strerror}"
    if (info.type, info.code) == (3, 4):
        return f"From {ip_ntoa(info.sender)} icmp_seq={sequence} Frag needed and DF set (mtu = {info.mtu})"
    return f"From {ip_ntoa(info.sender)} icmp_seq={sequence} {_WHY.get((info.type, info.code), 'Unreachable')}"


async def ping(
    host: str, count: int = 1, size: int = 56, ttl: int | None = None, interval: float = 1.0, timeout: float = 4.0,
    pmtudisc: str = "", source: str = "", deadline: float = 0,
) -> dict[str, Any]:  # fmt: skip
    """Ask `count` times with `size` bytes: `sent`, `received`, `errors` (errno names), `lines` as ping prints them.

    With a `deadline` (in seconds, 0: none), ask until so many have answered, but no longer than that.
    """
    try:
        loop = asyncio.get_running_loop()
        address = (await loop.getaddrinfo(host, 0, family=socket.AF_INET))[0][4][0]
    except socket.gaierror as error:
        name = error_name(error)
        lines = [f"ping: {host}: {error.strerror}"]
        return {"sent": 0, "received": 0, "errors": [name], "error": name, "lines": lines}
    try:
        transport, pinger = await open_ping_socket(_Pinger, ttl=ttl, local_addr=source or None)
    except OSError as error:
        name, lines = error_name(error), [f"ping: bind: {error.strerror}"]
        return {"sent": 0, "received": 0, "errors": [name], "error": name, "lines": lines}
    if pmtudisc:
        set_pmtudisc(transport, pmtudisc)
    payload = (bytes(16) + bytes(range(16, 256)) * (size // 240 + 1))[:size]
    try:
        if deadline:
            await _ask_until(pinger, payload, str(address), count, interval, deadline)
        else:
            await _ask(pinger, payload, str(address), count, interval, timeout)
    finally:
        transport.close()
    found = {**pinger.errors, **dict.fromkeys(pinger.silent, "ETIMEDOUT")}
    errors = [found[sequence] for sequence in sorted(found)]
    result = {
        "sent": len(pinger.sent), "received": len(pinger.times), "errors": errors, "error": errors[0] if errors else "",
    }  # fmt: skip
    if pinger.no_route:     # a real ping finds out before its first line
        return {**result, "lines": ["ping: connect: Network is unreachable"]}
    origin = f"from {source} : " if source else ""
    head = f"PING {host} ({address}) {origin}{size}({size + 28}) bytes of data."
    return {**result, "lines": [head, *pinger.lines, *_statistics(host, pinger)]}


async def _ask(pinger: _Pinger, payload: bytes, address: str, count: int, interval: float, timeout: float) -> None:
    """Send a request each `interval`, and wait for what is still to come."""
    for sequence in range(1, count + 1):
        if sequence > 1:
            await asyncio.sleep(interval)
        pinger.send(sequence, payload, address)
        if sequence == 1:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if pinger.no_route:
            return
    patience = max(2 * max(pinger.times) / 1000, interval) if pinger.times else timeout
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    while pinger.silent and loop.time() < until:
        pinger.heard.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pinger.heard.wait(), until - loop.time())


async def _ask_until(
    pinger: _Pinger, payload: bytes, address: str, count: int, interval: float, deadline: float
) -> None:
    """Send a request each `interval` until `count` are answered or refused, or the time is over."""
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline
    following = loop.time()
    while loop.time() < until and len(pinger.answered) + len(pinger.errors) < count and not pinger.no_route:
        if loop.time() >= following:
            pinger.send(len(pinger.sent) + 1, payload, address)
            following += interval
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            continue
        pinger.heard.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pinger.heard.wait(), min(following, until) - loop.time())


def _ms(ms: float) -> str:
    """Three significant figures, as ping writes a time."""
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def _statistics(host: str, pinger: _Pinger) -> list[str]:
    """The last lines. Linux: iputils ping/ping_common.c finish()."""
    sent, times, failed = len(pinger.sent), pinger.times, len(pinger.errors)
    received = len(times)
    extra = f", +{failed} errors" if failed else ""
    loss = f"{100 * (sent - received) / sent:g}"
    ms = (pinger.sent[sent] - pinger.sent[1]) * 1000
    rows = [
        "",
        f"--- {host} ping statistics ---",
        f"{sent} packets transmitted, {received} received{extra}, {loss}% packet loss, time {ms:.0f}ms",
    ]
    pipe = f"pipe {pinger.pipe}" if pinger.pipe > 1 else ""
    if not times:
        return [*rows, pipe]
    micro = [round(t * 1000) for t in times]
    average = sum(micro) // received
    deviation = math.isqrt(max(0, sum(t * t for t in micro) // received - average * average))
    figures = "/".join(f"{t / 1000:.3f}" for t in (min(micro), average, max(micro), deviation))
    return [*rows, f"rtt min/avg/max/mdev = {figures} ms{f', {pipe}' if pipe else ''}"]
