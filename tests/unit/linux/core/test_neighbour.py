"""Neighbour entries: when they are asked about, believed, checked and given up."""

from __future__ import annotations

import pytest
from netlab import Emulated, Lab, arp, icmp_echo, mac, mac_bytes, two_pods

from k8semu.linux.core.commands import LinkSet, NeighAdd, Sysctl
from k8semu.linux.core.neighbour import Neighbour, Nud
from k8semu.sim.clock import NS_PER_S
from k8semu.trace.steps import DropStep
from k8semu.wire.addr import ip_aton

ARP = b"\x08\x06"


class Asker:
    """Pod px on docker0 and what it sends; 172.17.0.9 is nobody."""

    def __init__(self, *extra: tuple[str, Sysctl | NeighAdd]) -> None:
        lab = two_pods()
        for netns, command in extra:
            lab.tell(netns, command)
        lab.tap("px", "eth0")
        self.world = Emulated(lab.netns)
        self.world.play(lab.steps)
        self.net = self.world.nets["px"]

    def ping(self, target: str, seq: int = 1) -> None:
        self.world._send("px", bytes(icmp_echo("172.17.0.2", target, seq)[14:]))

    def wait(self, seconds: float) -> None:
        self.world._pass(int(seconds * NS_PER_S))

    def entry(self, target: str) -> Neighbour:
        found = self.net.ipv4.arp.table.lookup(self.net.devs["eth0"], ip_aton(target))
        assert found is not None
        return found

    def asked(self) -> list[bytes]:
        """Destinations of the ARP requests px sent."""
        frames = self.world.seen.taps["px/eth0"]
        return [f[0:6] for direction, f in frames if direction == "out" and f[12:14] == ARP and f[21] == 1]


def test_nobody_is_asked_for_three_times_a_second_apart_and_then_given_up() -> None:
    asker = Asker()
    asker.ping("172.17.0.9")
    asker.wait(0.5)
    assert len(asker.asked()) == 1
    asker.wait(2)
    assert len(asker.asked()) == 3
    assert asker.entry("172.17.0.9").state is Nud.INCOMPLETE
    asker.wait(1)
    assert asker.entry("172.17.0.9").state is Nud.FAILED
    assert len(asker.asked()) == 3


def test_packets_wait_in_order_and_each_is_reported_when_nobody_answers() -> None:
    asker = Asker()
    for seq in (1, 2, 3):
        asker.ping("172.17.0.9", seq)
    asker.wait(4)
    lost = [h for h in asker.world.recorder.hops if isinstance(h.last, DropStep) and "NEIGH_FAILED" in h.last.text]
    assert [hop.packet_id for hop in lost] == sorted(hop.packet_id for hop in lost)
    assert len(lost) == 3


def test_what_does_not_fit_into_the_queue_is_lost_oldest_first() -> None:
    asker = Asker(("px", Sysctl(name="net.ipv4.neigh.eth0.unres_qlen", value=2)))
    for seq in (1, 2, 3):
        asker.ping("172.17.0.9", seq)
    full = [h for h in asker.world.recorder.hops if "NEIGH_QUEUEFULL" in h.last.text]
    assert len(full) == 1
    assert len(asker.entry("172.17.0.9").queue) == 2


def test_a_hundred_and_one_packets_wait_for_an_answer() -> None:
    asker = Asker()
    for seq in range(103):
        asker.ping("172.17.0.9", seq)
    assert len(asker.entry("172.17.0.9").queue) == 101
    assert sum("NEIGH_QUEUEFULL" in h.last.text for h in asker.world.recorder.hops) == 2


def test_a_neighbour_that_no_longer_answers_is_asked_three_times_by_its_own_address_and_given_up() -> None:
    gone = mac("nobody", "eth0")
    asker = Asker(("px", NeighAdd(dev="eth0", address="172.17.0.9", lladdr=gone, state="stale")))
    asker.ping("172.17.0.9")
    asker.wait(12)
    assert asker.asked() == [mac_bytes("nobody", "eth0")] * 3
    assert asker.entry("172.17.0.9").state is Nud.FAILED


def test_an_entry_in_use_is_checked_five_seconds_after_it_went_stale() -> None:
    asker = Asker(("px", NeighAdd(dev="eth0", address="172.17.0.3", lladdr=mac("py", "eth0"), state="stale")))
    asker.ping("172.17.0.3")
    assert asker.entry("172.17.0.3").state is Nud.DELAY
    asker.wait(4.9)
    assert asker.asked() == []
    asker.wait(0.2)
    assert asker.asked() == [mac_bytes("py", "eth0")], "the check is unicast"
    assert asker.entry("172.17.0.3").state is Nud.REACHABLE


