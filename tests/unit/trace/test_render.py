"""A trace as text: each depth shows what one sees from there."""

from __future__ import annotations

import json

from k8semu.trace.hop import Hop
from k8semu.trace.render import Depth, render, to_json
from k8semu.trace.steps import CtStep, DropStep, FibStep, NotModelled, Originate, Receive, RuleStep, Transmit

SENT = Hop(
    7,
    "client",
    123_456,
    123_456,
    [
        Originate("curl tcp 172.17.0.2:40000"),
        FibStep("10.96.0.20", "default via 172.17.0.1 dev eth0"),
        NotModelled("a queueing discipline"),
        Transmit("eth0"),
    ],
)
RULE = RuleStep("filter", "KUBE-FORWARD", 1, "-j DROP", "Service default/account-service:http")
DROPPED = Hop(
    7,
    "host1",
    125_456,
    125_500,
    [Receive("veth1"), CtStep("new entry"), RULE, DropStep("NETFILTER_DROP", "KUBE-FORWARD rule 1")],
)


def test_minimal_shows_what_an_outsider_sees_and_what_is_not_modelled() -> None:
    assert render([SENT, DROPPED], Depth.MINIMAL) == (
        "client  0.000123456 s\n"
        "  sent by curl tcp 172.17.0.2:40000\n"
        "  not modelled: a queueing discipline\n"
        "  transmitted on eth0\n"
        "host1  0.000125456 s\n"
        "  received on veth1\n"
        "  dropped: NETFILTER_DROP (KUBE-FORWARD rule 1)\n"
    )


def test_summary_adds_what_was_decided_and_for_whom() -> None:
    assert render([DROPPED]) == (
        "host1  0.000125456 s\n"
        "  received on veth1\n"
        "  filter KUBE-FORWARD rule 1: -j DROP [Service default/account-service:http]\n"
        "  dropped: NETFILTER_DROP (KUBE-FORWARD rule 1)\n"
    )


def test_detailed_adds_bookkeeping_places_and_the_time_it_took() -> None:
    lines = render([DROPPED], Depth.DETAILED).splitlines()
    assert lines[2].split("  ")[1] == "conntrack: new entry"
    assert lines[2].endswith("  linux.netfilter.conntrack")
    assert lines[-1] == "  after 0.000000044 s"
    assert len(lines) == 1 + len(DROPPED.steps) + 1


def test_no_hops_are_no_text() -> None:
    assert render([]) == ""


def test_json_holds_every_step_with_its_own_fields() -> None:
    values = json.loads(json.dumps(to_json([SENT, DROPPED])))
    assert [hop["netns"] for hop in values] == ["client", "host1"]
    assert values[1]["steps"][2] == {
        "type": "RuleStep",
        "place": "linux.netfilter",
        "depth": 2,
        "text": RULE.text,
        "table": "filter",
        "chain": "KUBE-FORWARD",
        "number": 1,
        "rule": "-j DROP",
        "origin": "Service default/account-service:http",
    }
    assert [step["type"] for step in to_json([SENT], Depth.MINIMAL)[0]["steps"]] == [
        "Originate", "NotModelled", "Transmit",
    ]  # fmt: skip
