"""What a program is told while it runs, in both worlds."""

from __future__ import annotations

from typing import Any

import pytest
from lab_emulated import emulate

from k8semu.cluster.journal import Call, Entry, Feed, NetnsAdd, Program, Start, Step
from k8semu.lab.twin import Twin
from k8semu.lab.verify import verify

pytestmark = pytest.mark.kernel


def program(function: str, /, **args: Any) -> Program:
    return Program(function=f"lab_programs:{function}", args=args)


def test_a_program_hears_in_the_kernel_what_it_hears_in_the_emulator() -> None:
    parrot = program("parrot", port=7)
    entries: list[Entry] = [NetnsAdd(netns="one"), Start(netns="one", pid="one/parrot", program=parrot)]
    for number, word in enumerate(["hello", {"type": "ADDED", "object": {"n": 1}}], start=1):
        entries.append(Step(number=number, name=str(word)))
        entries.append(Feed(pid="one/parrot", message=word))
        entries.append(Call(netns="one", program=program("hear", port=7)))
    journal, frames = emulate(entries)
    heard = [entry.result for entry in journal.entries if isinstance(entry, Call)]
    assert heard == ['"hello"', '{"type": "ADDED", "object": {"n": 1}}']
    report = verify(journal, frames)
    assert report.same, report.text
    assert report.results == 2


def test_a_program_that_fails_on_what_it_is_told_is_a_crash() -> None:
    with Twin() as twin:
        twin.build([NetnsAdd(netns="one")])
        twin.start("one", "one/parrot", program("parrot", port=7))
        twin.feed("one/parrot", "crash")
        assert twin.crashes == [("one/parrot", "RuntimeError: as told")]
