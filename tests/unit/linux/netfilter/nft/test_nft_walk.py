"""Packets through nf_tables: verdicts, maps, translations, what a trace says."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
from nf_fakes import FakeNet, checksums_hold, drop_text, echo, ends, tcp, udp

POD, VIP = "172.17.0.2", "10.96.0.20"


def net_with(rules: str) -> FakeNet:
    net = FakeNet()
    net.netfilter.nft.apply("add table ip t\n" + rules)
    return net


FORWARD = "add chain ip t f { type filter hook forward priority 0 ; }\n"
MAPS = FORWARD + """\
add chain ip t svc
add rule ip t svc drop
add map ip t m { type ipv4_addr . inet_proto . inet_service : verdict ; }
add element ip t m { 10.96.0.20 . tcp . 80 comment "default/web" : goto svc }
add rule ip t f ct state new counter
add rule ip t f ip daddr . meta l4proto . th dport vmap @m
"""


@pytest.mark.parametrize(
    ("frame", "stops"),
    [
        (tcp(f"{POD}:1", f"{VIP}:80"), True), (tcp(f"{POD}:1", f"{VIP}:81"), False),
        (udp(f"{POD}:1", f"{VIP}:80"), False), (tcp(f"{POD}:1", "10.96.0.21:80"), False),
        (echo(POD, VIP), False),
    ],
)  # fmt: skip
def test_a_verdict_map_decides_by_address_protocol_and_port(frame: bytearray, stops: bool) -> None:
    assert net_with(MAPS).forward(frame).ended is stops


def test_the_trace_names_the_element_the_rule_and_how_many_rules_were_compared() -> None:
    net = net_with(MAPS)
    net.netfilter.nft.apply(
        "add element ip t m { 10.96.0.30 . tcp . 80 : accept }\n",
        {"add element ip t m { 10.96.0.30 . tcp . 80 : accept }": "Service default/other"},
    )
    texts = [step.text for step in net.forward(tcp(f"{POD}:1", f"{VIP}:80")).steps]
    assert "ip t f rule 2: ip daddr . meta l4proto . th dport vmap @m { 10.96.0.20 . tcp . 80 : goto svc }" in texts
    assert texts[-1] == "dropped: NETFILTER_DROP (ip t svc rule 1: drop)"
    texts = [step.text for step in net.forward(tcp(f"{POD}:2", "10.96.0.30:80")).steps]
    assert any(text.endswith(": accept } [Service default/other]") for text in texts)
    texts = [step.text for step in net.forward(tcp(f"{POD}:3", "8.8.8.8:80")).steps]
    assert "f ip t: ACCEPT by policy, walked 2 rules" in texts
    assert "counter packets 3 bytes 120" in net.netfilter.nft.list(["chain", "ip", "t", "f"])


def test_goto_does_not_come_back_and_jump_does() -> None:
    net = net_with(FORWARD + """\
add chain ip t a
add chain ip t b
add rule ip t a tcp dport 1 goto b
add rule ip t a tcp dport 1 drop
add rule ip t a tcp dport 2 jump b
add rule ip t a tcp dport 2 drop
add rule ip t a tcp dport 3 return
add rule ip t a tcp dport 3 drop
add rule ip t b return
add rule ip t f jump a
""")
    stopped = [net.forward(tcp(f"{POD}:9", f"8.8.8.8:{port}")).ended for port in (1, 2, 3)]
    assert stopped == [False, True, False]


def test_a_dynamic_set_remembers_for_its_time_and_update_begins_it_anew() -> None:
    net = net_with(FORWARD + """\
add set ip t s { type ipv4_addr ; flags dynamic,timeout ; timeout 10s ; }
add rule ip t f tcp dport 1 update @s { ip saddr }
add rule ip t f tcp dport 2 add @s { ip saddr }
add rule ip t f tcp dport 9 ip saddr @s drop
""")

    def stopped() -> bool:
        return net.forward(tcp(f"{POD}:9", "8.8.8.8:9")).ended

    assert not stopped()
    net.forward(tcp(f"{POD}:9", "8.8.8.8:1"))
    net.wait(9)
    assert stopped()
    net.forward(tcp(f"{POD}:9", "8.8.8.8:2"))  # `add` leaves the time as it is
    net.wait(1)
    assert not stopped()
    net.forward(tcp(f"{POD}:9", "8.8.8.8:1"))
    net.wait(9)
    net.forward(tcp(f"{POD}:9", "8.8.8.8:1"))
    net.wait(9)
    assert stopped()
    assert f"elements = {{ {POD} expires 1s }}" in net.netfilter.nft.list(["ruleset"])


@pytest.mark.parametrize(
    ("address", "inside"),
    [("10.0.0.0", True), ("10.255.255.255", True), ("11.0.0.0", False), ("1.2.3.4", True), ("1.2.3.5", False)],
)
def test_an_interval_set_holds_what_lies_between(address: str, inside: bool) -> None:
    net = net_with(FORWARD + """\
