"""Who enforces NetworkPolicies: kube-router unless nobody should; and what is refused, with its line."""

from __future__ import annotations

import pytest

from k8semu.errors import ScenarioError
from k8semu.scenario.check import enforces_policies
from k8semu.scenario.load import Loaded, parse
from k8semu.scenario.run import Run

POLICY = """\
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec:
  podSelector: {}
"""
STEP = """\
spec:
  networkPolicy: NAME
  steps:
    - apply:
        - apiVersion: networking.k8s.io/v1
          kind: NetworkPolicy
          metadata: {name: deny}
          spec: {podSelector: {}}
"""


def loaded(text: str) -> Loaded:
    return parse(text, "f.yaml", "f")


@pytest.mark.parametrize(("text", "enforced"), [
    ("spec: {}\n", False), ("spec: {}\n" + POLICY, True), ("spec: {networkPolicy: kube-router}\n", True),
    ("spec: {networkPolicy: kube-router}\n" + POLICY, True), ("spec: {networkPolicy: none}\n" + POLICY, False),
    (STEP.replace("networkPolicy: NAME", "seed: 1"), True), (STEP.replace("NAME", "none"), False),
])  # fmt: skip
def test_policies_are_enforced_as_soon_as_there_is_one(text: str, enforced: bool) -> None:
    assert enforces_policies(loaded(text)) is enforced


def test_without_a_controller_a_policy_is_listed_as_without_effect() -> None:
    why = "nobody enforces it, flannel alone enforces none (spec.networkPolicy: none)"
    assert loaded("spec: {networkPolicy: none}\n" + POLICY).inert == [f"NetworkPolicy deny: {why}"]
    assert loaded(STEP.replace("NAME", "none")).inert == [f"NetworkPolicy deny (step 1): {why}"]
    assert loaded("spec: {}\n" + POLICY).inert == []
    weave = loaded("spec: {networkPolicy: none, podNetwork: {plugin: weave}}\n" + POLICY).inert
    assert weave == ["NetworkPolicy deny: nobody enforces it, weave's own controller, weave-npc, is not modelled "
                     "(spec.networkPolicy: none)"]  # fmt: skip


def refused(spec: str) -> ScenarioError:
    text = POLICY.removeprefix("---\n").replace("  podSelector: {}\n", spec)
    with pytest.raises(ScenarioError) as caught:
        build(text)
    return caught.value


def build(text: str) -> None:
    this = Run(loaded(text))
    try:
        this.build()
    finally:
        this.close()


@pytest.mark.parametrize(("spec", "line", "said"), [
    ("  policyTypes: [Ingres]\n", 5,
     'spec.policyTypes[0]: Unsupported value: "Ingres": supported values: "Egress", "Ingress"'),
    ("  ingress:\n  - from:\n    - {}\n", 7, "spec.ingress[0].from[0]: Required value: must specify a peer"),
    ("  ingress:\n  - from:\n    - {ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}\n", 7,
     "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"),
    ("  ingress:\n  - from:\n    - ipBlock:\n        cidr: 10.0.0.0\n", 8,
     'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.0": must be a valid CIDR value, '
     "(e.g. 10.9.8.0/24 or 2001:db8::/64)"),
    ("  ingress:\n  - from:\n    - ipBlock:\n        cidr: 10.0.0.0/8\n        except:\n        - 11.0.0.0/16\n", 10,
     'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`'),
    ("  ingress:\n  - from:\n    - ipBlock: {except: []}\n", 7,
     "spec.ingress[0].from[0].ipBlock.cidr: Required value"),
    ("  egress:\n  - ports:\n    - port: 80\n      endPort: 79\n", 8,
     "spec.egress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"),
    ("  egress:\n  - ports:\n    - port: web\n      endPort: 79\n", 8,
     "spec.egress[0].ports[0].endPort: Invalid value: 79: may not be specified when `port` is non-numeric"),
    ("  egress:\n  - ports:\n    - endPort: 79\n", 7,
     "spec.egress[0].ports[0].endPort: Invalid value: 79: may not be specified when `port` is not specified"),
    ("  egress:\n  - ports:\n    - port: 70000\n", 7,
     "spec.egress[0].ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"),
    ("  egress:\n  - ports:\n    - protocol: tcp\n", 7,
     'spec.egress[0].ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"'),
    ("  podSelector:\n    matchExpressions:\n    - {key: a, operator: Is}\n", 7,
     'spec.podSelector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator'),
])  # fmt: skip
def test_a_bad_policy_is_refused_in_the_words_of_the_api_server(spec: str, line: int, said: str) -> None:
    error = refused(spec)
    assert error.what == f'NetworkPolicy.networking.k8s.io "deny" is invalid: {said}'
    assert error.line == line


