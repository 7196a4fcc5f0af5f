"""Every case has the very rules that rules/NAME.txt shows, with the hashes in chain names made readable."""

from __future__ import annotations

from pathlib import Path

import pytest
from proxy_cases import CASES
from proxy_rules import Node, describe

RULES = Path(__file__).parent / "rules"


@pytest.mark.parametrize("name", CASES)
def test_the_rules_are_those_written_down(name: str) -> None:
    assert describe(CASES[name]) == (RULES / f"{name}.txt").read_text()


def test_every_text_belongs_to_a_case() -> None:
    assert sorted(path.stem for path in RULES.iterdir()) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_saved_rules_are_restored_as_they_were(name: str) -> None:
    node, other = Node(CASES[name]), Node()
    other.netfilter.restore(node.netfilter.save(counters=True), False, {})
    assert other.netfilter.save(counters=True) == node.netfilter.save(counters=True)
