"""What CoreDNS counts of questions, answers and its cache."""

from __future__ import annotations

from k8semu.kube.dns.message import QR, Message, Question, Rcode, Record, Type
from k8semu.kube.dns.metrics import Metrics
from k8semu.kube.dns.names import parse_name

NAME = parse_name("web.default.svc.cluster.local")


def answer(rtype: int, rcode: int = 0, records: tuple[Record, ...] = ()) -> tuple[Message, Message]:
    asked = (Question(NAME, rtype),)
    return Message(1, 0, asked), Message(1, QR | rcode, asked, records)


def rows(metrics: Metrics) -> dict[str, int]:
    lines = [line for line in metrics.text(3).splitlines() if not line.startswith("#")]
    return {name: int(count) for name, _, count in (line.rpartition(" ") for line in lines)}


def test_questions_are_counted_by_protocol_and_type_and_answers_by_their_code() -> None:
    metrics = Metrics()
    metrics.answered(*answer(Type.A), tcp=False)
    metrics.answered(*answer(Type.A), tcp=False)
    metrics.answered(*answer(Type.SRV, Rcode.NXDOMAIN), tcp=True)
    metrics.answered(*answer(65000), tcp=False)
    server = 'server="dns://:53"'
    found = rows(metrics)
    asked = 'coredns_dns_requests_total{family="1",proto="%s",%s,type="%s",view="",zone="."}'
    kinds = (("udp", "A"), ("tcp", "SRV"), ("udp", "other"))
    assert [found[asked % (proto, server, kind)] for proto, kind in kinds] == [2, 1, 1]
    told = 'coredns_dns_responses_total{rcode="%s",%s,view="",zone="."}'
    assert [found[told % (code, server)] for code in ("NOERROR", "NXDOMAIN")] == [3, 1]


def test_the_cache_is_counted_by_what_it_knew() -> None:
    metrics = Metrics()
    metrics.cached(None)
    metrics.cached(answer(Type.A, records=(Record(NAME, Type.A, 30, (b"\x0a\x60\x00\x14",)),))[1])
    metrics.cached(answer(Type.A, Rcode.NXDOMAIN)[1])
    found = {name.partition("{")[0]: 0 for name in rows(metrics)}
    for name, count in rows(metrics).items():
        found[name.partition("{")[0]] += count
    assert found["coredns_cache_requests_total"] == 3
    assert (found["coredns_cache_misses_total"], found["coredns_cache_hits_total"]) == (1, 2)
    assert found["coredns_cache_entries"] == 3


def test_each_name_is_described_once_before_its_rows() -> None:
    metrics = Metrics()
    metrics.answered(*answer(Type.A), tcp=False)
    lines = metrics.text(0).splitlines()
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    for name in names:
        at = lines.index(next(line for line in lines if line.startswith(f"{name}{{")))
        assert lines[at - 1].startswith(f"# TYPE {name} ")
