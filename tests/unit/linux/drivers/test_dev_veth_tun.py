"""veth and tun: cables to another namespace, and to a program."""

from __future__ import annotations

from netlab import Emulated, Lab, icmp_echo

from k8semu.linux.core.commands import AddrAdd, LinkFault, LinkSet, TunAdd
from k8semu.linux.core.drop import Drop
from k8semu.linux.drivers.tun import TunDevice

FRAME = b"\xff" * 6 + bytes.fromhex("020000000001") + b"\x88\xb5"


def cable(*faults: LinkFault) -> Emulated:
    lab = Lab("aa", "bb")
    lab.veth("aa", "e0", "bb", "e1")
    lab.tell("aa", *faults)
    lab.tap("bb", "e1")
    world = Emulated(lab.netns)
    world.play(lab.steps)
    return world


def test_a_frame_longer_than_the_far_end_takes_is_dropped_there_with_room_for_a_vlan_tag() -> None:
    world = cable()
    world._tell("bb", LinkSet(name="e1", mtu=1000))
    world._inject("aa", "e0", FRAME + bytes(1004))
    world._inject("aa", "e0", FRAME + bytes(1005))
    assert [len(frame) for _, frame in world.seen.taps["bb/e1"]] == [1018]
    assert world.nets["aa"].drops == {Drop.PKT_TOO_BIG: 1}
    assert world.nets["bb"].devs["e1"].stats.rx_dropped == 1


def test_a_lossy_link_loses_the_share_it_was_told_and_the_same_frames_every_time() -> None:
    def arrivals() -> list[bytes]:
        world = cable(LinkFault(name="e0", loss=0.3))
        for number in range(200):
            world._inject("aa", "e0", FRAME + number.to_bytes(2, "big"))
        return [frame for _, frame in world.seen.taps["bb/e1"]]

    assert 110 < len(arrivals()) < 170
    assert arrivals() == arrivals()


def test_extra_delay_comes_on_top_of_the_cables_own() -> None:
    world = cable(LinkFault(name="e0", delay=5_000_000))
    world._inject("aa", "e0", FRAME)
    assert world.seen.taps["bb/e1"] == []
    world._pass(5_000_000)
    assert len(world.seen.taps["bb/e1"]) == 1


def tun() -> tuple[Emulated, TunDevice, list[bytes]]:
    lab = Lab("node")
    lab.tell("node", TunAdd(name="tun0", mtu=1400), LinkSet(name="tun0", up=True))
    lab.tell("node", AddrAdd(dev="tun0", address="10.1.0.1/16"))
    world = Emulated(lab.netns)
    world.play(lab.steps)
    device = world.nets["node"].devs["tun0"]
    assert isinstance(device, TunDevice)
    got: list[bytes] = []
    device.reader = lambda packet, _: got.append(packet)
    return world, device, got


def test_packets_go_to_the_program_without_link_header() -> None:
    world, _, got = tun()
    packet = bytes(icmp_echo("10.1.0.1", "10.1.0.7")[14:])
    world._send("node", packet)
    assert got == [packet]


def test_what_the_program_writes_is_received() -> None:
    world, device, got = tun()
    device.write(bytes(icmp_echo("10.1.0.7", "10.1.0.1")[14:]), None)
    world._pass(1_000_000)
    (reply,) = got
    assert reply[16:20] == b"\x0a\1\0\7"


def test_without_a_program_there_is_no_carrier() -> None:
    world, device, _ = tun()
    device.reader = None
    assert not device.carrier
    world._send("node", bytes(icmp_echo("10.1.0.1", "10.1.0.7")[14:]))
    assert world.nets["node"].drops == {Drop.QDISC_DROP: 1}


def test_what_is_no_ip_packet_is_refused() -> None:
    world, device, _ = tun()
    device.write(b"\x50rubbish", None)
    device.write(b"", None)
    assert world.nets["node"].drops == {Drop.INVALID_PROTO: 2}
