"""The twin: a cluster in real network namespaces, driven by the entries of a journal.

    with Twin() as twin:
        twin.build(entries)          NetnsAdd, Tell
        twin.start(…); twin.call(…)  programs on real event loops
        twin.settle()                until the network is quiet
        twin.frames()                what was seen

Frames have no packet ids: a kernel has none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from k8semu.capture.frame import Frame
from k8semu.cluster.journal import Entry, NetnsAdd, Program, Tell
from k8semu.cluster.underlay import UNDERLAY
from k8semu.errors import K8semuError, NotVerifiableError
from k8semu.lab.channel import Channel, Gone
from k8semu.lab.private import end, spawn
from k8semu.lab.supervisor import ProgramFailed, supervise
from k8semu.linux.core.commands import BridgeAdd, LinkDel

__all__ = ["ProgramFailed", "Twin"]

QUIET = 0.05
"""Seconds without a frame after which the network has settled."""
SETTLE_LIMIT = 10.0
CALL_LIMIT = 180.0


def but_underlay(netns: str) -> bool:
    """Everything is captured except the switch between machines."""
    return netns != UNDERLAY


class Twin:
    """Real namespaces for one journal. Captures on every device of the namespaces that are `captured`.

    `hosts` are names that resolve inside.
    """

    def __init__(
        self, hosts: Mapping[str, str] | None = None, *, captured: Callable[[str], bool] = but_underlay
    ) -> None:
        self.hosts = dict(hosts or {})
        self._captured = captured
        self.lost = 0
        self.crashes: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self._watched: set[str] = set()
        self._guard = 0

    def __enter__(self) -> Self:
        self._channel, inside = Channel.pair()
        self._sniffer, sniffer = Channel.pair()
        ours = (self._channel, self._sniffer)

        def main() -> None:
            for channel in ours:  # else the other end would never see that we are gone
                channel.close()
            supervise(inside, sniffer)

        self._guard = spawn(main)
        inside.close()
        sniffer.close()
        try:
            self._tell_hosts()
        except Gone:
            self._end()
            raise NotVerifiableError("this machine allows no private network namespaces") from None
        except BaseException:
            self._end()
            raise
        return self

    def name(self, hosts: Mapping[str, str]) -> None:
        """From now on these names resolve inside, and no others."""
        self.hosts = dict(hosts)
        self._tell_hosts()

    def files(self, netns: str, files: Mapping[str, str], libc: str = "glibc") -> None:
        """What programs in a namespace find in /etc from now on; they ask DNS, too, as `libc` does."""
        self._channel.ask("files", netns, dict(files), libc)

    def _tell_hosts(self) -> None:
        names = "".join(f"{address}\t{name}\n" for name, address in self.hosts.items())
        self._channel.ask("hosts", "127.0.0.1\tlocalhost\n" + names)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        """Everything inside is killed; no process and no namespace remains."""
        self._channel.close()
        self._sniffer.close()
        end(self._guard)

    # --- building -----------------------------------------------------------------------------

    def build(self, entries: Iterable[Entry]) -> float:
        """Do what the NetnsAdd and Tell entries say; the seconds it took. CommandError in the tool's words."""
        part = [entry for entry in entries if isinstance(entry, (NetnsAdd, Tell))]
        if any(isinstance(entry, Tell) and isinstance(entry.command, LinkDel) for entry in part):
            self.settle(limit=QUIET)  # frames are read before their device's name is gone
        seconds: float = self._channel.ask("build", [entry for entry in part if isinstance(entry, NetnsAdd)])
        self._watch(part)
        seconds += self._channel.ask("build", [entry for entry in part if isinstance(entry, Tell)])
        self.warnings += self._channel.ask("warnings")
        self._open_bridges(part)
        return seconds

    def _watch(self, part: Sequence[Entry]) -> None:
        """New namespaces are watched before anything is in them, so that nothing is missed."""
        new = [e.netns for e in part if isinstance(e, NetnsAdd) and self._captured(e.netns)]
        if new:
            self._sniffer.ask("watch", new)
            self._watched.update(new)

    def _open_bridges(self, part: Sequence[Entry]) -> None:
        for entry in part:
            if isinstance(entry, Tell) and isinstance(entry.command, BridgeAdd) and entry.netns in self._watched:
                self._sniffer.ask("promiscuous", entry.netns, entry.command.name)

    def delete(self, netns: str) -> None:
        """`ip netns del NETNS`, after its programs have ended."""
        if netns in self._watched:
            self.settle(limit=QUIET)
            self._sniffer.ask("unwatch", netns)
            self._watched.discard(netns)
        self._channel.ask("delete", netns)

    def settle_links(self) -> None:
        """Wait until the kernel has acted on every link that came or went; it takes up to a second."""
        self._channel.ask("settle_links")

    # --- programs -----------------------------------------------------------------------------

    def start(self, netns: str, pid: str, program: Program) -> None:
        """Start a program; returns when its ports are bound."""
        failed = self._channel.ask("start", netns, pid, program)
        if failed:
            self.crashes.append((pid, failed))

    def stop(self, pid: str) -> Any:
        """Cancel a program; what it returned, when its process is gone."""
        return self._channel.ask("stop", pid)

    def feed(self, pid: str, message: Any) -> None:
        """Tell a running program something; returns when it waits again."""
        failed = self._channel.ask("feed", pid, message)
        if failed:
            self.crashes.append((pid, failed))

    def call(self, netns: str, program: Program, limit: float = CALL_LIMIT) -> Any:
        """Run a client program to its end; its result, or ProgramFailed."""
        return self._channel.ask("call", netns, program, limit)

    # --- what was seen ------------------------------------------------------------------------

    def settle(self, quiet: float = QUIET, limit: float = SETTLE_LIMIT) -> bool:
        """Wait until no frame was seen for `quiet` seconds; False if `limit` came first."""
        settled: bool = self._sniffer.ask("settle", quiet, limit)
        return settled

    def frames(self) -> list[Frame]:
        """What was seen since the last time, in order of time."""
        seen, self.lost = self._sniffer.ask("take")
        self.crashes += self._channel.ask("crashes")
        return [
            Frame(
                frame.time, f"{netns}/{frame.device}", 2 if frame.outgoing else 1, frame.data,
                linktype=frame.linktype,
            )
            for netns, frame in seen
        ]  # fmt: skip

    @property
    def guard(self) -> int:
        """The process that all others hang on."""
        if not self._guard:
            raise K8semuError("the twin is not running")
        assert self._guard != os.getpid()
        return self._guard
