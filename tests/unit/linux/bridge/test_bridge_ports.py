"""A bridge's ports: settings, carrier, MAC and MTU."""

from __future__ import annotations

import pytest
from netlab import Emulated, Lab, mac, mac_bytes

from k8semu.linux.bridge.bridge import BridgeDevice
from k8semu.linux.core.commands import BridgeAdd, BridgePortSet, Command, LinkSet, VethAdd
from k8semu.linux.core.drop import Drop


def built(*ports: str, address: str = "") -> tuple[Emulated, BridgeDevice]:
    lab = Lab("sw", *(f"far{port}" for port in ports))
    lab.tell("sw", BridgeAdd(name="br0", address=address), LinkSet(name="br0", up=True))
    for port in ports:
        lab.veth("sw", port, f"far{port}", "eth0", master="br0")
        lab.tap(f"far{port}", "eth0")
    world = Emulated(lab.netns)
    world.play(lab.steps)
    bridge = world.nets["sw"].devs["br0"]
    assert isinstance(bridge, BridgeDevice)
    return world, bridge


def send(world: Emulated, port: str, dmac: bytes, size: int = 46) -> list[str]:
    """Send from behind a port; behind which ports it arrived."""
    for frames in world.seen.taps.values():
        frames.clear()
    world._inject(f"far{port}", "eth0", dmac + mac_bytes(f"far{port}", "eth0") + b"\x88\xb5" + bytes(size))
    return sorted(name[3:-5] for name, frames in world.seen.taps.items() if any(d == "in" for d, _ in frames))


BROADCAST = b"\xff" * 6


def test_a_broadcast_reaches_every_other_port() -> None:
    world, _ = built("a", "b", "c")
    assert send(world, "a", BROADCAST) == ["b", "c"]


@pytest.mark.parametrize(
    ("command", "reached"),
    [
        (BridgePortSet(name="a", hairpin=True), ["a", "b", "c"]),
        (BridgePortSet(name="b", flood=False), ["b", "c"]),
        (BridgePortSet(name="a", isolated=True), ["b", "c"]),
        (LinkSet(name="b", up=False), ["c"]),
        (LinkSet(name="b", master=""), ["c"]),
    ],
)
def test_port_settings_say_where_a_broadcast_goes(command: Command, reached: list[str]) -> None:
    world, _ = built("a", "b", "c")
    world._tell("sw", command)
    assert send(world, "a", BROADCAST) == reached


def test_isolated_ports_do_not_hear_each_other() -> None:
    world, _ = built("a", "b", "c")
    for port in "ab":
        world._tell("sw", BridgePortSet(name=port, isolated=True))
    assert send(world, "a", BROADCAST) == ["c"]
    assert send(world, "c", BROADCAST) == ["a", "b"]


@pytest.mark.parametrize("group", ["0180c2000001", "0180c200000f"])
def test_frames_for_a_link_alone_stay_on_it(group: str) -> None:
    """Pause frames, LLDP and the like (IEEE 802.1D)."""
    world, _ = built("a", "b")
    assert send(world, "a", bytes.fromhex(group)) == []
    assert world.nets["sw"].drops == {Drop.BRIDGE_INGRESS_STP_STATE: 1}


@pytest.mark.parametrize("group", ["0180c2000000", "0180c2000010"])
def test_a_bridge_without_spanning_tree_floods_what_is_for_bridges(group: str) -> None:
    world, _ = built("a", "b")
    assert send(world, "a", bytes.fromhex(group)) == ["b"]


def test_a_frame_that_is_too_long_for_a_port_is_not_sent_there() -> None:
    world, _ = built("a", "b", "c")
    world._tell("sw", LinkSet(name="b", mtu=1000))
    assert send(world, "a", BROADCAST, size=1004) == ["b", "c"], "four bytes are kept for a VLAN tag"
    assert send(world, "a", BROADCAST, size=1005) == ["c"]


def test_a_bridge_has_the_lowest_mac_of_its_ports_unless_told() -> None:
    _, bridge = built("a", "b")
    assert bridge.addr == min(mac_bytes("sw", "a"), mac_bytes("sw", "b"))
    _, told = built("a", "b", address="02:ff:ff:ff:ff:ff")
    assert told.addr == bytes.fromhex("02ffffffffff")


def test_a_bridge_that_lost_its_ports_has_no_mac() -> None:
    world, bridge = built("a")
    world._tell("sw", LinkSet(name="a", master=""))
    assert bridge.addr == bytes(6)


def test_the_mtu_follows_the_smallest_port_until_it_is_told() -> None:
    world, bridge = built("a")
    world._tell("sw", VethAdd(name="small", peer="eth1", mtu=1400))
    world._tell("sw", LinkSet(name="small", master="br0"))
    assert bridge.mtu == 1400
    world._tell("sw", LinkSet(name="small", mtu=1450))
    assert bridge.mtu == 1450
    world._tell("sw", LinkSet(name="br0", mtu=1300))
    world._tell("sw", LinkSet(name="small", master=""))
    assert bridge.mtu == 1300


def test_a_port_takes_the_lowest_number_that_is_free() -> None:
    world, bridge = built("a", "b", "c")
    world._tell("sw", LinkSet(name="b", master=""))
    world._tell("sw", LinkSet(name="a", master=""))
    for name in "ba":
        world._tell("sw", LinkSet(name=name, master="br0"))
    assert {name: port.number for name, port in bridge.ports.items()} == {"a": 2, "b": 1, "c": 3}


def test_a_bridge_is_full_with_1023_ports() -> None:
    world, bridge = built()
    for i in range(1024):
        world._tell("sw", VethAdd(name=f"p{i}", peer=f"q{i}"))
    for i in range(1023):
        world._tell("sw", LinkSet(name=f"p{i}", master="br0"))
    assert not any(world.seen.errors)
    world._tell("sw", LinkSet(name="p1023", master="br0"))
    assert world.seen.errors[-1] == "RTNETLINK answers: Exchange full"
    assert len(bridge.ports) == 1023


def test_carrier_is_there_until_the_first_port_and_then_follows_the_ports() -> None:
    world, bridge = built()
    assert bridge.carrier
    world._tell("sw", VethAdd(name="p", peer="q"))
    world._tell("sw", LinkSet(name="p", master="br0"))
    assert not bridge.carrier
    world._tell("sw", LinkSet(name="p", up=True))
    assert not bridge.carrier
    world._tell("sw", LinkSet(name="q", up=True))
    assert bridge.carrier
    assert bridge.active


def test_a_frame_for_the_mac_of_the_port_it_came_in_by_is_for_the_node() -> None:
    world, _ = built("a", "b")
    send(world, "a", mac_bytes("sw", "a"))
    assert world.nets["sw"].drops == {Drop.UNHANDLED_PROTO: 1}
    assert mac("sw", "a") != mac("sw", "b")
