"""Bridges: learning, flooding, special addresses, port settings, carrier and MAC.

Each function is a lab (`netlab.py`) that `test_linux_facts.py` plays in the kernel and in the emulator.
"""

from __future__ import annotations

from netlab import Lab, as_lab, framed, icmp_echo, mac, mac_bytes, udp

from k8semu.linux.core.commands import (
    AddrAdd,
    BridgeAdd,
    BridgePortSet,
    FdbAdd,
    IptablesRestore,
    LinkDel,
    LinkSet,
    Sysctl,
    VethAdd,
)
from k8semu.wire.checksum import checksum


def setting(name: str, value: int) -> Sysctl:
    return Sysctl(name=name, value=value)


A, B, C, D = (bytes.fromhex(f"0200000000{last}") for last in ("a1", "b2", "c3", "d4"))
BC = b"\xff" * 6


def switch(*untapped: str) -> Lab:
    lab = Lab("br", "aa", "bb", "cc")
    lab.bridge("br", "br0", "10.0.0.254/24")
    for x in ("aa", "bb", "cc"):
        lab.veth("br", "p" + x, x, "eth0", master="br0")
    for x in ("aa", "bb", "cc"):
        lab.tap("br", "p" + x)
        if x not in untapped:
            lab.tap(x, "eth0")
    lab.tap("br", "br0", True)
    return lab


def eth(smac: bytes, dmac: bytes, ethertype: int = 0x88B5, body: bytes = b"x" * 46) -> bytes:
    return dmac + smac + ethertype.to_bytes(2, "big") + body


@as_lab
def frames_through_a_bridge() -> Lab:
    """Where frames go, by destination and port settings."""
    lab = switch()

    def i(x, f):
        return lab.inject(x, "eth0", f)

    i("aa", eth(A, B))
    lab.wait(0.05)
    i("bb", eth(B, A))
    lab.wait(0.05)
    i("aa", eth(A, B))
    lab.wait(0.05)
    i("cc", eth(A, B))
    lab.wait(0.05)
    i("bb", eth(B, A))
    lab.wait(0.05)  # station moved
    i("bb", eth(C, B))
    lab.wait(0.05)  # to own port: dropped
    i("aa", eth(A, BC))
    lab.wait(0.05)
    i("aa", eth(A, mac_bytes("br", "br0")))
    i("aa", eth(A, mac_bytes("br", "paa")))
    i("aa", eth(A, mac_bytes("br", "pbb")))
    lab.wait(0.05)
    i("aa", eth(mac_bytes("br", "br0"), B))
    i("aa", eth(mac_bytes("br", "pbb"), BC))
    lab.wait(0.05)
    for k in (0, 1, 2, 3, 0xE, 0xF):
        i("aa", eth(A, bytes.fromhex("0180c20000") + bytes([k])))
        lab.wait(0.05)
    i("aa", eth(A, bytes.fromhex("0180c2000010")))
    i("aa", eth(A, bytes.fromhex("01005e000005")))
    i("aa", eth(A, bytes.fromhex("01005e010203")))
    lab.wait(0.05)
    i("aa", eth(bytes.fromhex("010000000001"), B))
    i("aa", eth(bytes(6), B))
    i("aa", eth(BC, B))
    lab.wait(0.05)
    i("aa", eth(A, bytes(6)))
    lab.wait(0.05)
    lab.tell("br", BridgePortSet(name="paa", hairpin=True))
    i("aa", eth(C, A))
    i("aa", eth(A, BC))
    i("aa", eth(D, bytes.fromhex("020000000999")))
    lab.wait(0.05)
    lab.tell("br", BridgePortSet(name="paa", hairpin=False, isolated=True), BridgePortSet(name="pbb", isolated=True))
    i("aa", eth(A, BC))
    i("aa", eth(A, B))
    i("cc", eth(C, BC))
    lab.wait(0.05)
    lab.tell("br", BridgePortSet(name="paa", isolated=False), BridgePortSet(name="pbb", isolated=False, flood=False))
    i("aa", eth(A, bytes.fromhex("020000000777")))
    i("aa", eth(A, BC))
    lab.wait(0.05)
    lab.tell("br", BridgePortSet(name="pbb", flood=True), BridgePortSet(name="pcc", learning=False))
    i("cc", eth(bytes.fromhex("020000000555"), BC))
    i("aa", eth(A, bytes.fromhex("020000000555")))
    lab.wait(0.05)
    lab.tell(
        "br",
        FdbAdd(dev="paa", mac="02:00:00:00:00:e5", master=True, state="static"),
        FdbAdd(dev="paa", mac="02:00:00:00:00:e6", master=True, state="permanent"),
    )
    E, F = bytes.fromhex("0200000000e5"), bytes.fromhex("0200000000e6")
    i("bb", eth(B, E))
    i("bb", eth(B, F))
    lab.wait(0.05)
    i("bb", eth(E, BC))
    i("bb", eth(F, BC))
    lab.wait(0.05)
    i("cc", eth(C, E))
    i("cc", eth(C, F))
    lab.wait(0.05)
    return lab


