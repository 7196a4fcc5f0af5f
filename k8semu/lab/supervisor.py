"""The first process inside: builds, and runs the programs.

    build(entries)               what NetnsAdd and Tell say
    start(netns, pid, program)   returns when the program waits for something, or has ended
    stop(pid)                    returns when its process is gone, what the program returned
    feed(pid, message)           tells a program something; returns when it waits again
    call(netns, program, limit)  returns the program's result
    settle_links()               returns when links that came or went have had all their consequences
    delete(netns)                ends what runs in it, then the namespace

It is pid 1 of its pid namespace: when it ends, all that it started ends.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from k8semu.cluster.journal import Entry, Program
from k8semu.errors import K8semuError
from k8semu.lab.builder import Builder
from k8semu.lab.channel import Channel, Gone
from k8semu.lab.netns import LIBC, OWN_ETC
from k8semu.lab.private import MS_BIND, MS_PRIVATE, die_with_parent, mount
from k8semu.lab.sniffer import sniff
from k8semu.sim.identity import nobodys

if TYPE_CHECKING:
    from k8semu.lab.process import Word

START_LIMIT = 10.0
"""Seconds after which a program counts as started though it never rested."""
STOP_LIMIT = 5.0
"""Seconds that a cancelled program has to end by itself."""


class ProgramFailed(K8semuError):
    """A program raised, or did not end."""


class _Running(msgspec.Struct):
    """A program's process."""

    os_pid: int
    channel: Channel
    netns: str


class Supervisor:
    """The state of the process."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.builder = Builder()
        self.running: dict[str, _Running] = {}
        self.ended: dict[str, Any] = {}  # what programs returned that ended by themselves

    def run(self) -> None:
        """Serve until the other end goes."""
        while self.channel.answer(self):
            pass

    # --- building -----------------------------------------------------------------------------

    def _build(self, entries: list[Entry]) -> float:
        """Seconds it took."""
        before = time.perf_counter()
        self.builder.build(entries)
        return time.perf_counter() - before

    def _warnings(self) -> list[str]:
        found, self.builder.warnings = self.builder.warnings, []
        return found

    def _hosts(self, text: str) -> None:
        """Names that resolve everywhere inside, and no others: nobody asks a DNS server of the machine's."""
        for name, content in (("hosts", text), ("nsswitch.conf", "hosts: files\n")):
            inside, outside = Path("/run", name), Path("/etc", name)
            known = inside.exists()
            inside.write_text(content)
            if not known and outside.exists():
                mount(str(inside), str(outside), "none", MS_BIND)
                # /run is shared, and so would this be: what each program mounts over it would multiply in all
                mount("none", str(outside), "", MS_PRIVATE)

    def _settle_links(self) -> None:
        self.builder.settle_links()

    def _files(self, netns: str, files: dict[str, str], libc: str) -> None:
        """What `enter_for_good` mounts over /etc of the programs in a namespace."""
        folder = OWN_ETC / netns
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in {"/etc/nsswitch.conf": "hosts: files dns\n", **files}.items():
            (folder / Path(path).name).write_text(content)
        (folder / LIBC).write_text(libc)

    def _delete(self, netns: str) -> None:
        for pid in [pid for pid, process in self.running.items() if process.netns == netns]:
            self._stop(pid)
        self.builder.delete_netns(netns)

    # --- programs -----------------------------------------------------------------------------

    def _spawn(self, netns: str, program: Program) -> _Running:
        # imported once here, so that each program's process need not
        importlib.import_module("k8semu.lab.process")
        importlib.import_module("h11")
        with contextlib.suppress(ImportError), nobodys():  # told by the process itself
            importlib.import_module(program.function.partition(":")[0])
        from k8semu.lab.process import run_program

        ours, theirs = Channel.pair()
        me = os.getpid()
        gc.freeze()
        os_pid = os.fork()
        if os_pid == 0:
            process_main(lambda: run_program(theirs, netns, program, me))
        theirs.close()
        return _Running(os_pid, ours, netns)

    def _start(self, netns: str, pid: str, program: Program) -> str:
        """'' or what the program failed with."""
        if pid in self.running:
            raise ProgramFailed(f"{pid} runs already")
        process = self._spawn(netns, program)
        self.running[pid] = process
        return self._rested(pid, process)

    def _rested(self, pid: str, process: _Running) -> str:
        """Wait until a program waits, or has ended: '' or what it failed with."""
        word = _receive(process.channel, START_LIMIT)
        if word is None or word.kind == "idle":
            return ""
        _reap(process, word)
        del self.running[pid]
        if word.kind == "failed":
            return str(word.value)
        self.ended[pid] = word.value
        return ""

    def _stop(self, pid: str) -> Any:
        """What the program returns, or has returned."""
        self._crashes()
        process = self.running.pop(pid, None)
        if process is None:
            return self.ended.pop(pid, None)
        with contextlib.suppress(Gone):
            process.channel.send("stop")
        word = _until_end(process.channel, STOP_LIMIT)
        _reap(process, word)
        return word.value if word is not None and word.kind == "ended" else None

    def _feed(self, pid: str, message: Any) -> str:
        process = self.running.get(pid)
        if process is not None:
            with contextlib.suppress(Gone):
                process.channel.send((message,))
                return self._rested(pid, process)
        return ""

    def _call(self, netns: str, program: Program, limit: float) -> Any:
        process = self._spawn(netns, program)
        word = _until_end(process.channel, limit)
        _reap(process, word)
        if word is None:
            raise ProgramFailed(f"{program.function} in {netns} has not ended after {limit:g} s")
        if word.kind == "failed":
            raise ProgramFailed(f"{program.function} in {netns}: {word.value}")
        return word.value

    def _crashes(self) -> list[tuple[str, str]]:
        """Programs that ended with an exception by themselves: (pid, what)."""
        found = []
        for pid, process in list(self.running.items()):
            word = _receive(process.channel, 0)
            if word is not None and word.kind != "idle":
                if word.kind == "failed":
                    found.append((pid, str(word.value)))
                else:
                    self.ended[pid] = word.value
                _reap(process, word)
                del self.running[pid]
        return found


