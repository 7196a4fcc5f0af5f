"""NetworkPolicies in the kernel: the same rules load, and the same packets pass and are refused."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from policy_reading import PAIRS, PODS, allowed, call, clusterip_under_policies, only_c_may_call_b, policy, scenario

from k8semu.scenario.load import load, parse
from k8semu.scenario.run import Run
from k8semu.scenario.verify import verify_scenario

pytestmark = pytest.mark.kernel

JSON = dict[str, Any]
EXAMPLE = Path(__file__).parents[2] / "docs/examples/network-policy.yaml"


def test_the_example_is_told_as_expected_and_the_kernel_agrees() -> None:
    report = verify_scenario(load(str(EXAMPLE)))
    assert report.same, report.text


def test_the_rules_of_a_node_load_into_iptables_and_ipset_and_come_back_the_same() -> None:
    this = Run(load(str(EXAMPLE)))
    try:
        this.build()
        for step in this.loaded.scenario.spec.steps:
            for manifest in step.apply or []:
                this.built.master.apply(manifest)
        this.built.master.settle()
        netfilter = this.cluster.net("host1").netfilter
        rules, sets = netfilter.save(table="filter"), netfilter.ipset.run(["save"])
    finally:
        this.close()
    script = f"ipset restore <<'E'\n{sets}E\niptables-restore <<'E'\n{rules}E\nipset save; iptables-save -t filter"
    done = subprocess.run(["unshare", "-Urnm", "bash", "-ec", script], capture_output=True, text=True, check=True)
    assert canonical(done.stdout) == canonical(sets + rules)


def canonical(text: str) -> list[str]:
    """Without what a run counts, draws or dates; the elements of sets in order."""
    lines = [re.sub(r"\[\d+:\d+\]|initval \S+", "", line) for line in text.splitlines() if not line.startswith("#")]
    return sorted(line for line in lines if line.startswith("add ")) + [x for x in lines if not x.startswith("add ")]


ANY: JSON = {}
CHOICES: list[JSON] = [
    {"podSelector": ANY}, {"podSelector": {"matchLabels": {"tier": "back"}}}, {"namespaceSelector": ANY},
    {"namespaceSelector": {"matchLabels": {"team": "lab"}}, "podSelector": {"matchLabels": {"app": "a"}}},
    {"ipBlock": {"cidr": "172.17.0.0/16", "except": ["172.17.0.2/31"]}}, {"ipBlock": {"cidr": "172.17.1.0/24"}},
]
PORTS: list[JSON] = [{"port": "web"}, {"port": "admin"}, {"port": 81, "endPort": 82}, {"port": 80}, {"protocol": "TCP"}]


def by_chance(chance: random.Random) -> list[JSON]:
    found = []
    for i in range(2):
        way, key = chance.choice([("Ingress", "from"), ("Egress", "to")])
        rule = {key: chance.sample(CHOICES, 2), "ports": chance.sample(PORTS, 1)}
        spec = {"podSelector": chance.choice([ANY, {"matchLabels": {"app": "a"}}]), "policyTypes": [way],
                way.lower(): [rule]}  # fmt: skip
        found.append(policy(f"p{i}", spec, chance.choice(["default", "default", "other"])))
    return found


def calls_under(policies: list[JSON], chance: random.Random) -> list[JSON]:
    """Some that pass and some that do not; no node has to send one host more errors than it may at once."""
    steps: list[JSON] = []
    left = dict.fromkeys(PODS, 2)
    tried = [(a, b, port) for a, b in PAIRS for port in (80, 81, 82)]
    for a, b, port in chance.sample(tried, 12):
        passes = allowed(policies, a, b, "TCP", port)
        left[a] -= not passes
        if left[a] >= 0:
            steps.append({**call(a, b, "TCP", port), "expect": {"error": "" if passes else "ECONNREFUSED"}})
    return steps


@pytest.mark.parametrize("seed", [1, 2])
def test_policies_made_by_chance_have_the_same_effect_in_the_kernel(seed: int) -> None:
    chance = random.Random(seed)
    policies = by_chance(chance)
    text = scenario(policies, calls_under(policies, chance))
    this = Run(parse(text, "chance.yaml", "chance"))
    try:
        this.build()
        failures = [failure for step in this.steps() for failure in step.failures]
    finally:
        this.close()
    assert not failures, policies
    report = verify_scenario(parse(text, "chance.yaml", "chance"))
    assert report.same, report.text


def test_without_br_netfilter_a_policy_has_no_effect_between_pods_of_one_node_in_both_worlds() -> None:
    deny = [policy("deny", {"podSelector": ANY, "policyTypes": ["Ingress"]})]
    steps = [
        {**call("a", "b", "TCP", 80), "expect": {"error": ""}},
        {**call("c", "b", "TCP", 80), "expect": {"error": "ECONNREFUSED"}},
    ]
    text = scenario(deny, steps, sysctls={"net.bridge.bridge-nf-call-iptables": 0})
    this = Run(parse(text, "bridged.yaml", "bridged"))
    try:
        this.build()
        assert [step.failures for step in this.steps()] == [[], []]
    finally:
        this.close()
    report = verify_scenario(parse(text, "bridged.yaml", "bridged"))
    assert report.same, report.text


def test_weave_bridges_from_node_to_node_and_its_frames_meet_the_same_rules() -> None:
    report = verify_scenario(parse(only_c_may_call_b("weave"), "weave.yaml", "weave"))
    assert report.same, report.text


@pytest.mark.parametrize("mode", ["nftables", "userspace"])
def test_a_clusterip_is_judged_where_it_leads_in_the_kernel_as_well(mode: str) -> None:
    """iptables mode is the example's; ipvs is not there."""
    report = verify_scenario(parse(clusterip_under_policies(mode), "modes.yaml", "modes"))
    assert report.same, report.text