@as_lab
def frames_for_the_bridge() -> Lab:
    """Frames for the bridge itself, and its own broadcasts."""
    lab = switch()

    def i(x, f):
        return lab.inject(x, "eth0", f)

    lab.address("aa", "eth0", "10.0.0.1/24")
    lab.send("aa", icmp_echo("10.0.0.1", "10.0.0.254", 1))
    lab.wait(0.1)
    i("aa", framed(icmp_echo("10.0.0.1", "10.0.0.254", 2), mac_bytes("aa", "eth0"), mac_bytes("br", "paa")))
    lab.wait(0.05)
    i("aa", framed(icmp_echo("10.0.0.1", "10.0.0.254", 3), mac_bytes("aa", "eth0"), mac_bytes("br", "pbb")))
    lab.wait(0.05)
    i("aa", framed(icmp_echo("10.0.0.1", "10.0.0.254", 4), mac_bytes("aa", "eth0"), BC))
    lab.wait(0.05)
    i("aa", framed(icmp_echo("10.0.0.1", "10.0.0.255", 5), mac_bytes("aa", "eth0"), BC))
    lab.wait(0.05)
    i("aa", framed(icmp_echo("10.0.0.1", "255.255.255.255", 6), mac_bytes("aa", "eth0"), BC))
    lab.wait(0.05)
    lab.send("br", icmp_echo("10.0.0.254", "10.0.0.255", 7))
    lab.wait(0.05)
    lab.send("aa", udp("10.0.0.1", "10.0.0.255", 5, 6))
    lab.wait(0.05)
    lab.send("aa", udp("10.0.0.1", "255.255.255.255", 5, 6))
    lab.wait(0.05)
    lab.send("aa", udp("10.0.0.1", "224.0.0.9", 5, 6))
    lab.wait(0.05)
    return lab


@as_lab
def mtu_of_a_port() -> Lab:
    """What is too long for a port is not sent there."""
    lab = switch()

    def i(x, f):
        return lab.inject(x, "eth0", f)

    lab.tell("br", LinkSet(name="pbb", mtu=1400))
    lab.tell("bb", LinkSet(name="eth0", mtu=1400))
    for n in (1386, 1400, 1404, 1405, 1500):
        i("aa", eth(A, BC, body=b"y" * n))
        lab.wait(0.05)
    lab.tell("br", LinkSet(name="pbb", master=""))
    i("aa", eth(A, BC, body=b"y" * 1500))
    lab.wait(0.05)
    return lab


@as_lab
def ports_come_and_go() -> Lab:
    """Carrier and MAC follow the ports."""
    lab = Lab("br", "aa", "bb")
    lab.tell("br", BridgeAdd(name="br0"), AddrAdd(dev="br0", address="10.0.0.254/24"), LinkSet(name="br0", up=True))
    lab.wait(1.3)
    lab.show("br", "ip route")
    for x in ("aa", "bb"):
        lab.tell(
            "br",
            VethAdd(
                name="p" + x,
                peer="eth0",
                peer_netns=x,
                address="02:00:00:00:00:" + {"aa": "20", "bb": "10"}[x],
                peer_address=mac(x, "eth0"),
            ),
        )
    lab.tell("br", LinkSet(name="paa", master="br0"))
    lab.wait(0.1)
    lab.show("br", "ip -br link show dev br0")
    lab.tell("br", LinkSet(name="paa", up=True))
    lab.wait(0.1)
    lab.show("br", "ip route")
    lab.tell("aa", LinkSet(name="eth0", up=True))
    lab.wait(0.2)
    lab.show("br", "ip route")
    lab.show("br", "ip -br link show dev br0")
    lab.address("aa", "eth0", "10.0.0.1/24")
    lab.tap("br", "br0", True)  # from here on its MAC is no longer a random one
    lab.send("br", icmp_echo("10.0.0.254", "10.0.0.1", 2))
    lab.wait(0.2)
    lab.tell("br", LinkSet(name="pbb", master="br0", up=True))
    lab.tell("bb", LinkSet(name="eth0", up=True))
    lab.wait(0.2)
    lab.show("br", "ip -br link show dev br0")
    lab.address("bb", "eth0", "10.0.0.2/24")
    lab.send("bb", icmp_echo("10.0.0.2", "10.0.0.1", 3))
    lab.wait(0.2)
    lab.send("bb", icmp_echo("10.0.0.2", "10.0.0.254", 4))
    lab.wait(0.2)
    lab.tell("br", LinkDel(name="pbb"))
    lab.wait(0.2)
    lab.show("br", "ip -br link show dev br0")
    lab.tell("br", LinkSet(name="paa", master=""))
    lab.wait(1.3)
    lab.show("br", "ip -br link show dev br0")
    lab.tell("br", LinkSet(name="br0", address="02:00:00:00:00:77"))
    lab.tell("br", LinkSet(name="paa", master="br0"))
    lab.wait(0.2)
    lab.show("br", "ip -br link show dev br0")
    return lab


