"""Corners: what ages, IP options, announcements, entries made by hand, odd addresses, TCP to a closed port.

Each function is a lab (`netlab.py`) that `test_linux_facts.py` plays in the kernel and in the emulator.
"""

from __future__ import annotations

from labs_bridging import BC, A, B, eth
from labs_packets import routed
from netlab import Lab, arp, as_lab, framed, icmp_echo, mac, mac_bytes, two_nodes, udp

from k8semu.linux.core.commands import BridgeAdd, FdbAdd, FdbDel, LinkSet, NeighAdd, NeighDel, Sysctl, VxlanAdd
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import ip_build
from k8semu.wire.checksum import checksum, transport_checksum

X, Y = (bytes.fromhex(f"0200000000{last}") for last in ("aa", "bb"))


def setting(name: str, value: int) -> Sysctl:
    return Sysctl(name=name, value=value)


def pair() -> Lab:
    lab = Lab("a", "b")
    lab.veth("a", "e0", "b", "e1")
    lab.address("a", "e0", "10.0.0.1/24")
    lab.address("b", "e1", "10.0.0.2/24")
    lab.tap("a", "e0")
    lab.tap("b", "e1")
    return lab


@as_lab
def stations_are_forgotten() -> Lab:
    """A second after a station was last heard its frames are flooded again, and no table names it any more."""
    lab = Lab("br", "aa", "bb", "cc")
    lab.tell("br", BridgeAdd(name="br0", ageing_time=1), LinkSet(name="br0", up=True))
    for x in ("aa", "bb", "cc"):
        lab.veth("br", "p" + x, x, "eth0", master="br0")
        lab.tap(x, "eth0", True)

    def heard(x: str, frame: bytes, wait: float) -> None:
        lab.inject(x, "eth0", frame)
        lab.wait(wait)

    heard("aa", eth(A, B), 0.02)
    heard("bb", eth(B, A), 0.02)
    heard("aa", eth(A, B), 0.5)
    heard("aa", eth(A, B), 0.75)
    heard("aa", eth(A, B), 0.05)        # B was last heard 1.3 s ago, A just now
    heard("bb", eth(B, A), 0.05)
    heard("cc", eth(A, B), 0.05)        # A has moved
    heard("bb", eth(B, A), 0.05)
    lab.show("br", "bridge fdb show br br0")
    lab.wait(1.5)
    lab.show("br", "bridge fdb show br br0")
    heard("bb", eth(B, A), 0.05)
    return lab


@as_lab
def ip_options() -> Lab:
    """Routes and times are recorded on the way; a source route is refused; a broken option is answered."""
    lab = routed(("px", "eth0"), ("h1", "eth0"), ("py", "eth0"))

    def send(options: bytes, target: str = "172.17.1.3", ttl: int = 64) -> None:
        echo = icmp_echo("172.17.0.2", target, 2, ttl=ttl)
        head, body = bytearray(echo[14:34]) + options, echo[34:]
        head[0] = 0x45 + len(options) // 4
        head[2:4] = (len(head) + len(body)).to_bytes(2, "big")
        head[10:12] = b"\0\0"
        head[10:12] = checksum(bytes(head)).to_bytes(2, "big")
        packet = bytearray(14) + head + body
        lab.inject("px", "eth0", framed(packet, mac_bytes("px", "eth0"), mac_bytes("h1", "docker0")))
        lab.wait(0.05)

    record, alert = b"\x07\x0f\x04" + bytes(13), b"\x94\x04\x00\x00"
    send(record)
    send(record, "172.17.0.1")
    send(b"\x07\x07\x04" + bytes(5))        # full at the second router
    send(alert)
    send(alert, ttl=1)
    send(b"\x83\x07\x04" + ip_aton("172.17.1.3") + b"\0", "172.17.0.1")
    send(b"\x07\x01\x04\x00")
    send(b"\x01\x01\x01\x00")
    send(b"\x99\x04\x00\x00")
    return lab


@as_lab
def announced_by_others() -> Lab:
    """Which requests and answers, to oneself or to all, make an entry or change one."""
    lab = pair()

    def heard(op: int, smac: bytes, sip: str, tip: str, tha: bytes = bytes(6), wait: float = 0.05) -> None:
        lab.inject("b", "e1", arp(op, smac, sip, tip, tha=tha))
        lab.wait(wait)

    heard(1, X, "10.0.0.9", "10.0.0.9")
    heard(2, X, "10.0.0.9", "10.0.0.9", tha=X)
    lab.show("a", "ip neigh")
    heard(1, X, "10.0.0.9", "10.0.0.1")
    lab.show("a", "ip neigh")
    heard(1, Y, "10.0.0.9", "10.0.0.9", wait=1.1)
    heard(1, Y, "10.0.0.9", "10.0.0.9")
    lab.show("a", "ip neigh")
    lab.tell("a", setting("net.ipv4.conf.e0.arp_accept", 1))
    heard(1, X, "10.0.0.8", "10.0.0.8")
    heard(2, X, "10.0.0.7", "10.0.0.7", tha=BC)
    for sender in ("10.9.9.9", "0.0.0.0", "10.0.0.1", "224.0.0.1", "127.0.0.1"):
        heard(1, X, sender, "10.0.0.1")
    heard(3, X, "10.0.0.5", "10.0.0.1")
    lab.show("a", "ip neigh")
    return lab


