"""Network devices for programs, on an emulated machine and on a real one alike.

    tun device ─▶ protocol.packet_received(data)       transport.send(data) ─▶ tun device
    any device ─▶ … whole frames (AF_PACKET)           transport.send(frame) ─▶ out of it

A program that puts a packet into another one, or takes it out, does so within `same_packet(data)`:
in the emulator the packet then keeps its number in captures; on a real machine it changes nothing.

Linux: tun(4) (Documentation/networking/tuntap.rst), packet(7)
Differs: on a real machine an AF_PACKET program sees a copy, and the kernel handles the frame too.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol

from k8semu.sim.program import Frame, same_packet

__all__ = ["DeviceProtocol", "DeviceTransport", "Frame", "connect_packet", "connect_tun", "same_packet"]

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
ETH_P_ALL, PACKET_OUTGOING = 0x0003, 4
MAX_PACKET = 65535 + 14


class DeviceTransport(Protocol):
    """What `connect_tun` and `connect_packet` give a program."""

    def send(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def is_closing(self) -> bool: ...
    def get_extra_info(self, name: str, default: Any = None) -> Any: ...


class DeviceProtocol:
    """Base of a program's protocol for a device."""

    def connection_made(self, transport: DeviceTransport) -> None:
        """The device is open."""

    def packet_received(self, data: bytes) -> None:
        """An IP packet (tun) or a whole frame (packet socket)."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The device was closed."""


Factory = Callable[[], DeviceProtocol]


async def connect_tun(factory: Factory, name: str) -> tuple[DeviceTransport, Any]:
    """Hold the far end of the tun device `name`, which exists. Linux: open("/dev/net/tun"), TUNSETIFF."""
    loop: Any = asyncio.get_running_loop()
    if hasattr(loop, "connect_tun"):
        connected: tuple[DeviceTransport, Any] = await loop.connect_tun(factory, name)
        return connected
    if name not in [dev for _, dev in socket.if_nameindex()]:  # TUNSETIFF would make a new one
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        import fcntl

        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    except BaseException:
        os.close(fd)
        raise
    return _open(loop, factory, name, fd, lambda: os.read(fd, MAX_PACKET), lambda data: os.write(fd, data),
                 lambda: os.close(fd))


async def connect_packet(factory: Factory, name: str) -> tuple[DeviceTransport, Any]:
    """Every frame that arrives on the device `name`. Linux: socket(AF_PACKET, SOCK_RAW)."""
    loop: Any = asyncio.get_running_loop()
    if hasattr(loop, "connect_packet"):
        connected: tuple[DeviceTransport, Any] = await loop.connect_packet(factory, name)
        return connected
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setblocking(False)
    try:
        sock.bind((name, 0))
    except BaseException:
        sock.close()
        raise

    def read() -> bytes:
        data, address = sock.recvfrom(MAX_PACKET)
        return b"" if address[2] == PACKET_OUTGOING else data

    return _open(loop, factory, name, sock.fileno(), read, sock.send, sock.close)


def _open(
    loop: asyncio.AbstractEventLoop, factory: Factory, name: str, fd: int,
    read: Callable[[], bytes], write: Callable[[bytes], int], close: Callable[[], None],
) -> tuple[DeviceTransport, Any]:  # fmt: skip
    protocol = factory()
    return _RealDevice(loop, protocol, name, fd, read, write, close), protocol


class _RealDevice(asyncio.BaseTransport):
    """A device of a real machine. What the device has no room for is dropped, as a network does."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, protocol: DeviceProtocol, name: str, fd: int,
        read: Callable[[], bytes], write: Callable[[bytes], int], close: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__({"device": name})
        self._loop, self._protocol, self._fd = loop, protocol, fd
        self._read, self._write, self._close = read, write, close
        self._closing = False
        loop.call_soon(protocol.connection_made, self)
        loop.call_soon(loop.add_reader, fd, self._readable)

    def _readable(self) -> None:
        try:
            data = self._read()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._end(exc)
            return
        if data:
            self._protocol.packet_received(data)

    def send(self, data: bytes) -> None:
        if not self._closing:
            try:
                self._write(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as exc:
                if exc.errno not in (errno.ENOBUFS, errno.EMSGSIZE, errno.EINVAL, errno.ENETDOWN, errno.EIO):
                    raise

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._end(None)

    def _end(self, exc: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._loop.remove_reader(self._fd)
            self._close()
            self._loop.call_soon(self._protocol.connection_lost, exc)
