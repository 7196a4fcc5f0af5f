"""The same flows to the same Services under all four modes of kube-proxy."""

from __future__ import annotations

from typing import Any

import pytest
from outside_in import call, cluster, text
from proxy_flows import CALLS, MODES, PODS, ROUTES, ROWS, SERVICES, answers, expected, scenario

from k8semu.scenario.load import parse
from k8semu.scenario.run import Run


def play(file: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    this = Run(parse(file, "flows.yaml", "flows"))
    try:
        this.build()
        this.cluster.tell_all("router", ROUTES)
        own = {name: pod.address for name, pod in this.built.pods.items()}
        return [step.result for step in this.steps()], own
    finally:
        this.close()


@pytest.mark.parametrize("mode", MODES)
def test_who_answers_and_which_source_is_seen(mode: str) -> None:
    found = answers(*play(scenario(mode)))
    told = [(row[0], row[2], row[3], answer) for row, answer in zip(ROWS, found, strict=True)]
    assert told == [(row[0], row[2], row[3], expected(row, mode)) for row in ROWS]


def test_a_mode_stands_apart_in_a_row_only_where_it_does_otherwise() -> None:
    for row in ROWS:
        apart = {mode: answer for mode, answer in row[4].items() if mode != "*"}
        assert all(answer != row[4]["*"] for answer in apart.values()), row[0]
    assert CALLS >= 8, "fewer calls may miss an endpoint that is chosen by chance"


def test_a_killed_pod_has_no_weight_in_ipvs_until_its_last_connection_is_forgotten() -> None:
    spec = cluster("ipvs", [
        call("beside", "10.96.0.20", 80), call("beside", "10.96.0.20", 80),
        {"kill": {"pod": "here"}}, {"exec": {"on": "host1", "command": "ipvsadm -Ln"}},
        call("beside", "10.96.0.20", 80), call("beside", "10.96.0.20", 80),
        {"wait": 90}, {"exec": {"on": "host1", "command": "ipvsadm -Ln"}},
        {"wait": 100}, {"exec": {"on": "host1", "command": "ipvsadm -Ln"}},
    ])  # fmt: skip
    results, own = play(text(spec, *PODS, SERVICES[0]))
    assert {results[0]["servedBy"], results[1]["servedBy"]} == {"here", "there"}
    assert [results[4]["servedBy"], results[5]["servedBy"]] == ["there", "there"]
    listed = [results[at]["output"] for at in (3, 7, 9)]
    gone = f"  -> {own['here']}:80".ljust(34)
    assert [f"{gone}Masq    0      0          1" in each for each in listed] == [True, True, False]
    assert own["here"] not in listed[2]
