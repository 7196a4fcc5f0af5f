"""Cache, shuffle, loop guard: what stands around the zone."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from msgspec.structs import replace

from k8semu.kube.dns import rdata
from k8semu.kube.dns.message import AA, CD, QR, RA, RD, TC, Edns, Message, Question, Rcode, Record, Type
from k8semu.kube.dns.names import parse_name
from k8semu.kube.dns.plugins import CAPACITY, HINFO, Cache, LoopGuard, reply_to, round_robin, with_edns

NAME = parse_name("db.default.svc.cluster.local")
ZONE = parse_name("cluster.local")
SOA = Record(ZONE, Type.SOA, 30, rdata.soa(ZONE, ZONE, 1, 2, 3, 4, 30))


def query(name: str = "db.default.svc.cluster.local", flags: int = RD, edns: Edns | None = None) -> Message:
    return Message(1, flags, (Question(parse_name(name), Type.A),), edns=edns)


def a(number: int, ttl: int = 30) -> Record:
    return Record(NAME, Type.A, ttl, (bytes([10, 0, 0, number]),))


def found(*records: Record) -> Message:
    return reply_to(query(), AA, answers=records)


def numbers(reply: Message) -> list[int]:
    return [record.data[0][3] for record in reply.answers if record.rtype == Type.A]  # type: ignore[misc]


# --- replies ------------------------------------------------------------------------------------


def test_a_reply_keeps_what_was_asked_and_desired() -> None:
    reply = reply_to(query(flags=RD | CD | RA), AA | Rcode.NXDOMAIN)
    assert reply.flags == QR | RD | CD | AA | Rcode.NXDOMAIN
    assert reply.questions == query().questions


def test_a_reply_has_the_clients_edns_and_its_known_options_alone() -> None:
    cookie, subnet = (10, b"12345678"), (8, b"\0\1")
    reply = with_edns(query(edns=Edns(1232, True, options=(cookie, subnet))), found(a(1)))
    assert reply.edns == Edns(1232, True, options=(cookie,))
    assert with_edns(query(), found(a(1))).edns is None


# --- loadbalance --------------------------------------------------------------------------------


def test_aliases_come_first_then_others_then_addresses() -> None:
    alias, service = Record(NAME, Type.CNAME, 5, (ZONE,)), Record(NAME, Type.SRV, 5, rdata.srv(0, 1, 2, ZONE))
    reply = round_robin(found(a(1), service, a(2), alias), Random(1).getrandbits(16).bit_count)
    assert [record.rtype for record in reply.answers] == [Type.CNAME, Type.SRV, Type.A, Type.A]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_address_is_first_as_often_as_any_other(count: int) -> None:
    random = Random(7)
    reply = found(*(a(i) for i in range(count)))
    firsts = Counter(numbers(round_robin(reply, lambda: random.getrandbits(16)))[0] for _ in range(1000))
    assert sorted(firsts) == list(range(count))
    assert min(firsts.values()) > 1000 / count * 0.75


def test_the_same_draws_give_the_same_order() -> None:
    def orders() -> list[list[int]]:
        random = Random(3)
        reply = found(*map(a, range(4)))
        return [numbers(round_robin(reply, lambda: random.getrandbits(16))) for _ in range(9)]

    assert orders() == orders()
    assert len({tuple(order) for order in orders()}) > 1


def test_two_addresses_change_places_when_the_draw_is_even() -> None:
    assert numbers(round_robin(found(a(1), a(2)), lambda: 4)) == [2, 1]
    assert numbers(round_robin(found(a(1), a(2)), lambda: 5)) == [1, 2]


def test_a_failure_is_not_touched() -> None:
    reply = reply_to(query(), AA | Rcode.NXDOMAIN, answers=(a(1), a(2)))
    assert round_robin(reply, lambda: 4) is reply


# --- cache --------------------------------------------------------------------------------------


def test_all_records_of_a_reply_get_the_least_ttl_within_limits() -> None:
    cache = Cache(30)
    assert [r.ttl for r in cache.put(query(), found(a(1, 300), a(2, 20)), 0.0).answers] == [20, 20]
    assert [r.ttl for r in cache.put(query(), found(a(1, 300)), 0.0).answers] == [30]
    assert [r.ttl for r in cache.put(query(), found(a(1, 1)), 0.0).answers] == [5]


def test_a_ttl_counts_down_until_it_is_over() -> None:
    cache = Cache(30)
    cache.put(query(), found(a(1)), 100.0)
    ttls = []
    for now in (100.0, 100.9, 101.0, 129.9):
        reply = cache.get(query(), now)
        assert reply is not None
        assert reply.flags & AA
        ttls.append(reply.answers[0].ttl)
    assert ttls == [30, 30, 29, 1]
    assert cache.get(query(), 130.0) is None
    assert len(cache) == 0


def test_what_is_kept_is_told_by_name_without_case_and_by_flags() -> None:
    cache = Cache(30)
    cache.put(query(), found(a(1)), 0.0)
    assert cache.get(query("DB.default.svc.cluster.local"), 0.0) is not None
    assert cache.get(query("web.default.svc.cluster.local"), 0.0) is None
    assert cache.get(query(flags=RD | CD), 0.0) is None
    assert cache.get(query(edns=Edns(1232, do=True)), 0.0) is None
    assert cache.get(query(edns=Edns(1232)), 0.0) is not None


def test_negative_replies_are_kept_with_their_soa() -> None:
    cache = Cache(30)
    for rcode in (Rcode.NXDOMAIN, Rcode.NOERROR):
        cache.put(query(), reply_to(query(), AA | rcode, authority=(SOA,)), 0.0)
        reply = cache.get(query(), 10.0)
        assert reply is not None
        assert (reply.rcode, reply.authority[0].ttl) == (rcode, 20)


def test_a_failure_is_kept_for_five_seconds() -> None:
    cache = Cache(30)
    cache.put(query(), reply_to(query(), AA | Rcode.SERVFAIL, authority=(SOA,)), 0.0)
    assert cache.get(query(), 4.9) is not None
    assert cache.get(query(), 5.0) is None


@pytest.mark.parametrize(
    "reply",
    [
        replace(found(a(1)), flags=QR | AA | TC),
        reply_to(query(), AA | Rcode.NXDOMAIN),
        reply_to(query(), Rcode.REFUSED),
    ],
    ids=["truncated", "NXDOMAIN without SOA", "REFUSED"],
)
def test_some_replies_are_not_kept(reply: Message) -> None:
    cache = Cache(30)
    cache.put(query(), reply, 0.0)
    assert len(cache) == 0


def test_the_cache_can_be_off_for_a_zone() -> None:
    cache = Cache(30, disabled=(ZONE,))
    assert cache.put(query(), found(a(1, 300)), 0.0).answers[0].ttl == 300
    assert len(cache) == 0


def test_the_cache_has_an_end() -> None:
    cache = Cache(30)
    for number in range(CAPACITY + 10):
        cache.put(query(f"n{number}.default.svc.cluster.local"), found(a(1)), 0.0)
    assert len(cache) == CAPACITY
    assert cache.get(query("n0.default.svc.cluster.local"), 0.0) is None


# --- loop ---------------------------------------------------------------------------------------


def test_a_question_that_comes_back_again_and_again_is_a_loop() -> None:
    guard = LoopGuard(Random(1).getrandbits(16).bit_length)
    assert guard.question.rtype == HINFO
    assert [guard.sees(guard.question) for _ in range(3)] == [False, False, True]
    assert not guard.sees(query().questions[0])