@pytest.mark.parametrize(("confirmed_at", "asked"), [(0.002, 1), (2, 0)])
def test_an_entry_is_checked_even_if_it_was_confirmed_at_once_for_timers_are_late(
    confirmed_at: float, asked: int
) -> None:
    asker = Asker(("px", NeighAdd(dev="eth0", address="172.17.0.3", lladdr=mac("py", "eth0"), state="stale")))
    asker.ping("172.17.0.3")
    asker.wait(confirmed_at)
    asker.net.ipv4.arp.table.confirm(asker.entry("172.17.0.3"))
    asker.wait(5.6)
    assert len(asker.asked()) == asked
    assert asker.entry("172.17.0.3").state is Nud.REACHABLE


def test_a_permanent_entry_is_neither_asked_about_nor_changed_by_what_others_say() -> None:
    asker = Asker(("px", NeighAdd(dev="eth0", address="172.17.0.9", lladdr="02:00:00:00:00:99")))
    asker.ping("172.17.0.9")
    asker.world.nets["py"].devs["eth0"].inject(arp(1, mac_bytes("py", "eth0"), "172.17.0.9", "172.17.0.2"))
    asker.wait(10)
    assert asker.asked() == []
    assert asker.entry("172.17.0.9").ha == bytes.fromhex("020000000099")


def test_who_looks_before_taking_an_address_is_told_by_its_owner_and_by_nobody_else() -> None:
    """Duplicate address detection (RFC 5227): a request from 0.0.0.0."""
    asker = Asker()
    looking, mine = asker.world.nets["py"].devs["eth0"], mac_bytes("px", "eth0")
    for target in ("172.17.0.9", "172.17.0.2"):
        looking.inject(arp(1, mac_bytes("py", "eth0"), "0.0.0.0", target))
        asker.wait(0.1)
    answers = [f for d, f in asker.world.seen.taps["px/eth0"] if d == "out" and f[12:14] == ARP and f[21] == 2]
    assert answers == [arp(2, mine, "172.17.0.2", "0.0.0.0", mac_bytes("py", "eth0"), mac_bytes("py", "eth0"))]


def test_of_two_answers_within_a_second_the_first_counts() -> None:
    asker = Asker()
    asker.ping("172.17.0.3")
    asker.wait(0.1)
    liar = asker.world.nets["py"].devs["eth0"]
    other = bytes.fromhex("020000000066")
    answer = arp(2, other, "172.17.0.3", "172.17.0.2", tha=mac_bytes("px", "eth0"), dmac=mac_bytes("px", "eth0"))
    liar.inject(answer)
    asker.wait(0.1)
    assert asker.entry("172.17.0.3").ha == mac_bytes("py", "eth0")
    asker.wait(1)
    liar.inject(answer)
    asker.wait(0.1)
    assert asker.entry("172.17.0.3").ha == other


def test_an_entry_is_reachable_between_half_and_one_and_a_half_of_the_base_time() -> None:
    asker = Asker()
    asker.ping("172.17.0.3")
    asker.wait(0.1)
    entry = asker.entry("172.17.0.3")
    times = [entry.reachable] + [asker.net.ipv4.arp.table.reachable_time(entry) for _ in range(1000)]
    assert 15 * NS_PER_S <= min(times) < 16 * NS_PER_S
    assert 44 * NS_PER_S < max(times) <= 45 * NS_PER_S
    asker.wait(46)
    asker.ping("172.17.0.3", 2)
    assert asker.entry("172.17.0.3").state is Nud.DELAY


def test_entries_go_with_the_carrier_but_for_permanent_ones() -> None:
    lab = Lab("aa", "bb")
    lab.veth("aa", "e0", "bb", "e1")
    lab.address("aa", "e0", "10.0.0.1/24")
    lab.tell("aa", NeighAdd(dev="e0", address="10.0.0.8", lladdr="02:00:00:00:00:08"))
    lab.tell("aa", NeighAdd(dev="e0", address="10.0.0.9", lladdr="02:00:00:00:00:09", state="reachable"))
    lab.tell("bb", LinkSet(name="e1", up=False))
    world = Emulated(lab.netns)
    world.play(lab.steps)
    assert [n.state for n in world.nets["aa"].ipv4.arp.table.entries.values()] == [Nud.PERMANENT]
