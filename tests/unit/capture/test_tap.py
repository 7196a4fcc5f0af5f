"""Every frame on the devices of a run becomes a record, with what was decided about it."""

from __future__ import annotations

import io

import pytest

from k8semu.capture import tap
from k8semu.capture.frame import LINKTYPE_RAW, Frame
from k8semu.capture.pcapng import PcapngWriter
from k8semu.capture.pcapng_reader import PcapngReader
from k8semu.capture.tap import CaptureSession
from k8semu.linux.core.dev import Direction, Iff, NetDevice
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import Skb, consume, deliver, drop, transmit
from k8semu.sim.world import World
from k8semu.trace.steps import BridgeStep, CtStep, Deliver, FdbStep, FibStep, NatStep, NotModelled, Originate

IN, OUT = Direction.IN, Direction.OUT
ROUTE = FibStep("10.0.0.9", "default via 172.17.0.1 dev eth0")
NAT = NatStep("dst 10.96.0.20:80 -> 172.17.1.3:8080", "Service default/account-service:http")


class Cable(NetDevice):
    """A device that only gets frames through its tap here."""

    kind = "veth"


class Bridge(NetDevice):
    kind = "bridge"


class Tun(NetDevice):
    kind = "tun"
    hard_header_len = 0


class Node:
    """A namespace whose devices are captured into memory."""

    def __init__(self) -> None:
        self.net = Net(World(), "host1")
        self.out = io.BytesIO()
        self.session = CaptureSession(PcapngWriter(self.out))
        self.session.attach(self.net)

    def add(self, kind: type[NetDevice], name: str, flags: Iff = Iff.UP) -> NetDevice:
        dev = kind(self.net, name, bytes(6), 1500, flags)
        self.net.register(dev)
        return dev

    def receive(self, dev: NetDevice, data: bytes = b"frame", packet_id: int = 7) -> Skb:
        skb = Skb(self.net, bytearray(data), packet_id, dev.received)
        see(skb, dev, IN)
        return skb

    def frames(self) -> list[Frame]:
        self.session.close()
        return list(PcapngReader(io.BytesIO(self.out.getvalue()), "memory"))


def see(skb: Skb, dev: NetDevice, direction: Direction) -> None:
    assert dev.tap is not None
    dev.tap(skb, dev, direction)


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_forwarded_frame_says_why_where_it_leaves(node: Node) -> None:
    eth0, veth = node.add(Cable, "eth0"), node.add(Cable, "veth1")
    node.net.clock.now = 123_456
    skb = node.receive(eth0)
    skb.steps += [ROUTE, NAT]
    skb.data[:] = b"FRAME"
    see(skb, veth, OUT)
    transmit(skb, veth.transmitted)
    assert node.frames() == [
        Frame(123_456, "host1/eth0", 1, b"frame", 7),
        Frame(123_456, "host1/veth1", 2, b"FRAME", 7, (ROUTE.text, NAT.text)),
    ]


def test_the_end_of_a_packet_stands_on_the_frame_last_seen(node: Node) -> None:
    eth0 = node.add(Cable, "eth0")
    delivered, dropped, consumed = (node.receive(eth0, packet_id=number) for number in (1, 2, 3))
    delivered.steps.append(ROUTE)
    deliver(delivered, Deliver("tcp 172.17.0.3:80 (nginx)"))
    drop(dropped, Drop.NETFILTER_DROP, "FORWARD policy")
    consume(consumed, "ARP reply sent")
    assert [frame.comments for frame in node.frames()] == [
        (ROUTE.text, "delivered to tcp 172.17.0.3:80 (nginx)"),
        ("dropped: NETFILTER_DROP (FORWARD policy)",),
        ("consumed: ARP reply sent",),
    ]


def test_bookkeeping_is_no_comment_but_the_sender_and_what_is_not_modelled_are(node: Node) -> None:
    eth0 = node.add(Cable, "eth0")
    skb = node.net.originate(bytearray(b"frame"), Originate("curl tcp 172.17.0.2:40000"))
    skb.steps += [CtStep("new"), NotModelled("a queueing discipline")]
    see(skb, eth0, OUT)
    transmit(skb, eth0.transmitted)
    assert [frame.comments for frame in node.frames()] == [
        ("sent by curl tcp 172.17.0.2:40000", "not modelled: a queueing discipline")
    ]


def test_each_copy_of_a_flooded_frame_tells_its_own_way(node: Node) -> None:
    one, two, three = (node.add(Cable, f"veth{number}") for number in (1, 2, 3))
    learned, flooded = FdbStep("docker0", "learned"), BridgeStep("docker0", "flood to 2 ports")
    skb = node.receive(one)
    skb.steps += [learned, flooded]
    copy = skb.copy()
    see(copy, two, OUT)
    transmit(copy, two.transmitted)
    see(skb, three, OUT)
    transmit(skb, three.transmitted)
    told = (learned.text, flooded.text)
    assert [(frame.interface, frame.comments) for frame in node.frames()] == [
        ("host1/veth1", ()), ("host1/veth2", told), ("host1/veth3", told),
    ]  # fmt: skip


