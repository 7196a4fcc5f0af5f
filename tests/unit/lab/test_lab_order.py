"""Few runs of a tool, and everything still in its order."""

from __future__ import annotations

import lab_journal
from hypothesis import given
from hypothesis import strategies as st

from k8semu.cluster.journal import Entry, NetnsAdd, Tell
from k8semu.lab.order import NETNS, Run, lines, plan
from k8semu.linux.core import commands as c


def tells(netns: str, *commands: c.Command) -> list[Entry]:
    return [Tell(netns=netns, command=command) for command in commands]


def shape(runs: list[Run]) -> list[tuple[str, str, int]]:
    return [(run.netns, run.tool, len(run.commands)) for run in runs]


VETH = c.VethAdd(name="v", peer="eth0", peer_netns="pod")
UP = c.LinkSet(name="eth0", up=True)
DEFAULTS = c.Sysctl(name="net.ipv4.conf.default.rp_filter", value=1)


def test_what_one_namespace_is_told_by_one_tool_takes_one_run() -> None:
    up, address = c.LinkSet(name="br0", up=True), c.AddrAdd(dev="br0", address="1/8")
    runs = plan(tells("n", c.BridgeAdd(name="br0"), up, address))
    assert shape(runs) == [("n", "ip", 3)]


def test_namespaces_are_made_first() -> None:
    runs = plan([*tells("n", c.BridgeAdd(name="br0")), NetnsAdd(netns="later")])
    assert shape(runs) == [("later", NETNS, 0), ("n", "ip", 1)]


def test_a_far_end_is_there_before_it_is_told_anything() -> None:
    runs = plan([*tells("node", VETH), *tells("pod", UP)])
    assert shape(runs) == [("node", "ip", 1), ("pod", "ip", 1)]


def test_defaults_of_a_namespace_are_set_before_a_device_comes_to_it() -> None:
    runs = plan([*tells("pod", DEFAULTS), *tells("node", VETH), *tells("pod", UP)])
    assert shape(runs) == [("pod", "sysctl", 1), ("node", "ip", 1), ("pod", "ip", 1)]


def test_two_cables_to_one_namespace_are_both_there_before_it_goes_on() -> None:
    other = c.VethAdd(name="w", peer="eth1", peer_netns="pod")
    runs = plan([*tells("a", VETH), *tells("b", other), *tells("pod", UP)])
    assert [run.netns for run in runs] == ["a", "b", "pod"]


def test_an_end_of_a_cable_comes_up_after_what_the_other_end_was_told_before() -> None:
    near = c.LinkSet(name="v", up=True)
    rules = c.Iptables(args=("-t", "nat", "-N", "T"))
    runs = plan([*tells("node", VETH, rules, near), *tells("pod", UP)])
    assert shape(runs)[-1] == ("pod", "ip", 1)
    runs = plan([*tells("node", VETH), *tells("pod", DEFAULTS, UP), *tells("node", near)])
    assert shape(runs)[-1] == ("node", "ip", 1)


def test_a_device_that_goes_goes_between_what_was_before_and_what_comes_after() -> None:
    runs = plan([*tells("a", VETH), *tells("pod", UP), *tells("a", c.LinkDel(name="v")), *tells("pod", DEFAULTS)])
    assert shape(runs) == [("a", "ip", 1), ("pod", "ip", 1), ("a", "ip", 1), ("pod", "sysctl", 1)]


def test_fdb_entries_and_routes_of_many_peers_take_two_runs() -> None:
    commands: list[c.Command] = [c.VxlanAdd(name="vx", vni=1, dstport=8472)]
    for i in range(9):
        commands += [
            c.NeighAdd(dev="vx", address=f"10.0.{i}.0", lladdr=f"02:00:00:00:00:0{i}"),
            c.FdbAdd(dev="vx", mac=f"02:00:00:00:00:0{i}", dst=f"10.1.0.{i}"),
            c.RouteAdd(dst=f"10.0.{i}.0/24", via=f"10.0.{i}.0", dev="vx", onlink=True),
        ]
    assert shape(plan(tells("n", *commands))) == [("n", "ip", 19), ("n", "bridge", 9)]


def test_a_port_is_a_port_before_the_bridge_is_told_about_it() -> None:
    runs = plan(tells("n", c.LinkSet(name="v", master="br0"), c.BridgePortSet(name="v", hairpin=True),
                      c.LinkSet(name="v", master="")))  # fmt: skip
    assert shape(runs) == [("n", "ip", 1), ("n", "bridge", 1), ("n", "ip", 1)]


def test_pods_by_the_dozen_take_one_run_each() -> None:
    runs = plan(lab_journal.build())
    told = [run for run in runs if run.tool == "ip"]
    assert len(told) <= 2 + 3 * len(lab_journal.NODES) + len(lab_journal.PODS)


def test_a_name_that_abbreviates_a_keyword_is_still_a_name() -> None:
    assert lines(c.BridgeAdd(name="br"))[0].startswith("ip link add dev br ")


def test_a_tun_device_gets_its_mtu_on_a_line_of_its_own() -> None:
    assert lines(c.TunAdd(name="flannel0", mtu=1472))[1] == "ip link set dev flannel0 mtu 1472"


NAMES = ("a", "b", "c")
COMMANDS = st.one_of(
    st.integers(0, 99).map(lambda n: c.AddrAdd(dev="lo", address=f"10.0.0.{n}/8")),
    st.integers(0, 99).map(lambda n: c.Sysctl(name="net.ipv4.ip_forward", value=n)),
    st.tuples(st.integers(0, 99), st.sampled_from(NAMES)).map(
        lambda x: c.VethAdd(name=f"v{x[0]}", peer=f"p{x[0]}", peer_netns=x[1])
    ),
)


@given(st.lists(st.tuples(st.sampled_from(NAMES), COMMANDS), max_size=25))
def test_any_order_of_commands_keeps_what_each_namespace_sees(told: list[tuple[str, c.Command]]) -> None:
    runs = plan([Tell(netns=netns, command=command) for netns, command in told])
    done = [(run.netns, command) for run in runs for command in run.commands]
    for name in NAMES:
        assert _seen_by(name, done) == _seen_by(name, told)


def _seen_by(name: str, told: list[tuple[str, c.Command]]) -> tuple[list[c.Command], list[tuple[int, str]]]:
    """What a namespace is told, in order; and the cables that come to it, after how many commands."""
    own: list[c.Command] = []
    cables: list[tuple[int, str]] = []
    for netns, command in told:
        if netns == name:
            own.append(command)
        elif isinstance(command, c.VethAdd) and command.peer_netns == name:
            cables.append((len(own), command.peer))
    return own, sorted(cables)
