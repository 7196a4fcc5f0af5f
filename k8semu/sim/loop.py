"""A real asyncio event loop whose time is simulated (seam 1).

    asyncio program ─▶ call_soon, call_at ─▶ the clock's one heap ◀─ packets, kernel timers
                    ─▶ create_connection … ─▶ the stack of the namespace it runs in

Everything that is to happen, in programs and in kernels, stands in the one heap of the `Clock`, so
an hour of sleep passes at once and the same run is the same run.

Differs: `run_in_executor` calls the function at once, in this thread: it takes no simulated time,
and nothing runs beside it. Signal handlers are accepted and never called. Real file descriptors,
subprocesses, pipes and Unix sockets do not exist in here: asking for one is a NotImplementedError.
"""

from __future__ import annotations

import asyncio
import contextvars
import linecache
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVarTuple
from weakref import WeakKeyDictionary

from k8semu.errors import StalledError
from k8semu.sim.clock import NS_PER_S, Clock, Timer
from k8semu.sim.program import OpenFiles, current_files, current_program, current_stack

if TYPE_CHECKING:
    from k8semu.sim.keylog import KeyLog

__all__ = ["SimLoop", "Stack", "current_program", "current_stack"]

AddrInfo = tuple[int, int, int, str, tuple[Any, ...]]
Factory = Callable[[], Any]
Ts = TypeVarTuple("Ts")


class Stack(Protocol):
    """What the loop asks of the namespace a task runs in; each is the loop method of that name."""

    async def create_connection(self, loop: SimLoop, factory: Factory, host: Any, port: Any, **kwargs: Any) -> Any: ...
    async def create_server(self, loop: SimLoop, factory: Factory, host: Any, port: Any, **kwargs: Any) -> Any: ...
    async def create_datagram_endpoint(self, loop: SimLoop, factory: Factory, **kwargs: Any) -> Any: ...
    async def connect_tun(self, loop: SimLoop, factory: Factory, name: str) -> Any: ...
    async def connect_packet(self, loop: SimLoop, factory: Factory, name: str) -> Any: ...
    async def getaddrinfo(
        self, host: Any, port: Any, family: int, type: int, proto: int, flags: int
    ) -> list[AddrInfo]: ...
    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]: ...


class _TimerHandle(events.TimerHandle):
    """A handle that takes its clock timer back when it is cancelled."""

    __slots__ = ("_timer",)
    _timer: Timer

    def cancel(self) -> None:
        self._timer.cancel()
        super().cancel()


