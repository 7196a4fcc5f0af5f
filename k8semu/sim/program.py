"""Which program is running, and where: what a task inherits from the one that started it.

    current_stack     the network namespace (linux.sock.sockets.Sockets) whose sockets it opens
    current_program   its name, as `ss -p` would show it ("nginx")
    current_files     what the process has open, to be closed when it ends
    current_packet    the packet that what it sends now is a form of (user-space tunnels)

A program sees none of this. Kept apart from the loop because asyncio takes long to import.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    import asyncio

    from k8semu.sim.loop import Stack


class OpenFile(Protocol):
    """A socket or device that a process holds."""

    def exit(self) -> None:
        """The process is gone: close, and tell no protocol."""


class OpenFiles:
    """The tasks of a process and what it has open; `SimLoop.exit_process` ends both. Linux: struct files_struct."""

    def __init__(self) -> None:
        self.tasks: WeakSet[asyncio.Task[object]] = WeakSet()
        self.files: dict[OpenFile, None] = {}


current_stack: ContextVar[Stack] = ContextVar("current_stack")
current_program: ContextVar[str] = ContextVar("current_program", default="a program")
current_files: ContextVar[OpenFiles | None] = ContextVar("current_files", default=None)
current_packet: ContextVar[int | None] = ContextVar("current_packet", default=None)


class Frame(bytes):
    """Bytes that came out of a socket or device, and the id of the packet they came in."""

    packet_id: int
    ttl: int
    """What the packet came with, where a socket tells it (ping)."""

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, packet_id: int) -> Frame:
        frame = cls(data)
        frame.packet_id = packet_id
        return frame


@contextmanager
def same_packet(frame: bytes) -> Iterator[None]:
    """What is sent within is the same packet as `frame`, in another form. Does nothing for plain bytes."""
    token = current_packet.set(getattr(frame, "packet_id", None))
    try:
        yield
    finally:
        current_packet.reset(token)
