"""From outside in: every row of the table of node ports fares as in the Linux kernel, frame by frame."""

from __future__ import annotations

import pytest
from outside_in import NODE_PORT, node_port_scenario

from k8semu.scenario.load import parse
from k8semu.scenario.verify import verify_scenario

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_every_row_of_node_ports_is_the_same_in_linux(mode: str) -> None:
    report = verify_scenario(parse(node_port_scenario(mode), "table.yaml", "table"))
    assert report.same, report.text
    assert report.results == len(NODE_PORT)
