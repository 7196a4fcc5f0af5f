"""What a program holds of a socket: the object behind a file descriptor.

    TcpSock ─ TcpOwner ─▶ StreamSocket: what came in and was not read, FIN, errors ─▶ transport wakes

Both kinds also answer as `transport.get_extra_info("socket")`, as asyncio's TransportSocket does.
`fileno()` is -1: there is none.

Linux: net/socket.c
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from k8semu.linux.sock.tcp.sock import TcpSock
from k8semu.sim.program import OpenFile, OpenFiles, current_files, current_program
from k8semu.wire.addr import IP_ANY, ip_aton, ip_ntoa

if TYPE_CHECKING:
    from k8semu.linux.sock.ping import PingSock
    from k8semu.linux.sock.sockets import Sockets
    from k8semu.linux.sock.udp import UdpSock

SOL_SOCKET, SOL_TCP = 1, 6
_LEVELS = {"SOL_SOCKET": 1, "IPPROTO_IP": 0, "IPPROTO_TCP": 6}
_OPTIONS = {
    "SO_REUSEADDR": 2, "SO_TYPE": 3, "SO_ERROR": 4, "SO_BROADCAST": 6, "SO_SNDBUF": 7, "SO_RCVBUF": 8,
    "SO_KEEPALIVE": 9, "SO_LINGER": 13, "SO_REUSEPORT": 15, "IP_TOS": 1, "IP_TTL": 2, "IP_RECVERR": 11,
    "TCP_NODELAY": 1, "TCP_MAXSEG": 2, "TCP_CORK": 3, "TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6,
    "TCP_SYNCNT": 7, "TCP_QUICKACK": 12, "TCP_USER_TIMEOUT": 18,
}  # fmt: skip
_PREFIX = {1: "SO_", 0: "IP_", 6: "TCP_"}


def linux_option(level: int, name: int) -> tuple[int, int]:
    """The option number that Linux has for what this machine's `socket` module calls (level, name)."""
    for word, number in _LEVELS.items():
        if getattr(socket, word, None) == level:
            for option, value in _OPTIONS.items():
                if option.startswith(_PREFIX[number]) and getattr(socket, option, None) == name:
                    return number, value
            return number, name
    return level, name


class SocketView:
    """The part of `socket.socket` that asyncio lets programs see."""

    __slots__ = ("_held", "sock")
    type = socket.SOCK_DGRAM
    family = socket.AF_INET

    def __init__(self, sock: TcpSock | UdpSock | PingSock) -> None:
        self.sock: Any = sock
        self._held: tuple[OpenFiles | None, OpenFile | None] = (None, None)

    @property
    def proto(self) -> int:
        return int(getattr(self.sock, "protocol", socket.IPPROTO_TCP))

    def fileno(self) -> int:
        return -1

    def hold(self, files: OpenFiles | None, file: OpenFile) -> None:
        """`file` stands for this socket among what its process has open, until `close`."""
        self.release()
        if files is not None:
            files.files[file] = None
        self._held = (files, file)

    @property
    def files(self) -> OpenFiles | None:
        """Where it is held."""
        return self._held[0]

    def release(self) -> None:
        files, file = self._held
        if files is not None and file is not None:
            files.files.pop(file, None)
        self._held = (None, None)

    def exit(self) -> None:
        """Its process is gone (`OpenFile`)."""
        self.close()

    def getsockname(self) -> tuple[str, int]:
        addr, port = self.sock.local
        return ip_ntoa(bytes(addr)), port

    def getpeername(self) -> tuple[str, int]:
        addr, port = self.sock.remote
        if addr == IP_ANY:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return ip_ntoa(bytes(addr)), port

    def setsockopt(self, level: int, name: int, value: Any, length: int | None = None) -> None:
        self.sock.setsockopt(*linux_option(level, name), bytes(value) if isinstance(value, bytearray) else value)

    def getsockopt(self, level: int, name: int, length: int = 0) -> int | bytes:
        value = int(self.sock.getsockopt(*linux_option(level, name)))
        return value.to_bytes(4, "little", signed=True)[:length] if length else value

    def bind(self, address: tuple[str, int]) -> None:
        """For `k8semu.apps.icmp`; asyncio's own view of a socket has no bind."""
        self.sock.bind(ip_aton(address[0]), address[1])

    def setblocking(self, flag: bool) -> None:
        if flag:
            raise ValueError("setblocking(): no socket of a Pod blocks")

    def settimeout(self, value: float | None) -> None:
        if value != 0:
            raise ValueError("settimeout(): only 0 timeout is allowed on transport sockets")

    def gettimeout(self) -> float:
        return 0

    def close(self) -> None:
        self.release()
        self.sock.close()

    def __repr__(self) -> str:
        laddr = self.getsockname()
        addr, port = self.sock.remote
        raddr = f", raddr={(ip_ntoa(bytes(addr)), port)!r}" if addr != IP_ANY else ""
        kind = f"family={int(self.family)}, type={int(self.type)}, proto={self.proto}"
        return f"<k8semu.Socket fd=-1, {kind}, laddr={laddr!r}{raddr}>"


