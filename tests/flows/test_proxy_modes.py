"""The same flows to the same Services under all four modes of kube-proxy."""

from __future__ import annotations

from typing import Any

import pytest
from proxy_flows import CALLS, MODES, ROUTES, ROWS, answers, expected, scenario

from k8semu.scenario.load import parse
from k8semu.scenario.run import Run


def play(text: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    this = Run(parse(text, "flows.yaml", "flows"))
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
