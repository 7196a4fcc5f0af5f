"""The probabilities of a Service's endpoints, exactly as the rules give them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from proxy_cases import CASES
from proxy_objects import endpoints, one, service
from proxy_rules import Node

from k8semu.kube.proxy.iptables_chances import balances, chances, rule_probability


@pytest.mark.parametrize(
    ("n", "shown"),
    [
        (2, "0.50000000000"), (3, "0.33333333349"), (4, "0.25000000000"), (5, "0.20000000019"),
        (6, "0.16666666651"), (7, "0.14285714272"), (8, "0.12500000000"), (9, "0.11111111101"),
        (10, "0.10000000009"), (11, "0.09090909082"), (13, "0.07692307699"), (100, "0.00999999978"),
    ],
)  # fmt: skip
def test_the_kernel_keeps_a_probability_in_31_bits(n: int, shown: str) -> None:
    assert f"{float(rule_probability(n)):.11f}" == shown


def test_shares_are_nearly_equal_and_make_one() -> None:
    info = one(service(), endpoints(*(f"172.17.0.{n}" for n in range(2, 9))))
    found = chances(info, info.internal)
    assert sum(c.share for c in found) == 1
    assert all(abs(c.share - Fraction(1, 7)) < Fraction(1, 10**8) for c in found)
    assert len({c.share for c in found}) > 1


def test_each_chance_is_the_probability_of_its_rule_in_the_kernel() -> None:
    state = CASES["cluster-ip"]
    (info,) = state.ports
    rules = [line for line in Node(state).save("nat") if line.startswith("-A KUBE-SVC-") and "KUBE-SEP-" in line]
    for rule, chance in zip(rules, chances(info, info.internal), strict=True):
        assert rule.endswith(chance.chain)
        if chance.rule != 1:
            assert f"--probability {float(chance.rule):.11f} " in rule


def test_every_address_of_a_service_has_its_endpoints() -> None:
    (info,) = CASES["external-local"].ports
    assert [(b.what, b.chain[:9], [c.endpoint.ip for c in b.chances]) for b in balances(info)] == [
        ("ClusterIP 10.96.0.1:80", "KUBE-SVC-", ["172.17.0.2", "172.17.1.2"]),
        ("load balancer 198.51.100.1:80", "KUBE-SVL-", ["172.17.0.2"]),
        ("load balancer 198.51.100.2:80", "KUBE-SVL-", ["172.17.0.2"]),
        ("node port 30080", "KUBE-SVL-", ["172.17.0.2"]),
    ]
    assert balances(CASES["no-endpoints"].ports[0])[0].chances == []
