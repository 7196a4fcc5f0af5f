"""VXLAN: to whom, from whom, and what is refused."""

from __future__ import annotations

import pytest
from netlab import Emulated, Lab, arp, framed, icmp_echo, mac, mac_bytes, two_nodes, udp

from k8semu.linux.core.commands import FdbAdd, FdbDel, LinkSet, VxlanAdd
from k8semu.linux.core.drop import Drop
from k8semu.linux.drivers.vxlan import VxlanDevice
from k8semu.sim.clock import NS_PER_S
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import vxlan_build
from k8semu.wire.checksum import checksum

SOMEBODY = bytes.fromhex("020000000042")


def nodes() -> Emulated:
    lab = two_nodes()
    lab.tap("h1", "eth0")
    world = Emulated(lab.netns)
    world.play(lab.steps)
    return world


def tunnelled(world: Emulated) -> list[bytes]:
    """What left h1 as VXLAN."""
    frames = world.seen.taps["h1/eth0"]
    return [f for d, f in frames if d == "out" and f[12:14] == b"\x08\x00" and f[23] == 17]


def arrive(world: Emulated, *patches: tuple[int, bytes], inner: bytes = b"", source: str = "10.100.0.2") -> Drop | None:
    """A datagram from h1 (or `source`) comes to h2, with some bytes changed; what it was dropped for there."""
    if not inner:
        packet = icmp_echo("172.17.0.2", "172.17.1.3")
        inner = framed(packet, mac_bytes("h1", "flannel.1"), mac_bytes("h2", "flannel.1"))
    frame = vxlan_build(ip_aton(source), ip_aton("10.100.0.3"), 5000, 8472, 1, bytearray(inner), 64, 0, 1, False)
    for at, data in patches:
        frame[at : at + len(data)] = data
    frame[24:26] = b"\0\0"
    frame[24:26] = checksum(frame[14:34]).to_bytes(2, "big")
    before = world.nets["h2"].drops.copy()
    world._inject("h1", "eth0", framed(frame, mac_bytes("h1", "eth0"), mac_bytes("h2", "eth0")))
    new = world.nets["h2"].drops - before
    return next(iter(new), None)


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ((46, b"\0\0\2"), Drop.VXLAN_VNI_NOT_FOUND),
        ((42, b"\0"), Drop.VXLAN_INVALID_HDR),
        ((42, b"\x0c"), Drop.VXLAN_INVALID_HDR),
        ((49, b"\1"), Drop.VXLAN_INVALID_HDR),
        ((38, b"\0\x0f"), Drop.PKT_TOO_SMALL),
        ((40, b"\x12\x34"), Drop.UDP_CSUM),
        ((15, b"\3"), Drop.IP_TUNNEL_ECN),
    ],
)
def test_what_is_wrong_with_a_tunnelled_frame_is_the_reason_it_ends(patch: tuple[int, bytes], reason: Drop) -> None:
    assert arrive(nodes(), patch) is reason


def test_a_good_one_passes_from_any_address() -> None:
    assert arrive(nodes()) is None
    assert arrive(nodes(), source="10.100.0.99") is None


def test_a_frame_that_carries_our_own_mac_has_gone_round() -> None:
    mine = mac_bytes("h2", "flannel.1")
    inner = framed(icmp_echo("172.17.0.2", "172.17.1.3"), mine, mine)
    assert arrive(nodes(), inner=inner) is Drop.MAC_INVALID_SOURCE


@pytest.mark.parametrize(("outer", "inner", "result"), [(3, 1, 3), (3, 2, 3), (1, 2, 1), (2, 1, 1), (0, 2, 2)])
def test_congestion_marks_are_carried_inwards(outer: int, inner: int, result: int) -> None:
    world = nodes()
    seen: list[bytes] = []
    world.nets["h2"].devs["flannel.1"].tap = lambda skb, *_: seen.append(bytes(skb.data[14:34]))
    packet = icmp_echo("172.17.0.2", "172.17.1.3", tos=inner)
    frame = framed(packet, mac_bytes("h1", "flannel.1"), mac_bytes("h2", "flannel.1"))
    arrive(world, (15, bytes([outer])), inner=frame)
    assert seen[0][1] == result
    assert checksum(seen[0]) == 0


def test_a_frame_that_is_no_ip_has_no_place_for_a_congestion_mark_and_passes() -> None:
    world = nodes()
    seen: list[bytes] = []
    world.nets["h2"].devs["flannel.1"].tap = lambda skb, *_: seen.append(bytes(skb.data))
    question = arp(1, mac_bytes("h1", "flannel.1"), "172.17.0.0", "172.17.1.0")
    arrive(world, (15, b"\3"), inner=question)
    assert seen[:1] == [question]


def test_a_mac_that_nobody_told_of_has_no_remote_until_there_is_one_for_all_others() -> None:
    world = nodes()
    frame = SOMEBODY + mac_bytes("h1", "flannel.1") + b"\x88\xb5" + bytes(46)
    world._inject("h1", "flannel.1", frame)
    assert tunnelled(world) == []
    assert world.nets["h1"].drops[Drop.VXLAN_NO_REMOTE] == 1
    world._tell("h1", FdbAdd(dev="flannel.1", mac="00:00:00:00:00:00", dst="10.100.0.3", append=True))
    world._inject("h1", "flannel.1", frame)
    assert [f[50:] for f in tunnelled(world)] == [frame]


