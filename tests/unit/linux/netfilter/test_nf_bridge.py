"""Bridged frames through the iptables hooks, on a real emulated node.

    a 172.17.0.2 ─ vetha ┐                 eth0 10.100.0.2 ─ outside 10.100.0.9
                         docker0 172.17.0.1
    b 172.17.0.3 ─ vethb ┘
"""

# ruff: noqa: E501 - a rule is one line
from __future__ import annotations

import pytest

from k8semu.linux.core import commands as c
from k8semu.linux.netns import NetNs
from k8semu.sim.clock import NS_PER_S
from k8semu.sim.world import World
from k8semu.trace.hop import Hop, Recorder
from k8semu.trace.steps import Originate
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import ip_build
from k8semu.wire.checksum import transport_checksum
from k8semu.wire.header import write_u16


class Lan:
    """A node, two Pods and a machine outside; what happened is in `trace`."""

    def __init__(self, rules: str, hairpin: bool = False) -> None:
        self.world = World(1)
        self.nets: dict[str, NetNs] = {}
        self.trace = Recorder()
        for name in ("node", "a", "b", "outside"):
            self.nets[name] = NetNs(self.world, name, self.nets.__getitem__)
            self.nets[name].trace = self.trace
        self.tell("node", c.Sysctl(name="net.ipv4.ip_forward", value=1), c.BridgeAdd(name="docker0"))
        self.tell("node", c.LinkSet(name="docker0", up=True), c.AddrAdd(dev="docker0", address="172.17.0.1/24"))
        for pod, host in (("a", 2), ("b", 3)):
            self.tell("node", c.VethAdd(name=f"veth{pod}", peer="veth0", peer_netns=pod))
            self.tell("node", c.LinkSet(name=f"veth{pod}", master="docker0", up=True))
            if hairpin:
                self.tell("node", c.BridgePortSet(name=f"veth{pod}", hairpin=True))
            self._address(pod, "veth0", f"172.17.0.{host}/24", "172.17.0.1")
        self.tell("node", c.VethAdd(name="eth0", peer="eth0", peer_netns="outside"))
        self._address("node", "eth0", "10.100.0.2/24", "")
        self._address("outside", "eth0", "10.100.0.9/24", "10.100.0.2")
        self.tell("node", c.IptablesRestore(text=rules))

    def _address(self, netns: str, dev: str, address: str, gateway: str) -> None:
        self.tell(netns, c.LinkSet(name=dev, up=True), c.AddrAdd(dev=dev, address=address))
        if gateway:
            self.tell(netns, c.RouteAdd(dst="default", via=gateway))

    def tell(self, netns: str, *commands: c.Command) -> None:
        for command in commands:
            self.nets[netns].apply(command)

    def udp(self, netns: str, src: str, dst: str, data: bytes = b"x") -> list[Hop]:
        """Send one datagram (ARP runs as it must); its hops."""
        net = self.nets[netns]
        (saddr, sport), (daddr, dport) = ((ip_aton(e.split(":")[0]), int(e.split(":")[1])) for e in (src, dst))
        segment = bytearray(sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + b"\0\0\0\0" + data)
        write_u16(segment, 4, len(segment))
        write_u16(segment, 6, transport_checksum(saddr, daddr, 17, segment))
        skb = net.originate(ip_build(saddr, daddr, 17, len(segment), df=False) + segment, Originate("test"))
        net.ipv4.local_out(skb, net.ipv4.route_output(daddr, saddr))
        self.world.clock.run_until(self.world.clock.now + 2 * NS_PER_S)
        return self.trace.of(skb.id)

    def counters(self, chain: str, table: str = "filter") -> list[int]:
        held = self.nets["node"].netfilter.tables[table].chains[chain]
        return [held.counters(at)[0] for at in range(len(held.rules.rules))]


DNAT = "*nat\n-A PREROUTING -d 10.96.0.1 -p udp -j DNAT --to-destination {}\nCOMMIT\n"
FORWARD = """*filter
-A FORWARD -i docker0 -o docker0 -m physdev --physdev-in vetha --physdev-out vethb --physdev-is-bridged
-A FORWARD -i vetha
-A FORWARD -p udp -m physdev --physdev-in vethb
COMMIT
"""


def arrived(hops: list[Hop]) -> str:
    """The namespace of the last hop."""
    return hops[-1].netns


