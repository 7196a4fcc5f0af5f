"""The `iptables` program: one call, its output, its refusals."""

from __future__ import annotations

import shlex

import pytest
from nf_fakes import FakeNet

from k8semu.errors import CommandError


def iptables(net: FakeNet, line: str) -> str:
    return net.netfilter.iptables(shlex.split(line))


def node() -> FakeNet:
    net = FakeNet()
    for line in (
        "-t nat -N KUBE-X", "-t nat -A KUBE-X -s 10.0.0.1 -j MASQUERADE", "-t nat -A POSTROUTING -j KUBE-X",
        "-t nat -I POSTROUTING 2 -p udp -j RETURN",
    ):  # fmt: skip
        iptables(net, line)
    return net


def test_rules_are_listed_as_commands() -> None:
    assert iptables(node(), "-t nat -S") == (
        "-P PREROUTING ACCEPT\n-P INPUT ACCEPT\n-P OUTPUT ACCEPT\n-P POSTROUTING ACCEPT\n-N KUBE-X\n"
        "-A POSTROUTING -j KUBE-X\n-A POSTROUTING -p udp -j RETURN\n-A KUBE-X -s 10.0.0.1/32 -j MASQUERADE\n"
    )
    assert "-A POSTROUTING -p udp -c 0 0 -j RETURN\n" in iptables(node(), "-t nat -S -v")


def test_a_listing_of_a_table_that_is_not_there_shows_its_chains_and_makes_none() -> None:
    net = FakeNet()
    assert iptables(net, "-S") == "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n"
    assert net.netfilter.save() == ""


def test_a_listing_has_the_real_columns() -> None:
    listing = iptables(node(), "-t nat -L -n -v --line-numbers").split("\n")
    assert listing[-4:-1] == [
        "Chain KUBE-X (1 references)",
        "num   pkts bytes target     prot opt in     out     source               destination         ",
        "1        0     0 MASQUERADE  0    --  *      *       10.0.0.1             0.0.0.0/0           ",
    ]
    assert "RETURN     17   --  0.0.0.0/0            0.0.0.0/0           " in iptables(node(), "-t nat -L -n")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-t nat -N KUBE-X", "iptables: Chain already exists."),
        ("-t nat -X KUBE-X", "iptables v1.8.9 (nf_tables):  CHAIN_DEL failed (Device or resource busy): chain KUBE-X"),
        ("-t nat -X NOPE", "iptables: No chain/target/match by that name."),
        ("-t nat -D POSTROUTING 7", "iptables: Index of deletion too big."),
        ("-t nat -D POSTROUTING -j ACCEPT", "iptables: Bad rule (does a matching rule exist in that chain?)."),
        ("-t nat -C POSTROUTING -j ACCEPT", "iptables: Bad rule (does a matching rule exist in that chain?)."),
        ("-t nat -A NOPE -j ACCEPT", "iptables: No chain/target/match by that name."),
        ("-t nat -A POSTROUTING -j NOPE", "iptables v1.8.9 (nf_tables): Chain 'NOPE' does not exist"),
        ("-t nope -S", "iptables v1.8.9 (nf_tables): table 'nope' does not exist"),
        ("-t nat -I POSTROUTING 9 -p udp -j RETURN", "iptables: Index of insertion too big."),
        ("-P KUBE-X DROP", "iptables: Bad built-in chain name."),
        ("-A", 'iptables v1.8.9 (nf_tables): option "-A" requires an argument'),
        ("-t nat -A POSTROUTING -j MASQUERADE --to-ports 80", "Need TCP, UDP, SCTP or DCCP with port specification"),
        ("-A FORWARD hello", "Bad argument `hello'"),
        ("-d 1.2.3.4", "no command specified"),
    ],
)
def test_a_refusal_is_in_iptables_words_and_changes_nothing(line: str, words: str) -> None:
    net = node()
    before = net.netfilter.save()
    with pytest.raises(CommandError) as caught:
        iptables(net, line)
    assert words in caught.value.what
    assert net.netfilter.save() == before


def test_a_listing_without_n_speaks_of_any() -> None:
    assert iptables(node(), "-w 5 -t nat -L KUBE-X -v").splitlines()[-1] == (
        "    0     0 MASQUERADE  all  --  any    any     10.0.0.1             anywhere            "
    )


def test_check_finds_a_rule_however_it_is_spelled() -> None:
    iptables(node(), "-t nat -C KUBE-X --source 10.0.0.1/255.255.255.255 --jump MASQUERADE")


def test_renaming_a_chain_carries_the_jumps_along() -> None:
    net = node()
    iptables(net, "-t nat -E KUBE-X KUBE-Y")
    assert "-A POSTROUTING -j KUBE-Y\n" in iptables(net, "-t nat -S")


def test_counters_stay_with_their_rules_when_others_come_and_go() -> None:
    net = FakeNet("*filter\n[5:500] -A FORWARD -p udp -j ACCEPT\nCOMMIT\n")
    iptables(net, "-I FORWARD -p tcp -j ACCEPT")
    assert "[5:500] -A FORWARD -p udp" in net.netfilter.save(counters=True)
    iptables(net, "-D FORWARD 1")
    assert "[5:500] -A FORWARD -p udp" in net.netfilter.save(counters=True)
    iptables(net, "-Z FORWARD")
    assert "[0:0] -A FORWARD -p udp" in net.netfilter.save(counters=True)


def test_big_counters_are_shortened_in_a_listing() -> None:
    net = FakeNet("*filter\n[123456:99999] -A FORWARD -p udp -j ACCEPT\nCOMMIT\n")
    assert " 123K 99999 ACCEPT" in iptables(net, "-L FORWARD -n -v")


def test_machines_that_were_given_one_text_count_each_for_themselves() -> None:
    held = "*filter\n[{0}:500] -A FORWARD -p udp -j ACCEPT\nCOMMIT\n"
    text = "*filter\n:A - [0:0]\n-A FORWARD -j A\n-A A -p tcp -j DROP\nCOMMIT\n"
    nets = [FakeNet(held.format(packets)) for packets in (5, 6, 7)]
    for net in nets:
        net.netfilter.restore(text)
    saved = [net.netfilter.save(counters=True) for net in nets]
    assert all(f"[{packets}:500] -A FORWARD -p udp" in each for packets, each in zip((5, 6, 7), saved, strict=True))
    iptables(nets[0], "-A A -j DROP")
    assert nets[1].netfilter.save(counters=True) == saved[1]


def test_one_text_comes_to_something_else_where_the_chains_are_others() -> None:
    text = "*filter\n:A - [0:0]\n-A FORWARD -j A\nCOMMIT\n"
    bare, full = FakeNet(), FakeNet("*filter\n:A - [0:0]\n-A A -j DROP\n-A FORWARD -p udp -j ACCEPT\nCOMMIT\n")
    for net in (bare, full, FakeNet()):
        net.netfilter.restore(text)
    assert "-A FORWARD -p udp -j ACCEPT\n-A FORWARD -j A\n" in full.netfilter.save()
    assert "-A A " not in full.netfilter.save(), "a chain that is declared is emptied"
    assert "udp" not in bare.netfilter.save()
