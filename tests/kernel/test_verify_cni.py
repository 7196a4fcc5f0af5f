"""`k8semu verify` has the real CNI plugins make the calls that a scenario makes."""

from __future__ import annotations

import pytest

from k8semu.cni.spec import ConfigList
from k8semu.lab.cni_plugins import COMPARED, Call, bridge_network, verify_cni_plugins, why_not
from k8semu.scenario.load import parse
from k8semu.scenario.verify import verify_scenario

pytestmark = pytest.mark.kernel

SCENARIO = """\
apiVersion: k8semu/v1
kind: Scenario
spec:
  nodes: [{{name: host1, address: 10.100.0.2/24, podCIDR: 10.1.0.0/29}}]
  podNetwork: {network}
  steps: {steps}
"""
ADD_AND_DEL = (
    "[{cni: {node: host1, command: ADD, container: a}}, {cni: {node: host1, command: CHECK, container: a}},"
    " {cni: {node: host1, command: DEL, container: a}}]"
)
ALWAYS = sum(len(calls) for _, calls in COMPARED.values())


def scenario(network: str, steps: str = ADD_AND_DEL) -> str:
    return SCENARIO.format(network=network, steps=steps)


@pytest.mark.parametrize(
    "network",
    [
        "{plugin: bridge, bridge: cni0, mtu: 1400, cidr: 10.1.0.0/16}",
        "{plugin: flannel, backend: host-gw, cidr: 10.1.0.0/16}",
    ],
)
def test_calls_of_a_scenario_are_compared_with_the_real_plugins(network: str) -> None:
    reason = why_not(bridge_network())
    if reason:
        pytest.skip(reason)
    report = verify_scenario(parse(scenario(network), "drawn.yaml", "drawn"))
    assert report.plugins is not None
    assert report.plugins.calls == ALWAYS + 3
    assert report.plugins.same, report.plugins.text
    assert report.same, report.text


def test_weave_and_scenarios_without_calls_have_no_real_plugins_to_ask() -> None:
    weave = scenario("{plugin: weave, cidr: 10.1.0.0/16}")
    silent = scenario("{plugin: bridge, cidr: 10.1.0.0/16}", "[{wait: 0}]")
    for text in (weave, silent):
        assert verify_scenario(parse(text, "drawn.yaml", "drawn")).plugins is None


def test_missing_plugins_are_named_and_are_no_difference() -> None:
    config = ConfigList(cni_version="1.0.0", name="n", plugins=({"type": "teleport"},))
    report = verify_cni_plugins([(config, [Call("ADD", "a")])])
    assert report.same
    assert report.verdict.startswith("CNI plugins not verifiable here: no CNI plugin teleport in ")
