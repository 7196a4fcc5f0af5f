"""Packets for many: groups, broadcasts, answers for others by ARP; and what comes out of a tunnel in pieces.

Each function is a lab (`netlab.py`) that `test_linux_facts.py` plays in the kernel and in the emulator.
"""

from __future__ import annotations

from netlab import Lab, arp, as_lab, framed, icmp_echo, mac, mac_bytes, udp

from k8semu.linux.core.commands import LinkSet, NeighAdd, RouteAdd, Sysctl, VxlanAdd
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import ip_build

ALL, HOSTS = b"\xff" * 6, b"\x01\0\x5e\0\0\1"


def pair() -> Lab:
    """near (10.0.0.1) and far (10.0.0.2), which know each other."""
    lab = Lab("near", "far")
    lab.veth("near", "e0", "far", "e1")
    lab.address("near", "e0", "10.0.0.1/24")
    lab.address("far", "e1", "10.0.0.2/24")
    lab.tell("near", NeighAdd(dev="e0", address="10.0.0.2", lladdr=mac("far", "e1")))
    lab.tell("far", NeighAdd(dev="e1", address="10.0.0.1", lladdr=mac("near", "e0")))
    return lab


@as_lab
def echoes_and_datagrams_for_many() -> Lab:
    """Who answers a ping to all, to a group it is in, and to one that it is not in."""
    lab = pair()
    lab.tap("near", "e0")

    def heard(packet: bytearray, dmac: bytes) -> None:
        lab.inject("far", "e1", framed(packet, mac_bytes("far", "e1"), dmac))
        lab.wait(0.01)

    for ignored in (1, 0):
        lab.tell("near", Sysctl(name="net.ipv4.icmp_echo_ignore_broadcasts", value=ignored))
        for daddr in ("10.0.0.255", "255.255.255.255", "10.0.0.0", "224.0.0.1", "224.0.0.5", "239.1.1.1", "10.0.0.1"):
            for dmac in (ALL, HOSTS):
                heard(icmp_echo("10.0.0.2", daddr), dmac)
            heard(udp("10.0.0.2", daddr, 5, 6), ALL)
    return lab


@as_lab
def a_protocol_that_asks_for_groups() -> Lab:
    """IGMP to a host is heard, not refused; what nobody speaks is refused."""
    lab = pair()
    lab.tap("near", "e0")
    for protocol in (2, 99):
        packet = ip_build(ip_aton("10.0.0.2"), ip_aton("10.0.0.1"), protocol, 20, ident=81) + bytes(20)
        lab.inject("far", "e1", framed(packet, mac_bytes("far", "e1"), mac_bytes("near", "e0")))
        lab.wait(0.01)
    return lab


@as_lab
def answers_for_others() -> Lab:
    """proxy_arp: a router answers for what it would forward by another device, and for nothing else."""
    lab = pair()
    lab.tap("near", "e0")
    lab.forward("near")
    lab.veth("near", "x0", "far", "x1")
    lab.address("near", "x0", "10.1.0.1/24")

    def asked(tip: str, sip: str = "10.0.0.2", wait: float = 0.01) -> None:
        lab.inject("far", "e1", arp(1, mac_bytes("far", "e1"), sip, tip))
        lab.wait(wait)

    for proxy in (0, 1):
        lab.tell("near", Sysctl(name="net.ipv4.conf.e0.proxy_arp", value=proxy))
        for tip in ("10.0.0.9", "10.1.0.1", "8.8.8.8", "127.0.0.1", "224.0.0.1", "10.0.0.255", "10.1.0.9"):
            asked(tip, wait=1.0 if proxy and tip == "10.1.0.9" else 0.01)
    lab.tell("near", RouteAdd(dst="default", dev="x0", via="10.1.0.3"))
    asked("8.8.8.8", wait=1.0)
    lab.tell("near", Sysctl(name="net.ipv4.conf.e0.arp_filter", value=1))
    asked("10.0.0.1", sip="8.8.8.8")
    asked("10.0.0.1", sip="10.1.0.7")
    return lab


@as_lab
def out_of_a_tunnel_in_pieces() -> Lab:
    """Frames in VXLAN: another VNI, flags, a zero checksum, inner frames that are cut short, stations that move."""
    lab = pair()
    for netns, dev, this, other in (("near", "e0", 1, 2), ("far", "e1", 2, 1)):
        lab.tell(netns, VxlanAdd(
            name="vx", vni=42, dstport=4789, local=f"10.0.0.{this}", dev=dev, address=mac(netns, "vx"),
            remote=f"10.0.0.{other}",
        ))  # fmt: skip
        lab.tell(netns, LinkSet(name="vx", up=True))
        lab.address(netns, "vx", f"10.5.0.{this}/24")
    lab.tap("near", "vx")
    whole = framed(icmp_echo("10.5.0.2", "10.5.0.1"), mac_bytes("far", "vx"), mac_bytes("near", "vx"))

    def came(
        vni: int = 42, flags: bytes = b"\x08\0\0\0", inner: bytes = whole, low: int = 0, saddr: str = "10.0.0.2",
        check: bool = True,
    ) -> None:  # fmt: skip
        packet = udp(saddr, "10.0.0.1", 5555, 4789, flags + vni.to_bytes(3, "big") + bytes([low]) + inner, df=False)
        if not check:
            packet[40:42] = b"\0\0"
        lab.inject("far", "e1", framed(packet, mac_bytes("far", "e1"), mac_bytes("near", "e0")))
        lab.wait(0.02)

    came()
    came(vni=43)
    for flags in (b"\0\0\0\0", b"\x88\0\0\0", b"\x08\0\0\1"):
        came(flags=flags)
    came(low=7)
    came(check=False)
    for length in (0, 10, 14, 20, 33):
        came(inner=whole[:length])
    came(saddr="10.0.0.77")
    came(inner=whole[:6] + mac_bytes("near", "vx") + whole[12:])
    came(inner=ALL + b"\2\0\0\0\0\x99" + whole[12:])
    return lab