class StreamSocket(SocketView):
    """A TCP socket and what the kernel keeps for its reader; the `TcpOwner` of connections and listeners.

    `on_connect(error or None)`, `on_accept(child)` and `on_event()` are set by whoever uses it.
    """

    __slots__ = ("chunks", "eof", "error", "gone", "on_accept", "on_connect", "on_event", "pending", "program", "room")
    type = socket.SOCK_STREAM

    def __init__(self, sock: TcpSock, program: str) -> None:
        super().__init__(sock)
        self.program = program
        self.chunks: deque[bytes] = deque()
        self.pending = 0                          # bytes in `chunks`
        self.eof = self.gone = self.room = False
        self.error: OSError | None = None
        self.on_connect: Callable[[OSError | None], None] | None = None
        self.on_accept: Callable[[StreamSocket], None] | None = None
        self.on_event: Callable[[], None] | None = None

    @classmethod
    def open(cls, sockets: Sockets) -> StreamSocket:
        """Linux: socket(AF_INET, SOCK_STREAM, 0)."""
        stream = cls.__new__(cls)
        sock = TcpSock(sockets, stream)
        stream.__init__(sock, current_program.get())  # type: ignore[misc]
        stream.hold(current_files.get(), stream)
        return stream

    # --- for the program ----------------------------------------------------------------------

    def recv(self, limit: int) -> bytes:
        """Up to `limit` bytes; b"" when there are none."""
        chunks = self.chunks
        if not chunks:
            return b""
        if len(chunks[0]) > limit:
            data, chunks[0] = chunks[0][:limit], chunks[0][limit:]
        elif len(chunks) == 1:
            data = chunks.popleft()
        else:
            parts = []
            while chunks and limit >= len(chunks[0]):
                limit -= len(chunks[0])
                parts.append(chunks.popleft())
            data = b"".join(parts)
        self.pending -= len(data)
        self.sock.consumed(len(data))
        return data

    @property
    def readable(self) -> bool:
        """Does a read say anything: bytes, an error, the end?"""
        return bool(self.chunks) or self.eof or self.gone

    def close(self) -> None:
        self.on_connect = self.on_accept = self.on_event = None
        self.chunks.clear()
        super().close()

    # --- TcpOwner -----------------------------------------------------------------------------

    def connected(self) -> None:
        if self.on_connect is not None:
            self.on_connect(None)

    def failed(self, exc: OSError) -> None:
        if self.on_connect is not None:
            self.on_connect(exc)

    def accepted(self, child: TcpSock) -> StreamSocket:
        stream = StreamSocket(child, self.program)
        stream.hold(self._held[0], stream)
        if self.on_accept is not None:
            self.on_accept(stream)
        return stream

    def data_received(self, data: bytes) -> None:
        self.chunks.append(bytes(data))
        self.pending += len(data)
        self._event()

    def eof_received(self) -> None:
        self.eof = True
        self._event()

    def writable(self) -> None:
        self.room = True
        self._event()

    def connection_lost(self, exc: OSError | None) -> None:
        self.gone = True
        self.error = exc
        self._event()

    def _event(self) -> None:
        if self.on_event is not None:
            self.on_event()
