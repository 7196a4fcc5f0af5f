"""Connection tracking: states, timeouts, and what `conntrack` prints and deletes."""

# ruff: noqa: E501 - a rule is one line
from __future__ import annotations

from typing import Any

import pytest
from nf_fakes import FakeNet, drop_text, echo, icmp_error, tcp, udp

from k8semu.errors import CommandError
from k8semu.linux.core.skb import CtInfo, Skb
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import ip_build

TRACK = "*nat\nCOMMIT\n"
A, B = "172.17.0.2:40000", "172.17.1.3:80"
OSPF = 89


def state(skb: Skb) -> str:
    return skb.ctinfo.name if skb.ct is not None else "INVALID"


def talk(net: FakeNet, *segments: str) -> None:
    """``>S <SA >A``: segments by A and B, numbered as they should be."""
    sent = net.__dict__.setdefault("sent", {">": 1, "<": 1})
    for segment in segments:
        by, flags = segment[0], segment[1:]
        ends, other = ((A, B), "<") if by == ">" else ((B, A), ">")
        net.forward(tcp(*ends, flags, seq=sent[by], ack=sent[other] if "A" in flags else 0))
        sent[by] += ("S" in flags) + ("F" in flags)


@pytest.mark.parametrize(
    ("segments", "name", "seconds"),
    [
        (">S", "SYN_SENT", 120),
        (">S <SA", "SYN_RECV", 60),
        (">S <SA >A", "ESTABLISHED", 432000),
        (">S <SA >A >FA", "FIN_WAIT", 120),
        (">S <SA >A >FA <A", "CLOSE_WAIT", 60),
        (">S <SA >A >FA <A <FA", "LAST_ACK", 30),
        (">S <SA >A >FA <A <FA >A", "TIME_WAIT", 120),
        (">S <SA >A >FA <FA >A", "TIME_WAIT", 120),
        (">S <SA >A <R", "CLOSE", 10),
        (">S <SA >A >PA <PA >A", "ESTABLISHED", 432000),
        (">A", "ESTABLISHED", 300),
    ],
)
def test_tcp_states_follow_the_segments(segments: str, name: str, seconds: int) -> None:
    net = FakeNet(TRACK)
    talk(net, *segments.split())
    words = net.netfilter.conntrack.list().split()
    assert words[:4] == ["tcp", "6", str(seconds), name]


def established(net: FakeNet) -> None:
    """A has sent up to 2, B up to 2, windows of 65535."""
    talk(net, ">S", "<SA", ">A")


@pytest.mark.parametrize(
    ("segment", "verdict"),
    [
        ({"flags": "PA", "seq": 2, "ack": 2}, "ESTABLISHED"),
        ({"flags": "PA", "seq": 2 + 65_535, "ack": 2}, "ESTABLISHED"),
        ({"flags": "PA", "seq": 200_000, "ack": 2}, "INVALID"),
        ({"flags": "A", "seq": 2, "ack": 3}, "INVALID"),
        ({"flags": "A", "seq": 2, "ack": 2 - 66_001 & 0xFFFFFFFF}, "ESTABLISHED"),
        ({"flags": "R", "seq": 1}, "INVALID"),
        ({"flags": "R", "seq": 2}, "ESTABLISHED"),
    ],
    ids=["next", "last in the window", "beyond it", "acknowledges what was not sent", "old", "old reset", "reset"],
)
def test_what_is_outside_the_window_is_invalid_and_what_is_old_passes(segment: dict[str, Any], verdict: str) -> None:
    net = FakeNet(TRACK)
    established(net)
    assert state(net.forward(tcp(A, B, **segment))) == verdict


def test_a_reset_that_is_not_due_closes_nothing_and_one_that_is_does() -> None:
    net = FakeNet(TRACK)
    established(net)
    net.forward(tcp(A, B, "R", seq=1000))
    assert " ESTABLISHED " in net.netfilter.conntrack.list()
    net.forward(tcp(A, B, "R", seq=2))
    assert " CLOSE " in net.netfilter.conntrack.list()


def test_a_liberal_kernel_takes_what_is_outside_the_window() -> None:
    net = FakeNet(TRACK)
    net.sysctl.set("net.netfilter.nf_conntrack_tcp_be_liberal", 1)
    established(net)
    assert state(net.forward(tcp(A, B, "PA", seq=200_000, ack=2))) == "ESTABLISHED"


