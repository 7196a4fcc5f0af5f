"""What a person brings to a machine: `ip … add`, batches, dumps of sets and tables. Linux's own words: tests/kernel."""

from __future__ import annotations

import pytest

from k8semu.apps.shell import bridge, ip, sysctl
from k8semu.apps.shell.fed import fed, reads_stdin
from k8semu.apps.shell.ip_words import changes
from k8semu.apps.shell.output import UsageError
from k8semu.errors import CommandError
from k8semu.linux.netns import NetNs
from k8semu.scenario.load import parse
from k8semu.scenario.run import Run
from k8semu.sim.world import World
from k8semu.wire.addr import ip_aton


@pytest.fixture
def net() -> NetNs:
    net = NetNs(World(1), "n")
    text = """
        link add e0 address 02:00:00:00:00:01 type veth peer name e1
        link set e0 up
        link set e1 up
        addr add 10.0.0.1/24 dev e0
        addr add 10.0.1.1/24 dev e1
    """
    done = fed(net, ["ip", "-batch", "-"], text, {})
    assert done is not None
    assert (done.code, done.shown) == (0, "")
    return net


def typed(net: NetNs, line: str) -> None:
    ip.run(net, line.split())


def way(net: NetNs, daddr: str, mark: int = 0) -> str:
    rt = net.ipv4.route_output(ip_aton(daddr), None, None, mark)
    return rt.dev.name


def test_a_marked_packet_takes_the_table_that_a_rule_names(net: NetNs) -> None:
    typed(net, "route add default via 10.0.0.9")
    typed(net, "route add default via 10.0.1.9 table 100")
    typed(net, "rule add fwmark 0x80/0x80 lookup 100")
    assert [way(net, "8.8.8.8", mark) for mark in (0, 0x80, 0x81, 1)] == ["e0", "e1", "e1", "e0"]


def test_a_table_that_throws_leaves_it_to_the_next_rule(net: NetNs) -> None:
    typed(net, "route add default via 10.0.0.9")
    typed(net, "route add default via 10.0.1.9 table 100")
    typed(net, "route add throw 9.0.0.0/8 table 100")
    typed(net, "rule add lookup 100")
    assert (way(net, "8.8.8.8"), way(net, "9.9.9.9")) == ("e1", "e0")


def test_main_without_its_default_route_leaves_the_rest_to_the_next_rule(net: NetNs) -> None:
    """What wg-quick sets up: `suppress_prefixlength 0`."""
    typed(net, "route add default via 10.0.0.9")
    typed(net, "route add default via 10.0.1.9 table 100")
    typed(net, "rule add lookup 100 pref 20")
    typed(net, "rule add lookup main suppress_prefixlength 0 pref 10")
    assert (way(net, "10.0.0.7"), way(net, "8.8.8.8")) == ("e0", "e1")


def test_what_is_not_modelled_is_refused_and_nothing_is_done(net: NetNs) -> None:
    before = [str(route) for route in net.ipv4.fib.table(254)]
    for line in (
        "route add 1.0.0.0/8 nexthop via 10.0.0.9 nexthop via 10.0.1.9", "route add 1.0.0.0/8 via 10.0.0.9 advmss 1000",
        "route add 1.0.0.0/8 via 10.0.0.9 mtu lock 1400", "route change 1.0.0.0/8 via 10.0.0.9",
        "rule add ipproto tcp dport 80 lookup 100", "rule add goto 100", "link add v0 link e0 type vlan id 3",
        "link add type veth", "link set e0 promisc on", "addr add 10.9.0.1/24 dev e0 noprefixroute",
        "neigh add proxy 10.0.0.4 dev e0",
    ):  # fmt: skip
        with pytest.raises(UsageError, match="is not modelled"):
            ip.run(net, line.split())
    with pytest.raises(UsageError, match="vlan is not modelled"):
        bridge.run(net, ["fdb", "add", "02:00:00:00:00:01", "dev", "e0", "vlan", "3"])
    assert [str(route) for route in net.ipv4.fib.table(254)] == before