@pytest.mark.parametrize(("spec", "line", "said", "hint"), [
    ("  podSelectr: {}\n", 5, "unknown key 'podSelectr'", "did you mean podSelector?"),
    ("  ingress:\n  - to: []\n", 6, "unknown key 'to'", "a NetworkPolicy has no such field here"),
    ("  ingress:\n  - from:\n    - ipblock: {}\n", 7, "unknown key 'ipblock'", "did you mean ipBlock?"),
    ("  egress:\n  - ports:\n    - endport: 80\n", 7, "unknown key 'endport'", "did you mean endPort?"),
])  # fmt: skip
def test_a_misspelt_field_is_not_passed_over(spec: str, line: int, said: str, hint: str) -> None:
    error = refused(spec)
    assert (error.what, error.line, error.hint) == (said, line, hint)


def test_every_node_has_the_sysctls_of_the_scenario_and_an_unknown_one_is_refused() -> None:
    this = Run(loaded("spec:\n  sysctls: {net.bridge.bridge-nf-call-iptables: 0, net.ipv4.conf.eth0.rp_filter: 2}\n"))
    try:
        this.build()
        for node in ("host1", "host2"):
            sysctl = this.cluster.net(node).sysctl
            assert sysctl.get("net.bridge.bridge-nf-call-iptables") == 0
            assert sysctl.get("net.ipv4.conf.eth0.rp_filter") == 2
    finally:
        this.close()
    with pytest.raises(ScenarioError, match="cannot stat /proc/sys/net/nope") as caught:
        loaded("spec:\n  sysctls:\n    net.nope: 1\n")
    assert caught.value.line == 2


def test_a_version_that_is_gone_is_refused() -> None:
    with pytest.raises(ScenarioError, match="apiVersion") as caught:
        loaded(POLICY.removeprefix("---\n").replace("networking.k8s.io/v1", "extensions/v1beta1"))
    assert caught.value.line == 1


@pytest.mark.parametrize(("spec", "line", "said"), [
    ("  ingress: {}\n", 5, "a mapping where a list belongs"),
    ("  ingress:\n  - from:\n    - 5\n", 7, "a whole number where a mapping belongs"),
    ("  ingress:\n  - from:\n    - ipBlock:\n        cidr: 10\n", 8, "a whole number where a text belongs"),
    ("  egress:\n  - ports:\n    - port: 1.5\n", 7, "a number where a whole number or a text belongs"),
])  # fmt: skip
def test_a_field_of_the_wrong_type_is_refused_where_it_stands(spec: str, line: int, said: str) -> None:
    error = refused(spec)
    assert (error.line, error.what) == (line, said)


def test_a_network_of_ipv6_is_listed_as_without_effect() -> None:
    spec = "  egress:\n  - {}\n  - to:\n    - {podSelector: {}}\n    - ipBlock: {cidr: 2001:db8::/32}\n"
    text = POLICY.removeprefix("---\n").replace("  podSelector: {}\n", spec)
    assert loaded(text).inert == ["NetworkPolicy deny: ipBlock 2001:db8::/32 (IPv6 is not modelled)"]
