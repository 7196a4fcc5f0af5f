"""ARP and neighbours: who is asked, who answers, what is believed, for how long.

Each function is a lab (`netlab.py`) that `test_linux_facts.py` plays in the kernel and in the emulator.
"""

from __future__ import annotations

from netlab import Lab, arp, as_lab, icmp_echo, mac, mac_bytes, two_nodes, two_pods

from k8semu.linux.core.commands import AddrAdd, AddrDel, LinkSet, NeighAdd, Sysctl, VethAdd


def setting(name: str, value: int) -> Sysctl:
    return Sysctl(name=name, value=value)


def pair(a: str = "10.0.0.1/24", b: str = "10.0.0.2/24") -> Lab:
    lab = Lab("a", "b")
    lab.veth("a", "e0", "b", "e1")
    lab.address("a", "e0", a)
    lab.address("b", "e1", b)
    return lab


@as_lab
def ping_pods() -> Lab:
    """Two Pods on one bridge, and the node, ping each other; the reply keeps the type of service."""
    lab = two_pods()
    for n, d in (("px", "eth0"), ("py", "eth0"), ("h1", "docker0"), ("h1", "vpx")):
        lab.tap(n, d, d == "docker0")
    lab.send("px", icmp_echo("172.17.0.2", "172.17.0.3"))
    lab.wait(0.3)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.0.3", 2, tos=0x2F))
    lab.wait(0.2)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.0.1", 3))
    lab.wait(0.2)
    lab.send("h1", icmp_echo("172.17.0.1", "172.17.0.3", 4))
    lab.wait(0.2)
    lab.show("px", "ip neigh")
    lab.show("h1", "ip neigh")
    return lab


@as_lab
def nobody_has_it() -> Lab:
    """Nobody has the address: three requests, then an ICMP error from ourselves to ourselves."""
    lab = two_pods()
    for n, d in (("px", "eth0"), ("px", "lo"), ("h1", "docker0"), ("h1", "lo")):
        lab.tap(n, d, d == "docker0")
    lab.send("px", icmp_echo("172.17.0.2", "172.17.0.9", 1))
    lab.send("px", icmp_echo("172.17.0.2", "172.17.0.9", 2))
    lab.wait(4)
    lab.send("px", icmp_echo("172.17.0.2", "10.9.9.9", 1))
    lab.wait(0.3)
    lab.show("px", "ip neigh")
    return lab


@as_lab
def nobody_has_it_forwarded() -> Lab:
    """Nobody has the address, and the packet was forwarded: the last router says so."""
    lab = two_nodes(overlay=False)
    for n, d in (("px", "eth0"), ("h1", "docker0"), ("h1", "eth0"), ("h2", "eth0"), ("h2", "docker0")):
        lab.tap(n, d, d == "docker0")
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.9", 1))
    lab.wait(3.5)
    lab.send("px", icmp_echo("172.17.0.2", "10.100.0.77", 1))
    lab.wait(3.5)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", 1))
    lab.wait(0.5)
    return lab


@as_lab
def announcements() -> Lab:
    """Addresses are announced when a device comes up or changes its MAC, if arp_notify says so."""
    lab = Lab("a", "b")
    lab.tell("a", setting("net.ipv4.conf.all.arp_notify", 1))
    lab.tell("a", setting("net.ipv4.conf.default.arp_notify", 1))
    lab.tell("a", VethAdd(name="e0", peer="e1", peer_netns="b", address=mac("a", "e0"), peer_address=mac("b", "e1")))
    lab.tell("b", LinkSet(name="e1", up=True))
    lab.tap("b", "e1")
    lab.tell("a", AddrAdd(dev="e0", address="10.0.0.1/24"))
    lab.wait(0.1)
    lab.tell("a", LinkSet(name="e0", up=True))
    lab.wait(0.1)
    lab.tell("a", AddrAdd(dev="e0", address="10.0.0.5/24"))
    lab.wait(0.1)
    lab.tell("a", AddrAdd(dev="e0", address="10.0.1.5/24"))
    lab.wait(0.1)
    lab.tell("a", LinkSet(name="e0", up=False))
    lab.wait(0.1)
    lab.tell("a", LinkSet(name="e0", up=True))
    lab.wait(0.2)
    lab.tell("a", LinkSet(name="e0", address="02:00:00:00:00:99"))
    lab.wait(0.2)
    lab.tell("b", LinkSet(name="e1", up=False))
    lab.wait(0.2)
    lab.tell("b", LinkSet(name="e1", up=True))
    lab.wait(0.2)
    return lab


