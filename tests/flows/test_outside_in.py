"""From outside in: who is reached by a node port, and which client the Pod sees, in every proxy mode."""

from __future__ import annotations

import json
from typing import Any

import pytest
from outside_in import (
    CLIENTS,
    LOAD_BALANCER,
    MODES,
    NODE_ADDRESSES,
    NODE_PORT,
    Seen,
    answer,
    health_scenario,
    load_balancer_scenario,
    node_addresses_scenario,
    node_port_scenario,
    seen,
)

from k8semu.scenario.load import parse
from k8semu.scenario.run import Run
from k8semu.scenario.run import run as play

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


OPENED = [(name, settings, expected, mode) for name, settings, expected in NODE_ADDRESSES for mode in MODES
          if mode != "userspace" or "nodePortAddresses" not in settings]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "expected", "mode"), [row[1:] for row in OPENED], ids=[f"{row[0]}-{row[3]}" for row in OPENED]
)
def test_node_ports_are_open_on_the_addresses_that_kube_proxy_is_told(
    settings: dict[str, Any], expected: dict[str, Seen], mode: str
) -> None:
    rows: list[Row] = [("Cluster", "here", "the node")] * len(expected)
    found = outcome(node_addresses_scenario(mode, settings, expected), rows)
    assert dict(zip(expected, found, strict=True)) == {address: seen(row, mode) for address, row in expected.items()}


@pytest.mark.parametrize("mode", MODES)
def test_a_node_tells_how_many_endpoints_it_has_and_node_ports_are_for_udp_too(mode: str) -> None:
    done = play(parse(health_scenario(mode), "table.yaml", "table"))
    here, there, proxy, datagram = (step.result for step in done.steps)
    assert (proxy["status"], datagram["reply"]) == (200, "hello")
    if mode == "userspace":                                 # it knows of no such port
        assert (here["error"], there["error"]) == ("ECONNREFUSED", "ECONNREFUSED")
        return
    for result, status, count in ((here, 200, 1), (there, 503, 0)):
        assert result["status"] == status
        [said] = result["calls"]
        assert said["headers"]["x-load-balancing-endpoint-weight"] == str(count)
        assert json.loads(said["body"]) == {
            "service": {"namespace": "default", "name": "web"}, "localEndpoints": count, "serviceProxyHealthy": True,
        }  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_by_a_load_balancer_too(mode: str) -> None:
    rows: list[Row] = [row[:-1] for row in LOAD_BALANCER]
    expected = [(row[:-1], seen(row[-1], mode)) for row in LOAD_BALANCER]
    assert list(zip(rows, outcome(load_balancer_scenario(mode), rows), strict=True)) == expected
