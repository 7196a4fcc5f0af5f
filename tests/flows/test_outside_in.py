"""From outside in: who is reached by a node port, and which client the Pod sees, in every proxy mode."""

from __future__ import annotations

import pytest
from outside_in import (
    CLIENTS,
    LOAD_BALANCER,
    MODES,
    NODE_PORT,
    answer,
    load_balancer_scenario,
    node_port_scenario,
    seen,
)

from k8semu.scenario.load import parse
from k8semu.scenario.run import Run

Row = tuple[str, ...]


def outcome(scenario: str, rows: list[Row]) -> list[str]:
    """What came of each step, and that the right Pod answered."""
    this = Run(parse(scenario, "table.yaml", "table"))
    try:
        this.build()
        own = {name: pod.address for name, pod in this.built.pods.items()}
        results = [step.result for step in this.steps()]
    finally:
        this.close()
    places = [row[-2] for row in rows]
    assert [result.get("servedBy", at) for result, at in zip(results, places, strict=True)] == places
    return [answer(result, CLIENTS[row[-1]], own) for result, row in zip(results, rows, strict=True)]


@pytest.mark.parametrize("mode", MODES)
def test_by_a_node_port_the_pod_sees_whom_the_policy_and_the_way_let_it_see(mode: str) -> None:
    rows: list[Row] = [row[:-1] for row in NODE_PORT]
    expected = [(row[:-1], seen(row[-1], mode)) for row in NODE_PORT]
    assert list(zip(rows, outcome(node_port_scenario(mode), rows), strict=True)) == expected


@pytest.mark.parametrize("mode", MODES)
def test_by_a_load_balancer_too(mode: str) -> None:
    rows: list[Row] = [row[:-1] for row in LOAD_BALANCER]
    expected = [(row[:-1], seen(row[-1], mode)) for row in LOAD_BALANCER]
    assert list(zip(rows, outcome(load_balancer_scenario(mode), rows), strict=True)) == expected
