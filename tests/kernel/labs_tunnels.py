"""VXLAN: outer headers, what is refused, learning, and what is too long for the tunnel.

Each function is a lab (`netlab.py`) that `test_linux_facts.py` plays in the kernel and in the emulator.
"""

from __future__ import annotations

from netlab import Lab, arp, as_lab, framed, icmp_echo, mac, mac_bytes, two_nodes, udp

from k8semu.linux.core.commands import FdbAdd, LinkSet, Sysctl, VxlanAdd
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import vxlan_build


def setting(name: str, value: int) -> Sysctl:
    return Sysctl(name=name, value=value)


A, B, C, D = (bytes.fromhex(f"0200000000{last}") for last in ("a1", "b2", "c3", "d4"))
BC = b"\xff" * 6


def eth(smac: bytes, dmac: bytes, ethertype: int = 0x88B5, body: bytes = b"x" * 46) -> bytes:
    return dmac + smac + ethertype.to_bytes(2, "big") + body


@as_lab
def pods_over_vxlan() -> Lab:
    """Pings between Pods on two nodes: headers, errors, fragments, other types of service."""
    lab = two_nodes()
    for n, d in (
        ("px", "eth0"),
        ("h1", "docker0"),
        ("h1", "flannel.1"),
        ("h1", "eth0"),
        ("h2", "eth0"),
        ("h2", "flannel.1"),
        ("py", "eth0"),
    ):
        lab.tap(n, d, d == "docker0")
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", 1))
    lab.wait(0.5)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", 2, tos=0x2E))
    lab.wait(0.2)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", 3, size=1472))
    lab.wait(0.2)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", 4, size=1472, df=False))
    lab.wait(0.2)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", 5, ttl=2))
    lab.wait(0.2)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", 6, ttl=1))
    lab.wait(0.2)
    lab.send("px", udp("172.17.0.2", "172.17.1.3", 4000, 5000))
    lab.wait(0.2)
    lab.send("h1", icmp_echo("10.100.0.2", "172.17.1.3", 7))
    lab.wait(0.3)
    lab.send("h1", icmp_echo("172.17.0.0", "172.17.1.3", 7))
    lab.wait(0.3)
    return lab


@as_lab
def vxlan_mtu_too_large() -> Lab:
    """An MTU that does not fit is refused; what is too long is refused by the node."""
    lab = two_nodes()
    for n in ("h1", "h2"):
        lab.tell(n, LinkSet(name="flannel.1", mtu=1500))
    for n, d in (
        ("px", "eth0"),
        ("h1", "flannel.1"),
        ("h1", "eth0"),
        ("h2", "eth0"),
        ("h2", "flannel.1"),
        ("py", "eth0"),
    ):
        lab.tap(n, d, d == "docker0")
    for s in (1, 2):
        lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", s, size=1472))
        lab.wait(0.5)
    for s in (3, 4):
        lab.send("h1", icmp_echo("172.17.0.0", "172.17.1.3", s, size=1472, df=False))
        lab.wait(0.5)
    return lab