def test_a_bridged_frame_passes_forward_with_the_bridge_as_device_and_its_ports_as_physdev() -> None:
    lan = Lan(FORWARD)
    assert arrived(lan.udp("a", "172.17.0.2:1000", "172.17.0.3:53")) == "b"
    assert lan.counters("FORWARD") == [1, 0, 0]


def test_with_bridge_nf_call_iptables_off_the_hooks_see_nothing() -> None:
    lan = Lan(FORWARD)
    lan.tell("node", c.Sysctl(name="net.bridge.bridge-nf-call-iptables", value=0))
    assert arrived(lan.udp("a", "172.17.0.2:1000", "172.17.0.3:53")) == "b"
    assert lan.counters("FORWARD") == [0, 0, 0]


def test_a_datagram_put_together_for_connection_tracking_leaves_the_bridge_in_pieces_again() -> None:
    lan = Lan("*filter\n-A FORWARD -m conntrack --ctstate NEW\nCOMMIT\n")
    lan.udp("a", "172.17.0.2:1000", "172.17.0.3:53")
    before = len(lan.trace.hops)
    lan.udp("a", "172.17.0.2:1000", "172.17.0.3:53", bytes(3000))
    steps = [(hop.netns, step.text) for hop in lan.trace.hops[before:] for step in hop.steps]
    assert list(dict.fromkeys(step for step in steps if step[1].startswith(("fragments: cut", "fragments: put")))) == [
        ("a", "fragments: cut into 3 of at most 1500 bytes"),
        ("node", "fragments: put together from 3"), ("node", "fragments: cut into 3 of at most 1500 bytes"),
        ("b", "fragments: put together from 3"),
    ]  # fmt: skip


def test_a_bridged_frame_can_be_dropped_by_a_forward_rule() -> None:
    lan = Lan("*filter\n-A FORWARD -o docker0 -p udp -j DROP\nCOMMIT\n")
    hops = lan.udp("a", "172.17.0.2:1000", "172.17.0.3:53")
    assert arrived(hops) == "node"
    assert "NETFILTER_DROP" in hops[-1].last.text


def test_a_frame_translated_to_a_neighbour_on_the_bridge_goes_there_and_its_answer_comes_back() -> None:
    lan = Lan(DNAT.format("172.17.0.3:53"))
    hops = lan.udp("a", "172.17.0.2:1000", "10.96.0.1:53")
    assert arrived(hops) == "b"
    hops = lan.udp("b", "172.17.0.3:53", "172.17.0.2:1000")
    assert arrived(hops) == "a"
    node = next(hop for hop in hops if hop.netns == "node")
    assert any("src 172.17.0.3:53 -> 10.96.0.1:53" in step.text for step in node.steps)
    (entry,) = lan.nets["node"].netfilter.conntrack.entries()
    assert entry.text(lan.world.clock.now).startswith("udp      17 28 src=172.17.0.2 dst=10.96.0.1 sport=1000 dport=53 src=172.17.0.3")


def test_a_frame_translated_to_elsewhere_is_handed_up_and_routed() -> None:
    lan = Lan(DNAT.format("10.100.0.9:53") + FORWARD)
    assert arrived(lan.udp("a", "172.17.0.2:1000", "10.96.0.1:53")) == "outside"
    assert lan.counters("FORWARD") == [0, 0, 0]


def test_a_pod_reaches_itself_by_its_service_if_the_port_is_a_hairpin() -> None:
    rules = DNAT.format("172.17.0.2:53").replace("COMMIT", "-A POSTROUTING -s 172.17.0.2 -d 172.17.0.2 -j MASQUERADE\nCOMMIT")
    hops = Lan(rules, hairpin=True).udp("a", "172.17.0.2:1000", "10.96.0.1:53")
    assert [hop.netns for hop in hops] == ["a", "node", "a"]
    hops = Lan(rules).udp("a", "172.17.0.2:1000", "10.96.0.1:53")
    assert "hairpin is off" in hops[-1].last.text


@pytest.mark.parametrize("table", ["raw", "mangle"])
def test_prerouting_sees_a_frame_once_that_the_bridge_hands_up(table: str) -> None:
    lan = Lan(f"*{table}\n-A PREROUTING -p udp\nCOMMIT\n")
    assert arrived(lan.udp("a", "172.17.0.2:1000", "10.100.0.9:53")) == "outside"
    assert lan.counters("PREROUTING", table) == [1]
