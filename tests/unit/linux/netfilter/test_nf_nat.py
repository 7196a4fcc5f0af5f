"""Address translation: once per connection, undone on replies, checksums right throughout."""

from __future__ import annotations

import pytest
from nf_fakes import FakeNet, checksums_hold, echo, ends, icmp_error, tcp, udp

from k8semu.trace.steps import NatStep, RuleStep

MASQ = "*nat\n-A POSTROUTING -s 172.17.0.0/24 ! -o docker0 -j MASQUERADE\nCOMMIT\n"
SERVICE = """*nat
:KUBE-SERVICES - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.20/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.3:8080
COMMIT
"""


def test_masquerade_shows_the_address_of_the_outgoing_device_and_keeps_the_port() -> None:
    net = FakeNet(MASQ)
    skb = net.forward(tcp("172.17.0.2:40000", "8.8.8.8:80"))
    assert ends(skb.data) == ("10.100.0.2:40000", "8.8.8.8:80")
    assert checksums_hold(skb.data)


def test_the_reply_of_a_masqueraded_packet_reaches_the_original_source() -> None:
    net = FakeNet(MASQ)
    net.forward(tcp("172.17.0.2:40000", "8.8.8.8:80"))
    reply = net.forward(tcp("8.8.8.8:80", "10.100.0.2:40000", "SA"), "eth0", "docker0")
    assert ends(reply.data) == ("8.8.8.8:80", "172.17.0.2:40000")
    assert checksums_hold(reply.data)


def test_a_connection_walks_the_nat_rules_once() -> None:
    net = FakeNet(SERVICE)
    first = net.forward(tcp("172.17.0.2:40000", "10.96.0.20:80"), outdev="docker0")
    net.forward(tcp("172.17.0.3:8080", "172.17.0.2:40000", "SA"), outdev="docker0")
    later = net.forward(tcp("172.17.0.2:40000", "10.96.0.20:80", "A"), outdev="docker0")
    assert ends(later.data) == ("172.17.0.2:40000", "172.17.0.3:8080")
    assert [s.chain for s in first.steps if isinstance(s, RuleStep)] == ["PREROUTING", "KUBE-SERVICES"]
    assert not [s for s in later.steps if isinstance(s, RuleStep)]
    assert [s.what for s in later.steps if isinstance(s, NatStep)] == ["dst 10.96.0.20:80 -> 172.17.0.3:8080"]


def test_two_sources_with_one_port_get_two_ports() -> None:
    net = FakeNet(MASQ)
    net.forward(udp("172.17.0.2:5000", "8.8.8.8:53"))
    other = net.forward(udp("172.17.0.3:5000", "8.8.8.8:53"))
    source = ends(other.data)[0]
    assert source != "10.100.0.2:5000"
    assert source.startswith("10.100.0.2:")
    assert 1024 <= int(source.split(":")[1]) <= 65535
    assert checksums_hold(other.data)


@pytest.mark.parametrize(
    ("port", "low", "high", "callers"), [(80, 1, 511, 28), (600, 600, 1023, 28), (1024, 1024, 65535, 1000)]
)
def test_a_port_is_replaced_by_one_of_its_own_kind(port: int, low: int, high: int, callers: int) -> None:
    """So many callers that one of them would get another kind of port, if it could."""
    net = FakeNet("*nat\n-A POSTROUTING -j MASQUERADE --random-fully\nCOMMIT\n")
    seen = set()
    for caller in range(callers):
        skb = net.forward(udp(f"172.17.{caller >> 8}.{caller & 255}:{port}", "8.8.8.8:53"))
        seen.add(int(ends(skb.data)[0].split(":")[1]))
    assert all(low <= p <= high for p in seen)
    assert len(seen) == callers


def test_random_fully_does_not_keep_the_port_and_the_same_seed_gives_the_same_port() -> None:
    rules = "*nat\n-A POSTROUTING -j MASQUERADE --random-fully\nCOMMIT\n"
    ports = [ends(FakeNet(rules, seed).forward(udp("172.17.0.2:5000", "8.8.8.8:53")).data)[0] for seed in (1, 1, 2)]
    assert ports[0] == ports[1] != ports[2]


def test_to_ports_limits_the_choice() -> None:
    net = FakeNet("*nat\n-A POSTROUTING -p udp -j MASQUERADE --to-ports 2000-2001\nCOMMIT\n")
    got = [ends(net.forward(udp(f"172.17.0.{n}:5000", "8.8.8.8:53")).data)[0] for n in (2, 3)]
    assert sorted(got) == ["10.100.0.2:2000", "10.100.0.2:2001"]


def test_a_null_binding_moves_the_port_of_a_packet_that_would_be_confused_with_another_connection() -> None:
    net = FakeNet(MASQ)
    net.forward(udp("172.17.0.2:5000", "8.8.8.8:53"))
    own = net.send(udp("10.100.0.2:5000", "8.8.8.8:53"))
    assert ends(own.data)[0] != "10.100.0.2:5000"


def test_icmp_echo_is_told_apart_by_its_identifier() -> None:
    net = FakeNet(MASQ)
    net.forward(echo("172.17.0.2", "8.8.8.8", 7))
    other = net.forward(echo("172.17.0.3", "8.8.8.8", 7))
    ident = other.data[38] << 8 | other.data[39]
    assert ident != 7
    assert checksums_hold(other.data)
    back = net.forward(echo("8.8.8.8", "10.100.0.2", ident, reply=True), "eth0", "docker0")
    assert ends(back.data)[1] == "172.17.0.3"
    assert back.data[38] << 8 | back.data[39] == 7
    assert checksums_hold(back.data)