@as_lab
def vxlan_refuses() -> Lab:
    """Wrong VNI, flags, checksum, length, sender; congestion marks; unknown destinations."""
    lab = two_nodes()
    for n, d in (("h1", "eth0"), ("h2", "eth0"), ("h2", "flannel.1"), ("py", "eth0")):
        lab.tap(n, d)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", 1))
    lab.wait(0.3)

    def datagram(
        vni=1, flags=8, inner=None, cut=None, csum=None, src="10.100.0.2", dst="10.100.0.3", tos=0, itos=0, smac=None
    ):
        inner = (
            inner
            if inner is not None
            else framed(
                icmp_echo("172.17.0.2", "172.17.1.3", 9, tos=itos),
                smac or mac_bytes("h1", "flannel.1"),
                mac_bytes("h2", "flannel.1"),
            )
        )
        f = vxlan_build(ip_aton(src), ip_aton(dst), 4444, 8472, vni, bytearray(inner), 64, tos, 79, False)
        f[42] = flags
        if csum is not None:
            f[40:42] = csum
        if cut:
            f = f[:cut]
        lab.inject("h1", "eth0", framed(f, mac_bytes("h1", "eth0"), mac_bytes("h2", "eth0")))
        lab.wait(0.06)

    datagram()
    datagram(vni=2)
    datagram(flags=0)
    datagram(flags=0x0C)
    datagram(flags=0x88)
    datagram(cut=60)
    datagram(inner=b"")
    datagram(inner=b"abcdefgh")
    datagram(csum=b"\x12\x34")
    datagram(src="10.100.0.99")
    datagram(smac=mac_bytes("h2", "flannel.1"))
    datagram(tos=3)
    datagram(tos=2, itos=1)
    datagram(tos=3, itos=3)
    datagram(inner=framed(icmp_echo("172.17.0.2", "172.17.1.3", 9), mac_bytes("h1", "flannel.1"), BC))
    datagram(inner=framed(icmp_echo("172.17.0.2", "172.17.1.3", 9), mac_bytes("h1", "flannel.1"), A))
    datagram(inner=eth(A, B))
    datagram(inner=arp(1, A, "172.17.0.0", "172.17.1.0"))
    datagram(dst="10.100.0.255")
    lab.inject("h1", "flannel.1", eth(mac_bytes("h1", "flannel.1"), A))
    lab.inject("h1", "flannel.1", eth(mac_bytes("h1", "flannel.1"), BC))
    lab.wait(0.1)
    lab.send("h2", icmp_echo("172.17.1.0", "172.17.0.2", 11))
    lab.wait(0.1)
    lab.tell(
        "h1",
        FdbAdd(dev="flannel.1", mac="00:00:00:00:00:00", dst="10.100.0.3"),
        FdbAdd(dev="flannel.1", mac="00:00:00:00:00:00", dst="10.100.0.3", append=True),
    )
    lab.inject("h1", "flannel.1", eth(mac_bytes("h1", "flannel.1"), A))
    lab.inject("h1", "flannel.1", eth(mac_bytes("h1", "flannel.1"), BC))
    lab.wait(0.1)
    lab.tell("h1", FdbAdd(dev="flannel.1", mac="00:00:00:00:00:00", dst="10.100.0.77", append=True))
    lab.inject("h1", "flannel.1", eth(mac_bytes("h1", "flannel.1"), A))
    lab.wait(3.4)
    lab.tell("h1", LinkSet(name="flannel.1", up=False))
    lab.wait(0.1)
    lab.send("py", icmp_echo("172.17.1.3", "172.17.0.2", 12))
    lab.wait(0.2)
    return lab


@as_lab
def flat_network_over_vxlan(udpcsum: bool = True) -> Lab:
    """One flat network over two nodes, with learning and checksums; too long: the tunnel answers."""
    lab = Lab("sw", "h1", "h2", "px", "py")
    lab.bridge("sw", "br0")
    for n, ip, p, pip in (("h1", "10.100.0.2", "px", "10.32.0.2"), ("h2", "10.100.0.3", "py", "10.32.0.3")):
        lab.veth("sw", n, n, "eth0", master="br0")
        lab.address(n, "eth0", ip + "/24")
        lab.bridge(n, "weave")
        lab.veth(n, "v" + p, p, "eth0", master="weave")
        lab.address(p, "eth0", pip + "/24")
        lab.tell(
            n,
            VxlanAdd(
                name="vxw",
                vni=5,
                dstport=6784,
                remote={"h1": "10.100.0.3", "h2": "10.100.0.2"}[n],
                local=ip,
                dev="",
                udpcsum=udpcsum,
                address=mac(n, "vxw"),
                learning=True,
            ),
            LinkSet(name="vxw", up=True, master="weave"),
        )
    for n, d in (
        ("px", "eth0"),
        ("h1", "vpx"),
        ("h1", "vxw"),
        ("h1", "weave"),
        ("h1", "eth0"),
        ("h2", "vxw"),
        ("py", "eth0"),
    ):
        lab.tap(n, d, d == "weave")
    lab.send("px", icmp_echo("10.32.0.2", "10.32.0.3", 1))
    lab.wait(0.3)
    lab.send("px", icmp_echo("10.32.0.2", "10.32.0.3", 2, size=1472))
    lab.wait(0.3)
    lab.send("px", icmp_echo("10.32.0.2", "10.32.0.3", 3, size=1472))
    lab.wait(0.3)
    lab.send("px", icmp_echo("10.32.0.2", "10.32.0.3", 4, size=1400, df=False))
    lab.wait(0.3)
    lab.send("px", icmp_echo("10.32.0.2", "10.32.0.9", 5))
    lab.wait(1.5)
    return lab
