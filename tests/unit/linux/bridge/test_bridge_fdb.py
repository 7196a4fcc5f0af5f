"""The forwarding database: what is learned, what ages, what moves and what stays."""

from __future__ import annotations

from netlab import Emulated, Lab

from k8semu.linux.bridge.bridge import BridgeDevice
from k8semu.linux.core.commands import BridgeAdd, FdbAdd, FdbDel, LinkSet
from k8semu.sim.clock import NS_PER_S

STATION = bytes.fromhex("020000000001")
NOBODY = bytes.fromhex("020000000099")


class Switch:
    """A bridge with ports p0, p1, p2 and a namespace behind each."""

    def __init__(self, **settings: int) -> None:
        lab = Lab("sw", "s0", "s1", "s2")
        lab.tell("sw", BridgeAdd(name="br0", address="02:00:00:00:00:aa", **settings))
        lab.tell("sw", LinkSet(name="br0", up=True))
        for i in range(3):
            lab.veth("sw", f"p{i}", f"s{i}", "eth0", master="br0")
            lab.tap(f"s{i}", "eth0")
        self.world = Emulated(lab.netns)
        self.world.play(lab.steps)
        bridge = self.world.nets["sw"].devs["br0"]
        assert isinstance(bridge, BridgeDevice)
        self.bridge = bridge

    def frame(self, station: int, smac: bytes, dmac: bytes) -> list[int]:
        """Send a frame from a station; which stations got it."""
        for i in range(3):
            self.world.seen.taps[f"s{i}/eth0"].clear()
        self.world._inject(f"s{station}", "eth0", dmac + smac + b"\x88\xb5" + bytes(46))
        return [i for i in range(3) if any(d == "in" for d, _ in self.world.seen.taps[f"s{i}/eth0"])]

    def wait(self, seconds: float) -> None:
        self.world._pass(int(seconds * NS_PER_S))


def test_an_unknown_destination_is_flooded_and_a_known_one_is_not() -> None:
    switch = Switch()
    assert switch.frame(0, STATION, NOBODY) == [1, 2]
    assert switch.frame(1, NOBODY, STATION) == [0]
    assert switch.frame(0, STATION, NOBODY) == [1]


def test_an_entry_ages_after_the_ageing_time_without_a_frame_from_it() -> None:
    switch = Switch(ageing_time=10)
    switch.frame(0, STATION, NOBODY)
    switch.wait(9)
    assert switch.frame(1, NOBODY, STATION) == [0]
    switch.wait(2)
    assert switch.frame(1, NOBODY, STATION) == [0, 2], "frames to it do not keep it"


def test_a_station_is_remembered_for_five_minutes_unless_the_bridge_was_told_otherwise() -> None:
    switch = Switch()
    switch.frame(0, STATION, NOBODY)
    switch.wait(299.9)
    assert switch.frame(1, NOBODY, STATION) == [0]
    switch.wait(0.2)
    assert switch.frame(1, NOBODY, STATION) == [0, 2]


def test_a_station_that_goes_on_sending_is_not_forgotten() -> None:
    switch = Switch(ageing_time=10)
    switch.frame(0, STATION, NOBODY)
    switch.wait(9)
    switch.frame(0, STATION, NOBODY)
    switch.wait(9)
    assert switch.frame(1, NOBODY, STATION) == [0]


def test_a_static_entry_does_not_age_but_moves_with_its_station() -> None:
    switch = Switch(ageing_time=10)
    switch.world._tell("sw", FdbAdd(dev="p0", mac="02:00:00:00:00:01", master=True, state="static"))
    switch.wait(100)
    assert switch.frame(1, NOBODY, STATION) == [0]
    switch.frame(2, STATION, NOBODY)
    assert switch.frame(1, NOBODY, STATION) == [2]


def test_frames_for_a_permanent_entry_are_the_nodes_own() -> None:
    switch = Switch()
    switch.world._tell("sw", FdbAdd(dev="p0", mac="02:00:00:00:00:01", master=True, state="permanent"))
    assert switch.frame(1, NOBODY, STATION) == []
    assert switch.frame(2, STATION, b"\xff" * 6) == [0, 1], "a frame that claims to come from it is let through"
    assert switch.frame(1, NOBODY, STATION) == []


def test_what_was_learned_goes_when_the_port_goes_down_and_what_was_told_stays() -> None:
    switch = Switch()
    switch.frame(0, STATION, NOBODY)
    switch.world._tell("sw", FdbAdd(dev="p0", mac="02:00:00:00:00:77", master=True, state="static"))
    switch.world._tell("s0", LinkSet(name="eth0", up=False))
    assert STATION not in switch.bridge.fdb.entries
    assert bytes.fromhex("020000000077") in switch.bridge.fdb.entries


def test_an_entry_is_deleted_once() -> None:
    switch = Switch()
    switch.frame(0, STATION, NOBODY)
    delete = FdbDel(dev="p0", mac="02:00:00:00:00:01", master=True)
    switch.world._tell("sw", delete)
    switch.world._tell("sw", delete)
    assert switch.world.seen.errors[-2:] == ["", "RTNETLINK answers: No such file or directory"]


def test_the_macs_of_ports_and_bridge_are_local() -> None:
    switch = Switch()
    macs = {mac for mac, entry in switch.bridge.fdb.entries.items() if entry.is_local}
    assert macs == {switch.bridge.addr, *(port.dev.addr for port in switch.bridge.ports.values())}
