"""Devices: who sees a frame, and when there is nothing to see."""

from __future__ import annotations

import pytest
from netlab import Emulated, Lab, icmp_echo, mac_bytes, two_pods

from k8semu.linux.core.commands import LinkDel, LinkSet, VethAdd
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.net import Net

FRAME = b"\xff" * 6 + bytes.fromhex("020000000001") + b"\x88\xb5" + bytes(46)


def cable() -> Emulated:
    lab = Lab("aa", "bb")
    lab.veth("aa", "e0", "bb", "e1")
    lab.tap("aa", "e0")
    lab.tap("bb", "e1")
    world = Emulated(lab.netns)
    world.play(lab.steps)
    return world


def test_a_frame_is_seen_where_it_leaves_and_where_it_arrives() -> None:
    world = cable()
    world._inject("aa", "e0", FRAME)
    assert world.seen.taps == {"aa/e0": [("out", FRAME)], "bb/e1": [("in", FRAME)]}


def test_a_device_without_carrier_sends_nothing_that_a_tap_sees() -> None:
    world = cable()
    world._tell("bb", LinkSet(name="e1", up=False))
    world._inject("aa", "e0", FRAME)
    assert world.seen.taps["aa/e0"] == []
    assert world.nets["aa"].drops == {Drop.QDISC_DROP: 1}


def test_a_device_that_is_down_sends_nothing() -> None:
    world = cable()
    world._tell("aa", LinkSet(name="e0", up=False))
    world._inject("aa", "e0", FRAME)
    assert world.nets["aa"].drops == {Drop.DEV_READY: 1}


def test_a_frame_on_the_cable_is_lost_when_the_far_end_goes_down_meanwhile() -> None:
    world = cable()
    world.nets["aa"].devs["e0"].inject(FRAME)
    world._tell("bb", LinkSet(name="e1", up=False))
    world._pass(1_000_000)
    assert world.nets["bb"].drops == {Drop.DEV_READY: 1}


def test_an_unknown_ethertype_has_no_protocol() -> None:
    world = cable()
    world._inject("aa", "e0", FRAME)
    assert world.nets["bb"].drops == {Drop.UNHANDLED_PROTO: 1}


def test_a_program_that_takes_a_devices_frames_takes_all_of_them() -> None:
    world = cable()
    taken: list[bytes] = []
    world.nets["bb"].devs["e1"].packet_socket = lambda frame, _: taken.append(frame)
    world._inject("aa", "e0", FRAME)
    assert taken == [FRAME]


def test_statistics_count_frames_and_bytes_with_their_link_header() -> None:
    world = cable()
    world._inject("aa", "e0", FRAME)
    sent, got = world.nets["aa"].devs["e0"].stats, world.nets["bb"].devs["e1"].stats
    assert (sent.tx_packets, sent.tx_bytes) == (1, 60)
    assert (got.rx_packets, got.rx_bytes, sent.rx_packets) == (1, 60, 0)


def test_taking_one_end_of_a_cable_away_takes_the_other_along() -> None:
    world = cable()
    world._tell("aa", LinkDel(name="e0"))
    assert list(world.nets["bb"].devs) == ["lo"]


def test_a_name_is_given_once() -> None:
    world = cable()
    world._tell("aa", VethAdd(name="e0", peer="other"))
    assert world.seen.errors[-1] == "RTNETLINK answers: File exists"
    assert "other" not in world.nets["aa"].devs


def test_a_bare_net_does_not_know_how_to_change_devices() -> None:
    world = cable()
    net = Net(world.world, "bare")
    with pytest.raises(NotImplementedError):
        net.remove(world.nets["aa"].devs["e0"])


def test_a_new_device_starts_with_the_default_settings() -> None:
    lab = two_pods()
    world = Emulated(lab.netns)
    world.play(lab.steps)
    assert world.nets["h1"].devs["docker0"].conf.forwarding == 1, "ip_forward was set before the device came"
    world._send("px", bytes(icmp_echo("172.17.0.2", "172.17.0.1")[14:]))
    assert world.nets["h1"].ipv4.arp.table.entries, mac_bytes("px", "eth0")
