"""What is always true of frames on their way: each copy ends once, TTL falls by one per hop, checksums hold,
a bridge never sends a frame back, and the longest prefix wins."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from netlab import Emulated, Lab, icmp_echo, mac_bytes, two_nodes, udp

from k8semu.linux.core.dev import Direction, NetDevice
from k8semu.linux.core.skb import Skb
from k8semu.linux.ipv4.fib import FibTable, Route
from k8semu.trace.hop import LAST
from k8semu.wire.addr import Prefix, ip_aton
from k8semu.wire.checksum import checksum, transport_checksum

# --- routes -------------------------------------------------------------------------------------

addresses = st.integers(0, 2**32 - 1)
prefixes = st.builds(
    lambda addr, plen: Prefix.of(addr.to_bytes(4, "big"), plen),
    st.one_of(addresses, st.integers(0xAC110000, 0xAC1103FF)), st.integers(0, 32),
)  # fmt: skip


@given(st.lists(st.tuples(prefixes, st.integers(0, 3)), max_size=40), st.lists(addresses, min_size=1, max_size=20))
def test_the_longest_prefix_with_the_smallest_metric_wins(routes: list[tuple[Prefix, int]], targets: list[int]) -> None:
    table = FibTable(254)
    known: list[Route] = []
    for prefix, metric in routes:
        if not any(r.dst == prefix and r.metric == metric for r in known):
            known.append(Route(prefix, None, type="blackhole", metric=metric))
            table.add(known[-1])
    interesting = [int.from_bytes(r.dst.addr, "big") for r in known]
    for target in targets + interesting:
        packed = target.to_bytes(4, "big")
        fitting = [r for r in known if packed in r.dst]
        best = min(fitting, key=lambda r: (-r.dst.plen, r.metric), default=None)
        assert table.lookup(target) is best


@given(st.lists(st.tuples(prefixes, st.booleans()), max_size=30), addresses)
def test_a_route_that_was_removed_is_not_found(routes: list[tuple[Prefix, bool]], target: int) -> None:
    table = FibTable(254)
    kept: list[Route] = []
    gone: list[Route] = []
    for prefix, keep in routes:
        if not any(r.dst == prefix for r in kept + gone):
            route = Route(prefix, None, type="blackhole")
            table.add(route)
            (kept if keep else gone).append(route)
    for route in gone:
        table.remove(route)
    assert list(table) == sorted(kept, key=lambda r: (r.dst.addr, -r.dst.plen))
    assert table.lookup(target) not in gone


# --- packets ------------------------------------------------------------------------------------

POD_X, POD_Y, NODE_1, NODE_2 = "172.17.0.2", "172.17.1.3", "10.100.0.2", "10.100.0.3"
targets = st.sampled_from(
    [POD_Y, NODE_1, NODE_2, "172.17.0.1", "172.17.1.1", "172.17.1.99", "10.99.0.1", "172.17.0.255"]
)
sends = st.lists(
    st.tuples(targets, st.integers(0, 1600), st.integers(1, 64), st.booleans(), st.booleans()), min_size=1, max_size=6
)


class Watched(Emulated):
    """Also keeps every skb that began, and what each tap saw of it."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab.netns)
        self.skbs: list[Skb] = []
        self.sightings: list[tuple[str, Direction, int, bytes]] = []
        self.play(lab.steps)
        for net in self.nets.values():
            for dev in net.devs.values():
                dev.tap = self._see

    def _see(self, skb: Skb, dev: NetDevice, direction: Direction) -> None:
        self.sightings.append((f"{dev.net.name}/{dev.name}", direction, skb.id, bytes(skb.data)))
        if not any(known is skb for known in self.skbs[-40:]):
            self.skbs.append(skb)

    def settle(self) -> None:
        while self.world.clock.step():
            pass


@settings(max_examples=40)
@given(st.booleans(), sends)
def test_every_packet_ends_once_with_right_checksums(
    overlay: bool, packets: list[tuple[str, int, int, bool, bool]]
) -> None:
    world = Watched(two_nodes(overlay))
    for target, size, ttl, df, echo in packets:
        if echo:
            packet = icmp_echo(POD_X, target, size=min(size, 1472), ttl=ttl, df=df)
        else:
            packet = udp(POD_X, target, 4000, 5000, bytes(min(size, 1472)), ttl=ttl, df=df)
        world._send("px", bytes(packet[14:]))
    world.settle()
    assert all(skb.ended for skb in world.skbs)
    for hop in world.recorder.hops:
        assert isinstance(hop.last, LAST)
    for where, _, _, frame in world.sightings:
        problem = wrong_checksum(frame)
        assert not problem, f"{problem} at {where}"