@as_lab
def arp_ignore() -> Lab:
    """Which requests are answered under arp_ignore, arp_filter and proxy_arp."""
    lab = two_pods()
    lab.veth("h1", "hup", "px", "eth1")
    lab.tap("px", "eth1")
    lab.tap("h1", "hup")
    lab.address("px", "eth1", "10.5.5.2/24")
    lab.address("h1", "hup", "10.5.5.1/24")

    def q(sip, tip):
        return lab.inject("px", "eth1", arp(1, mac_bytes("px", "eth1"), sip, tip))

    for mode in (0, 1, 2, 3, 8):
        lab.tell("h1", setting("net.ipv4.conf.all.arp_ignore", mode))
        q("10.5.5.2", "172.17.0.1")
        q("10.5.5.2", "10.5.5.1")
        q("10.7.7.7", "10.5.5.1")
        q("10.5.5.2", "127.0.0.1")
        q("0.0.0.0", "10.5.5.1")
        q("10.5.5.2", "172.17.0.3")
        lab.wait(0.1)
    lab.tell("h1", setting("net.ipv4.conf.all.arp_ignore", 0))
    lab.tell("h1", setting("net.ipv4.conf.all.arp_filter", 1))
    q("10.5.5.2", "172.17.0.1")
    q("172.17.0.2", "10.5.5.1")
    lab.wait(0.1)
    lab.tell("h1", setting("net.ipv4.conf.all.arp_filter", 0))
    lab.tell("h1", setting("net.ipv4.conf.hup.proxy_arp", 1))
    lab.wait(0.1)
    q("10.5.5.2", "172.17.0.3")
    lab.wait(1.2)
    q("10.5.5.2", "10.5.5.9")
    lab.wait(0.2)
    lab.show("h1", "ip neigh show dev hup")
    return lab


@as_lab
def arp_update() -> Lab:
    """Which answers change an entry: the first of several within a second, and those about oneself."""
    lab = pair()
    lab.tap("a", "e0")
    lab.send("a", icmp_echo("10.0.0.1", "10.0.0.2"))
    lab.wait(0.2)
    lab.show("a", "ip neigh")
    lab.inject("b", "e1", arp(1, bytes.fromhex("020000000077"), "10.0.0.2", "10.0.0.9"))
    lab.wait(0.1)
    lab.show("a", "ip neigh")
    lab.wait(1.2)
    lab.inject("b", "e1", arp(1, bytes.fromhex("020000000077"), "10.0.0.2", "10.0.0.9"))
    lab.wait(0.1)
    lab.show("a", "ip neigh")
    lab.inject(
        "b",
        "e1",
        arp(2, mac_bytes("b", "e1"), "10.0.0.2", "10.0.0.1", tha=mac_bytes("a", "e0"), dmac=mac_bytes("a", "e0")),
    )
    lab.wait(0.1)
    lab.show("a", "ip neigh")
    lab.wait(1.2)
    lab.inject(
        "b",
        "e1",
        arp(2, mac_bytes("b", "e1"), "10.0.0.2", "10.0.0.1", tha=mac_bytes("a", "e0"), dmac=mac_bytes("a", "e0")),
    )
    lab.wait(0.1)
    lab.show("a", "ip neigh")
    lab.inject(
        "b",
        "e1",
        arp(2, mac_bytes("b", "e1"), "10.0.0.44", "10.0.0.1", tha=mac_bytes("a", "e0"), dmac=mac_bytes("a", "e0")),
    )
    lab.wait(0.1)
    lab.inject("b", "e1", arp(2, bytes.fromhex("020000000078"), "10.0.0.2", "10.0.0.2", tha=bytes(6)))
    lab.wait(0.1)
    lab.show("a", "ip neigh")
    lab.inject("b", "e1", arp(1, bytes.fromhex("020000000079"), "10.0.0.2", "10.0.0.1"))
    lab.wait(0.1)
    lab.show("a", "ip neigh")
    lab.show("a", "ip neigh")
    return lab


@as_lab
def arp_wait_by_request() -> Lab:
    """What waits goes out when the other asks for us; the entry is then checked."""
    lab = Lab("a", "b")
    lab.veth("a", "e0", "b", "e1")
    lab.address("a", "e0", "10.0.0.1/24")
    lab.tap("a", "e0")
    lab.send("a", icmp_echo("10.0.0.1", "10.0.0.7", 1))
    lab.send("a", icmp_echo("10.0.0.1", "10.0.0.7", 2))
    lab.wait(0.2)
    lab.inject("b", "e1", arp(1, mac_bytes("b", "e1"), "10.0.0.7", "10.0.0.1"))
    lab.wait(0.2)
    lab.show("a", "ip neigh")
    lab.wait(5.5)
    lab.show("a", "ip neigh")
    lab.inject(
        "b",
        "e1",
        arp(2, mac_bytes("b", "e1"), "10.0.0.7", "10.0.0.1", tha=mac_bytes("a", "e0"), dmac=mac_bytes("a", "e0")),
    )
    lab.wait(0.2)
    lab.show("a", "ip neigh")
    return lab


@as_lab
def delay_probe() -> Lab:
    """STALE, DELAY, PROBE and FAILED, with their times."""
    lab = pair()
    lab.tap("a", "e0")
    lab.tap("b", "e1")
    lab.send("a", icmp_echo("10.0.0.1", "10.0.0.2", 1))
    lab.wait(3)
    lab.show("b", "ip neigh")
    lab.wait(3)
    lab.show("b", "ip neigh")
    lab.show("a", "ip neigh")
    lab.tell("b", AddrDel(dev="e1", address="10.0.0.2/24"))
    lab.tell("a", NeighAdd(dev="e0", address="10.0.0.2", lladdr=mac("b", "e1"), state="stale"))
    lab.send("a", icmp_echo("10.0.0.1", "10.0.0.2", 2))
    lab.wait(0.2)
    lab.show("a", "ip neigh")
    lab.wait(5.5)
    lab.show("a", "ip neigh")
    lab.wait(3.5)
    lab.show("a", "ip neigh")
    lab.send("a", icmp_echo("10.0.0.1", "10.0.0.2", 3))
    lab.wait(0.5)
    return lab
