"""nft's text: what is read is printed, and what is printed is read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from nf_fakes import FakeNet
from nft_rules import START, whole

from k8semu.errors import CommandError
from k8semu.linux.netfilter.nft.engine import Nft
from k8semu.linux.netfilter.nft.lexer import tokens


def told(*texts: str) -> Nft:
    nft = FakeNet().netfilter.nft
    for text in texts:
        nft.apply(text)
    return nft


def rule(text: str) -> str:
    """How one rule is printed."""
    nft = told(START, f"add rule ip t c {text}\n")
    return nft.list(["chain", "ip", "t", "c"]).splitlines()[3].strip()


def test_what_is_printed_is_read_again() -> None:
    printed = told(whole()).list(["ruleset"])
    assert told(printed).list(["ruleset"]) == printed


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        ("mark and 0x4000 == 0 return", "meta mark & 0x00004000 == 0x00000000 return"),
        ("mark set mark or 0x004000", "meta mark set meta mark | 0x00004000"),
        ("ip saddr != { 203.0.113.0/25 } drop", "ip saddr != 203.0.113.0/25 drop"),
        ("ip saddr { 11.0.0.0/8, 10.0.0.0/8 } drop", "ip saddr { 10.0.0.0/7 } drop"),
        ("meta l4proto tcp th dport 80 accept", "tcp dport 80 accept"),
        ("tcp dport 80 tcp sport 90 accept", "tcp sport 90 tcp dport 80 accept"),
        ("tcp dport 80 ip daddr . meta l4proto . th dport vmap @services",
         "tcp dport 80 ip daddr . meta l4proto . tcp dport vmap @services"),
        ("ct state new,established accept", "ct state established,new accept"),
        ("reject with icmp type port-unreachable", "reject"),
    ],
)
def test_a_rule_is_printed_in_nfts_own_form(given: str, printed: str) -> None:
    assert rule(given) == printed


def test_elements_stand_in_the_order_of_their_bytes_in_a_register() -> None:
    nft = told(START, "add element ip t ports { tcp . 3001 : drop, udp . 22 : accept, tcp . 80 : drop }\n")
    assert "{ udp . 22 : accept,\n\t\t\t     tcp . 80 : drop,\n\t\t\t     tcp . 3001 : drop }" in nft.list(["ruleset"])


def test_chains_and_sets_can_be_listed_alone() -> None:
    nft = told(START)
    assert nft.list(["set", "ip", "t", "addrs"]) == (
        'table ip t {\n\tset addrs {\n\t\ttype ipv4_addr\n\t\tcomment "some"\n\t}\n}\n'
    )
    assert nft.list(["chain", "t", "post"]) == (
        "table ip t {\n\tchain post {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n\t}\n}\n"
    )
    assert nft.list(["tables"]) == "table ip t\n"


def test_a_rule_is_found_by_its_handle() -> None:
    nft = told(START, "add rule ip t c accept\nadd rule ip t c drop\n")
    lines = nft.list(["chain", "ip", "t", "c"], handles=True).splitlines()
    handle = next(line for line in lines if "accept" in line).rpartition(" ")[2]
    nft.apply(f"delete rule ip t c handle {handle}\ninsert rule ip t c return\n")
    listed = nft.list(["chain", "ip", "t", "c"]).splitlines()[3:-2]
    assert [line.strip() for line in listed] == ["return", "drop"]


def test_a_word_knows_its_line_and_columns() -> None:
    words = [(t.text, t.line, t.first, t.last) for t in tokens('add rule\n  "a b" # no\n10.0.0.0/8')]
    assert words[:4] == [("add", 1, 1, 3), ("rule", 1, 5, 8), ("\n", 1, 9, 9), ("a b", 2, 3, 7)]
    assert words[5:] == [("10.0.0.0", 3, 1, 8), ("/", 3, 9, 9), ("8", 3, 10, 10), ("", 3, 11, 11)]


@pytest.mark.parametrize("family", ["ip6", "bridge", "netdev"])
def test_a_family_that_is_not_modelled_is_refused(family: str) -> None:
    with pytest.raises(CommandError, match=f"1:11-.*k8semu has no family {family}, only ip and inet"):
        told(f"add table {family} t\n")


@pytest.mark.parametrize("words", ["limit rate 5/second accept", "tcp flags syn accept", "log", "ip dscp 5"])
def test_an_expression_that_is_not_modelled_is_refused_and_never_true(words: str) -> None:
    with pytest.raises(CommandError, match="/dev/stdin:1:"):
        rule(words)
