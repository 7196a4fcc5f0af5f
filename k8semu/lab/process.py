"""One program of a Pod or node: a process in its namespace, with a real event loop.

    supervisor ─fork▶ enter the namespace ─▶ run `package.module:function`
        idle             the first time it waits for something: its ports are bound by then
        ended, result    it returned
        failed, text     it raised

One of the user's own has a UTS namespace, an environment, /etc/hostname and a line in /etc/hosts, as in a container.

On the channel, STOP cancels the program, as the emulator cancels its task; then the process ends, and
the kernel closes what it left open. Anything else is a message for it (`apps.feed`), answered with
`idle` when the program waits again.
Differs: a program that binds only after it heard from somebody counts as ready before.
Not modelled: files from volumes.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import selectors
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

from k8semu.apps.feed import Feed, current_feed
from k8semu.apps.terminal import Terminal, current_terminal
from k8semu.cluster.cluster import load_program
from k8semu.cluster.journal import Program
from k8semu.kube.kubelet.sandbox import current_runtime
from k8semu.lab.channel import Channel, Gone
from k8semu.lab.netns import LIBC, OWN_ETC, enter_for_good
from k8semu.lab.private import CLONE_NEWUTS, MS_BIND, die_with_parent, mount, unshare
from k8semu.lab.runtime import LinuxRuntime

IDLE, ENDED, FAILED = "idle", "ended", "failed"
STOP = "stop"


class Word(NamedTuple):
    """What a program's process tells. `modules`: what it imported, for the next process to have at once."""

    kind: str
    value: Any = None
    modules: tuple[str, ...] = ()


class _Selector(selectors.DefaultSelector):
    """Tells the first time there is nothing to do but wait."""

    def __init__(self, on_wait: Callable[[], None]) -> None:
        super().__init__()
        self._on_wait = on_wait

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            ready = super().select(0)
            if ready:
                return ready
            self._on_wait()
        return super().select(timeout)


class _Loop(asyncio.SelectorEventLoop):
    """A real event loop; `on_idle` is called when it waits and no thread works for it: once, or once `again`."""

    def __init__(self, on_idle: Callable[[], None]) -> None:
        super().__init__(_Selector(self._waits))
        self._on_idle = on_idle
        self._told = False
        self._threads = 0

    def again(self) -> None:
        self._told = False

    def _waits(self) -> None:
        if not self._told and not self._threads:
            self._told = True
            self._on_idle()

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        future = super().run_in_executor(executor, func, *args)  # name resolution, mostly
        self._threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: Any) -> None:
        self._threads -= 1


class _MuslLoop(_Loop):
    """Resolves names as musl does, since this process has glibc."""

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        from k8semu.apps.resolver import Resolver

        try:
            known = not host or bool(socket.inet_aton(host))
        except OSError:
            known = False
        addresses = [host]
        if not known:
            conf, hosts = (Path("/etc", name).read_text() for name in ("resolv.conf", "hosts"))
            addresses = await Resolver(conf, hosts, libc="musl").lookup(host, family)
        found = [
            await super(_MuslLoop, self).getaddrinfo(one, port, family=family, type=type, proto=proto, flags=flags)
            for one in addresses
        ]
        return [info for infos in found for info in infos]


def _loop_of(netns: str) -> type[_Loop]:
    said = OWN_ETC / netns / LIBC
    return _MuslLoop if said.exists() and said.read_text() == "musl" else _Loop


def _tell_of_itself(program: Program) -> None:
    """Its own host name, environment, and line in /etc/hosts: as a container has them. Linux: uts_namespaces(7)"""
    unshare(CLONE_NEWUTS)
    socket.sethostname(program.hostname)
    if "platform" in sys.modules:       # it remembers what this process's parent was called
        importlib.reload(sys.modules["platform"])
    os.environ.clear()
    os.environ.update(program.env)
    text = Path("/etc/hosts").read_text()
    known = {name for line in text.splitlines() for name in line.split()[1:]}
    own = [line for line in program.files.get("/etc/hosts", "").splitlines() if not line.startswith("#")]
    more = [line for line in own if ":" not in line and not known.issuperset(line.split()[1:])]
    if more:        # where there is no DNS, all know all names: this machine its own before
        _lay_over("/etc/hosts", "".join(f"{line}\n" for line in more) + text)
    _lay_over("/etc/hostname", f"{program.hostname}\n")


def _lay_over(path: str, text: str) -> None:
    """Have this process find `text` in a file that is there."""
    if Path(path).exists():
        with NamedTemporaryFile("w", dir="/run", delete=False) as own:
            own.write(text)
        mount(own.name, path, "none", MS_BIND)


def run_program(channel: Channel, netns: str, program: Program, parent: int) -> None:
    """The main function of a program's process. Returns when the program has ended and been reported."""
    die_with_parent(parent)
    known = set(sys.modules)
    try:
        enter_for_good(netns)
        if program.hostname:
            _tell_of_itself(program)
        sys.stdout = sys.stderr                    # what a program prints is not the comparison's own word
        function = load_program(program.function)
        loop = _loop_of(netns)(lambda: channel.send(Word(IDLE)))
        asyncio.set_event_loop(loop)
        feed = Feed()
        current_feed.set(feed)
        current_terminal.set(Terminal())
        current_runtime.set(LinuxRuntime())
        task = loop.create_task(function(**program.args))
        loop.add_reader(channel.fileno(), lambda: _told(channel, loop, task, feed))
        outcome = Word(ENDED, loop.run_until_complete(task))
    except asyncio.CancelledError:
        outcome = Word(ENDED)
    except BaseException as error:
        outcome = Word(FAILED, f"{type(error).__name__}: {error}")
    channel.send(outcome._replace(modules=tuple(name for name in sys.modules if name not in known)))


def _told(channel: Channel, loop: _Loop, task: asyncio.Task[Any], feed: Feed) -> None:
    """The supervisor says something."""
    try:
        message = channel.receive()
    except Gone:
        message = STOP
    if message == STOP:
        loop.remove_reader(channel.fileno())
        task.cancel()
    else:
        loop.again()
        feed.put(message[0])
