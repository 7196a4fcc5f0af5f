"""UDP sockets: ports, checksums, errors, and what the wire carries."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from typing import Any

import pytest
from sock_world import TwoMachines

from k8semu.linux.core.commands import Sysctl
from k8semu.linux.core.drop import Drop
from k8semu.linux.sock.dgram import MIN_RCVBUF, SO_RCVBUF, SOL_SOCKET
from k8semu.linux.sock.udp import UdpSock, local_port_range
from k8semu.trace.steps import Originate
from k8semu.wire.addr import IP_ANY, ip_aton
from k8semu.wire.build import ip_build
from k8semu.wire.checksum import transport_checksum

SERVER, CLIENT = ip_aton("10.0.0.2"), ip_aton("10.0.0.1")


class Notes(asyncio.DatagramProtocol):
    """Writes down everything that happens to it."""

    def __init__(self, echo: bool = False) -> None:
        self.log: list[Any] = []
        self.echo = echo

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.log.append("made")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.log.append((bytes(data), addr))
        if self.echo:
            self.transport.sendto(data, addr)

    def error_received(self, exc: Exception) -> None:
        self.log.append(repr(exc))

    def connection_lost(self, exc: Exception | None) -> None:
        self.log.append(("lost", exc))


def error_of(call: Any, *args: Any) -> int:
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        call(*args)
    return caught.value.errno or 0


# --- the same program on both kinds of machine ---------------------------------------------------


def test_datagrams_go_there_and_back(run_program: Any) -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(lambda: Notes(echo=True), local_addr=("127.0.0.1", 0))
        port = server.get_extra_info("sockname")[1]
        transport, client = await loop.create_datagram_endpoint(Notes, remote_addr=("127.0.0.1", port))
        for text in (b"one", b"two", b"x" * 9000):
            transport.sendto(text)
        await asyncio.sleep(0.05)
        transport.close()
        server.close()
        await asyncio.sleep(0.01)
        return [entry if isinstance(entry, str) else entry[0] for entry in client.log], client.log[1][1][0]

    assert run_program(program) == (["made", b"one", b"two", b"x" * 9000, "lost"], "127.0.0.1")


def test_a_connected_socket_hears_that_nobody_listens(run_program: Any) -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        transport, notes = await loop.create_datagram_endpoint(Notes, remote_addr=("127.0.0.1", 9))
        transport.sendto(b"anybody?")
        await asyncio.sleep(0.05)
        transport.close()
        return notes.log[1:]

    assert run_program(program) == ["ConnectionRefusedError(111, 'Connection refused')"]


def test_an_unconnected_socket_hears_nothing(run_program: Any) -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        transport, notes = await loop.create_datagram_endpoint(Notes, family=socket.AF_INET)
        transport.sendto(b"anybody?", ("127.0.0.1", 9))
        await asyncio.sleep(0.05)
        transport.close()
        return list(notes.log)

    assert run_program(program) == ["made"]


def test_what_sendto_refuses_is_told_at_once(run_program: Any) -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        transport, notes = await loop.create_datagram_endpoint(Notes, family=socket.AF_INET)
        transport.sendto(b"x" * 65508, ("127.0.0.1", 9))
        transport.sendto(b"x" * 70000, ("127.0.0.1", 9))
        transport.sendto(b"x", ("127.0.0.1", 0))
        transport.close()
        return list(notes.log)

    assert run_program(program) == [
        "made", "OSError(90, 'Message too long')", "OSError(90, 'Message too long')", "OSError(22, 'Invalid argument')",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({}, "ValueError: unexpected address family"),
        ({"local_addr": ("198.51.100.9", 5)}, "OSError: [Errno 99] Cannot assign requested address"),
        ({"local_addr": "127.0.0.1"}, "TypeError: 2-tuple is expected"),
        ({"remote_addr": ("127.0.0.1", 0), "proto": 1}, "gaierror: [Errno -7] ai_socktype not supported"),
    ],
)
def test_endpoints_are_refused_as_asyncio_refuses_them(run_program: Any, kwargs: Any, error: str) -> None:
    async def program() -> str:
        try:
            await asyncio.get_running_loop().create_datagram_endpoint(Notes, **kwargs)
        except Exception as exc:
            return f"{type(exc).__name__}: {exc}"
        return "no error"

    assert run_program(program) == error


def test_a_transport_with_a_peer_sends_to_nobody_else(run_program: Any) -> None:
    async def program() -> str:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Notes, remote_addr=("127.0.0.1", 9))
        try:
            transport.sendto(b"x", ("127.0.0.1", 10))
        except ValueError as exc:
            return str(exc)
        finally:
            transport.close()
        return "no error"

    assert run_program(program) == "Invalid address: must be None or ('127.0.0.1', 9)"


# --- ports ---------------------------------------------------------------------------------------


def bound(machines: TwoMachines, addr: str, port: int, **options: bool) -> UdpSock:
    sock = machines.server.sockets.udp.socket()
    for name, value in options.items():
        setattr(sock, name, value)
    sock.bind(ip_aton(addr), port)
    return sock


@pytest.mark.parametrize(
    ("first", "second", "free"),
    [("0.0.0.0", "10.0.0.2", False), ("10.0.0.2", "0.0.0.0", False), ("10.0.0.2", "127.0.0.1", True)],
)
def test_a_port_is_taken_per_address(machines: TwoMachines, first: str, second: str, free: bool) -> None:
    bound(machines, first, 53)
    if free:
        bound(machines, second, 53)
    else:
        assert error_of(bound, machines, second, 53) == errno.EADDRINUSE


@pytest.mark.parametrize("option", ["reuseaddr", "reuseport"])
def test_a_port_is_shared_only_if_both_agree(machines: TwoMachines, option: str) -> None:
    bound(machines, "0.0.0.0", 53, **{option: True})
    assert error_of(bound, machines, "0.0.0.0", 53) == errno.EADDRINUSE
    bound(machines, "0.0.0.0", 53, **{option: True})


def test_a_closed_socket_gives_its_port_back(machines: TwoMachines) -> None:
    bound(machines, "0.0.0.0", 53).close()
    bound(machines, "0.0.0.0", 53)


def test_an_address_of_another_machine_cannot_be_bound(machines: TwoMachines) -> None:
    assert error_of(bound, machines, "10.0.0.1", 53) == errno.EADDRNOTAVAIL
    machines.server.apply(Sysctl(name="net.ipv4.ip_nonlocal_bind", value="1"))
    bound(machines, "10.0.0.1", 53)


def test_a_tunnel_in_the_kernel_holds_its_port(machines: TwoMachines) -> None:
    machines.server.udp_encap[8472] = lambda skb: None
    assert error_of(bound, machines, "0.0.0.0", 8472) == errno.EADDRINUSE


def test_ephemeral_ports_come_from_the_range_until_it_is_empty(machines: TwoMachines) -> None:
    machines.server.apply(Sysctl(name="net.ipv4.ip_local_port_range", value="40000 40009"))
    assert local_port_range(machines.server) == (40000, 40009)
    ports = [bound(machines, "0.0.0.0", 0).sport for _ in range(10)]
    assert sorted(ports) == list(range(40000, 40010))
    assert error_of(bound, machines, "0.0.0.0", 0) == errno.EADDRINUSE


def test_the_socket_that_fits_best_gets_the_datagram(machines: TwoMachines) -> None:
    wildcard = bound(machines, "0.0.0.0", 53, reuseaddr=True)
    specific = bound(machines, "10.0.0.2", 53, reuseaddr=True)
    connected = bound(machines, "10.0.0.2", 53, reuseaddr=True)
    connected.connect(CLIENT, 4000)
    lookup = machines.server.sockets.udp.lookup
    assert lookup(CLIENT, 4000, SERVER, 53) is connected
    assert lookup(CLIENT, 4001, SERVER, 53) is specific
    assert lookup(CLIENT, 4000, ip_aton("127.0.0.1"), 53) is wildcard
    assert lookup(CLIENT, 4000, SERVER, 54) is None


def test_of_two_that_fit_the_latest_gets_it(machines: TwoMachines) -> None:
    bound(machines, "0.0.0.0", 53, reuseaddr=True)
    latest = bound(machines, "0.0.0.0", 53, reuseaddr=True)
    assert machines.server.sockets.udp.lookup(CLIENT, 4000, SERVER, 53) is latest


def test_flows_are_spread_over_a_reuseport_group(machines: TwoMachines) -> None:
    group = [bound(machines, "0.0.0.0", 53, reuseport=True) for _ in range(4)]
    lookup = machines.server.sockets.udp.lookup
    chosen = [lookup(CLIENT, port, SERVER, 53) for port in range(1000, 1100)]
    assert {id(sock) for sock in chosen} == {id(sock) for sock in group}
    assert chosen == [lookup(CLIENT, port, SERVER, 53) for port in range(1000, 1100)]


def test_ss_lists_bound_sockets(machines: TwoMachines) -> None:
    bound(machines, "0.0.0.0", 53)
    client = bound(machines, "0.0.0.0", 99)
    client.connect(CLIENT, 7)
    rows = [(i.proto, i.state, i.local, i.remote) for i in machines.server.sockets.listing()]
    assert rows == [
        ("udp", "UNCONN", (IP_ANY, 53), (IP_ANY, 0)),
        ("udp", "ESTABLISHED", (SERVER, 99), (CLIENT, 7)),
    ]


# --- the wire ------------------------------------------------------------------------------------


def frames(machines: TwoMachines, protocol: int = 17) -> list[bytes]:
    return [data for _, data in machines.seen if data[12:14] == b"\x08\x00" and data[23] == protocol]


def settle(machines: TwoMachines) -> None:
    machines.loop.run_until_complete(asyncio.sleep(0.5))


def test_df_is_set_while_the_datagram_fits_and_else_it_is_cut(machines: TwoMachines) -> None:
    sock = machines.client.sockets.udp.socket()
    bound(machines, "0.0.0.0", 53)
    for size in (10, 1472, 1473):
        sock.sendto(b"x" * size, SERVER, 53)
    settle(machines)
    shapes = [
        (struct.unpack("!H", f[16:18])[0], bool(f[20] & 0x40), bool(f[20] & 0x20), (f[20] & 0x1F) << 8 | f[21])
        for f in frames(machines)
    ]
    assert shapes == [
        (38, True, False, 0), (1500, True, False, 0), (1500, False, True, 0), (21, False, False, 185),
    ]  # fmt: skip


def test_a_connected_socket_counts_its_own_packets(machines: TwoMachines) -> None:
    sock = machines.client.sockets.udp.socket()
    bound(machines, "0.0.0.0", 53)
    sock.connect(SERVER, 53)
    for _ in range(3):
        sock.sendto(b"x")
    settle(machines)
    idents = [int.from_bytes(f[18:20], "big") for f in frames(machines)]
    assert idents == [idents[0], idents[0] + 1, idents[0] + 2]


def test_nobody_listens_is_answered_with_port_unreachable(machines: TwoMachines) -> None:
    machines.client.sockets.udp.socket().sendto(b"x", SERVER, 53)
    settle(machines)
    answer = frames(machines, 1)
    assert [(f[34], f[35]) for f in answer] == [(3, 3)]
    assert machines.drops(machines.server) == {Drop.NO_SOCKET: 1}


def inject(machines: TwoMachines, segment: bytes, check: bool = True) -> None:
    """Send a UDP segment as it stands; its checksum is filled in unless told otherwise."""
    data = bytearray(segment)
    if check:
        data[6:8] = (transport_checksum(CLIENT, SERVER, 17, data) or 0xFFFF).to_bytes(2, "big")
    packet = ip_build(CLIENT, SERVER, 17, len(data)) + data
    skb = machines.client.originate(packet, Originate("a test"))
    machines.client.ipv4.local_out(skb, machines.client.ipv4.route_output(SERVER))
    settle(machines)


@pytest.mark.parametrize(
    ("segment", "check", "drops"),
    [
        (struct.pack("!HHHH", 1, 53, 9, 0) + b"x", True, {}),
        (struct.pack("!HHHH", 1, 53, 9, 0) + b"x", False, {}),                       # no checksum
        (struct.pack("!HHHH", 1, 53, 9, 0x1234) + b"x", False, {Drop.UDP_CSUM: 1}),
        (struct.pack("!HHHH", 1, 53, 10, 0) + b"x", False, {Drop.PKT_TOO_SMALL: 1}),  # longer than the packet
        (struct.pack("!HHHH", 1, 53, 7, 0) + b"x", False, {Drop.PKT_TOO_SMALL: 1}),   # shorter than the header
        (struct.pack("!HHH", 1, 53, 6), False, {Drop.PKT_TOO_SMALL: 1}),
    ],
)
def test_bad_lengths_and_checksums_are_dropped(
    machines: TwoMachines, segment: bytes, check: bool, drops: dict[Drop, int]
) -> None:
    sock = bound(machines, "0.0.0.0", 53)
    inject(machines, segment, check)
    assert machines.drops(machines.server) == drops
    assert [data for data, _ in sock.queue] == ([] if drops else [b"x"])


def test_what_follows_the_udp_length_is_no_data(machines: TwoMachines) -> None:
    sock = bound(machines, "0.0.0.0", 53)
    inject(machines, struct.pack("!HHHH", 1, 53, 9, 0) + b"xpadding", False)
    assert [bytes(data) for data, _ in sock.queue] == [b"x"]


def test_a_socket_that_nobody_reads_fills_up(machines: TwoMachines) -> None:
    sock = bound(machines, "0.0.0.0", 53)
    sock.setsockopt(SOL_SOCKET, SO_RCVBUF, 1)
    assert sock.getsockopt(SOL_SOCKET, SO_RCVBUF) == MIN_RCVBUF
    sender = machines.client.sockets.udp.socket()
    for _ in range(5):
        sender.sendto(b"x" * 1000, SERVER, 53)
    settle(machines)
    assert len(sock.queue) == 2
    assert machines.drops(machines.server) == {Drop.SOCKET_RCVBUFF: 3}


def test_a_broadcast_needs_leave_and_reaches_every_socket(machines: TwoMachines) -> None:
    first = bound(machines, "0.0.0.0", 53, reuseaddr=True)
    second = bound(machines, "0.0.0.0", 53, reuseaddr=True)
    elsewhere = bound(machines, "10.0.0.2", 53, reuseaddr=True)
    sender = machines.client.sockets.udp.socket()
    assert error_of(sender.sendto, b"all", ip_aton("10.0.0.255"), 53) == errno.EACCES
    sender.broadcast = True
    sender.sendto(b"all", ip_aton("10.0.0.255"), 53)
    settle(machines)
    assert [len(sock.queue) for sock in (first, second, elsewhere)] == [1, 1, 0]


def test_without_a_route_there_is_an_error_and_no_packet(machines: TwoMachines) -> None:
    sender = machines.client.sockets.udp.socket()
    assert error_of(sender.sendto, b"x", ip_aton("192.0.2.1"), 53) == errno.ENETUNREACH
    assert machines.seen == []


def test_with_recverr_each_icmp_error_is_told_with_its_sender(machines: TwoMachines) -> None:
    sock = machines.client.sockets.udp.socket()
    sock.recverr = True
    sock.sendto(b"x", SERVER, 53)
    sock.sendto(b"x", SERVER, 54)
    settle(machines)
    told = []
    while sock.has_news:
        with pytest.raises(ConnectionRefusedError) as caught:
            sock.read()
        told.append((caught.value.icmp.type, caught.value.icmp.code, caught.value.icmp.sender))  # type: ignore[attr-defined]
    assert told == [(3, 3, SERVER), (3, 3, SERVER)]


def test_a_pending_error_is_what_the_next_send_says(machines: TwoMachines) -> None:
    sock = machines.client.sockets.udp.socket()
    sock.connect(SERVER, 53)
    sock.sendto(b"x")
    settle(machines)
    assert error_of(sock.sendto, b"x") == errno.ECONNREFUSED
    sock.sendto(b"x")


def test_the_trace_names_the_program_and_the_socket(machines: TwoMachines) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: Notes(echo=True), local_addr=("0.0.0.0", 53))

    machines.run(machines.server, serve(), "coredns")
    (sock,) = machines.server.sockets.udp.all()
    assert sock.deliver_step.text == "delivered to udp 0.0.0.0:53 (coredns)"
    assert sock.originate_step.text == "sent by coredns udp 0.0.0.0:53"
    assert machines.server.sockets.listing()[0].program == "coredns"
