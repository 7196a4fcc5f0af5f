"""Does Linux agree? A journal replayed in the twin, and what was seen and returned compared.

    journal ─▶ Twin: build ─▶ start programs ─▶ step: tell, call, settle ─▶ frames, results
                                                                             │ compare
    emulated frames, emulated results (in the journal's Call entries) ───────┘

Before the first step, programs start after all has been built; in a step, everything keeps its order.
A step that is not verifiable changes both worlds, but its calls are not made here, and what the
emulator saw in the meantime is left out. Linux takes its time between steps, so timers fire there that in
the emulator would fire after the last step: what it would send then is known, and may have come.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from k8semu.capture.compare import Comparison, Normalise, compare
from k8semu.capture.frame import Frame
from k8semu.cluster import journal as j
from k8semu.cluster.journal import Entry, Journal, Program, Start, Step
from k8semu.errors import NotVerifiableError
from k8semu.lab.cni_plugins import PluginReport
from k8semu.lab.features import why_not
from k8semu.lab.result import result_differences
from k8semu.lab.twin import ProgramFailed, Twin
from k8semu.linux.core.commands import LinkDel, LinkSet

LONGEST_WAIT = 10.0
"""Seconds of simulated waiting that are worth waiting for."""
EXECUTE = "k8semu.lab.command:execute"


class Report(msgspec.Struct, frozen=True):
    """What came of a comparison. `same`: no frame and no result differs, and no frame was missed."""

    comparison: Comparison
    results: int
    """How many results were compared."""
    result_differences: list[str]
    skipped: list[str]
    """Steps that were not compared, with their reasons."""
    warnings: list[str]
    lost: int
    seconds: float
    """What it took in the kernel."""
    plugins: PluginReport | None = None
    """The CNI calls against the real plugins, where the scenario makes some."""

    @property
    def frames(self) -> int:
        return self.comparison.frames

    @property
    def equal(self) -> int:
        return self.comparison.equal

    @property
    def different(self) -> int:
        return self.comparison.different

    @property
    def same(self) -> bool:
        plugins = self.plugins is None or self.plugins.same
        return self.comparison.same and not self.result_differences and not self.lost and plugins

    @property
    def text(self) -> str:
        """For people: counts, then what differs."""
        lines = [self.comparison.text("emulated", "Linux")]
        lines.append(f"{self.results} results compared, {len(self.result_differences)} differences")
        lines += self.result_differences
        if self.plugins is not None:
            lines += self.plugins.differences
        if self.lost:
            lines.append(f"{self.lost} frames were lost in the kernel's capture: this machine is too busy to tell")
        return "\n".join(lines + [f"note: {warning}" for warning in self.warnings])


class _Replay:
    """A journal on its way through the twin."""

    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.frames: list[Frame] = []
        self.differences: list[str] = []
        self.results = 0
        self.skipped: list[str] = []
        self.windows: list[tuple[int, int | None]] = []  # simulated time that is left out
        self._step: Step | None = None
        self._idle = False  # nothing was asked of the kernel in this step
        self._links = False  # in this step, links came or went
        self._building: list[Entry] = []
        self._starting: list[Start] = []
        self._names: dict[str, str] = dict(twin.hosts)

    def run(self, entries: Iterable[Entry]) -> None:
        takers: dict[type[Entry], Callable[[Any], None]] = {
            j.NetnsAdd: self._building.append, j.Tell: self._tell, Start: self._start, Step: self._next_step,
            j.NetnsDel: self._delete, j.Stop: self._stop, j.Call: self._call, j.Exec: self._exec, j.Wait: self._wait,
            j.Feed: self._feed, j.Name: self._name, j.Files: self._files,
        }  # fmt: skip
        for entry in entries:
            takers[type(entry)](entry)
            self._idle = isinstance(entry, Step) and entry.verifiable
        self._end_step()

    def _tell(self, entry: j.Tell) -> None:
        if self._step is not None:  # in a step, programs that started are there before what comes next
            self._start_programs()
        self._building.append(entry)

    def _start(self, entry: Start) -> None:
        self._starting.append(entry)

    def _flush(self) -> None:
        self._build()
        self._start_programs()

    def _build(self) -> None:
        if self._building:
            self.twin.build(self._building)
            self._links |= self._step is not None and any(map(_is_about_a_link, self._building))
            self._building.clear()

    def _name(self, entry: j.Name) -> None:
        if entry.address:
            self._names[entry.name] = entry.address
        else:
            self._names.pop(entry.name, None)

    def _files(self, entry: j.Files) -> None:
        self._flush()  # what has started sees the files of before
        self.twin.files(entry.netns, entry.files, entry.libc)

    def _tell_names(self) -> None:
        if self._names != self.twin.hosts:
            self.twin.name(self._names)

    def _start_programs(self) -> None:
        self._tell_names()
        if self._starting:
            self._build()
            for start in self._starting:
                self.twin.start(start.netns, start.pid, start.program)
            self._starting.clear()

    # --- steps --------------------------------------------------------------------------------

    def _next_step(self, step: Step) -> None:
        self._end_step()
        if self._skips and self.windows:
            self.windows[-1] = (self.windows[-1][0], step.time)
        self._step = step
        if not step.verifiable:
            self.skipped.append(f"{step.name}: {step.reason}")
            self.windows.append((step.time, None))

    @property
    def _skips(self) -> bool:
        return self._step is not None and not self._step.verifiable

    def _end_step(self) -> None:
        if self._idle and self._step is not None:
            self.skipped.append(f"{self._step.name}: nothing in it is for a kernel to answer")
        self._flush()
        if self._links:
            self.twin.settle_links()
            self._links = False
        self.twin.settle()
        frames = self.twin.frames()
        if not self._skips:
            self.frames += frames

    def leaves_out(self, time: int) -> bool:
        """Was an emulated frame of this time seen in a step that is not compared?"""
        return any(start <= time and (end is None or time < end) for start, end in self.windows)

    # --- what is done -------------------------------------------------------------------------

    def _delete(self, entry: j.NetnsDel) -> None:
        self._flush()
        self.twin.delete(entry.netns)
        self._links = True

    def _stop(self, entry: j.Stop) -> None:
        self._flush()
        real = self.twin.stop(entry.pid)
        if entry.result is not None and not self._skips:
            self._compare(entry.netns, entry.result, real)

    def _feed(self, entry: j.Feed) -> None:
        self._flush()
        self.twin.feed(entry.pid, entry.message)

    def _wait(self, entry: j.Wait) -> None:
        self._flush()
        if not self._skips:
            whole = max(entry.seconds, entry.whole)
            if whole > LONGEST_WAIT:
                raise NotVerifiableError(f"it waits for {whole:g} s, which Linux would need, too")
            time.sleep(entry.seconds)

    def _exec(self, entry: j.Exec) -> None:
        program = Program(function=EXECUTE, args={"argv": list(entry.argv), "stdin": entry.stdin})
        self._result(entry.netns, program, entry.result)

    def _call(self, entry: j.Call) -> None:
        self._result(entry.netns, entry.program, entry.result)

    def _result(self, netns: str, program: Program, emulated: Any) -> None:
        self._flush()
        if self._skips:
            return
        try:
            real = self.twin.call(netns, program)
        except ProgramFailed as error:
            real = {"failed": str(error)}
        self._compare(netns, emulated, real)

    def _compare(self, netns: str, emulated: Any, real: Any) -> None:
        self.results += 1
        name = f"step {self._step.number} ({self._step.name})" if self._step is not None else netns
        self.differences += [f"{name}: {line}" for line in result_differences(emulated, real)]


def _is_about_a_link(entry: Entry) -> bool:
    return isinstance(entry, j.Tell) and isinstance(entry.command, (LinkSet, LinkDel))


def verify(
    journal: Journal | Iterable[Entry], emulated: Iterable[Frame], hosts: Mapping[str, str] | None = None,
    options: Normalise | None = None, aside: Callable[[Frame], bool] | None = None, ends: int | None = None,
) -> Report:  # fmt: skip
    """Compare a run of the emulator with Linux; NotVerifiableError if that cannot be done here.

    Frames that are `aside` are left out, on both sides. Those after `ends` (ns) are no part of the run: they
    tell how it would have gone on, for a Linux that needs longer.
    """
    entries = journal.entries if isinstance(journal, Journal) else list(journal)
    reason = why_not(entries)
    if reason:
        raise NotVerifiableError(reason)
    before = time.perf_counter()
    with Twin(hosts) as twin:
        replay = _Replay(twin)
        replay.run(entries)
        seconds = time.perf_counter() - before
        kept = [frame for frame in emulated if not replay.leaves_out(frame.time)]
        real = replay.frames
        if aside is not None:
            kept, real = [f for f in kept if not aside(f)], [f for f in real if not aside(f)]
        end = len(kept) if ends is None else bisect_right(kept, ends, key=lambda frame: frame.time)
        comparison = compare(kept[:end], real, options or Normalise(dns_ttls=False), later=kept[end:])
        warnings = twin.warnings + [f"{pid} ended: {what}" for pid, what in twin.crashes]
        return Report(
            comparison, replay.results, replay.differences, replay.skipped, warnings, twin.lost, seconds
        )  # fmt: skip


def build_seconds(entries: Iterable[Entry]) -> float:
    """How long Linux takes to build what the NetnsAdd and Tell entries say, and to take it down again."""
    before = time.perf_counter()
    with Twin(captured=lambda _: False) as twin:
        twin.build(entries)
    return time.perf_counter() - before
