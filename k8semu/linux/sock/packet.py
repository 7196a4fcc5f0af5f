"""A program at the far end of a tun device, or behind a device as AF_PACKET shows it.

    device ─▶ packet_received(Frame)          transport.send(bytes) ─▶ device

A `Frame` knows the id of its packet; what is sent within `same_packet(frame)` keeps it.

Linux: drivers/net/tun.c, net/packet/af_packet.c
Differs: a packet socket takes the frames of its device away from the kernel, as Open vSwitch's
receive handler does.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from k8semu.linux.drivers.tun import TunDevice
from k8semu.linux.sock.dgram import os_error
from k8semu.sim.program import Frame, current_files, current_packet

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.core.net import Net
    from k8semu.sim.loop import Factory, SimLoop


class DeviceTransport(asyncio.BaseTransport):
    """Frames or packets to and from the device `name`."""

    def __init__(
        self, loop: SimLoop, dev: NetDevice, protocol: Any,
        write: Callable[[bytes, int | None], None], detach: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__({"device": dev.name})
        self._loop, self._dev, self._protocol, self._write, self._detach = loop, dev, protocol, write, detach
        self._context = copy_context()
        self._closing = False
        self._files = current_files.get()
        if self._files is not None:
            self._files.files[self] = None
        self._soon(protocol.connection_made, self)

    def _soon(self, callback: Any, *args: Any) -> None:
        self._loop.call_soon(callback, *args, context=self._context)

    def receive(self, data: bytes, packet_id: int) -> None:
        """The device has something for the program."""
        self._soon(self._received, Frame.of(data, packet_id))

    def _received(self, frame: Frame) -> None:
        if not self._closing:
            self._protocol.packet_received(frame)

    def send(self, data: bytes) -> None:
        """Hand `data` to the kernel (tun) or send it out of the device."""
        if not self._closing:
            self._write(bytes(data), current_packet.get())

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self.exit()
            self._soon(self._protocol.connection_lost, None)

    def exit(self) -> None:
        """The process is gone (`OpenFile`)."""
        if not self._closing:
            self._closing = True
            self._detach()
            if self._files is not None:
                self._files.files.pop(self, None)


def _device(net: Net, name: str) -> NetDevice:
    dev = net.devs.get(name)
    if dev is None:
        raise os_error(errno.ENODEV)
    return dev


def connect_tun(net: Net, loop: SimLoop, factory: Factory, name: str) -> tuple[DeviceTransport, Any]:
    """Open the far end of a tun device that exists; EBUSY if another program has it. Linux: tun_set_iff()."""
    dev = _device(net, name)
    if not isinstance(dev, TunDevice):
        raise os_error(errno.EINVAL)
    if dev.reader is not None:
        raise os_error(errno.EBUSY)
    tun = dev

    def detach() -> None:
        tun.reader = None

    protocol = factory()
    transport = DeviceTransport(loop, tun, protocol, tun.write, detach)
    tun.reader = transport.receive
    return transport, protocol


def connect_packet(net: Net, loop: SimLoop, factory: Factory, name: str) -> tuple[DeviceTransport, Any]:
    """Take every frame that arrives on a device, and send frames out of it."""
    dev = _device(net, name)
    if dev.packet_socket is not None:
        raise os_error(errno.EBUSY)

    def detach() -> None:
        dev.packet_socket = None

    protocol = factory()
    transport = DeviceTransport(loop, dev, protocol, dev.inject, detach)
    dev.packet_socket = transport.receive
    return transport, protocol
