"""Does the emulated kernel do what Linux does? The same labs in both, every frame at every tap compared.

The labs are in `labs_*.py`; what they are made of is in `netlab.py`, the comparison in `facts.py`.
Labs mostly wait (for ARP to give up, for entries to age), so those of one file play at the same time.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from types import ModuleType

import labs_bridging
import labs_corners
import labs_groups
import labs_neighbours
import labs_packets
import labs_routing
import labs_rules
import labs_tunnels
import pytest
from facts import ATTEMPTS, finish_real, report, start_real
from netlab import Lab

pytestmark = pytest.mark.kernel

MODULES = (
    labs_neighbours, labs_packets, labs_routing, labs_bridging, labs_tunnels, labs_corners, labs_rules, labs_groups,
)  # fmt: skip


def labs_of(module: ModuleType) -> dict[str, Callable[[], Lab]]:
    """The labs that a file describes."""
    return {name: value for name, value in vars(module).items() if getattr(value, "is_lab", False)}


class RealRuns:
    """The labs of a file in the kernel, all at once."""

    def __init__(self, module: ModuleType) -> None:
        self.running: dict[str, subprocess.Popen[str]] = {}
        self.reports: dict[str, str] = {}
        for name, lab in labs_of(module).items():
            self.running[name] = start_real(lab())

    def report(self, name: str) -> str:
        if name not in self.reports:
            self.reports[name] = report(finish_real(self.running.pop(name)))
        return self.reports[name]

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def real() -> Iterator[Callable[[ModuleType, str], str]]:
    runs: dict[str, RealRuns] = {}

    def ask(module: ModuleType, name: str) -> str:
        if module.__name__ not in runs:
            runs[module.__name__] = RealRuns(module)
        return runs[module.__name__].report(name)

    yield ask
    for run in runs.values():
        run.close()


@pytest.mark.parametrize(
    ("module", "name"),
    [pytest.param(module, name, id=name) for module in MODULES for name in labs_of(module)],
)
def test_linux_and_the_emulator_do_the_same(
    module: ModuleType, name: str, real: Callable[[ModuleType, str], str]
) -> None:
    lab = labs_of(module)[name]
    ours, linux = report(lab().run()), real(module, name)
    for _ in range(ATTEMPTS - 1):
        if ours == linux:
            break
        linux = report(finish_real(start_real(lab())))
    assert ours.splitlines() == linux.splitlines()