def test_a_batch_ends_at_the_line_that_fails(net: NetNs) -> None:
    text = "route add 1.0.0.0/8 via 10.0.0.9\nroute add 1.0.0.0/8 via 10.0.0.9\nroute add 2.0.0.0/8 via 10.0.0.9\n"
    done = fed(net, ["ip", "-b", "-"], text, {})
    assert done is not None
    assert (done.code, done.errors) == (1, "RTNETLINK answers: File exists\nCommand failed -:2\n")
    with pytest.raises(CommandError, match="File exists"):
        typed(net, "route add 1.0.0.0/8 via 10.0.0.9")
    assert "2.0.0.0" not in ip.run(net, ["route"]).text


def test_sets_and_tables_are_read_from_a_dump(net: NetNs) -> None:
    sets = "create a hash:ip family inet hashsize 1024 maxelem 65536\nadd a 10.0.0.7\n"
    done = fed(net, ["ipset", "restore"], sets, {})
    assert done is not None
    assert done.code == 0
    assert "add a 10.0.0.7" in net.netfilter.ipset.run(["save"])
    done = fed(net, ["nft", "-f", "/rules"], "", {"/rules": "table ip t {\n\tchain c {\n\t}\n}\n"})
    assert done is not None
    assert done.code == 0
    assert "chain c" in net.netfilter.nft.list(["ruleset"], False)
    done = fed(net, ["ipset", "restore"], "add nosuch 1.1.1.1\n", {})
    assert done is not None
    assert (done.code, done.errors.count("Error in line 1")) == (1, 1)


def test_a_setting_counts_at_once_also_for_what_came_this_way_before(net: NetNs) -> None:
    """The way of a packet is kept; `sysctl -w` makes it be asked anew."""
    asked = "route get 10.0.0.1 from 10.0.1.7 iif e0"
    assert ip.run(net, asked.split()).code == 0
    sysctl.run(net, ["-w", "net.ipv4.conf.e0.rp_filter=1"])
    with pytest.raises(UsageError, match="Invalid cross-device link"):
        ip.run(net, asked.split())


def test_only_what_reads_is_given_the_standard_input() -> None:
    readers = ("ip -b -", "ip -batch -", "ip -force -batch -", "bridge -b -", "ipset restore", "ipset -exist restore",
               "nft -f -", "nft --file /dev/stdin", "ipvsadm -R", "iptables-restore -n")  # fmt: skip
    others = ("ip route", "ip -br addr", "ip -b file", "nft -f file", "ipset list", "ipvsadm -Ln", "ping -b 1.1.1.1")
    assert [line for line in (*readers, *others) if reads_stdin(line.split())] == list(readers)


def test_what_changes_a_machine_is_told_from_what_looks() -> None:
    changing = ("ip route add 1.0.0.0/8 via 1.1.1.1", "ip -4 rule del pref 3", "ip link set e0 up", "ip a flush dev e0",
                "bridge fdb append 02:00:00:00:00:01 dev vx", "iptables -A INPUT -j DROP", "sysctl -w a.b=1",
                "sysctl a.b=1", "conntrack -D -p udp", "iptables -t nat -F")  # fmt: skip
    looking = ("ip route", "ip r get 1.1.1.1", "ip -br a s", "bridge fdb show", "iptables -t nat -L -n", "iptables -S",
               "sysctl -n a.b", "conntrack -L", "ss -tln", "iptables-save")  # fmt: skip
    assert [line for line in (*changing, *looking) if changes(line.split())] == list(changing)


SCENARIO = """
apiVersion: k8semu/v1
kind: Scenario
spec:
  steps:
    - exec: {on: host1, command: sh, stdin: "ip route add 192.0.2.0/24 via 10.100.0.3\\nip route get 192.0.2.7\\n"}
    - exec: {on: host1, command: "sh -c 'curl -sS http://10.100.0.3:7777/x?a=1,2'"}
"""


def test_a_shell_takes_routes_line_by_line_and_leaves_a_url_whole() -> None:
    this = Run(parse(SCENARIO, "s.yaml", "s"))
    try:
        this.build()
        said = [step.result for step in this.steps()]
    finally:
        this.close()
    assert said[0]["output"].startswith("192.0.2.7 via 10.100.0.3 dev eth0 src 10.100.0.2 ")
    assert "port 7777" in said[1]["output"]
    assert said[1]["code"] == 7
