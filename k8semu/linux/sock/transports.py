"""asyncio's stream transport over an emulated TCP socket.

    protocol ─ write ─▶ buffer ─▶ TcpSock.send        what does not fit waits for `writable`
    protocol ◀─ data_received ─ StreamSocket.recv     unread bytes keep the TCP window closed

The order of calls is that of asyncio's selector transport on Linux: each event (bytes, end, error,
room to write) becomes one callback on the loop, in the context in which the transport was made.

Differs: no warning when a transport is forgotten without being closed.
"""

from __future__ import annotations

import asyncio
from asyncio import constants, transports
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from k8semu.linux.sock.file import StreamSocket
    from k8semu.linux.sock.server import Server
    from k8semu.sim.loop import SimLoop

MAX_READ = 256 * 1024
SOL_TCP, TCP_NODELAY = 6, 1


class StreamTransport(transports._FlowControlMixin):
    """A connected stream. Hand it the protocol, then it calls `connection_made` soon."""

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.FALLBACK
    _loop: SimLoop

    def __init__(
        self, loop: SimLoop, sock: StreamSocket, protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None, server: Server | None = None, context: Context | None = None,
    ) -> None:  # fmt: skip
        extra = {"socket": sock, "sockname": sock.getsockname(), "peername": sock.getpeername()}
        super().__init__(extra, loop)
        self._sock = sock
        self._context = copy_context() if context is None else context
        self._server = server
        self._buffer = bytearray()
        self._reading = False              # connection_made has been called
        self._read_due = self._write_due = False
        self._paused = self._closing = self._eof = self._eof_told = self._done = False
        self._conn_lost = 0
        self._protocol: Any = None
        self._buffered = False
        self.set_protocol(protocol)
        if server is not None:
            server._attach(self)
        sock.hold(sock.files, self)
        sock.sock.setsockopt(SOL_TCP, TCP_NODELAY, 1)
        sock.on_event = self._event
        self._soon(protocol.connection_made, self)
        self._soon(self._start_reading)
        if waiter is not None:
            self._soon(_wake, waiter)

    def _soon(self, callback: Any, *args: Any) -> None:
        self._loop.call_soon(callback, *args, context=self._context)

    def __repr__(self) -> str:
        state = " closed" if self._done else " closing" if self._closing else ""
        return f"<{type(self).__name__}{state} {self._sock!r}>"

    # --- the protocol -------------------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        self._buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def is_closing(self) -> bool:
        return self._closing

    # --- reading ------------------------------------------------------------------------------

    def _start_reading(self) -> None:
        self._reading = True
        self._event()

    def _event(self) -> None:
        """The socket has news."""
        sock = self._sock
        if sock.readable:
            self._read_soon()
        if self._buffer and (sock.room or sock.gone) and not self._write_due:
            self._write_due = True
            self._soon(self._write_ready)

    def _read_soon(self) -> None:
        if self._reading and not (self._paused or self._closing or self._eof_told or self._read_due):
            self._read_due = True
            self._soon(self._read_ready)

    def is_reading(self) -> bool:
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        if self.is_reading():
            self._paused = True

    def resume_reading(self) -> None:
        if self._closing or not self._paused:
            return
        self._paused = False
        if self._sock.readable:
            self._read_soon()

    def _read_ready(self) -> None:
        self._read_due = False
        if self._conn_lost or self._paused or self._closing:
            return
        sock = self._sock
        if sock.pending:
            self._read_buffered(sock) if self._buffered else self._read_plain(sock)
            if sock.readable:
                self._read_soon()
        elif sock.error is not None:
            self._fatal_error(sock.error, "Fatal read error on socket transport")
        else:
            self._read_eof()

    def _read_plain(self, sock: StreamSocket) -> None:
        data = sock.recv(MAX_READ)
        try:
            self._protocol.data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.data_received() call failed.")

    def _read_buffered(self, sock: StreamSocket) -> None:
        try:
            room = self._protocol.get_buffer(-1)
            if not len(room):
                raise RuntimeError("get_buffer() returned an empty buffer")
            data = sock.recv(len(room))
            room[: len(data)] = data
            self._protocol.buffer_updated(len(data))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.buffer_updated() call failed.")

    def _read_eof(self) -> None:
        self._eof_told = True
        try:
            keep_open = self._protocol.eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.eof_received() call failed.")
            return
        if not keep_open:
            self.close()

    # --- writing ------------------------------------------------------------------------------

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data:
            return
        if self._conn_lost:
            self._conn_lost += 1
            return
        if self._loop.keylog is not None:       # secrets come into a capture before what they decrypt
            self._loop.keylog.poll()
        taken = 0
        if not self._buffer:
            taken = self._send(data)
            if taken < 0 or taken == len(data):
                return
        self._buffer += memoryview(data)[taken:]
        self._maybe_pause_protocol()  # type: ignore[attr-defined]

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        """How many bytes the socket took; -1 when that was the end of the connection."""
        self._sock.room = False
        try:
            return int(self._sock.sock.send(data))
        except OSError as exc:
            self._fatal_error(exc, "Fatal write error on socket transport")
            return -1

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def _write_ready(self) -> None:
        self._write_due = False
        if self._conn_lost or not self._buffer:
            return
        taken = self._send(self._buffer)
        if taken < 0:
            return
        del self._buffer[:taken]
        self._maybe_resume_protocol()  # type: ignore[attr-defined]  # may add to the buffer
        if self._buffer:
            if taken and self._sock.room:
                self._event()
        elif self._closing:
            self._call_connection_lost(None)
        elif self._eof:
            self._shutdown()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self._closing or self._eof:
            return
        self._eof = True
        if not self._buffer:
            self._shutdown()

    def _shutdown(self) -> None:
        self._sock.sock.shutdown()

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if not self._buffer:
            self._conn_lost += 1
            self._soon(self._call_connection_lost, None)

    def abort(self) -> None:
        self._force_close(None)

    def exit(self) -> None:
        """The process is gone (`OpenFile`): nobody is left to be told."""
        self._buffer.clear()
        self._closing = self._done = True
        self._conn_lost += 1
        self._close_socket()

    def _close_socket(self) -> None:
        self._sock.close()
        if self._server is not None:
            self._server._detach(self)
            self._server = None

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        if not isinstance(exc, OSError):
            self._loop.call_exception_handler(
                {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
            )
        self._force_close(exc)

    def _force_close(self, exc: BaseException | None) -> None:
        if self._conn_lost:
            return
        self._buffer.clear()
        self._closing = True
        self._conn_lost += 1
        self._soon(self._call_connection_lost, exc)

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        if self._done:
            return
        self._done = True
        self._conn_lost += 1
        try:
            self._protocol.connection_lost(exc)
        finally:
            self._close_socket()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.cancelled():
        waiter.set_result(None)
