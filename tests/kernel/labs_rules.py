"""Rules that dumps of real nodes hold: what they match, what they write, how they refuse; errors through NAT.

Each function is a lab (`netlab.py`) that `test_linux_facts.py` plays in the kernel and in the emulator.
"""

from __future__ import annotations

from netlab import Lab, as_lab, framed, icmp_echo, mac, mac_bytes, udp

from k8semu.linux.core.commands import IptablesRestore, LinkSet, NeighAdd
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import ip_build
from k8semu.wire.checksum import transport_checksum

CLIENT, SERVER, ROUTER = "10.0.1.2", "10.0.2.2", "10.0.1.1"
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}
QUIET = "*filter\n-A INPUT -p tcp -j DROP\n-A INPUT -p udp -j DROP\nCOMMIT\n"


def between() -> Lab:
    """c (10.0.1.2) ─ e1 r e2 ─ s (10.0.2.2), and everyone knows everyone."""
    lab = Lab("c", "r", "s")
    lab.forward("r")
    for dev, far, subnet in (("e1", "c", 1), ("e2", "s", 2)):
        lab.veth("r", dev, far, "eth0")
        lab.address("r", dev, f"10.0.{subnet}.1/24")
        lab.address(far, "eth0", f"10.0.{subnet}.2/24")
        lab.route(far, "default", f"10.0.{subnet}.1")
        lab.tell("r", NeighAdd(dev=dev, address=f"10.0.{subnet}.2", lladdr=mac(far, "eth0")))
        lab.tell(far, NeighAdd(dev="eth0", address=f"10.0.{subnet}.1", lladdr=mac("r", dev)))
    return lab


def rules(lab: Lab, netns: str, text: str) -> None:
    lab.tell(netns, IptablesRestore(text=text))


