"""From outside in: who is reached by a node port, and which client the Pod sees, in every proxy mode."""

from __future__ import annotations

import pytest
from outside_in import CLIENTS, MODES, NODE_PORT, answer, node_port_scenario, seen

from k8semu.scenario.load import parse
from k8semu.scenario.run import Run


@pytest.mark.parametrize("mode", MODES)
def test_the_pod_sees_whom_the_policy_and_the_way_let_it_see(mode: str) -> None:
    this = Run(parse(node_port_scenario(mode), "table.yaml", "table"))
    try:
        this.build()
        own = {name: pod.address for name, pod in this.built.pods.items()}
        results = this.steps()
    finally:
        this.close()
    found = [
        (policy, at, where, answer(step.result, CLIENTS[where], own))
        for (policy, at, where, _), step in zip(NODE_PORT, results, strict=True)
    ]
    assert found == [(policy, at, where, seen(row, mode)) for policy, at, where, row in NODE_PORT]
    assert all(step.result.get("servedBy", at) == at for (_, at, _, _), step in zip(NODE_PORT, results, strict=True))
