"""Which backend is next."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from k8semu.apps.balancer.choose import SLOTS, Turns, runs, slots, source_slot

WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 5), min_size=1)


def turns(weights: dict[str, int], count: int) -> str:
    chosen = Turns()
    return "".join(chosen.next(weights) or "-" for _ in range(count))


def test_backends_of_equal_weight_take_turns() -> None:
    assert turns({"a": 1, "b": 1, "c": 1}, 7) == "abcabca"
    assert turns({}, 2) == "--"


def test_a_heavier_one_comes_more_often_but_not_at_one_go() -> None:
    assert turns({"a": 3, "b": 1}, 8) == "aabaaaba"


@given(WEIGHTS)
def test_after_a_round_each_has_had_its_weight(weights: dict[str, int]) -> None:
    assert Counter(turns(weights, sum(weights.values()))) == weights


def test_one_that_goes_down_leaves_its_turns_to_the_others() -> None:
    chosen = Turns()
    both, one = {"a": 1, "b": 1}, {"b": 1}
    assert [chosen.next(both), chosen.next(one), chosen.next(one), chosen.next(both)] == ["a", "b", "b", "a"]


@given(WEIGHTS, st.data())
def test_slots_follow_the_weights_and_only_those_of_the_dead_move(weights: dict[str, int], data: st.DataObject) -> None:
    whole = slots(weights, weights)
    assert Counter(whole) == {name: SLOTS * weight for name, weight in weights.items()}
    dead = data.draw(st.sampled_from(sorted(weights)))
    rest = slots(weights, set(weights) - {dead})
    if len(weights) == 1:
        assert rest == []
        return
    assert dead not in rest
    assert all(before == after for before, after in zip(whole, rest, strict=True) if before != dead)


@given(st.ip_addresses(v=4).map(str), st.integers(1, 500))
def test_a_client_has_one_slot(client: str, count: int) -> None:
    assert 0 <= source_slot(client, count) < count
    assert source_slot(client, count) == source_slot(client, count)


def test_what_one_gets_lies_side_by_side() -> None:
    three = {"a": 1, "b": 1, "c": 1}
    assert runs(slots(three, three)) == [(0, 11, "a"), (12, 23, "b"), (24, 35, "c")]
    assert runs(slots(three, {"a", "c"})) == [(0, 17, "a"), (18, 35, "c")]
    assert runs([]) == []


def test_clients_spread_over_the_slots() -> None:
    met = Counter(source_slot(f"203.0.{n >> 8}.{n & 255}", 4) for n in range(4000))
    assert all(850 < count < 1150 for count in met.values())
