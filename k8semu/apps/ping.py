"""ping: is there an answer, how long does it take, and if not, who says why?

Shown: `ping -c N HOST`, the output of iputils ping
RFC: 792
Differs: the next request waits for the answer to this one; a real ping asks each interval anyway.
"""

from __future__ import annotations

import asyncio
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
    """Takes answers; `waiting` is the sequence number asked about, with the future that waits for it."""

    def __init__(self) -> None:
        self.waiting: tuple[int, asyncio.Future[tuple[str, int, int | None]]] | None = None
        self.redirects: list[IcmpInfo] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.waiting is not None and echo_sequence(data) == self.waiting[0] and not self.waiting[1].done():
            self.waiting[1].set_result((addr[0], len(data), reply_ttl(data)))

    def error_received(self, exc: Exception) -> None:
        info = icmp_of(exc) if isinstance(exc, OSError) else None
        if info is not None and info.type == REDIRECT:      # news of a shorter way; the answer still comes
            self.redirects.append(info)
            return
        if self.waiting is not None and not self.waiting[1].done():
            self.waiting[1].set_exception(exc)


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
    pmtudisc: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Ask `count` times with `size` bytes: `sent`, `received`, `errors` (errno names), `lines` as ping prints them."""
    loop = asyncio.get_running_loop()
    try:
        address = (await loop.getaddrinfo(host, 0, family=socket.AF_INET))[0][4][0]
    except socket.gaierror as error:
        name = error_name(error)
        lines = [f"ping: {host}: {error.strerror}"]
        return {"sent": 0, "received": 0, "errors": [name], "error": name, "lines": lines}
    transport, pinger = await open_ping_socket(_Pinger, ttl=ttl)
    if pmtudisc:
        set_pmtudisc(transport, pmtudisc)
    payload = (bytes(16) + bytes(range(16, 256)) * (size // 240 + 1))[:size]
    lines = [f"PING {host} ({address}) {size}({size + 28}) bytes of data."]
    errors: list[str] = []
    times: list[float] = []
    started = loop.time()
    try:
        for sequence in range(1, count + 1):
            if sequence > 1:
                await asyncio.sleep(interval)
            answer: asyncio.Future[tuple[str, int, int | None]] = loop.create_future()
            pinger.waiting = (sequence, answer)
            sent = loop.time()
            transport.sendto(echo_request(sequence, payload), (address, 0))
            try:
                sender, length, hops_left = await asyncio.wait_for(answer, timeout)
            except TimeoutError:
                errors.append("ETIMEDOUT")
            except OSError as error:
                errors.append(error_name(error))
                if not lines[1:] and error.errno == errno.ENETUNREACH and icmp_of(error) is None:
                    # no route: a real ping finds out before its first line
                    lines = [f"ping: connect: {error.strerror}"]
                    return {"sent": sequence, "received": 0, "errors": errors, "error": errors[0], "lines": lines}
                lines.append(_describe(error, sequence))
            else:
                lines += [_redirected(info, sequence) for info in pinger.redirects]
                pinger.redirects.clear()
                ms = (loop.time() - sent) * 1000
                times.append(ms)
                ttl_said = f" ttl={hops_left}" if hops_left is not None else ""
                lines.append(f"{length} bytes from {sender}: icmp_seq={sequence}{ttl_said} time={_ms(ms)} ms")
    finally:
        transport.close()
    received = len(times)
    lines += _statistics(host, count, times, errors, (loop.time() - started) * 1000)
    return {"sent": count, "received": received, "errors": errors, "error": errors[0] if errors else "", "lines": lines}


def _ms(ms: float) -> str:
    """Three significant figures, as ping writes a time."""
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def _statistics(host: str, sent: int, times: list[float], errors: list[str], ms: float) -> list[str]:
    """The last lines. Linux: iputils ping/ping_common.c finish()."""
    received = len(times)
    failed = len([e for e in errors if e != "ETIMEDOUT"])
    extra = f", +{failed} errors" if failed else ""
    loss = f"{100 * (sent - received) / sent:g}"
    rows = [
        "",
        f"--- {host} ping statistics ---",
        f"{sent} packets transmitted, {received} received{extra}, {loss}% packet loss, time {ms:.0f}ms",
    ]
    if not times:
        return [*rows, ""]
    micro = [round(t * 1000) for t in times]
    average = sum(micro) // received
    deviation = math.isqrt(max(0, sum(t * t for t in micro) // received - average * average))
    figures = "/".join(f"{t / 1000:.3f}" for t in (min(micro), average, max(micro), deviation))
    return [*rows, f"rtt min/avg/max/mdev = {figures} ms"]
