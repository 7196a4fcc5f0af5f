"""From outside in: every row of the tables of node ports and load balancers is in Linux the same, frame by frame."""

from __future__ import annotations

import pytest
from outside_in import (
    LOAD_BALANCER,
    NODE_ADDRESSES,
    NODE_PORT,
    load_balancer_scenario,
    node_addresses_scenario,
    node_port_scenario,
)

from k8semu.scenario.load import parse
from k8semu.scenario.verify import verify_scenario

pytestmark = pytest.mark.kernel


MODES = ["iptables", "nftables"]


@pytest.mark.parametrize("mode", MODES)
def test_every_row_of_node_ports_is_the_same_in_linux(mode: str) -> None:
    report = verify_scenario(parse(node_port_scenario(mode), "table.yaml", "table"))
    assert report.same, report.text
    assert report.results == len(NODE_PORT)


OPENED = [("iptables", "not on localhost"), ("iptables", "in the nodes' network"), ("iptables", "on localhost only"),
          ("nftables", "everywhere")]  # fmt: skip


@pytest.mark.parametrize(("mode", "name"), OPENED)
def test_linux_opens_node_ports_on_the_same_addresses(mode: str, name: str) -> None:
    [(settings, expected)] = [row[1:] for row in NODE_ADDRESSES if row[0] == name]
    report = verify_scenario(parse(node_addresses_scenario(mode, settings, expected), "table.yaml", "table"))
    assert report.same, report.text
    assert report.results == len(expected)


@pytest.mark.parametrize("mode", MODES)
def test_every_row_of_load_balancers_is_the_same_in_linux(mode: str) -> None:
    report = verify_scenario(parse(load_balancer_scenario(mode), "table.yaml", "table"))
    assert report.same, report.text
    assert report.results == len(LOAD_BALANCER)