@as_lab
def neighbours_by_hand() -> Lab:
    """Entries that a person makes, in each state; and what is refused."""
    lab = pair()
    for state in ("permanent", "noarp", "stale", "reachable"):
        lab.tell("a", NeighAdd(dev="e0", address="10.0.0.2", lladdr=mac("b", "e1"), state=state))
        lab.show("a", "ip neigh")
        lab.send("a", icmp_echo("10.0.0.1", "10.0.0.2", 1))
        lab.wait(0.2)
        lab.show("a", "ip neigh")
    lab.tell("a", NeighDel(dev="e0", address="10.0.0.2"))
    lab.show("a", "ip neigh")
    lab.tell("a", NeighDel(dev="e0", address="10.0.0.2"))
    lab.tell("a", NeighAdd(dev="e0", address="10.0.0.7", lladdr="02:00:00:00:00:aa", state="failed"))
    lab.show("a", "ip neigh")
    return lab


@as_lab
def stations_with_several_ends() -> Lab:
    """A destination that a VXLAN station does not have can be taken away, a station that is not there cannot."""
    lab = pair()
    lab.tell("a", VxlanAdd(name="vx", vni=7, dstport=6784, local="10.0.0.1", dev="e0", address=mac("a", "vx")))
    lab.tell("a", *(FdbAdd(dev="vx", mac="00:00:00:00:00:00", dst=f"10.0.0.{i}", append=True) for i in (2, 3)))
    for gone in ("10.0.0.3", "10.0.0.9"):
        lab.tell("a", FdbDel(dev="vx", mac="00:00:00:00:00:00", dst=gone))
        lab.show("a", "bridge fdb show dev vx")
    lab.tell("a", FdbDel(dev="vx", mac="02:00:00:00:00:02", dst="10.0.0.2"))
    return lab


@as_lab
def near_addresses() -> Lab:
    """A node's own addresses, loopback with and without route_localnet, a TTL of one, protocols that nobody has."""
    lab = two_nodes(overlay=False)
    for netns, dev in (("px", "eth0"), ("h1", "eth0"), ("h1", "lo"), ("h1", "docker0")):
        lab.tap(netns, dev)

    def ping(netns: str, source: str, target: str, seq: int, ttl: int = 64) -> None:
        lab.send(netns, icmp_echo(source, target, seq, ttl=ttl))
        lab.wait(0.05)

    ping("h1", "10.100.0.2", "172.17.0.1", 1)
    ping("h1", "127.0.0.1", "127.9.9.9", 2)
    ping("px", "172.17.0.2", "10.100.0.2", 3)
    ping("px", "172.17.0.2", "172.17.0.255", 4)
    ping("px", "172.17.0.2", "172.17.0.0", 5)
    for allowed in (0, 1):
        lab.tell("h1", setting("net.ipv4.conf.all.route_localnet", allowed))
        ping("h1", "127.0.0.1", "172.17.0.2", 6)
        ping("px", "127.0.0.1", "172.17.0.1", 7)
    ping("px", "172.17.0.2", "172.17.0.1", 8, ttl=1)
    lab.send("px", ip_build(ip_aton("172.17.0.2"), ip_aton("172.17.0.1"), 132, 8, ident=77) + b"nobodys!")
    lab.wait(0.05)
    lab.send("px", udp("172.17.0.2", "172.17.0.1", 5, 9, b"x" * 1400, df=False))
    lab.wait(0.05)
    return lab


@as_lab
def segments_to_a_closed_port() -> Lab:
    """Which reset answers which flags, and which segments get none."""
    lab = pair()

    def send(flags: int, ack: int = 0, data: bytes = b"", length: int = 5, check: int | None = None) -> None:
        source, target = ip_aton("10.0.0.1"), ip_aton("10.0.0.2")
        ports = (4000).to_bytes(2, "big") + (81).to_bytes(2, "big")
        numbers = (1000).to_bytes(4, "big") + ack.to_bytes(4, "big")
        segment = ports + numbers + bytes([length << 4, flags, 2, 0, 0, 0, 0, 0]) + data
        right = transport_checksum(source, target, 6, segment)
        segment = segment[:16] + (right if check is None else check).to_bytes(2, "big") + segment[18:]
        lab.send("a", ip_build(source, target, 6, len(segment), ident=77) + segment)
        lab.wait(0.03)

    for flags in (0x02, 0x01, 0x00, 0x04, 0x42, 0xC2):
        send(flags)
    for flags in (0x12, 0x10, 0x14, 0x3F):
        send(flags, ack=77)
    send(0x18, ack=78, data=b"hello")
    send(0x00, data=b"x")
    send(0x03, data=b"xy")
    send(0x02, length=4)
    send(0x02, length=15)
    send(0x02, check=1)
    return lab
