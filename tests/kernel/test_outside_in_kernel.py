"""From outside in: every row of the tables of node ports and load balancers is in Linux the same, frame by frame."""

from __future__ import annotations

import pytest
from outside_in import LOAD_BALANCER, NODE_PORT, load_balancer_scenario, node_port_scenario

from k8semu.scenario.load import parse
from k8semu.scenario.verify import verify_scenario

pytestmark = pytest.mark.kernel


MODES = ["iptables", "nftables"]


@pytest.mark.parametrize("mode", MODES)
def test_every_row_of_node_ports_is_the_same_in_linux(mode: str) -> None:
    report = verify_scenario(parse(node_port_scenario(mode), "table.yaml", "table"))
    assert report.same, report.text
    assert report.results == len(NODE_PORT)


@pytest.mark.parametrize("mode", MODES)
def test_every_row_of_load_balancers_is_the_same_in_linux(mode: str) -> None:
    report = verify_scenario(parse(load_balancer_scenario(mode), "table.yaml", "table"))
    assert report.same, report.text
    assert report.results == len(LOAD_BALANCER)
