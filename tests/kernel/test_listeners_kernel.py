"""Load balancer listeners before hostPorts: every row of the table, and a node that is left out, as in Linux."""

from __future__ import annotations

import pytest
from hostports import CALLS, DIRECT, PROXIED, STATE, call, scenario

from k8semu.scenario.load import parse
from k8semu.scenario.verify import verify_scenario

pytestmark = pytest.mark.kernel


def test_who_sees_whom_behind_a_listener_and_which_nodes_are_left_out() -> None:
    steps = [
        *CALLS, {"delete": {"object": "pod/there"}}, {"wait": "700ms"}, STATE, call("user", PROXIED, 2),
        call("user", DIRECT),
    ]  # fmt: skip
    report = verify_scenario(parse(scenario(steps), "lb.yaml", "lb"))
    assert report.same, report.text
    assert report.results == len(CALLS) + 3