@as_lab
def announcements_at_a_port() -> Lab:
    """What a station says as its link comes up ends at the bridge port; what it says later goes through."""
    lab = switch("aa")  # a tap is bound to the device, and opened again only after the announcement
    lab.tell("aa", setting("net.ipv4.conf.eth0.arp_notify", 1))
    lab.tell("aa", AddrAdd(dev="eth0", address="10.0.0.1/24"))
    lab.tell("aa", LinkSet(name="eth0", up=False))
    lab.wait(0.1)
    lab.tell("aa", LinkSet(name="eth0", up=True))
    lab.wait(0.2)
    lab.tell("aa", LinkSet(name="eth0", address="02:00:00:00:00:99"))
    lab.wait(0.2)
    lab.tell("br", LinkSet(name="paa", up=False))
    lab.wait(0.2)
    lab.tell("br", LinkSet(name="paa", up=True))
    lab.wait(0.2)
    lab.tell("br", LinkSet(name="paa", master=""))
    lab.tell("br", LinkSet(name="paa", master="br0"))
    lab.inject("aa", "eth0", eth(A, BC))
    lab.wait(0.2)
    return lab


def cut(packet: bytearray, *sizes: int, df: bool = False) -> list[bytes]:
    """Fragments of a packet (behind 14 bytes of link header), with so many bytes of payload each."""
    pieces, offset = [], 0
    for number, size in enumerate(sizes):
        part = packet[34 + offset : 34 + offset + size]
        flags = (0x4000 if df else 0) | (0x2000 if number < len(sizes) - 1 else 0) | offset // 8
        head = bytearray(packet[:34])
        head[16:18] = (20 + len(part)).to_bytes(2, "big")
        head[20:22] = flags.to_bytes(2, "big")
        head[24:26] = b"\0\0"
        head[24:26] = checksum(head[14:34]).to_bytes(2, "big")
        pieces.append(framed(head + part, mac_bytes("aa", "eth0"), mac_bytes("bb", "eth0")))
        offset += size
    return pieces


@as_lab
def fragments_through_a_bridge_that_tracks() -> Lab:
    """Connection tracking puts them together, and the port cuts them again, no longer than they came."""
    lab = switch()
    lab.tell("br", IptablesRestore(text="*filter\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"))
    lab.address("aa", "eth0", "10.0.0.1/24")
    lab.address("bb", "eth0", "10.0.0.2/24")
    lab.tell("bb", setting("net.ipv4.icmp_ratelimit", 0))  # each whole datagram is answered: nobody listens
    lab.send("aa", udp("10.0.0.1", "10.0.0.2", 5, 6))
    lab.wait(0.1)

    def send(size: int, *sizes: int, ident: int, df: bool = False) -> None:
        packet = udp("10.0.0.1", "10.0.0.2", 5, 6, bytes(size - 8), df=False, ident=ident)
        for piece in cut(packet, *sizes, df=df):
            lab.inject("aa", "eth0", piece)
        lab.wait(0.1)

    send(3000, 1480, 1480, 40, ident=79)
    send(1208, 600, 608, ident=80)
    send(3000, 40, 1480, 1480, ident=82)
    send(1208, 600, 608, ident=83, df=True)
    lab.tell("br", LinkSet(name="pbb", mtu=600))
    send(1208, 560, 560, 88, ident=84)
    send(1208, 600, 608, ident=85)
    send(1208, 800, 408, ident=86)
    send(1208, 560, 560, 88, ident=87, df=True)
    return lab
