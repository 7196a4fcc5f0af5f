"""Who a TCP socket belongs to: the calls by which the kernel tells its owner what happened.

    wire ─▶ TcpSock ─▶ TcpOwner ─▶ the asyncio transport ─▶ the program's protocol (by call_soon)

The kernel calls an owner synchronously, in the middle of handling a packet or a timer. An owner
may call back into its socket (`send`, `close`, …), but never runs program code at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from k8semu.linux.sock.tcp.sock import TcpSock


class TcpOwner(Protocol):
    """What a `TcpSock` tells its owner. Each method is named for what select(2) or errno would have said."""

    def connected(self) -> None:
        """connect(2) succeeded: the handshake is complete."""

    def failed(self, exc: OSError) -> None:
        """connect(2) failed: refused, unreachable, timed out. The socket is closed; no more calls follow."""

    def accepted(self, child: TcpSock) -> TcpOwner:
        """A listening socket has a new connection ready for accept(2); returns who owns it from now on."""

    def data_received(self, data: bytes) -> None:
        """Bytes arrived in order. They fill the receive window until `TcpSock.consumed` gives it back."""

    def eof_received(self) -> None:
        """The peer's FIN was reached; called once, after the last data."""

    def writable(self) -> None:
        """There is room in the send buffer again after `send` took less than it was given."""

    def connection_lost(self, exc: OSError | None) -> None:
        """Reset or timed out (`exc`), or fully closed (None). Called once, last, and not after `abort`."""
