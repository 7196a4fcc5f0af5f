"""asyncio's Server over emulated listening sockets.

`wait_closed` waits for the connections too, as since Python 3.12, whichever Python this runs on.
"""

from __future__ import annotations

import asyncio
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from k8semu.linux.sock.transports import StreamTransport

if TYPE_CHECKING:
    from k8semu.linux.sock.file import StreamSocket
    from k8semu.sim.loop import Factory, SimLoop


class Server(asyncio.AbstractServer):
    """Listeners that share a protocol factory."""

    def __init__(
        self, loop: SimLoop, sockets: list[StreamSocket], factory: Factory, backlog: int, tls: dict[str, Any] | None
    ) -> None:
        self._loop, self._factory, self._backlog, self._tls = loop, factory, backlog, tls
        self._sockets: list[StreamSocket] | None = sockets
        self._context: Context = copy_context()
        self._transports: dict[StreamTransport, None] = {}
        self._waiters: list[asyncio.Future[None]] = []
        self._serving = False
        self._forever: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    # --- connections --------------------------------------------------------------------------

    def _attach(self, transport: StreamTransport) -> None:
        self._transports[transport] = None

    def _detach(self, transport: StreamTransport) -> None:
        self._transports.pop(transport, None)
        self._wake()

    def _wake(self) -> None:
        if self._sockets is None and not self._transports:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()

    def _accept(self, sock: StreamSocket) -> None:
        """A connection is ready; called by the kernel. The program hears of it on its own turn."""
        context = self._context.copy()
        self._loop.call_soon(self._make_transport, sock, context, context=context)

    def _make_transport(self, sock: StreamSocket, context: Context) -> None:
        try:
            protocol = self._factory()
            if self._tls is not None:
                self._make_tls_transport(sock, protocol, context, self._tls)
            else:
                StreamTransport(self._loop, sock, protocol, None, self, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._loop.call_exception_handler(
                {"message": "Error on transport creation for incoming connection", "exception": exc}
            )
            sock.close()

    def _make_tls_transport(self, sock: StreamSocket, protocol: Any, context: Context, tls: dict[str, Any]) -> None:
        from asyncio.sslproto import SSLProtocol

        waiter = self._loop.create_future()
        ssl_protocol = SSLProtocol(self._loop, protocol, tls["ssl"], waiter, True, None, **tls["timeouts"])
        transport = StreamTransport(self._loop, sock, ssl_protocol, None, self, context)

        def shaken(waiter: asyncio.Future[None]) -> None:
            if waiter.cancelled() or waiter.exception() is not None:
                transport.close()  # as asyncio does: the client's trouble, not the server's

        waiter.add_done_callback(shaken)

    # --- asyncio.Server -----------------------------------------------------------------------

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._serving

    @property
    def sockets(self) -> tuple[StreamSocket, ...]:
        return tuple(self._sockets) if self._sockets is not None else ()

    def _start_serving(self) -> None:
        if self._serving:
            return
        self._serving = True
        for sock in self._sockets or ():
            sock.on_accept = self._accept
            sock.sock.listen(self._backlog)

    def close(self) -> None:
        sockets, self._sockets = self._sockets, None
        if sockets is None:
            return
        for sock in sockets:
            sock.close()
        self._serving = False
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
            self._forever = None
        self._wake()

    def close_clients(self) -> None:
        for transport in list(self._transports):
            transport.close()

    def abort_clients(self) -> None:
        for transport in list(self._transports):
            transport.abort()

    async def start_serving(self) -> None:
        self._start_serving()
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self._start_serving()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._forever = None

    async def wait_closed(self) -> None:
        if self._sockets is None and not self._transports:
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter
