"""Which instance is next."""

from __future__ import annotations

import pytest

from k8semu.apps.registry.balancer import Balancer
from k8semu.apps.registry.protocols import Server

A, B, C = Server("a", "172.17.0.3", 80), Server("b", "172.17.0.4", 80), Server("c", "172.17.0.5", 80)


def chosen(balancer: Balancer, servers: list[Server], count: int) -> str:
    return "".join(server.name if server else "-" for server in (balancer.choose(servers) for _ in range(count)))


def test_round_robin_begins_with_the_second() -> None:
    assert chosen(Balancer(), [A, B, C], 7) == "bcabcab"


def test_round_robin_goes_on_when_the_list_is_another() -> None:
    balancer = Balancer()
    assert chosen(balancer, [A, B, C], 2) == "bc"
    assert chosen(balancer, [A, B], 3) == "bab"


def test_of_no_instance_none_is_chosen() -> None:
    for rule in ("round-robin", "weighted", "zone"):
        assert chosen(Balancer(rule), [], 1) == "-"


def test_weights_are_shared_out_evenly() -> None:
    heavy = Server("h", "172.17.0.6", 80, weight=3)
    assert chosen(Balancer("weighted"), [A, heavy, B], 10) == "hahbh" * 2


def test_who_weighs_nothing_is_not_called() -> None:
    idle = Server("i", "172.17.0.6", 80, weight=0)
    assert chosen(Balancer("weighted"), [idle, A], 3) == "aaa"
    assert chosen(Balancer("weighted"), [idle], 1) == "-"


def test_the_own_zone_comes_first_and_any_other_if_it_is_empty() -> None:
    here, there = Server("h", "172.17.0.3", 80, zone="host1"), Server("t", "172.17.1.3", 80, zone="host2")
    balancer = Balancer("zone", "host1")
    assert chosen(balancer, [there, here], 3) == "hhh"
    assert chosen(balancer, [there], 2) == "tt"


def test_a_rule_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="round-robin, weighted, zone"):
        Balancer("random")