def _receive(channel: Channel, limit: float) -> Word | None:
    """The next word of a program, or None after `limit` seconds."""
    if not select.select([channel], [], [], limit)[0]:
        return None
    try:
        word: Word = channel.receive()
    except Gone:
        from k8semu.lab.process import Word as Told

        return Told("failed", "its process died")
    return word


def _until_end(channel: Channel, limit: float) -> Word | None:
    """How a program ended, or None if it has not after `limit` seconds."""
    deadline = time.monotonic() + limit
    while True:
        word = _receive(channel, max(0.0, deadline - time.monotonic()))
        if word is None or word.kind != "idle":
            return word


def _reap(process: _Running, word: Word | None) -> None:
    """Wait until a process that has reported its end is gone; kill one that has not."""
    if word is None:
        os.kill(process.os_pid, signal.SIGKILL)
    os.waitpid(process.os_pid, 0)
    process.channel.close()
    for name in word.modules if word is not None else ():
        with contextlib.suppress(Exception):  # what cannot be had here, the next process finds out itself
            importlib.import_module(name)


def process_main(main: Callable[[], None]) -> None:
    """Run `main` in a process just forked, and never return."""
    status = 1
    try:
        main()
        status = 0
    except Gone:
        pass
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def supervise(channel: Channel, sniffer: Channel) -> None:
    """The main function of the first process inside: it starts the sniffer, then serves."""
    me = os.getpid()
    if os.fork() == 0:
        def capture() -> None:
            die_with_parent(me)
            channel.close()
            sniff(sniffer)()

        process_main(capture)
    sniffer.close()
    with contextlib.suppress(Gone):     # whoever asked has ended, in the middle of an answer
        Supervisor(channel).run()