def test_what_is_not_acknowledged_or_sent_again_and_again_is_remembered_for_five_minutes() -> None:
    net = FakeNet(TRACK)
    established(net)
    net.forward(tcp(A, B, "PA", b"hello", seq=2, ack=2))
    assert net.netfilter.conntrack.list().split()[2] == "300"
    net.forward(tcp(B, A, "A", seq=2, ack=7))
    assert net.netfilter.conntrack.list().split()[2] == "432000"
    for _ in range(3):
        net.forward(tcp(B, A, "A", seq=2, ack=7))
    assert net.netfilter.conntrack.list().split()[2] == "300"


def test_a_refused_connection_leaves_no_entry() -> None:
    net = FakeNet(TRACK)
    talk(net, ">S", "<RA")
    assert net.netfilter.conntrack.entries() == []


def test_an_aborted_connection_can_be_opened_again_from_the_same_port() -> None:
    net = FakeNet(TRACK)
    talk(net, ">S", "<SA", ">A", "<R", ">S", "<SA", ">A")
    assert " ESTABLISHED " in net.netfilter.conntrack.list()


def test_a_connection_that_is_over_can_be_opened_again() -> None:
    net = FakeNet(TRACK)
    talk(net, ">S", "<SA", ">A", ">FA", "<FA", ">A", ">S")
    assert " SYN_SENT " in net.netfilter.conntrack.list()
    assert len(net.netfilter.conntrack.entries()) == 1


def test_a_segment_out_of_any_connection_is_invalid_unless_the_kernel_is_loose() -> None:
    net = FakeNet(TRACK)
    assert state(net.forward(tcp(A, B, "SA"))) == "INVALID"
    assert state(net.forward(tcp(A, B, "A"))) == "NEW"
    strict = FakeNet(TRACK)
    strict.sysctl.set("net.netfilter.nf_conntrack_tcp_loose", 0)
    assert state(strict.forward(tcp(A, B, "A"))) == "INVALID"


def test_impossible_flags_are_invalid() -> None:
    assert state(FakeNet(TRACK).forward(tcp(A, B, "SF"))) == "INVALID"


def test_states_of_the_packets_of_a_connection() -> None:
    net = FakeNet(TRACK)
    assert [
        state(net.forward(udp(A, B))), state(net.forward(udp(A, B))), state(net.forward(udp(B, A))),
        state(net.forward(udp(A, B))),
    ] == ["NEW", "NEW", "ESTABLISHED_REPLY", "ESTABLISHED"]  # fmt: skip


def test_udp_becomes_a_stream_after_two_seconds() -> None:
    net = FakeNet(TRACK)
    net.forward(udp(A, B))
    net.forward(udp(B, A))
    assert net.netfilter.conntrack.list() == (
        "udp      17 30 src=172.17.0.2 dst=172.17.1.3 sport=40000 dport=80 "
        "src=172.17.1.3 dst=172.17.0.2 sport=80 dport=40000 mark=0 use=1\n"
    )
    net.wait(1.9)
    net.forward(udp(A, B))
    assert net.netfilter.conntrack.list().startswith("udp      17 30 src")
    net.wait(0.2)
    net.forward(udp(B, A))
    assert net.netfilter.conntrack.list().startswith("udp      17 120 src")
    assert "[ASSURED]" in net.netfilter.conntrack.list()


def test_a_protocol_without_ports_is_remembered_for_ten_minutes() -> None:
    net = FakeNet(TRACK)
    net.forward(ip_build(ip_aton("172.17.0.2"), ip_aton("172.17.1.3"), OSPF, 0))
    assert net.netfilter.conntrack.list() == (
        "unknown  89 600 src=172.17.0.2 dst=172.17.1.3 [UNREPLIED] src=172.17.1.3 dst=172.17.0.2 mark=0 use=1\n"
    )


def test_entries_expire_when_somebody_looks() -> None:
    net = FakeNet(TRACK)
    net.forward(udp(A, B))
    net.wait(29.5)
    assert len(net.netfilter.conntrack.entries()) == 1
    net.wait(0.5)
    assert net.netfilter.conntrack.entries() == []
    assert net.netfilter.conntrack.table == {}


def test_no_timer_keeps_the_run_alive() -> None:
    net = FakeNet(TRACK)
    net.forward(udp(A, B))
    assert net.clock.next_due() is None


