"""asyncio's datagram transport over an emulated UDP or ping socket.

Linux's order of things as asyncio shows it: one datagram or one error per turn of the loop; an
error that `sendto` meets goes to `error_received` at once.

Differs: an empty datagram is sent (asyncio before 3.13 drops it); sending never blocks.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from k8semu.linux.sock.file import SocketView
from k8semu.linux.sock.names import packed, socket_address
from k8semu.linux.sock.transports import _wake
from k8semu.sim.program import current_files

if TYPE_CHECKING:
    from k8semu.linux.sock.ping import PingSock
    from k8semu.linux.sock.sockets import Sockets
    from k8semu.linux.sock.udp import UdpSock
    from k8semu.sim.loop import SimLoop


class DatagramTransport(asyncio.DatagramTransport):
    """`address` is the peer, if it was given one. What the protocol receives is a `Frame`: bytes with a packet id."""

    def __init__(
        self, loop: SimLoop, sockets: Sockets, sock: UdpSock | PingSock, protocol: asyncio.DatagramProtocol,
        address: tuple[str, int] | None, waiter: asyncio.Future[None],
    ) -> None:  # fmt: skip
        view = SocketView(sock)
        peer = view.getpeername() if sock.connected else None
        super().__init__({"socket": view, "sockname": view.getsockname(), "peername": peer})
        self._loop, self._sockets, self._sock = loop, sockets, sock
        self._protocol: Any = protocol
        self._address = address
        self._context = copy_context()
        self._paused = self._closing = self._read_due = self._reading = self._gone = False
        self._view = view
        view.hold(current_files.get(), self)
        sock.owner = self
        self._soon(protocol.connection_made, self)
        self._soon(self._start_reading)
        self._soon(_wake, waiter)

    def _soon(self, callback: Any, *args: Any) -> None:
        self._loop.call_soon(callback, *args, context=self._context)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}{' closing' if self._closing else ''} {self.get_extra_info('socket')!r}>"

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def is_closing(self) -> bool:
        return self._closing

    # --- reading ------------------------------------------------------------------------------

    def _start_reading(self) -> None:
        self._reading = True
        self.readable()

    def readable(self) -> None:
        """The socket has news (`DgramOwner`)."""
        if self._reading and self._sock.has_news and not (self._paused or self._closing or self._read_due):
            self._read_due = True
            self._soon(self._read_ready)

    def is_reading(self) -> bool:
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self.readable()

    def _read_ready(self) -> None:
        self._read_due = False
        if self._closing or self._paused:
            return
        try:
            found = self._sock.read()
        except OSError as exc:
            self._protocol.error_received(exc)
        else:
            if found is not None:
                data, (addr, port) = found
                self._protocol.datagram_received(data, socket_address(addr, port))
        self.readable()

    # --- writing ------------------------------------------------------------------------------

    def get_write_buffer_size(self) -> int:
        return 0

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._address:
            if addr not in (None, self._address):
                raise ValueError(f"Invalid address: must be None or {self._address}")
            addr = self._address
        if self._closing:
            return
        try:
            if self._sock.connected:
                self._sock.sendto(data)
            else:
                self._sock.sendto(data, *self._target(addr))
        except OSError as exc:
            self._protocol.error_received(exc)
        except Exception as exc:
            self._fatal_error(exc)

    def _target(self, addr: Any) -> tuple[bytes, int]:
        if not isinstance(addr, tuple):
            raise TypeError(f"sendto(): AF_INET address must be tuple, not {type(addr).__name__}")
        host, port = addr
        return packed(self._sockets, host), int(port)

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._soon(self._call_connection_lost, None)

    def abort(self) -> None:
        self.close()

    def exit(self) -> None:
        """The process is gone (`OpenFile`)."""
        self._closing = self._gone = True
        self._view.close()

    def _fatal_error(self, exc: BaseException) -> None:
        self._loop.call_exception_handler(
            {
                "message": "Fatal write error on datagram transport", "exception": exc,
                "transport": self, "protocol": self._protocol,
            }
        )  # fmt: skip
        if not self._closing:
            self._closing = True
            self._soon(self._call_connection_lost, exc)

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        if self._gone:
            return
        try:
            self._protocol.connection_lost(exc)
        finally:
            self._view.close()
