"""A Ctrl-C comes where our own code runs, and in the end anywhere."""

from __future__ import annotations

import signal
import types
from collections.abc import Callable
from typing import Any

import pytest

from k8semu.cli import interrupt


class Timers:
    """What is asked of `_signal`, written down."""

    ITIMER_REAL = signal.ITIMER_REAL

    def __init__(self) -> None:
        self.set: list[float] = []

    def setitimer(self, which: int, seconds: float) -> None:
        self.set.append(seconds)


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    timers = Timers()
    monkeypatch.setattr(interrupt, "_signal", timers)
    return timers


def frame_of(module: str) -> Any:
    """A frame of a function of that module."""
    found: list[Any] = []
    look: Callable[[], None] = types.FunctionType(
        compile("found.append(__import__('sys')._getframe())", module, "exec"), {"__name__": module, "found": found}
    )
    look()
    return found[0]


@pytest.mark.parametrize("module", ["k8semu.linux.netns", "k8semu", "__main__"])
def test_in_our_own_code_it_is_a_keyboard_interrupt(module: str, timers: Timers) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt._Interrupts().come(signal.SIGINT, frame_of(module))
    assert timers.set == []


@pytest.mark.parametrize("module", ["typing", "_weakrefset", "asyncio.events", "k8semulator"])
def test_in_a_library_it_comes_again_a_little_later(module: str, timers: Timers) -> None:
    interrupts = interrupt._Interrupts()
    interrupts.come(signal.SIGINT, frame_of(module))
    assert timers.set == [interrupt.LATER]
    with pytest.raises(KeyboardInterrupt):
        interrupts.come(signal.SIGALRM, frame_of("k8semu.sim.loop"))


def test_a_program_that_never_leaves_its_own_code_is_interrupted_all_the_same(timers: Timers) -> None:
    interrupts, frame = interrupt._Interrupts(), frame_of("mine")
    for _ in range(interrupt.TRIES):
        interrupts.come(signal.SIGINT, frame)
    with pytest.raises(KeyboardInterrupt):
        interrupts.come(signal.SIGINT, frame)