def wrong_checksum(frame: bytes) -> str:
    if frame[12:14] != b"\x08\x00":
        return ""
    hlen = (frame[14] & 15) * 4
    if checksum(frame[14 : 14 + hlen]):
        return "IP header checksum"
    segment = frame[14 + hlen : 14 + (frame[16] << 8 | frame[17])]
    if (frame[20] & 0x3F) | frame[21]:
        return ""
    if frame[23] == 1:
        return "ICMP checksum" if checksum(segment) else ""
    if frame[23] == 17 and segment[6:8] != b"\0\0":
        whole = transport_checksum(frame[26:30], frame[30:34], 17, segment[:6] + b"\0\0" + segment[8:]) or 0xFFFF
        return "UDP checksum" if whole.to_bytes(2, "big") != segment[6:8] else ""
    if frame[23] == 17 and segment[2:4] == b"\x21\x18":
        return wrong_checksum(segment[16:])
    return ""


@given(st.integers(1, 64))
def test_the_ttl_falls_by_one_at_each_router(ttl: int) -> None:
    world = Watched(two_nodes(overlay=False))
    world._send("px", bytes(icmp_echo(POD_X, POD_Y, ttl=ttl)[14:]))
    world.settle()
    echoes = {w: f[22] for w, _, _, f in world.sightings if f[12:14] == b"\x08\x00" and f[30:34] == ip_aton(POD_Y)}
    assert echoes["px/eth0"] == echoes["h1/docker0"] == ttl
    assert echoes.get("h2/eth0", 0) == ttl - 1
    assert echoes.get("py/eth0", 0) == max(ttl - 2, 0)


# --- bridges ------------------------------------------------------------------------------------

STATIONS = [bytes.fromhex(f"0200000000{n:02x}") for n in range(1, 5)]
DESTINATIONS = [*STATIONS, b"\xff" * 6, bytes.fromhex("01005e000001"), bytes.fromhex("0180c200000e"), bytes(6)]
frames = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(STATIONS), st.sampled_from(DESTINATIONS)), min_size=1, max_size=12
)


def star() -> Lab:
    lab = Lab("sw", *(f"st{i}" for i in range(4)))
    lab.bridge("sw", "br0", "10.0.0.254/24")
    for i in range(4):
        lab.veth("sw", f"port{i}", f"st{i}", "eth0", master="br0")
    return lab


@settings(max_examples=60)
@given(frames)
def test_a_bridge_sends_each_frame_at_most_once_to_each_port_and_never_back(
    sent: list[tuple[int, bytes, bytes]],
) -> None:
    world = Watched(star())
    for number, (station, smac, dmac) in enumerate(sent):
        world.sightings.clear()
        body = number.to_bytes(4, "big") * 12
        world.nets[f"st{station}"].devs["eth0"].inject(dmac + smac + b"\x88\xb5" + body)
        world._pass(1_000_000)
        outs = Counter(where for where, direction, _, frame in world.sightings
                       if direction is Direction.OUT and where.startswith("sw/") and frame[14:] == body)  # fmt: skip
        assert outs[f"sw/port{station}"] == 0
        assert all(count == 1 for count in outs.values())
    assert all(skb.ended for skb in world.skbs)


@given(st.permutations(range(4)))
def test_a_station_moves_to_the_port_it_was_last_heard_on(ports: list[int]) -> None:
    world = Watched(star())
    for port in ports:
        world.nets[f"st{port}"].devs["eth0"].inject(b"\xff" * 6 + STATIONS[0] + b"\x88\xb5" + bytes(46))
        world._pass(1_000_000)
    world.sightings.clear()
    asker = world.nets[f"st{(ports[-1] + 1) % 4}"].devs["eth0"]
    asker.inject(STATIONS[0] + mac_bytes(asker.net.name, "eth0") + b"\x88\xb5" + bytes(46))
    world._pass(1_000_000)
    assert {w for w, d, _, _ in world.sightings if d is Direction.OUT and w.startswith("sw/")} == {
        f"sw/port{ports[-1]}"
    }
