"""Timing two things side by side: rounds of a, b, a, b, …, so that a busy moment hits both."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import msgspec

ROUNDS = 5
LIMIT = 60
"""Seconds after which a process hangs."""


class Result(msgspec.Struct, frozen=True):
    """One row of the table: `value`, the promise it is held to, and what was measured."""

    key: str
    value: float | None
    promise: str
    kept: bool | None
    detail: str


def seconds(action: Callable[[], object]) -> float:
    """How long `action` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def process(argv: Sequence[str]) -> float:
    """How long a whole process takes, with its modules compiled as after any first run; its failure is ours."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return seconds(lambda: subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=env, timeout=LIMIT))


def side_by_side(a: Callable[[], float], b: Callable[[], float], rounds: int = ROUNDS) -> tuple[float, float]:
    """The medians of both over `rounds` rounds, after one that does not count."""
    a(), b()
    times = [(a(), b()) for _ in range(rounds)]
    return statistics.median(t for t, _ in times), statistics.median(t for _, t in times)


def at_least(key: str, value: float, bound: float, detail: str) -> Result:
    return Result(key, round(value, 3), f">= {bound:g}", value >= bound, detail)


def at_most(key: str, value: float, bound: float, detail: str) -> Result:
    return Result(key, round(value, 3), f"<= {bound:g}", value <= bound, detail)


def not_here(key: str, why: str) -> Result:
    return Result(key, None, "", None, f"not measurable here: {why}")


PYTHON = sys.executable