def tcp(daddr: str, dport: int, flags: str, options: bytes = b"", payload: bytes = b"", ack: int = 0) -> bytearray:
    """A segment of the client's from port 9, behind 14 bytes of link header."""
    bits = sum(FLAGS[flag] for flag in flags)
    head = (9).to_bytes(2, "big") + dport.to_bytes(2, "big") + (1000).to_bytes(4, "big") + ack.to_bytes(4, "big")
    head += bytes([(20 + len(options)) // 4 << 4, bits]) + (64240).to_bytes(2, "big")
    source, target = ip_aton(CLIENT), ip_aton(daddr)
    check = transport_checksum(source, target, 6, head + b"\0\0\0\0" + options + payload)
    length = len(head) + 4 + len(options) + len(payload)
    return ip_build(source, target, 6, length, df=True, ident=79) + (
        head + check.to_bytes(2, "big") + b"\0\0" + options + payload
    )


MATCHES = [
    "-m iprange --src-range 10.0.1.0-10.0.1.5", "-m iprange ! --dst-range 10.0.2.0-10.0.2.5", "-m length --length 33",
    "-m length ! --length 100:", "-m ttl --ttl-eq 64", "-m ttl --ttl-lt 64", "-m ttl --ttl-gt 62",
    "-m ttl ! --ttl-eq 64", "-m tos --tos 0x10", "-m dscp --dscp 4", "-m dscp ! --dscp 4",
    "-p tcp -m tcpmss --mss 1400:1500", "-p tcp -m tcpmss ! --mss 1400:1500", "-p tcp -m tcpmss --mss 536",
]
OWNERS = ["-m owner --uid-owner 0", "-m owner ! --uid-owner 0", "-m owner ! --socket-exists"]
WAYS_BACK = ["", " --loose", " --accept-local", " --validmark", " --invert", " --loose --invert"]
WRITERS = [
    "-p tcp -m tcp --dport 81 --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1000",
    "-p tcp -m tcp --dport 82 --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
    "-p udp -m udp --dport 83 -j TTL --ttl-set 9", "-p udp -m udp --dport 84 -j TTL --ttl-dec 3",
    "-p udp -m udp --dport 85 -j TTL --ttl-inc 200", "-p udp -m udp --dport 86 -j DSCP --set-dscp 46",
    "-p udp -m udp --dport 87 -j TOS --set-tos 0x08/0x0f", "-p udp -m udp --dport 88 -j CHECKSUM --checksum-fill",
]


@as_lab
def what_rules_ask_of_a_packet() -> Lab:
    """Ranges, lengths, TTLs, TOS, MSS, owners, the way back: the counters say what matched."""
    lab = between()
    text = "*filter\n" + "".join(f"-A {chain} {m}\n" for m in MATCHES for chain in ("INPUT", "FORWARD", "OUTPUT"))
    here = mac("c", "eth0")
    text += "".join(f"-A {c} -m mac {n}--mac-source {here}\n" for n in ("", "! ") for c in ("INPUT", "FORWARD"))
    text += "".join(f"-A OUTPUT {m}\n" for m in OWNERS) + "COMMIT\n*mangle\n"
    text += "".join(f"-A POSTROUTING {m}\n" for m in OWNERS)
    text += "".join(f"-A PREROUTING -m rpfilter{o}\n" for o in WAYS_BACK)
    rules(lab, "r", text + "COMMIT\n")
    rules(lab, "s", QUIET)
    for daddr in (SERVER, ROUTER):
        lab.send("c", udp(CLIENT, daddr, 1, 2))
        lab.send("c", udp(CLIENT, daddr, 1, 2, tos=0x10, ttl=63, payload=b"x" * 200))
        lab.send("c", icmp_echo(CLIENT, daddr))
    lab.send("r", udp("10.0.2.1", SERVER, 1, 2))
    for saddr in ("10.0.1.7", "10.0.2.9", "99.1.1.1", ROUTER):
        lab.inject("c", "eth0", framed(udp(saddr, SERVER, 1, 2), mac_bytes("c", "eth0"), mac_bytes("r", "e1")))
    lab.inject("c", "eth0", framed(udp(CLIENT, "224.0.0.1", 1, 2), mac_bytes("c", "eth0"), b"\x01\0\x5e\0\0\1"))
    for options in (b"\x02\x04\x05\xb4", b"\x02\x04\x02\x18", b"\x04\x02\x02\x04\x05\x78\0\0", b""):
        lab.send("c", tcp(SERVER, 80, "S", options))
    lab.wait(0.1)
    lab.show("r", "iptables -nvL")
    lab.show("r", "iptables -t mangle -nvL PREROUTING")
    lab.show("r", "iptables -t mangle -nvL POSTROUTING")
    return lab


@as_lab
def what_rules_write_into_a_packet() -> Lab:
    """A SYN's MSS, fixed or by the MTUs of both ways; TTL, TOS and DSCP; every checksum follows."""
    lab = between()
    rules(lab, "r", "*mangle\n" + "".join(f"-A FORWARD {w}\n" for w in WRITERS) + "COMMIT\n")
    rules(lab, "s", QUIET)
    lab.tap("s", "eth0")
    whole = b"\x02\x04\x05\xb4"
    for port in (80, 81, 82):
        for options in (whole, b"\x02\x04\x02\x18", b"\x01\x01" + whole + b"\x04\x02"):
            lab.send("c", tcp(SERVER, port, "S", options))
    for one, two in ((1500, 1200), (900, 1500)):
        lab.tell("r", LinkSet(name="e1", mtu=one), LinkSet(name="e2", mtu=two))
        lab.send("c", tcp(SERVER, 82, "S", whole))
    lab.send("c", tcp(SERVER, 82, "A", ack=1))
    lab.send("c", tcp(SERVER, 81, "SA", whole, ack=1))
    for port in range(83, 89):
        lab.send("c", udp(CLIENT, SERVER, 1, port))
    lab.wait(0.1)
    return lab


REFUSALS = ("net-unreachable", "host-unreachable", "port-unreachable", "proto-unreachable", "net-prohibited",
            "host-prohibited", "admin-prohibited")  # fmt: skip


@as_lab
def refusals() -> Lab:
    """REJECT in all its kinds, for UDP, ICMP and each sort of segment, at a router and on the way through it."""
    lab = between()
    text = "*filter\n"
    for chain in ("INPUT", "FORWARD", "OUTPUT"):
        for at, kind in enumerate(REFUSALS):
            text += f"-A {chain} -p udp -m udp --dport {100 + at} -j REJECT --reject-with icmp-{kind}\n"
        text += f"-A {chain} -p tcp -m tcp --dport 200 -j REJECT --reject-with tcp-reset\n"
        text += f"-A {chain} -p tcp -m tcp --dport 201 -j REJECT\n"
        text += f"-A {chain} -p icmp -j REJECT --reject-with icmp-host-prohibited\n"
    rules(lab, "r", text + "COMMIT\n")
    lab.tap("c", "eth0")
    for daddr in (SERVER, ROUTER):
        for at in range(len(REFUSALS)):
            lab.send("c", udp(CLIENT, daddr, 5, 100 + at))
            lab.wait(0.01)
        for port in (200, 201):
            for flags in ("S", "A", "SA", "R", "F", "FA", "P"):
                payload, ack = b"hi" if flags == "P" else b"", 7 if "A" in flags else 0
                lab.send("c", tcp(daddr, port, flags, payload=payload, ack=ack))
                lab.wait(0.01)
        for kind in (8, 0, 3, 11, 13):
            lab.send("c", icmp_echo(CLIENT, daddr, kind=kind))
            lab.wait(0.01)
    lab.send("r", udp("10.0.2.1", SERVER, 5, 100))
    lab.wait(0.05)
    lab.show("r", "iptables -nvL")
    return lab


@as_lab
def errors_through_nat() -> Lab:
    """Who gets which ICMP error of a translated datagram, and with which addresses inside."""
    lab = between()
    rules(lab, "r", """*nat
-A PREROUTING -d 10.96.0.1/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.0.2.2:5353
-A POSTROUTING -o e2 -j MASQUERADE
COMMIT
""")
    lab.tap("c", "eth0")
    lab.tap("s", "eth0")
    for port, ttl in ((40000, 64), (40001, 1), (40002, 2)):
        lab.send("c", udp(CLIENT, "10.96.0.1", port, 53, ttl=ttl))
        lab.wait(0.03)
    lab.tell("r", LinkSet(name="e2", mtu=1000))
    lab.send("c", udp(CLIENT, "10.96.0.1", 40003, 53, payload=b"x" * 1300))
    lab.wait(0.03)
    lab.send("c", udp(CLIENT, "10.96.0.1", 40004, 54))
    lab.wait(0.03)
    return lab