def test_an_icmp_error_is_translated_and_so_is_the_packet_it_quotes() -> None:
    net = FakeNet(MASQ)
    out = net.forward(udp("172.17.0.2:5000", "8.8.8.8:53", b"hello"))
    error = net.forward(icmp_error("8.8.8.8", "10.100.0.2", out.data, 3), "eth0", "docker0")
    assert ends(error.data)[1] == "172.17.0.2"
    assert checksums_hold(error.data)
    inner = bytearray(14) + error.data[42:]
    assert ends(inner) == ("172.17.0.2:5000", "8.8.8.8:53")
    assert bytes(inner[14:34]) == bytes(udp("172.17.0.2:5000", "8.8.8.8:53", b"hello")[14:34])


def test_a_udp_datagram_without_checksum_stays_without() -> None:
    net = FakeNet(MASQ)
    for _ in range(2):
        skb = net.forward(udp("172.17.0.2:5000", "8.8.8.8:53", csum=False))
        assert skb.data[40:42] == b"\0\0"
        assert ends(skb.data)[0] == "10.100.0.2:5000"


def test_dnat_in_output_catches_the_nodes_own_calls() -> None:
    net = FakeNet(SERVICE)
    skb = net.send(tcp("10.100.0.2:40000", "10.96.0.20:80"), "docker0")
    assert ends(skb.data)[1] == "172.17.0.3:8080"
    back = net.receive(tcp("172.17.0.3:8080", "10.100.0.2:40000", "SA"), "docker0")
    assert ends(back.data) == ("10.96.0.20:80", "10.100.0.2:40000")


def test_redirect_sends_to_the_incoming_devices_address_or_to_localhost() -> None:
    rules = "*nat\n-A PREROUTING -p tcp -j REDIRECT --to-ports 99\n-A OUTPUT -p tcp -j REDIRECT --to-ports 98\nCOMMIT\n"
    net = FakeNet(rules)
    assert ends(net.receive(tcp("172.17.0.2:1", "8.8.8.8:80"), "docker0").data)[1] == "172.17.0.1:99"
    assert ends(net.send(tcp("10.100.0.2:1", "8.8.8.8:80")).data)[1] == "127.0.0.1:98"


def test_the_hairpin_of_a_service_comes_back_to_the_pod_that_called() -> None:
    rules = SERVICE.replace("COMMIT", "-A POSTROUTING -s 172.17.0.3/32 -d 172.17.0.3/32 -j MASQUERADE\nCOMMIT")
    net = FakeNet(rules)
    out = net.forward(tcp("172.17.0.3:40000", "10.96.0.20:80"), "docker0", "docker0")
    assert ends(out.data) == ("172.17.0.1:40000", "172.17.0.3:8080")
    back = net.forward(tcp("172.17.0.3:8080", "172.17.0.1:40000", "SA"), "docker0", "docker0")
    assert ends(back.data) == ("10.96.0.20:80", "172.17.0.3:40000")
    assert checksums_hold(back.data)


def test_snat_over_a_range_of_addresses_uses_only_these() -> None:
    net = FakeNet("*nat\n-A POSTROUTING -j SNAT --to-source 10.100.0.50-10.100.0.52\nCOMMIT\n")
    got = {ends(net.forward(udp(f"172.17.0.{n}:5000", "8.8.8.8:53")).data)[0].split(":")[0] for n in range(2, 40)}
    assert got == {"10.100.0.50", "10.100.0.51", "10.100.0.52"}


def test_connections_masqueraded_out_of_a_device_end_with_it() -> None:
    net = FakeNet(MASQ)
    net.forward(udp("172.17.0.2:5000", "8.8.8.8:53"))
    net.netfilter.device_down(net.devs["docker0"])
    assert len(net.netfilter.conntrack.entries()) == 1
    net.netfilter.device_down(net.devs["eth0"])
    assert net.netfilter.conntrack.entries() == []


def test_a_masqueraded_connection_that_changes_its_way_out_is_dropped() -> None:
    net = FakeNet("*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n")
    net.forward(udp("172.17.0.2:5000", "8.8.8.8:53"))
    net.forward(udp("8.8.8.8:53", "10.100.0.2:5000"), "eth0", "docker0")
    moved = net.forward(udp("172.17.0.2:5000", "8.8.8.8:53"), "docker0", "docker0")
    assert moved.ended


def test_a_connection_older_than_the_nat_table_is_not_translated() -> None:
    net = FakeNet("*filter\n-A FORWARD -m state --state INVALID -j DROP\nCOMMIT\n")
    net.forward(udp("172.17.0.2:5000", "8.8.8.8:53"))
    net.netfilter.restore(MASQ, True, {})
    assert ends(net.forward(udp("172.17.0.2:5000", "8.8.8.8:53")).data)[0] == "172.17.0.2:5000"
    assert ends(net.forward(udp("172.17.0.2:5001", "8.8.8.8:53")).data)[0] == "10.100.0.2:5001"


def test_the_translation_names_the_object_that_asked_for_it() -> None:
    line = "-A PREROUTING -d 10.96.0.20/32 -p tcp -j DNAT --to-destination 172.17.0.3"
    net = FakeNet()
    net.netfilter.restore(f"*nat\n{line}\nCOMMIT\n", True, {line: "Service default/web"})
    skb = net.forward(tcp("172.17.0.2:40000", "10.96.0.20:80"))
    assert [s.origin for s in skb.steps if isinstance(s, NatStep)] == ["Service default/web"]