def test_echo_reply_belongs_to_its_request_and_alone_to_nothing() -> None:
    net = FakeNet(TRACK)
    assert state(net.forward(echo("172.17.0.2", "172.17.1.3", 9))) == "NEW"
    assert state(net.forward(echo("172.17.1.3", "172.17.0.2", 9, reply=True))) == "ESTABLISHED_REPLY"
    assert state(net.forward(echo("172.17.1.3", "172.17.0.2", 8, reply=True))) == "INVALID"
    assert net.netfilter.conntrack.list() == (
        "icmp     1 30 src=172.17.0.2 dst=172.17.1.3 type=8 code=0 id=9 "
        "src=172.17.1.3 dst=172.17.0.2 type=0 code=0 id=9 mark=0 use=1\n"
    )


def test_an_icmp_error_is_related_to_the_packet_it_quotes() -> None:
    net = FakeNet(TRACK)
    out = net.forward(udp(A, B))
    assert state(net.forward(icmp_error("172.17.1.1", "172.17.0.2", out.data))) == "RELATED_REPLY"
    assert state(net.forward(icmp_error("172.17.1.1", "172.17.0.9", out.data))) == "INVALID"
    stranger = udp("172.17.0.5:1", B)
    assert state(net.forward(icmp_error("172.17.1.1", "172.17.0.5", stranger))) == "INVALID"


def test_a_packet_that_is_dropped_leaves_no_entry() -> None:
    net = FakeNet(TRACK + "*filter\n-A FORWARD -j DROP\nCOMMIT\n")
    assert "NETFILTER_DROP (filter FORWARD rule 1: -A FORWARD -j DROP)" in drop_text(net.forward(udp(A, B)))
    assert net.netfilter.conntrack.entries() == []


def test_a_full_table_forgets_an_unanswered_connection_first_and_then_refuses() -> None:
    net = FakeNet(TRACK)
    net.sysctl.set("net.netfilter.nf_conntrack_max", 1)
    net.forward(udp(A, B))
    assert not net.forward(udp("172.17.0.9:1", B)).ended
    assert "src=172.17.0.9" in net.netfilter.conntrack.list()
    full = FakeNet(TRACK)
    full.sysctl.set("net.netfilter.nf_conntrack_max", 1)
    talk(full, ">S", "<SA", ">A")
    assert "table full" in drop_text(full.forward(udp("172.17.0.9:1", B)))


def test_notrack_leaves_no_entry_and_is_untracked() -> None:
    net = FakeNet("*raw\n-A PREROUTING -j NOTRACK\nCOMMIT\n*filter\n-A FORWARD -m state --state UNTRACKED -j DROP\nCOMMIT\n")
    skb = net.forward(udp(A, B))
    assert skb.ctinfo == CtInfo.UNTRACKED
    assert skb.ended
    assert net.netfilter.conntrack.entries() == []


def test_nothing_is_tracked_until_somebody_asks() -> None:
    net = FakeNet("*filter\n-A FORWARD -p udp -j ACCEPT\nCOMMIT\n")
    assert net.forward(udp(A, B)).ct is None
    net.netfilter.iptables(["-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP"])
    assert net.forward(udp(A, B)).ct is not None
    net.netfilter.iptables(["-D", "FORWARD", "2"])
    assert net.forward(udp(A, B)).ct is None


@pytest.mark.parametrize(
    ("args", "left"),
    [
        ("-p udp", 1),
        ("-p udp --orig-port-dst 53 --orig-dst 172.17.1.3", 2),
        ("-p udp --dport 54", 3),
        ("-s 172.17.0.0/24", 0),
        ("-r 172.17.1.3 -p tcp --state SYN_SENT", 2),
        ("--dst-nat 1.2.3.4", 3),
        ("-f ipv4", 0),
    ],
)
def test_conntrack_delete_forgets_what_matches(args: str, left: int) -> None:
    net = FakeNet(TRACK)
    for frame in (udp("172.17.0.2:1", "172.17.1.3:53"), udp("172.17.0.2:2", "172.17.1.4:53"), tcp(A, B)):
        net.forward(frame)
    assert net.netfilter.conntrack_delete(args.split()) == 3 - left
    assert len(net.netfilter.conntrack.entries()) == left


def test_an_option_that_conntrack_does_not_know_is_an_error() -> None:
    with pytest.raises(CommandError, match="unknown option `--foo'"):
        FakeNet(TRACK).netfilter.conntrack_delete(["--foo", "1"])


def test_a_frame_cut_short_is_invalid_and_goes_on() -> None:
    net = FakeNet(TRACK)
    frame = tcp(A, B)[:40]
    frame[16:18] = (26).to_bytes(2, "big")
    skb = net.forward(frame)
    assert state(skb) == "INVALID"
    assert not skb.ended