add set ip t s { type ipv4_addr ; flags interval ; }
add element ip t s { 10.0.0.0/8, 1.2.3.4 }
add rule ip t f ip saddr @s drop
""")
    assert net.forward(tcp(f"{address}:1", "8.8.8.8:80")).ended is inside


def test_dnat_and_masquerade_translate_a_connection_and_undo_it_on_replies() -> None:
    net = net_with("""\
add chain ip t pre { type nat hook prerouting priority -100 ; }
add chain ip t post { type nat hook postrouting priority 100 ; }
add rule ip t pre ip daddr 10.96.0.20 tcp dport 80 mark set 0x4000 meta l4proto tcp dnat to 10.100.0.9:8080
add rule ip t post mark 0x4000 masquerade
""")
    there = net.forward(tcp(f"{POD}:40000", f"{VIP}:80"))
    assert ends(there.data) == ("10.100.0.2:40000", "10.100.0.9:8080")
    back = net.forward(tcp("10.100.0.9:8080", "10.100.0.2:40000", "SA"), "eth0", "docker0")
    assert ends(back.data) == (f"{VIP}:80", f"{POD}:40000")
    assert checksums_hold(there.data)
    assert checksums_hold(back.data)


@pytest.mark.parametrize("iptables_first", [True, False])
def test_of_two_nat_chains_at_a_hook_the_one_that_came_later_is_asked_first(iptables_first: bool) -> None:
    iptables = "*nat\n-A PREROUTING -p tcp -j DNAT --to-destination 10.100.0.8\nCOMMIT\n"
    nft = (
        "add table ip t\nadd chain ip t pre { type nat hook prerouting priority -100 ; }\n"
        "add rule ip t pre ip daddr 10.96.0.20 dnat to 10.100.0.9\n"
    )
    net = FakeNet()
    net.netfilter.nft.apply("add table ip t\n")
    if iptables_first:
        net.netfilter.restore(iptables, True, {})
    net.netfilter.nft.apply(nft)
    if not iptables_first:
        net.netfilter.restore(iptables, True, {})
    assert ends(net.forward(tcp(f"{POD}:1", f"{VIP}:80")).data)[1] == f"10.100.0.{9 if iptables_first else 8}:80"
    assert ends(net.forward(tcp(f"{POD}:2", "10.96.0.30:80")).data)[1] == "10.100.0.8:80"


def test_numgen_inc_goes_on_when_another_rule_of_the_chain_changes() -> None:
    net = net_with(FORWARD + "add rule ip t f numgen inc mod 2 vmap { 0 : accept, 1 : drop }\n")
    assert [net.forward(tcp(f"{POD}:{n}", "8.8.8.8:80")).ended for n in range(3)] == [False, True, False]
    net.netfilter.nft.apply("add rule ip t f accept\n")
    assert [net.forward(tcp(f"{POD}:{n}", "8.8.8.8:80")).ended for n in range(3)] == [True, False, True]


def test_numgen_random_gives_each_number_its_share() -> None:
    net = net_with(FORWARD + "add rule ip t f numgen random mod 4 vmap { 0 : drop }\n")
    stopped = sum(net.forward(udp(f"{POD}:{n}", "8.8.8.8:80")).ended for n in range(1, 401))
    assert 70 <= stopped <= 130


def test_a_lookup_costs_the_same_with_ten_thousand_elements() -> None:
    net = net_with(MAPS)
    net.netfilter.nft.apply("".join(
        f"add element ip t m {{ 10.97.{n // 250}.{n % 250} . tcp . 80 : goto svc }}\n" for n in range(10_000)
    ))  # fmt: skip
    skb = net.forward(tcp(f"{POD}:1", "8.8.8.8:80"))
    assert "f ip t: ACCEPT by policy, walked 2 rules" in [step.text for step in skb.steps]
    assert drop_text(net.forward(tcp(f"{POD}:1", "10.97.39.7:80"))).endswith("(ip t svc rule 1: drop)")


def test_a_reject_answers_and_a_policy_drops() -> None:
    net = net_with(FORWARD + "add rule ip t f tcp dport 80 reject\nadd chain ip t f { policy drop ; }\n")
    assert "ip t f rule 1: reject" not in drop_text(net.forward(udp(f"{POD}:1", "8.8.8.8:53")))
    assert net.ipv4.icmp == []
    assert drop_text(net.forward(tcp(f"{POD}:1", "8.8.8.8:80"))).endswith("(ip t f rule 1: tcp dport 80 reject)")
    assert net.ipv4.icmp == [(3, 3)]