def test_what_is_for_many_is_appended_and_goes_to_all() -> None:
    world = nodes()
    everyone = FdbAdd(dev="flannel.1", mac="00:00:00:00:00:00", dst="10.100.0.3")
    world._tell("h1", everyone)
    assert world.seen.errors[-1] == "RTNETLINK answers: Operation not supported"
    device = world.nets["h1"].devs["flannel.1"]
    assert isinstance(device, VxlanDevice)
    for last in (3, 4):
        world._tell("h1", FdbAdd(dev="flannel.1", mac="00:00:00:00:00:00", dst=f"10.100.0.{last}", append=True))
    assert device.fdb.entries[bytes(6)].remotes == [ip_aton("10.100.0.3"), ip_aton("10.100.0.4")]
    world._tell("h1", FdbDel(dev="flannel.1", mac="00:00:00:00:00:00", dst="10.100.0.3"))
    assert device.fdb.entries[bytes(6)].remotes == [ip_aton("10.100.0.4")]


def test_one_inner_flow_keeps_its_outer_port_and_others_have_others() -> None:
    world = nodes()
    for target in ("172.17.1.3", "172.17.1.4", "172.17.1.5", "172.17.1.3"):
        world._send("px", bytes(icmp_echo("172.17.0.2", target)[14:]))
    ports = [int.from_bytes(frame[34:36], "big") for frame in tunnelled(world)]
    assert ports[0] == ports[3]
    assert len(set(ports)) == 3
    assert all(32768 <= port < 61000 for port in ports)


def test_two_inner_flows_between_the_same_addresses_have_two_outer_ports() -> None:
    world = nodes()
    for sport in (1000, 1001, 1000):
        world._send("px", bytes(udp("172.17.0.2", "172.17.1.3", sport, 53)[14:]))
    ports = [int.from_bytes(frame[34:36], "big") for frame in tunnelled(world)]
    assert ports[0] == ports[2] != ports[1]


def test_the_mtu_leaves_room_for_the_outer_headers_whatever_was_asked_for() -> None:
    world = nodes()
    assert world.nets["h1"].devs["flannel.1"].mtu == 1450
    world._tell("h1", LinkSet(name="flannel.1", mtu=1500))
    assert world.seen.errors[-1] == "RTNETLINK answers: Invalid argument"
    world._tell("h1", VxlanAdd(name="v2", vni=2, dstport=8472, dev="eth0", mtu=9000))
    assert world.nets["h1"].devs["v2"].mtu == 1450


def flat() -> Emulated:
    """Pods on one bridge per node, and the bridges joined by VXLAN that learns."""
    lab = Lab("sw", "h1", "h2", "px", "py")
    lab.bridge("sw", "br0")
    for node, far, pod, last in (("h1", 3, "px", 2), ("h2", 2, "py", 3)):
        lab.veth("sw", node, node, "eth0", master="br0")
        lab.address(node, "eth0", f"10.100.0.{last}/24")
        lab.bridge(node, "weave")
        lab.veth(node, "pod", pod, "eth0", master="weave")
        lab.address(pod, "eth0", f"10.32.0.{last}/24")
        lab.tell(node, VxlanAdd(name="v", vni=5, dstport=6784, remote=f"10.100.0.{far}", address=mac(node, "v")))
        lab.tell(node, LinkSet(name="v", up=True, master="weave"))
    lab.tap("px", "eth0")
    world = Emulated(lab.netns)
    world.play(lab.steps)
    return world


def test_where_a_sender_is_gets_learned_and_forgotten() -> None:
    world = flat()
    world._send("px", bytes(icmp_echo("10.32.0.2", "10.32.0.3")[14:]))
    device = world.nets["h1"].devs["v"]
    assert isinstance(device, VxlanDevice)
    assert device.fdb.entries[mac_bytes("py", "eth0")].remotes == [ip_aton("10.100.0.3")]
    world._pass(10 * NS_PER_S)     # what they still have to say to each other
    heard = device.fdb.entries[mac_bytes("py", "eth0")].updated
    world._pass(heard + 300 * NS_PER_S - world.world.clock.now)
    device.fdb.forget_aged()
    assert mac_bytes("py", "eth0") in device.fdb.entries
    world._pass(1)
    device.fdb.forget_aged()
    assert mac_bytes("py", "eth0") not in device.fdb.entries
    world._send("px", bytes(icmp_echo("10.32.0.2", "10.32.0.3")[14:]))
    assert device.fdb.entries[mac_bytes("py", "eth0")].updated > heard


def test_the_tunnel_answers_for_the_destination_what_is_too_long_for_it() -> None:
    world = flat()
    world._send("px", bytes(icmp_echo("10.32.0.2", "10.32.0.3", size=1472)[14:]))
    (error,) = [f for d, f in world.seen.taps["px/eth0"] if d == "in" and f[12:14] == b"\x08\x00"]
    assert error[26:34] == ip_aton("10.32.0.3") + ip_aton("10.32.0.2")
    assert error[34:36] + error[40:42] == b"\x03\x04" + (1450).to_bytes(2, "big")
    assert error[6:12] == mac_bytes("py", "eth0")
