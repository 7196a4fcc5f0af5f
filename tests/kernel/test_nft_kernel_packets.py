"""Packets through random nf_tables rules fare as in the Linux kernel, frame by frame.

    px 10.1.0.2 ── ea h1 eb ── py 10.2.0.2, 10.2.0.3
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
from facts import in_both
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from netlab import Lab, mac, udp

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/netfilter"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/netfilter/nft"))

from nf_fakes import tcp
from nft_random import rule_sets

from k8semu.linux.core.commands import AddrAdd, NeighAdd, NftApply, RouteAdd, Sysctl
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import icmp_build, ip_build

pytestmark = pytest.mark.kernel

EXAMPLES = 25
WAYS = [
    ("px", "10.1.0.2", "10.2.0.2"), ("px", "10.1.0.2", "10.2.0.3"), ("px", "10.1.0.2", "10.1.0.1"),
    ("px", "10.1.0.2", "10.9.9.9"), ("py", "10.2.0.2", "10.1.0.2"), ("py", "10.2.0.3", "10.2.0.1"),
    ("h1", "10.1.0.1", "10.1.0.2"), ("h1", "10.2.0.1", "10.2.0.2"), ("h1", "10.1.0.1", "10.9.9.9"),
]  # fmt: skip
PACKETS = st.lists(
    st.tuples(st.sampled_from(WAYS), st.sampled_from(["tcp", "udp", "icmp"]), st.sampled_from([80, 81, 443, 9])),
    min_size=8, max_size=14,
)  # fmt: skip


def network() -> Lab:
    """The drawing above; all neighbours are known, and ICMP errors are not limited."""
    lab = Lab("h1", "px", "py")
    lab.forward("h1")
    for pod, dev, subnet in (("px", "ea", 1), ("py", "eb", 2)):
        lab.veth("h1", dev, pod, "eth0")
        lab.address("h1", dev, f"10.{subnet}.0.1/24")
        lab.address(pod, "eth0", f"10.{subnet}.0.2/24")
        lab.route(pod, "default", f"10.{subnet}.0.1")
        lab.tell(pod, NeighAdd(dev="eth0", address=f"10.{subnet}.0.1", lladdr=mac("h1", dev)))
        for last in (2, 3):
            lab.tell("h1", NeighAdd(dev=dev, address=f"10.{subnet}.0.{last}", lladdr=mac(pod, "eth0")))
        lab.tell(pod, Sysctl(name="net.ipv4.icmp_ratelimit", value=0))
    lab.tell("py", AddrAdd(dev="lo", address="10.2.0.3/32"))
    lab.tell("h1", Sysctl(name="net.ipv4.icmp_ratelimit", value=0), RouteAdd(dst="10.9.9.0/24", via="10.2.0.2"))
    for dev in ("all", "ea", "eb"):
        lab.tell("h1", Sysctl(name=f"net.ipv4.conf.{dev}.send_redirects", value=0))
    lab.tell("py", Sysctl(name="net.ipv4.conf.all.send_redirects", value=0))
    lab.tell("py", Sysctl(name="net.ipv4.conf.eth0.send_redirects", value=0))
    return lab


def packet(proto: str, saddr: str, daddr: str, sport: int, dport: int) -> bytearray:
    """With an identification of ours, so that it is compared."""
    if proto == "icmp":
        message = icmp_build(8, 0, sport << 16 | 1, b"payload!")
        return ip_build(ip_aton(saddr), ip_aton(daddr), 1, len(message), ident=77) + message
    if proto == "udp":
        return udp(saddr, daddr, sport, dport)
    segment = tcp(f"{saddr}:{sport}", f"{daddr}:{dport}")[34:]
    return ip_build(ip_aton(saddr), ip_aton(daddr), 6, len(segment), ident=79) + segment


def lab_of(text: str, packets: list[tuple[tuple[str, str, str], str, int]]) -> Lab:
    lab = network()
    lab.tell("h1", NftApply(text=text))
    for netns, dev in (("px", "eth0"), ("py", "eth0"), ("h1", "lo")):
        lab.tap(netns, dev)
    for (netns, saddr, daddr), proto, dport in packets:
        # Only the packets of one flow share a port: where two flows clash, the kernel draws another.
        flow = packets.index(((netns, saddr, daddr), proto, dport))
        lab.send(netns, packet(proto, saddr, daddr, 4000 + flow, dport))
        lab.wait(0.04)
    return lab


def test_packets_through_random_rules_fare_as_in_linux() -> None:
    drawn: list[tuple[str, list[tuple[tuple[str, str, str], str, int]]]] = []

    @settings(
        max_examples=EXAMPLES, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck),
        derandomize=True, deadline=None, database=None,
    )  # fmt: skip
    @given(rule_sets(), PACKETS)
    def draw(text: str, packets: list[tuple[tuple[str, str, str], str, int]]) -> None:
        drawn.append((text, packets))

    draw()
    seen: set[str] = set()
    labs = [partial(lab_of, *case) for case in drawn]
    for (text, _), (ours, linux) in zip(drawn, in_both(labs), strict=True):
        assert ours.splitlines() == linux.splitlines(), text
        seen.update(word for word in ("icmp 3/3", "10.2.0.3", "> 10.2.0.2 proto 6", "errno 1") if word in ours)
    assert len(drawn) == EXAMPLES
    assert seen == {"icmp 3/3", "10.2.0.3", "> 10.2.0.2 proto 6", "errno 1"}


def test_a_packet_leaves_with_the_device_it_came_by_and_one_of_our_own_with_none() -> None:
    text = (
        "add table ip r\nadd chain ip r snat-out { type nat hook postrouting priority 100 ; }\n"
        'add rule ip r snat-out iifname != "eb" snat to 10.2.0.1\n'
    )
    packets = [(WAYS[way], "udp", 9) for way in (6, 4, 0)]      # our own, by eb, by ea
    [(ours, linux)] = in_both([partial(lab_of, text, packets)])
    assert ours.splitlines() == linux.splitlines()
    for source, target in (("10.2.0.1", "10.1.0.2"), ("10.2.0.2", "10.1.0.2"), ("10.2.0.1", "10.2.0.2")):
        assert f"{source} > {target} proto 17" in ours
