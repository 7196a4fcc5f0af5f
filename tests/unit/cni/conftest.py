"""Every rig of a test is closed after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cni_node import Rig


@pytest.fixture(autouse=True)
def _close_rigs() -> Iterator[None]:
    yield
    while Rig.made:
        Rig.made.pop().cluster.close()
