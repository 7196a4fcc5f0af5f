"""Any bytes on any device: never an exception, always an end, in a bounded number of events.

Frames are random bytes, or good frames with damage: cut, with bytes changed, with lengths and
checksums that lie, in fragments, in VXLAN in VXLAN; and bridges that are wired in circles.
"""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from netlab import Emulated, Lab, arp, framed, icmp_echo, mac_bytes, two_nodes, two_pods, udp

from k8semu.linux.core.commands import AddrAdd, LinkSet, TunAdd
from k8semu.linux.core.skb import MAX_LIFE
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import vxlan_build
from k8semu.wire.checksum import checksum

MOST_EVENTS = 30 * MAX_LIFE


def settle(world: Emulated, events: int = MOST_EVENTS) -> int:
    """Let everything happen; how many events it took."""
    count = 0
    while world.world.clock.step():
        count += 1
        assert count <= events, "the frames go on and on"
    return count


def check(world: Emulated) -> None:
    """What the namespaces still hold on to: nothing waits for ever."""
    for net in world.nets.values():
        assert not net.ipv4.fragments._queues
        assert not any(neigh.queue for neigh in net.ipv4.arp.table.entries.values())


NODE = two_nodes()
PLACES = [
    ("px", "eth0"),
    ("h1", "vpx"),
    ("h1", "docker0"),
    ("h1", "flannel.1"),
    ("h1", "eth0"),
    ("sw", "h2"),
    ("px", "lo"),
]
X, Y = mac_bytes("px", "eth0"), mac_bytes("h1", "docker0")


def in_vxlan(inner: bytes) -> bytes:
    outer = vxlan_build(
        ip_aton("10.100.0.3"), ip_aton("10.100.0.2"), 5000, 8472, 1, bytearray(inner[:1400]), 64, 0, 1, False
    )
    return framed(outer, mac_bytes("h2", "eth0"), mac_bytes("h1", "eth0"))


GOOD = [
    framed(icmp_echo("172.17.0.2", "172.17.1.3"), X, Y),
    framed(udp("172.17.0.2", "172.17.1.3", 4000, 5000, bytes(1400)), X, Y),
    framed(udp("172.17.0.2", "172.17.0.1", 4000, 8472, bytes(40)), X, Y),
    framed(icmp_echo("10.100.0.3", "10.100.0.2"), mac_bytes("h2", "eth0"), mac_bytes("h1", "eth0")),
    arp(1, X, "172.17.0.2", "172.17.0.1"),
    arp(2, X, "172.17.0.2", "172.17.0.1", dmac=Y),
    in_vxlan(framed(icmp_echo("172.17.1.3", "172.17.0.2"), mac_bytes("h2", "flannel.1"), mac_bytes("h1", "flannel.1"))),
]
GOOD += [in_vxlan(GOOD[-1]), in_vxlan(in_vxlan(GOOD[0])), in_vxlan(GOOD[4])]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good frame with damage; its header checksum may be set right again, so that the damage gets further."""
    frame = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.one_of(st.integers(0, 50), st.integers(0, len(frame) - 1)))
        frame[at % len(frame)] = draw(st.integers(0, 255))
    cut = draw(st.one_of(st.none(), st.integers(14, len(frame))))
    if cut is not None:
        del frame[cut:]
    if draw(st.booleans()) and len(frame) >= 34 and frame[12:14] == b"\x08\x00":
        end = 14 + (frame[14] & 15) * 4
        frame[24:26] = b"\0\0"
        frame[24:26] = checksum(frame[14:end]).to_bytes(2, "big")
    return bytes(frame)


anything = st.one_of(damaged(), st.binary(min_size=14, max_size=120))


@settings(max_examples=250)
@given(st.lists(st.tuples(st.sampled_from(PLACES), anything, st.booleans()), min_size=1, max_size=6))
@example([(("h1", "eth0"), in_vxlan(b"\0" * 14), True)])
def test_any_bytes_on_any_device_end(sent: list[tuple[tuple[str, str], bytes, bool]]) -> None:
    world = Emulated(NODE.netns)
    world.play(NODE.steps)
    for (netns, dev), frame, inwards in sent:
        device = world.nets[netns].devs[dev]
        if inwards and getattr(device, "peer", None) is not None:
            device.peer.inject(frame)
        else:
            device.inject(frame)
    settle(world)
    check(world)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 1600), st.integers(0, 1600), st.booleans()), min_size=1, max_size=12), st.data()
)
def test_any_fragments_end(parts: list[tuple[int, int, bool]], data: st.DataObject) -> None:
    lab = two_pods()
    world = Emulated(lab.netns)
    world.play(lab.steps)
    for offset, size, more in parts:
        frame = bytearray(framed(icmp_echo("172.17.0.2", "172.17.0.1", size=min(size, 1400), ident=7), X, Y))
        flags = offset & 0x1FFF | (0x2000 if more else 0) | (data.draw(st.sampled_from([0, 0x4000, 0x8000])))
        frame[20:22] = flags.to_bytes(2, "big")
        frame[24:26] = b"\0\0"
        frame[24:26] = checksum(frame[14:34]).to_bytes(2, "big")
        world.nets["px"].devs["eth0"].inject(bytes(frame))
    settle(world)
    check(world)


@settings(max_examples=80)
@given(st.binary(max_size=80), st.sampled_from([b"", b"\x45", b"\x60", b"\x4f\xff"]))
def test_any_bytes_written_to_a_tun_device_end(packet: bytes, start: bytes) -> None:
    lab = Lab("node")
    lab.forward("node")
    lab.tell("node", TunAdd(name="tun0"), LinkSet(name="tun0", up=True), AddrAdd(dev="tun0", address="10.1.0.1/16"))
    world = Emulated(lab.netns)
    world.play(lab.steps)
    tun = world.nets["node"].devs["tun0"]
    got: list[bytes] = []
    tun.reader = lambda data, _: got.append(data)
    tun.write(start + packet, None)
    settle(world)


def ring(bridges: int, twice: bool) -> Lab:
    """Bridges that are wired in a circle (or with two cables between each two), and a station at the first."""
    names = [f"sw{i}" for i in range(bridges)]
    lab = Lab("station", *names)
    for name in names:
        lab.bridge(name, "br0")
    for i, name in enumerate(names):
        for cable in range(2 if twice else 1):
            far = names[(i + 1) % bridges]
            lab.veth(name, f"out{cable}", far, f"in{cable}", master="br0")
            lab.tell(far, LinkSet(name=f"in{cable}", master="br0"))
    lab.veth("sw0", "st", "station", "eth0", master="br0")
    return lab


@settings(max_examples=12)
@given(st.integers(2, 3), st.booleans(), st.sampled_from([b"\xff" * 6, bytes.fromhex("020000000001"), b"\0" * 6]))
def test_frames_in_a_circle_of_bridges_end(bridges: int, twice: bool, dmac: bytes) -> None:
    lab = ring(bridges, twice)
    world = Emulated(lab.netns)
    world.play(lab.steps)
    world.recorder.hops.clear()
    world.nets["station"].devs["eth0"].inject(dmac + mac_bytes("station", "eth0") + b"\x88\xb5" + bytes(46))
    settle(world)
    reasons = {hop.last.text.split(" (")[0] for hop in world.recorder.hops}
    assert "dropped: LOOP_LIMIT" in reasons