class SimLoop(asyncio.BaseEventLoop):
    """An event loop over `clock`. `crashes` keeps what no program caught, as the exception handler was told."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.crashes: list[dict[str, Any]] = []
        self._programs: WeakKeyDictionary[Any, tuple[int, str]] = WeakKeyDictionary()
        self._started = 0
        self.keylog: KeyLog | None = None       # once a program speaks TLS
        self.secrets_taker: Callable[[bytes], None] | None = None
        """Who is told of the secrets of TLS connections; None where nobody captures."""

    # --- time ---------------------------------------------------------------------------------

    def time(self) -> float:
        return self.clock.now / NS_PER_S

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> events.Handle:
        self._check_closed()  # type: ignore[attr-defined]
        handle = events.Handle(callback, args, self, context)
        self.clock.post(0, _run, handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> events.Handle:
        """There is but one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> events.TimerHandle:
        """`delay` in seconds is rounded to whole nanoseconds: 0.1 is exactly 100,000,000."""
        if delay is None:
            raise TypeError("delay must not be None")
        return self._call_after(round(delay * NS_PER_S), callback, args, context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> events.TimerHandle:
        if when is None:
            raise TypeError("when cannot be None")
        return self._call_after(round(when * NS_PER_S) - self.clock.now, callback, args, context)

    def _call_after(
        self, delay: int, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> events.TimerHandle:
        self._check_closed()  # type: ignore[attr-defined]
        delay = max(delay, 0)
        handle = _TimerHandle((self.clock.now + delay) / NS_PER_S, callback, args, self, context)
        handle._timer = self.clock.timer(delay, _run, handle)
        return handle

    def close(self) -> None:
        super().close()
        if self.keylog is not None:
            self.keylog.close()

    def _run_once(self) -> None:
        """Let what is due next happen, until somebody says stop."""
        step = self.clock.step
        while not self._stopping:  # type: ignore[attr-defined]
            if not step():
                raise StalledError(self._stalled())

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        """The clock knows already."""

    def _write_to_self(self) -> None:
        """Nothing waits that would have to be woken."""

    # --- tasks --------------------------------------------------------------------------------

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: object = None, context: Context | None = None, **kwargs: Any
    ) -> asyncio.Task[Any]:
        task = super().create_task(coro, name=name, context=context, **kwargs)
        here = contextvars.copy_context() if context is None else context
        self._started += 1
        self._programs[task] = (self._started, here.get(current_program, "a program"))
        files = here.get(current_files)
        if files is not None:
            files.tasks.add(task)
        return task

    def pending_tasks(self) -> list[asyncio.Task[Any]]:
        """What has not finished, in the order it was started."""
        return sorted(asyncio.all_tasks(self), key=lambda task: self._programs.get(task, (0, ""))[0])

    def exit_process(self, files: OpenFiles) -> None:
        """A process ends: its other tasks are cancelled, and the kernel closes what it has open. Linux: do_exit()."""
        for task in sorted(files.tasks, key=lambda task: self._programs.get(task, (0, ""))[0]):
            task.cancel()
        for file in list(files.files):
            file.exit()
        files.files.clear()

    def cancel_all(self) -> None:
        """Cancel every task and let each clean up; what still waits then is left behind."""
        tasks = self.pending_tasks()
        for task in tasks:
            task.cancel()
        if tasks:
            try:
                self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            except StalledError:
                for task in self.pending_tasks():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), (asyncio.CancelledError, KeyboardInterrupt, SystemExit)):
            return  # a handler of streams that was cancelled, or interrupted by Ctrl-C, which goes on by itself
        self.crashes.append(context)
        super().default_exception_handler(context)

    def _stalled(self) -> str:
        lines = ["nothing is left to happen, and still waiting:"]
        for task in self.pending_tasks():
            program = self._programs.get(task, (0, "a program"))[1]
            name = task.get_name()
            who = program if name.startswith("Task-") else f"{program} ({name})"
            lines.append(f"  {who}: {waits_for(task)}")
        if len(lines) == 1:
            return "nothing is left to happen, and no program will ever set the future that is waited for"
        return "\n".join(lines)

    # --- the network --------------------------------------------------------------------------

    def _stack(self) -> Stack:
        stack = current_stack.get(None)
        if stack is None:
            raise RuntimeError("this task runs in no network namespace: set k8semu.sim.program.current_stack")
        return stack

    async def create_connection(
        self, protocol_factory: Factory, host: Any = None, port: Any = None, **kwargs: Any
    ) -> Any:
        return await self._stack().create_connection(self, protocol_factory, host, port, **kwargs)

    async def create_server(
        self, protocol_factory: Factory, host: Any = None, port: Any = None, **kwargs: Any
    ) -> Any:
        return await self._stack().create_server(self, protocol_factory, host, port, **kwargs)

    async def start_tls(
        self, transport: Any, protocol: Any, sslcontext: Any, *args: Any, **kwargs: Any
    ) -> Any:
        self.log_keys(sslcontext)
        return await super().start_tls(transport, protocol, sslcontext, *args, **kwargs)

    def log_keys(self, context: Any) -> None:
        """Have the connections of an SSLContext readable in the capture, if there is one. Emulator only."""
        if self.secrets_taker is None:
            return
        if self.keylog is None:
            from k8semu.sim.keylog import KeyLog

            self.keylog = KeyLog(self.secrets_taker)
        self.keylog.watch(context)

    async def create_datagram_endpoint(
        self, protocol_factory: Factory, local_addr: Any = None, remote_addr: Any = None, **kwargs: Any
    ) -> Any:
        return await self._stack().create_datagram_endpoint(
            self, protocol_factory, local_addr=local_addr, remote_addr=remote_addr, **kwargs
        )

    async def connect_tun(self, protocol_factory: Factory, name: str) -> Any:
        """Hold the far end of the tun device `name`. Emulator only: programs call `k8semu.apps.device.connect_tun`."""
        return await self._stack().connect_tun(self, protocol_factory, name)

    async def connect_packet(self, protocol_factory: Factory, name: str) -> Any:
        """Take the frames of device `name`. Emulator only: programs call `k8semu.apps.device.connect_packet`."""
        return await self._stack().connect_packet(self, protocol_factory, name)

    async def getaddrinfo(  # type: ignore[override]
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[AddrInfo]:
        return await self._stack().getaddrinfo(host, port, family, type, proto, flags)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        return await self._stack().getnameinfo(sockaddr, flags)

    # --- the machine outside, which is not there ------------------------------------------------

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Calls `func` at once; the future is done when this returns."""
        self._check_closed()  # type: ignore[attr-defined]
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            future.set_exception(exc)
        return future

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Accepted; no signal ever comes."""

    def remove_signal_handler(self, sig: int) -> bool:
        return False

    def _unsupported(what: str) -> Callable[..., NoReturn]:  # type: ignore[misc]
        def refuse(self: SimLoop, *args: Any, **kwargs: Any) -> NoReturn:
            raise NotImplementedError(f"an emulated machine has no {what}")

        return refuse

    add_reader = add_writer = remove_reader = remove_writer = _unsupported("file descriptors to wait for")  # type: ignore[assignment]
    sock_recv = sock_recv_into = sock_recvfrom = sock_recvfrom_into = sock_sendall = _unsupported(
        "real sockets: use streams, transports or create_datagram_endpoint"
    )
    sock_sendto = sock_connect = sock_accept = sock_sendfile = connect_accepted_socket = sock_recv
    create_unix_connection = create_unix_server = _unsupported("Unix sockets")
    connect_read_pipe = connect_write_pipe = _unsupported("pipes")
    subprocess_exec = subprocess_shell = _unsupported("subprocesses: a program is an asyncio function")
    del _unsupported


def _run(handle: events.Handle) -> None:
    if not handle._cancelled:
        handle._run()


def waits_for(task: asyncio.Task[Any]) -> str:
    """Where `task` stands: the program's own innermost function and line, and what it called there."""
    chain = []
    coro: Any = task.get_coro()
    while coro is not None:
        frame = getattr(coro, "cr_frame", None) or getattr(coro, "gi_frame", None) or getattr(coro, "ag_frame", None)
        if frame is None:
            break
        chain.append((frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno, frame.f_globals))
        coro = getattr(coro, "cr_await", None) or getattr(coro, "gi_yieldfrom", None) or getattr(coro, "ag_await", None)
    if not chain:
        return "not started" if not task.done() else "done"
    own = [i for i, link in enumerate(chain) if not _is_machinery(link[3])]
    at = own[-1] if own else 0
    function, file, line, names = chain[at]
    text = linecache.getline(file, line, names).strip()
    where = f"in {function}: {text}" if text else f"in {function}"
    inner = [link[0] for link in chain[at + 1 :]]
    return f"waits {where} ({' > '.join(inner)})" if inner else f"waits {where}"


def _is_machinery(names: dict[str, Any]) -> bool:
    module = str(names.get("__name__", ""))
    return module.partition(".")[0] == "asyncio" or module.startswith(("k8semu.sim.", "k8semu.linux."))
