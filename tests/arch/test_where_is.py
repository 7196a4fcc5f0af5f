"""docs/where-is.md is a map: every place on it exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

WHERE_IS = Path(__file__).parents[2] / "docs" / "where-is.md"
PLACES = re.findall(r"^\|[^|]+\| `([\w.]+):([\w.]+)` \|", WHERE_IS.read_text(), re.MULTILINE)


def test_the_map_has_rows() -> None:
    rows = [line for line in WHERE_IS.read_text().splitlines() if line.startswith("|")][2:]
    assert len(rows) == len(PLACES), "each row names one place as `module:symbol`"


@pytest.mark.parametrize(("module", "symbol"), PLACES, ids=[f"{m}:{s}" for m, s in PLACES])
def test_every_place_on_the_map_exists(module: str, symbol: str) -> None:
    found = importlib.import_module(module)
    for name in symbol.split("."):
        found = getattr(found, name)
