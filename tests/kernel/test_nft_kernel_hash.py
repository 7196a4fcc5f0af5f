"""A packet gets the number that the Linux kernel's jhash gives it, and goes the way that is marked for it.

    px 10.1.0.2 … 10.1.0.9 ── ea h1 eb ── py 10.2.0.2
                                 └─ ec ── pz             198.51.100.1 is h1's own, and theirs by mark
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from facts import finish_real, report, start_real
from netlab import Lab, mac, udp

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/netfilter"))

from k8semu.linux.core.commands import AddrAdd, NeighAdd, NftApply, RouteAdd, RuleAdd, RuleDel, Sysctl

pytestmark = pytest.mark.kernel

VIP = "198.51.100.1"
RULES = """add table ip t
add chain ip t p { type filter hook prerouting priority -150 ; }
add chain ip t one { meta mark set 0x1 ; }
add rule ip t p ip daddr 198.51.100.1 udp dport 80 jhash ip saddr . udp sport mod 5 seed 0x6b3873 \
vmap { 0 : goto one, 1 : goto two, 2 : drop, 3 : goto one, 4 : goto two }
add rule ip t p ip daddr 198.51.100.1 udp dport 81 jhash ip saddr mod 3 seed 0x0 offset 7 \
vmap { 7-8 : goto one, 9 : goto two }
add rule ip t p ip daddr 198.51.100.1 jhash ip saddr . ip daddr . th sport . th dport mod 2 seed 0xffffffff 0 drop
"""


def network() -> Lab:
    lab = Lab("h1", "px", "py", "pz")
    lab.forward("h1")
    for pod, dev, subnet in (("px", "ea", 1), ("py", "eb", 2), ("pz", "ec", 3)):
        lab.veth("h1", dev, pod, "eth0")
        lab.address("h1", dev, f"10.{subnet}.0.1/24")
        lab.address(pod, "eth0", f"10.{subnet}.0.2/24")
        lab.route(pod, "default", f"10.{subnet}.0.1")
        lab.tell(pod, NeighAdd(dev="eth0", address=f"10.{subnet}.0.1", lladdr=mac("h1", dev)))
        lab.tell("h1", NeighAdd(dev=dev, address=f"10.{subnet}.0.2", lladdr=mac(pod, "eth0")))
        lab.tell(pod, Sysctl(name="net.ipv4.icmp_ratelimit", value=0))
    for last in range(3, 10):
        lab.tell("px", AddrAdd(dev="eth0", address=f"10.1.0.{last}/24"))
        lab.tell("h1", NeighAdd(dev="ea", address=f"10.1.0.{last}", lladdr=mac("px", "eth0")))
    for pod in ("py", "pz"):
        lab.tell(pod, AddrAdd(dev="lo", address=f"{VIP}/32"))
    lab.tell("h1", AddrAdd(dev="ea", address=f"{VIP}/32"), Sysctl(name="net.ipv4.icmp_ratelimit", value=0))
    lab.tell("h1", RuleAdd(priority=100, table="local"))
    for mark, gateway in ((1, "10.2.0.2"), (2, "10.3.0.2")):
        lab.tell("h1", RouteAdd(dst="default", via=gateway, table=str(100 + mark)))
        lab.tell("h1", RuleAdd(priority=10 + mark, table=str(100 + mark), fwmark=hex(mark)))
    lab.tell("h1", RuleDel(priority=0, table="local"))
    return lab


def lab_of_packets() -> Lab:
    lab = network()
    rules = RULES.replace("add chain ip t one { meta mark set 0x1 ; }\n", "".join(
        f"add chain ip t {name}\nadd rule ip t {name} meta mark set {mark}\n" for name, mark in (("one", 1), ("two", 2))
    ))  # fmt: skip
    lab.tell("h1", NftApply(text=rules))
    for netns in ("px", "py", "pz"):
        lab.tap(netns, "eth0")
    for number in range(48):
        lab.send("px", udp(f"10.1.0.{2 + number % 8}", VIP, 4000 + 97 * number, 80 + number % 3))
        lab.wait(0.01)
    return lab


def test_the_hash_of_a_packet_is_the_kernels_and_its_mark_leads_past_the_local_table() -> None:
    ours = report(lab_of_packets().run())
    assert ours.splitlines() == report(finish_real(start_real(lab_of_packets()))).splitlines()
    met = {part.partition("/")[0]: part.count(f"> {VIP}") for part in ours.split("== ")[1:]}
    assert 8 <= met["py"] <= met["px"] - 8
    assert met["pz"] >= 8
    assert "icmp 3/3" in ours, "what is not marked is for h1 itself, where nobody listens"
