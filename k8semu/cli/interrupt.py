"""Ctrl-C: a KeyboardInterrupt, but only where our own code runs.

Raised inside a library, it can be swallowed (in the callback of a weak reference), told twice (in a task), or
meet C code that is not made for it (msgspec, while it learns a type, ends the process). So a Ctrl-C that comes
there comes again a little later; after a while in any place, since a program of the user's own may never leave its.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the part of `signal` that is there from the start
from types import FrameType

OWN = "k8semu"
LATER = 0.001
TRIES = 300


class _Interrupts:
    """How often a Ctrl-C was put off."""

    def __init__(self) -> None:
        self.tries = 0

    def come(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signal."""
        name = str(frame.f_globals.get("__name__", "")) if frame is not None else ""
        ours = name.partition(".")[0] == OWN or name == "__main__"
        if ours or self.tries >= TRIES or not hasattr(_signal, "setitimer"):
            self.tries = 0
            import warnings

            warnings.simplefilter("ignore")     # that coroutines were never awaited: they are not going to be
            raise KeyboardInterrupt
        self.tries += 1
        _signal.setitimer(_signal.ITIMER_REAL, LATER)


def take_interrupts() -> None:
    """Have Ctrl-C come where our own code runs; one that is ignored (`nohup`, `… &` in a script) stays so."""
    if _signal.getsignal(_signal.SIGINT) is not _signal.default_int_handler:
        return
    come = _Interrupts().come
    _signal.signal(_signal.SIGINT, come)
    if hasattr(_signal, "setitimer"):
        _signal.signal(_signal.SIGALRM, come)
