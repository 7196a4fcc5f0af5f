from __future__ import annotations

from collections.abc import Iterator

import pytest
from sock_world import TwoMachines, emulated, on_linux


@pytest.fixture
def machines() -> Iterator[TwoMachines]:
    machines = TwoMachines()
    yield machines
    machines.close()


@pytest.fixture(params=[on_linux, emulated], ids=["linux", "emulated"])
def run_program(request: pytest.FixtureRequest) -> object:
    """Runs a program on the real event loop, then on the emulated one: both must pass the same test."""
    return request.param
