"""Sets of addresses and ports, and the rules that ask them."""

from __future__ import annotations

import pytest
from nf_fakes import FakeNet, drop_text, echo, tcp, udp

from k8semu.errors import CommandError
from k8semu.linux.netfilter.restore import MANY

SETS = "create vips hash:ip,port\nadd vips 10.96.0.1,tcp:80\ncreate ports bitmap:port range 0-65535\nadd ports 30080\n"


def node(rules: str, sets: str = SETS) -> FakeNet:
    net = FakeNet()
    net.netfilter.ipset.run(["restore"], sets)
    net.netfilter.restore(f"*filter\n{rules}\nCOMMIT\n")
    return net


def test_a_rule_asks_for_address_and_port_of_the_side_that_it_names() -> None:
    net = node("-A FORWARD -m set --match-set vips dst,dst -j DROP")
    assert drop_text(net.forward(tcp("172.17.0.2:4000", "10.96.0.1:80"))).startswith("dropped: NETFILTER_DROP")
    assert not net.forward(tcp("172.17.0.2:4000", "10.96.0.1:81")).ended
    assert not net.forward(udp("172.17.0.2:4000", "10.96.0.1:80")).ended
    assert not net.forward(tcp("10.96.0.1:80", "172.17.0.2:4000")).ended


def test_what_has_no_port_is_in_no_set_of_ports() -> None:
    net = node("-A FORWARD -m set --match-set ports dst -j DROP\n-A FORWARD -m set ! --match-set ports dst -j ACCEPT")
    assert not net.forward(echo("172.17.0.2", "10.96.0.1")).ended
    assert net.netfilter.save(counters=True).count("[1:") == 1


def test_a_set_that_changes_changes_the_verdict_at_once() -> None:
    net = node("-A FORWARD -m set --match-set vips dst,dst -j DROP")
    net.netfilter.ipset.run(["del", "vips", "10.96.0.1,tcp:80"])
    assert not net.forward(tcp("172.17.0.2:4000", "10.96.0.1:80")).ended
    net.netfilter.ipset.run(["restore"], "create other hash:ip,port\nadd other 10.96.0.1,tcp:80\nswap vips other\n")
    assert net.forward(tcp("172.17.0.2:4000", "10.96.0.1:80")).ended


def test_every_change_ends_the_flows_that_are_known() -> None:
    net = node("-A FORWARD -m set --match-set vips dst,dst -j DROP")
    before = net.epoch
    net.netfilter.ipset.run(["add", "vips", "10.96.0.2,tcp:80"])
    assert net.epoch > before


def test_the_widest_and_the_narrowest_network_of_a_set_are_found() -> None:
    sets = "create n hash:ip,port,net\nadd n 1.1.1.1,tcp:80,10.0.0.0/8\nadd n 1.1.1.1,tcp:80,192.0.2.7\n"
    net = node("-A FORWARD -m set --match-set n dst,dst,src -j DROP", sets)
    assert net.forward(tcp("10.1.2.3:4000", "1.1.1.1:80")).ended
    assert net.forward(tcp("192.0.2.7:4000", "1.1.1.1:80")).ended
    assert not net.forward(tcp("192.0.2.8:4000", "1.1.1.1:80")).ended
    net.netfilter.ipset.run(["del", "n", "1.1.1.1,tcp:80,10.0.0.0/8"])
    assert not net.forward(tcp("10.1.2.3:4000", "1.1.1.1:80")).ended


@pytest.mark.parametrize("lines", [1, MANY], ids=["a short text", "a long text"])
def test_a_rule_that_names_no_set_that_is_there_is_refused_with_its_line_and_nothing_is_applied(lines: int) -> None:
    net = node("-A FORWARD -j ACCEPT")
    before = net.netfilter.save()
    drops = "-A FORWARD -j DROP\n" * lines
    with pytest.raises(CommandError) as caught:
        net.netfilter.restore(f"*filter\n{drops}-A FORWARD -m set --match-set NOPE dst -j DROP\nCOMMIT\n")
    assert "Set NOPE doesn't exist." in caught.value.what
    assert f"line: {lines + 2}" in caught.value.what
    assert net.netfilter.save() == before


def test_a_set_that_a_rule_names_is_not_destroyed() -> None:
    net = node("-A FORWARD -m set --match-set vips dst,dst -j DROP")
    with pytest.raises(CommandError, match="in use by a kernel component"):
        net.netfilter.ipset.run(["destroy", "vips"])
    assert "References: 1\n" in net.netfilter.ipset.run(["list", "vips"])
    net.netfilter.restore("*filter\nCOMMIT\n", False)
    net.netfilter.ipset.run(["destroy", "vips"])
    assert net.netfilter.ipset.run(["list", "-n"]) == "ports\n"


def test_what_is_saved_is_restored_as_it_was() -> None:
    net = node("-A FORWARD -j ACCEPT")
    saved = net.netfilter.ipset.run(["save"])
    other = FakeNet(seed=2)
    other.netfilter.ipset.run(["restore"], saved)
    assert other.netfilter.ipset.run(["save"]) == saved
