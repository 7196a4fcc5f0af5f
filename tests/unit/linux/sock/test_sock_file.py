"""What programs see of a socket, and option numbers that mean the same on every machine."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest
from sock_world import TwoMachines

from k8semu.linux.sock import file
from k8semu.linux.sock.file import linux_option


@pytest.mark.parametrize(
    ("level", "name", "expected"),
    [
        (socket.SOL_SOCKET, socket.SO_REUSEADDR, (1, 2)),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, (1, 9)),
        (socket.IPPROTO_IP, socket.IP_TTL, (0, 2)),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, (6, 1)),
        (socket.IPPROTO_TCP, 9999, (6, 9999)),
        (77, 78, (77, 78)),
    ],
)
def test_options_have_linuxs_numbers(level: int, name: int, expected: tuple[int, int]) -> None:
    assert linux_option(level, name) == expected


def test_options_of_another_system_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bsd:
        SOL_SOCKET, SO_REUSEADDR, SO_KEEPALIVE, IPPROTO_IP, IP_TTL, IPPROTO_TCP, TCP_NODELAY = 0xFFFF, 4, 8, 0, 4, 6, 1

    monkeypatch.setattr(file, "socket", Bsd)
    assert linux_option(0xFFFF, 4) == (1, 2)
    assert linux_option(0xFFFF, 8) == (1, 9)
    assert linux_option(0, 4) == (0, 2)
    assert linux_option(6, 1) == (6, 1)


def test_a_stream_shows_its_socket_as_asyncio_does(run_program: Any) -> None:
    async def program() -> Any:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        listener = server.sockets[0]
        port = listener.getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        keepalive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 4)
        found = (
            sock.family, sock.type, sock.proto, sock.getpeername()[1] == port, struct.unpack("i", keepalive),
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0, sock.gettimeout(), listener.type,
        )  # fmt: skip
        with pytest.raises(OSError, match="not connected"):
            listener.getpeername()
        with pytest.raises(ValueError, match="setblocking"):
            sock.setblocking(True)
        await reader.read()
        writer.close()
        server.close()
        return found

    assert run_program(program) == (
        socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, True, (1,), True, 0, socket.SOCK_STREAM,
    )  # fmt: skip


def test_the_words_of_an_emulated_socket(machines: TwoMachines) -> None:
    sock = machines.client.sockets.udp.socket()
    sock.bind(bytes(4), 53)
    view = file.SocketView(sock)
    assert repr(view) == "<k8semu.Socket fd=-1, family=2, type=2, proto=17, laddr=('0.0.0.0', 53)>"
    assert view.fileno() == -1
    view.close()
    assert list(machines.client.sockets.udp.all()) == []


def test_datagram_options_are_read_back(machines: TwoMachines) -> None:
    sock = machines.client.sockets.udp.socket()
    view = file.SocketView(sock)
    for level, name, value in (
        (socket.IPPROTO_IP, socket.IP_TTL, 3), (socket.IPPROTO_IP, socket.IP_TOS, 0x10),
        (socket.SOL_SOCKET, socket.SO_BROADCAST, 1), (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
    ):  # fmt: skip
        view.setsockopt(level, name, value)
        assert view.getsockopt(level, name) == value
    with pytest.raises(OSError, match="Invalid argument"):
        view.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 256)
    with pytest.raises(OSError, match="Protocol not available"):
        view.setsockopt(socket.SOL_SOCKET, 9999, 1)
