"""Addresses, the routes that come and go with them, and the words of the tools."""

from __future__ import annotations

import pytest
from netlab import Emulated, Lab

from k8semu.linux.core.commands import AddrAdd, AddrDel, Command, LinkSet, NeighAdd, RouteAdd, RouteDel
from k8semu.linux.ipv4.fib import TABLE_LOCAL, TABLE_MAIN


def pair() -> Emulated:
    lab = Lab("aa", "bb")
    lab.veth("aa", "e0", "bb", "e1")
    lab.address("aa", "e0", "10.0.0.1/24")
    world = Emulated(lab.netns)
    world.play(lab.steps)
    return world


def routes(world: Emulated, table: int = TABLE_MAIN) -> list[str]:
    return [str(route) for route in world.nets["aa"].ipv4.fib.tables[table]]


def test_an_address_brings_its_network_and_a_second_one_in_it_does_not() -> None:
    world = pair()
    world._tell("aa", AddrAdd(dev="e0", address="10.0.0.5/24"))
    assert routes(world) == ["10.0.0.0/24 dev e0 proto kernel scope link src 10.0.0.1"]
    assert "local 10.0.0.5 dev e0 proto kernel scope host src 10.0.0.1" in routes(world, TABLE_LOCAL)


def test_secondary_addresses_go_with_the_primary() -> None:
    world = pair()
    for address in ("10.0.0.5/24", "10.3.0.1/24"):
        world._tell("aa", AddrAdd(dev="e0", address=address))
    world._tell("aa", AddrDel(dev="e0", address="10.0.0.1/24"))
    assert [str(a.iface) for a in world.nets["aa"].devs["e0"].addresses] == ["10.3.0.1/24"]


def test_routes_that_prefer_an_address_go_with_it() -> None:
    world = pair()
    world._tell("aa", AddrAdd(dev="e0", address="10.3.0.1/24"))
    world._tell("aa", RouteAdd(dst="10.7.0.0/24", dev="e0", src="10.3.0.1"))
    world._tell("aa", AddrDel(dev="e0", address="10.3.0.1/24"))
    assert routes(world) == ["10.0.0.0/24 dev e0 proto kernel scope link src 10.0.0.1"]


def test_with_the_last_address_of_a_device_all_of_its_routes_go() -> None:
    world = pair()
    world._tell("aa", RouteAdd(dst="default", via="10.0.0.2"))
    world._tell("aa", AddrDel(dev="e0", address="10.0.0.1/24"))
    assert routes(world) == []


def test_an_address_on_two_devices_stays_until_both_have_lost_it() -> None:
    world = pair()
    world._tell("aa", AddrAdd(dev="lo", address="10.0.0.1/32"))
    ipv4 = world.nets["aa"].ipv4
    world._tell("aa", AddrDel(dev="e0", address="10.0.0.1/24"))
    assert ipv4.addr_type(b"\x0a\0\0\1") == "local"
    world._tell("aa", AddrDel(dev="lo", address="10.0.0.1/32"))
    assert ipv4.addr_type(b"\x0a\0\0\1") == "unicast"


def test_a_device_that_is_down_has_no_routes_but_keeps_its_own_address() -> None:
    world = pair()
    world._tell("aa", LinkSet(name="e0", up=False))
    assert routes(world) == []
    assert "local 10.0.0.1 dev e0 proto kernel scope host src 10.0.0.1" in routes(world, TABLE_LOCAL)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (AddrAdd(dev="e0", address="10.0.0.1/24"), "Error: ipv4: Address already assigned."),
        (AddrDel(dev="e0", address="10.0.0.9/24"), "Error: ipv4: Address not found."),
        (AddrAdd(dev="no", address="10.0.0.1/24"), 'Cannot find device "no"'),
        (AddrAdd(dev="e0", address="x"), 'Error: any valid prefix is expected rather than "x".'),
        (RouteAdd(dst="10.0.0.0/24", dev="e0"), "RTNETLINK answers: File exists"),
        (RouteAdd(dst="10.1.0.0/24", via="10.9.0.1"), "Error: Nexthop has invalid gateway."),
        (RouteAdd(dst="10.1.0.1/24", dev="e0"), "Error: Invalid prefix for given prefix length."),
        (RouteAdd(dst="10.1.0.0/24", dev="e0", src="10.9.0.1"), "Error: Invalid prefsrc address."),
        (RouteDel(dst="10.1.0.0/24"), "RTNETLINK answers: No such process"),
        (NeighAdd(dev="e0", address="10.0.0.2", lladdr="zz"), '"zz" is invalid lladdr.'),
        (NeighAdd(dev="e0", address="10.0.0.2", lladdr="02:00"), "Error: Invalid link address."),
        (LinkSet(name="e0", mtu=10), "Error: mtu less than device minimum."),
        (LinkSet(name="e0", master="no"), 'Error: argument "no" is wrong: Device does not exist'),
    ],
)
def test_what_cannot_be_done_fails_in_the_tools_own_words(command: Command, words: str) -> None:
    world = pair()
    world._tell("aa", command)
    assert world.seen.errors[-1] == words
