"""Ping sockets, and the helpers programs use for them."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest
from sock_world import TwoMachines, on_linux

from k8semu.apps.icmp import (
    echo_request,
    echo_sequence,
    icmp_of,
    open_ping_socket,
    open_probe_socket,
    set_ttl,
)
from k8semu.linux.core.commands import AddrAdd, LinkSet, RouteAdd, Sysctl, VethAdd
from k8semu.linux.core.drop import Drop
from k8semu.linux.netns import NetNs
from k8semu.wire.addr import ip_aton


class Pinger(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.replies: list[Any] = []
        self.errors: list[Any] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.replies.append((echo_sequence(data), data[0], data[8:], addr))

    def error_received(self, exc: Exception) -> None:
        assert isinstance(exc, OSError)
        icmp = icmp_of(exc)
        self.errors.append((exc.errno, icmp and (icmp.type, icmp.code, icmp.sender)))


async def ping(address: str, count: int = 1, ttl: int | None = None, pause: float = 5) -> Pinger:
    transport, pinger = await open_ping_socket(Pinger, ttl=ttl)
    for sequence in range(1, count + 1):
        transport.sendto(echo_request(sequence, b"abcdefgh"), (address, 0))
        await asyncio.sleep(pause)
    transport.close()
    found: Pinger = pinger
    return found


def test_echo_replies_come_back_with_their_sequence(machines: TwoMachines) -> None:
    pinger = machines.run(machines.client, ping("10.0.0.2", 3))
    assert pinger.replies == [(n, 0, b"abcdefgh", ("10.0.0.2", 0)) for n in (1, 2, 3)]
    assert pinger.errors == []


def test_two_pingers_do_not_hear_each_other(machines: TwoMachines) -> None:
    async def both() -> list[Pinger]:
        return await asyncio.gather(ping("10.0.0.2", 2), ping("10.0.0.2", 1))

    first, second = machines.run(machines.client, both())
    assert len(first.replies) == 2
    assert len(second.replies) == 1


def test_an_absent_host_is_unreachable_after_arp_gives_up(machines: TwoMachines) -> None:
    pinger = machines.run(machines.client, ping("10.0.0.9"))
    assert pinger.errors == [(errno.EHOSTUNREACH, (3, 1, ip_aton("10.0.0.1")))]


def test_the_kernel_writes_identifier_and_checksum(machines: TwoMachines) -> None:
    machines.run(machines.client, ping("10.0.0.2"))
    requests = [f for _, f in machines.seen if f[23] == 1 and f[34] == 8]
    (request,) = requests
    assert int.from_bytes(request[38:40], "big") != 0
    assert request[20] & 0x40, "DF"


def test_only_echo_requests_can_be_sent(machines: TwoMachines) -> None:
    sock = machines.client.sockets.ping.socket()
    for message in (b"\x08\0\0\0", b"\x05" + bytes(7), b"\x08\x01" + bytes(6)):
        with pytest.raises(OSError, match="Invalid argument"):
            sock.sendto(message, ip_aton("10.0.0.2"))


def test_a_reply_that_nobody_waits_for_is_dropped(machines: TwoMachines) -> None:
    async def impatient() -> None:
        transport, _ = await open_ping_socket(Pinger)
        transport.sendto(echo_request(1), ("10.0.0.2", 0))
        await asyncio.sleep(0)
        transport.close()
        await asyncio.sleep(1)

    machines.run(machines.client, impatient())
    assert machines.drops(machines.client) == {Drop.NO_SOCKET: 1}


def behind_a_router(machines: TwoMachines) -> None:
    """client — server (a router now) — far 10.1.0.2."""
    far = machines.machines["far"] = NetNs(machines.world, "far", machines.machines.__getitem__)
    machines.server.apply(VethAdd(name="eth1", peer="eth0", peer_netns="far"))
    for net, dev, address in ((machines.server, "eth1", "10.1.0.1/24"), (far, "eth0", "10.1.0.2/24")):
        net.apply(AddrAdd(dev=dev, address=address))
        net.apply(LinkSet(name=dev, up=True))
    machines.server.apply(Sysctl(name="net.ipv4.ip_forward", value="1"))
    machines.client.apply(RouteAdd(dst="default", via="10.0.0.2"))
    far.apply(RouteAdd(dst="default", via="10.1.0.1"))


def test_a_small_ttl_shows_the_router(machines: TwoMachines) -> None:
    behind_a_router(machines)
    pinger = machines.run(machines.client, ping("10.1.0.2", ttl=1))
    assert pinger.errors == [(errno.EHOSTUNREACH, (11, 0, ip_aton("10.0.0.2")))]
    assert machines.run(machines.client, ping("10.1.0.2", ttl=2)).replies != []


def test_traceroute_by_udp_finds_router_and_host(machines: TwoMachines) -> None:
    behind_a_router(machines)

    async def traceroute() -> list[Any]:
        transport, pinger = await open_probe_socket(Pinger)
        for ttl in (1, 2):
            set_ttl(transport, ttl)
            transport.sendto(b"probe", ("10.1.0.2", 33434 + ttl))
            await asyncio.sleep(1)
        transport.close()
        found: list[Any] = pinger.errors
        return found

    assert machines.run(machines.client, traceroute()) == [
        (errno.EHOSTUNREACH, (11, 0, ip_aton("10.0.0.2"))),
        (errno.ECONNREFUSED, (3, 3, ip_aton("10.1.0.2"))),
    ]


def test_a_probe_to_a_closed_port_tells_who_refused_on_linux_too() -> None:
    async def probe() -> list[Any]:
        transport, pinger = await open_probe_socket(Pinger, local_addr="127.0.0.1")
        transport.sendto(b"probe", ("127.0.0.1", 9))
        await asyncio.sleep(0.05)
        transport.close()
        found: list[Any] = pinger.errors
        return found

    assert on_linux(probe) == [(errno.ECONNREFUSED, (3, 3, ip_aton("127.0.0.1")))]


@pytest.mark.kernel
def test_ping_works_on_a_real_machine_too() -> None:
    import subprocess
    import sys
    from pathlib import Path

    program = (
        "import asyncio, test_sock_ping as t\n"
        "p = asyncio.run(t.ping('127.0.0.1', 2, pause=0.05))\n"
        "print(p.replies, p.errors)"
    )
    shell = 'ip link set lo up; echo "0 0" > /proc/sys/net/ipv4/ping_group_range; exec "$0" -W ignore -c "$1"'
    done = subprocess.run(
        ["unshare", "-Urnm", "sh", "-c", shell, sys.executable, program],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert done.stdout == f"{[(n, 0, b'abcdefgh', ('127.0.0.1', 0)) for n in (1, 2)]} []\n", done.stderr


def test_a_ping_socket_is_a_datagram_socket_of_icmp(machines: TwoMachines) -> None:
    async def program() -> Any:
        transport, _ = await open_ping_socket(Pinger, local_addr="10.0.0.1")
        view = transport.get_extra_info("socket")
        found = (view.family, view.type, view.proto, view.getsockname()[0], view.fileno())
        transport.close()
        return found

    expected = (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP, "10.0.0.1", -1)
    assert machines.run(machines.client, program()) == expected
