"""Which real server a new connection gets."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.linux.netfilter.ipvs.sched import SCHEDULERS, Scheduler
from k8semu.linux.netfilter.ipvs.service import RealServer


def servers(*weights: int) -> list[RealServer]:
    """The kernel keeps the newest first."""
    return [RealServer(bytes([10, 0, 0, n]), 80, weight, "") for n, weight in reversed(list(enumerate(weights, 1)))]


def chosen(name: str, dests: list[RealServer], times: int, scheduler: Scheduler | None = None) -> list[int]:
    """The last number of the addresses that got a connection each, from clients 172.17.0.1 on."""
    if scheduler is None:
        scheduler = SCHEDULERS[name]()
        scheduler.changed(dests)
    found = [scheduler.schedule(dests, bytes([172, 17, 0, n]), b"\x0a\x60\0\1") for n in range(1, times + 1)]
    return [dest.address[3] if dest is not None else 0 for dest in found]


def test_rr_takes_turns_and_the_newest_is_first() -> None:
    assert chosen("rr", servers(1, 1, 1), 7) == [3, 2, 1, 3, 2, 1, 3]


def test_rr_passes_over_those_without_weight_whatever_the_others_weigh() -> None:
    assert chosen("rr", servers(5, 0, 1), 4) == [3, 1, 3, 1]


def test_rr_goes_on_where_it_was_when_the_last_one_leaves() -> None:
    dests = servers(1, 1, 1)
    scheduler = SCHEDULERS["rr"]()
    assert chosen("rr", dests, 2, scheduler) == [3, 2]
    gone = dests.pop(1)
    scheduler.changed(dests, gone, 1)
    assert chosen("rr", dests, 2, scheduler) == [1, 3]


def test_wrr_gives_each_as_many_as_it_weighs_the_heaviest_first() -> None:
    assert chosen("wrr", servers(1, 2, 4), 7) == [3, 3, 3, 2, 3, 2, 1]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(1, 4))
def test_wrr_is_exact_in_every_round(weights: list[int], rounds: int) -> None:
    from math import gcd

    total = sum(weights) // (gcd(*weights) or 1)
    got = Counter(chosen("wrr", servers(*weights), total * rounds))
    if not total:
        return
    assert [got[n] for n in range(1, len(weights) + 1)] == [w // gcd(*weights) * rounds for w in weights]


def test_lc_takes_who_has_fewest_an_active_one_counts_as_256_others() -> None:
    dests = servers(1, 9, 0)
    _, b, a = dests
    a.active, b.inactive = 1, 255
    assert chosen("lc", dests, 1) == [2]
    b.inactive = 257
    assert chosen("lc", dests, 1) == [1]


def test_wlc_weighs_them() -> None:
    dests = servers(1, 3)
    b, a = dests
    a.active, b.active = 1, 2
    assert chosen("wlc", dests, 1) == [2]
    b.active = 4
    assert chosen("wlc", dests, 1) == [1]


def test_nq_takes_an_idle_one_at_once_sed_does_not() -> None:
    dests = servers(1, 5)
    b, _ = dests
    b.active = 1
    assert (chosen("nq", dests, 1), chosen("sed", dests, 1)) == ([1], [2])


def test_sh_sends_a_client_always_to_the_same_and_shares_clients_by_weight() -> None:
    dests = servers(1, 3)
    first = chosen("sh", dests, 200)
    assert chosen("sh", dests, 200) == first
    assert 100 < Counter(first)[2] < 200


def test_sh_has_nobody_for_a_client_whose_real_server_has_no_weight() -> None:
    dests = servers(1, 1)
    before = chosen("sh", dests, 50)
    dests[0].weight = 0
    scheduler = SCHEDULERS["sh"]()
    scheduler.changed(dests)
    after = chosen("sh", dests, 50, scheduler)
    assert {now for was, now in zip(before, after, strict=True) if was == 2} == {0}


def test_dh_looks_at_what_is_called() -> None:
    assert len(set(chosen("dh", servers(1, 1, 1), 50))) == 1


@pytest.mark.parametrize("name", SCHEDULERS)
def test_nobody_is_chosen_where_there_is_nobody(name: str) -> None:
    assert chosen(name, [], 2) == [0, 0]
    assert set(chosen(name, servers(0, 0), 9)) == {0}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_whoever_is_chosen_has_a_weight(name: str) -> None:
    assert set(chosen(name, servers(0, 1, 0, 2), 250)) <= ({2, 4, 0} if name in ("sh", "dh") else {2, 4})