def test_a_frame_that_waits_holds_back_those_behind_it_so_that_order_is_kept(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap, "BATCH", 1)
    eth0 = node.add(Cable, "eth0")
    waiting = node.receive(eth0, packet_id=1)
    deliver(node.receive(eth0, packet_id=2), Deliver("a socket"))
    assert node.session.frames == 0
    drop(waiting, Drop.NEIGH_FAILED)
    deliver(node.receive(eth0, packet_id=3), Deliver("a socket"))
    assert node.session.frames == 2
    assert [(frame.packet_id, frame.comments) for frame in node.frames()] == [
        (1, ("dropped: NEIGH_FAILED",)), (2, ("delivered to a socket",)), (3, ("delivered to a socket",)),
    ]  # fmt: skip


def test_a_frame_that_waits_for_too_long_is_written_as_it_stands(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap, "BATCH", 1)
    monkeypatch.setattr(tap, "HELD", 3)
    eth0 = node.add(Cable, "eth0")
    waiting = node.receive(eth0, packet_id=1)
    for number in (2, 3, 4):
        deliver(node.receive(eth0, packet_id=number), Deliver("a socket"))
    assert node.session.frames == 3
    drop(waiting, Drop.NEIGH_FAILED)
    assert [frame.packet_id for frame in node.frames()] == [1, 2, 3, 4]


def test_only_wanted_devices_are_captured_and_later_ones_too() -> None:
    net, out = Net(World(), "host1"), io.BytesIO()
    early = Cable(net, "eth0", bytes(6), 1500, Iff.UP)
    net.register(early)
    session = CaptureSession(PcapngWriter(out), lambda net, dev: dev.name != "hidden")
    session.attach(net)
    late, hidden = (Cable(net, name, bytes(6), 1500, Iff.UP) for name in ("veth1", "hidden"))
    net.register(late)
    net.register(hidden)
    assert early.tap is not None
    assert late.tap is not None
    assert hidden.tap is None
    session.close()
    assert early.tap is None
    assert net.on_device == []
    reader = PcapngReader(io.BytesIO(out.getvalue()), "memory")
    assert list(reader) == []
    assert reader.interfaces == ["host1/eth0", "host1/veth1"]


def test_a_bridge_is_promiscuous_while_it_is_captured(node: Node) -> None:
    bridge = node.add(Bridge, "docker0")
    assert bridge.flags & Iff.PROMISC
    node.session.close()
    assert not bridge.flags & Iff.PROMISC


def test_a_bridge_that_was_promiscuous_stays_so(node: Node) -> None:
    bridge = node.add(Bridge, "docker0", Iff.UP | Iff.PROMISC)
    node.session.close()
    assert bridge.flags & Iff.PROMISC


def test_the_loopback_shows_each_frame_once_and_is_silent_until_then(node: Node) -> None:
    lo = node.add(Cable, "lo", Iff.UP | Iff.LOOPBACK)
    other = node.add(Cable, "eth0")
    skb = node.net.originate(bytearray(b"frame"), Originate("curl"))
    see(skb, lo, OUT)
    skb.steps.append(ROUTE)
    see(skb, lo, IN)
    deliver(skb, Deliver("nginx"))
    node.receive(other)
    frames = node.frames()
    assert [(frame.interface, frame.direction) for frame in frames] == [("host1/lo", 1), ("host1/eth0", 1)]
    assert frames[0].comments == ("sent by curl", ROUTE.text, "delivered to nginx")
    reader = PcapngReader(io.BytesIO(node.out.getvalue()), "memory")
    list(reader)
    assert reader.interfaces == ["host1/eth0", "host1/lo"]


def test_a_tun_device_shows_packets_without_link_header(node: Node) -> None:
    tun = node.add(Tun, "flannel0")
    node.receive(tun, bytes(12) + b"\x08\x00" + b"E\x00packet")
    node.receive(tun, b"short")
    frames = node.frames()
    assert [(frame.data, frame.linktype) for frame in frames] == [(b"E\x00packet", LINKTYPE_RAW), (b"", LINKTYPE_RAW)]


def test_a_device_made_again_under_its_name_is_the_same_interface(node: Node) -> None:
    for packet_id in (1, 2):
        dev = node.add(Cable, "veth1")
        node.receive(dev, packet_id=packet_id)
        node.net.unregister(dev)
    assert [frame.interface for frame in node.frames()] == ["host1/veth1", "host1/veth1"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_run_that_fails_aborts_its_capture(error: type[BaseException]) -> None:
    net, out = Net(World(), "host1"), io.BytesIO()

    def run() -> None:
        with CaptureSession(PcapngWriter(out)) as session:
            session.attach(net)
            net.register(Cable(net, "eth0", bytes(6), 1500, Iff.UP))
            raise error

    with pytest.raises(error):
        run()
    assert out.getvalue() == b""
    assert net.devs["eth0"].tap is None


def test_comments_kept_ready_are_bounded_and_right_when_forgotten(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap, "MEMO", 4)
    eth0 = node.add(Cable, "eth0")
    for number in range(20):
        drop(node.receive(eth0, packet_id=number), Drop.NO_SOCKET, f"port {number}")
        assert len(node.session._memo) <= 4
    assert [frame.comments[0] for frame in node.frames()] == [f"dropped: NO_SOCKET (port {n})" for n in range(20)]
