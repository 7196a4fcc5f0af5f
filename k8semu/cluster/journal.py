"""The journal: everything that was done to build and run a cluster, in order.

The emulator writes it as it goes; the kernel twin replays it in real namespaces, and `export`
prints it. Because both worlds are driven by the same entries, they are the same cluster.

    Entry        what it means to Linux
    NetnsAdd     ip netns add NAME                (loopback up)
    NetnsDel     ip netns del NAME
    Tell         a command of seam 2, in one namespace
    Name         from here on a name resolves everywhere, or no more
    Files        what a namespace has in /etc of its own: /etc/netns/NAME/resolv.conf
    Start        a long-running program starts in a namespace
    Stop         it is ended
    Feed         a message for a running program
    Step         from here on, what belongs to step N of the scenario
    Call         a client program runs to its end; its result is the step's result
    Exec         a command line that sends nothing (ip addr); what the emulated machine answered
    Wait         nothing is done for a while
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from k8semu.apps.program import Program
from k8semu.linux.core.commands import Command
from k8semu.sim.clock import NS_PER_S


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the journal."""


class NetnsAdd(Entry, frozen=True, kw_only=True):
    netns: str


class NetnsDel(Entry, frozen=True, kw_only=True):
    netns: str


class Tell(Entry, frozen=True, kw_only=True):
    netns: str
    command: Command


class Name(Entry, frozen=True, kw_only=True):
    """Differs: without a DNS, programs find Pods, nodes and hosts by name all the same (as by /etc/hosts)."""

    name: str
    address: str
    """'' where the name is gone."""


class Files(Entry, frozen=True, kw_only=True):
    """Its programs see these in place of the machine's, as under `ip netns exec`; and they ask DNS."""

    netns: str
    files: dict[str, str]
    """Path to text: ``/etc/resolv.conf``, ``/etc/hosts``."""
    libc: str = "glibc"
    """Whose resolver its programs have."""


class Start(Entry, frozen=True, kw_only=True):
    netns: str
    pid: str
    """The name by which it is stopped: ``default/client/main``."""
    program: Program


class Stop(Entry, frozen=True, kw_only=True):
    netns: str
    pid: str
    result: Any = None
    """What it returned in the emulator, where that is asked (JSON values)."""


class Feed(Entry, frozen=True, kw_only=True):
    pid: str
    message: Any
    """A JSON value: what the program's `next_message` returns."""


class Step(Entry, frozen=True, kw_only=True):
    """`verifiable` False: the step cannot be compared with a kernel, for `reason`."""

    number: int
    name: str
    verifiable: bool = True
    reason: str = ""
    time: int = 0
    """When it began in the emulator, in ns."""


class Call(Entry, frozen=True, kw_only=True):
    netns: str
    program: Program
    result: Any = None
    """What it returned in the emulator (JSON values)."""


class Exec(Entry, frozen=True, kw_only=True):
    netns: str
    argv: tuple[str, ...]
    stdin: str = ""
    result: Any = None
    """Its `output` and `code`."""


class Wait(Entry, frozen=True, kw_only=True):
    """A wait in which something is done is several of these, with what is done between them."""

    seconds: float
    whole: float = 0.0
    """Seconds of the whole wait, where this is a part of one."""


__all__ = [
    "Call", "Entry", "Exec", "Feed", "Files", "Journal", "Name", "NetnsAdd", "NetnsDel", "Program", "Start", "Step",
    "Stop", "Tell", "Wait",
]  # fmt: skip


class Journal:
    """The entries so far."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._clock: Callable[[], int] | None = None
        self._since = 0
        self._whole = 0.0

    def add(self, entry: Entry) -> None:
        self._part()
        self.entries.append(entry)

    @contextmanager
    def waiting(self, clock: Callable[[], int], seconds: float) -> Iterator[None]:
        """Within it, time goes on (`clock`, in ns) for so long; what is done meanwhile has its place in it."""
        self._clock, self._since, self._whole = clock, clock(), seconds
        try:
            yield
        finally:
            self._part()
            self._clock = None

    def _part(self) -> None:
        if self._clock is None:
            return
        now = self._clock()
        if now > self._since:
            self.entries.append(Wait(seconds=(now - self._since) / NS_PER_S, whole=self._whole))
        self._since = now
