"""Conversations for tests, laid out by Scapy: what a capture of them would hold."""

from __future__ import annotations

from collections.abc import Iterator

from k8semu.capture.frame import Frame
from k8semu.wire.scapy_layers import ARP, ICMP, IP, TCP, UDP, VXLAN, Ether, Packet

CLIENT, SERVER = "172.17.0.2", "172.17.0.3"
CLIENT_MAC, SERVER_MAC = "02:42:ac:11:00:02", "02:42:ac:11:00:03"
SYN_OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]


def out() -> Ether:
    return Ether(src=CLIENT_MAC, dst=SERVER_MAC)


def back() -> Ether:
    return Ether(src=SERVER_MAC, dst=CLIENT_MAC)


def http_call(
    sport: int = 40000,
    isn: int = 1000,
    answer_isn: int = 5000,
    ident: int = 1,
    window: int = 64240,
    tsval: int = 1,
    request: bytes = b"GET / HTTP/1.1\r\n\r\n",
    answer: bytes = b"HTTP/1.1 200 OK\r\n\r\nhello",
    pure_acks: bool = True,
    dport: int = 80,
) -> Iterator[Packet]:
    """A whole connection from the client's SYN to the last ACK."""

    def segment(from_client: bool, flags: str, seq: int, ack: int, data: bytes = b"") -> Packet:
        nonlocal ident
        ident += 1
        options = [("NOP", None), ("NOP", None), ("Timestamp", (tsval, 1))]
        if "S" in flags:
            options = [(name, (tsval, 0) if name == "Timestamp" else value) for name, value in SYN_OPTIONS]
        ether, src, dst = (out(), CLIENT, SERVER) if from_client else (back(), SERVER, CLIENT)
        ports = {"sport": sport, "dport": dport} if from_client else {"sport": dport, "dport": sport}
        return (
            ether
            / IP(src=src, dst=dst, id=ident, flags="DF")
            / TCP(**ports, flags=flags, seq=seq % 2**32, ack=ack % 2**32, window=window, options=options)
            / data
        )

    yield segment(True, "S", isn, 0)
    yield segment(False, "SA", answer_isn, isn + 1)
    if pure_acks:
        yield segment(True, "A", isn + 1, answer_isn + 1)
    yield segment(True, "PA", isn + 1, answer_isn + 1, request)
    asked = isn + 1 + len(request)
    if pure_acks:
        yield segment(False, "A", answer_isn + 1, asked)
    yield segment(False, "PA", answer_isn + 1, asked, answer)
    answered = answer_isn + 1 + len(answer)
    yield segment(True, "FA", asked, answered)
    yield segment(False, "FA", answered, asked + 1)
    yield segment(True, "A", asked + 1, answered + 1)


def arp() -> Iterator[Packet]:
    yield Ether(src=CLIENT_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=1, hwsrc=CLIENT_MAC, psrc=CLIENT, hwdst="00:00:00:00:00:00", pdst=SERVER
    )
    yield back() / ARP(op=2, hwsrc=SERVER_MAC, psrc=SERVER, hwdst=CLIENT_MAC, pdst=CLIENT)


def ping(ident: int = 7) -> Iterator[Packet]:
    yield out() / IP(src=CLIENT, dst=SERVER, id=1) / ICMP(type=8, id=ident, seq=1) / (b"x" * 56)
    yield back() / IP(src=SERVER, dst=CLIENT, id=2) / ICMP(type=0, id=ident, seq=1) / (b"x" * 56)


def in_vxlan(packets: Iterator[Packet], sport: int = 43211, dport: int = 8472) -> Iterator[Packet]:
    for packet in packets:
        from_client = packet.src == CLIENT_MAC
        src, dst = ("10.100.0.2", "10.100.0.3") if from_client else ("10.100.0.3", "10.100.0.2")
        yield (
            Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
            / IP(src=src, dst=dst)
            / UDP(sport=sport, dport=dport, chksum=0)
            / VXLAN(vni=1, flags=8)
            / packet
        )


def port_unreachable(sport: int = 40000, ident: int = 3) -> Iterator[Packet]:
    asked = IP(src=CLIENT, dst=SERVER, id=ident) / UDP(sport=sport, dport=53) / b"question"
    yield out() / asked
    yield back() / IP(src=SERVER, dst=CLIENT, id=ident + 1, tos=0xC0) / ICMP(type=3, code=3) / bytes(asked)


def too_long(packet: Packet, quoted: int = 548) -> Packet:
    """*Fragmentation needed* about a packet of the client's, of which it quotes so many bytes."""
    quote = bytes(packet[IP])[:quoted]
    return back() / IP(src=SERVER, dst=CLIENT, id=9, tos=0xC0) / ICMP(type=3, code=4, nexthopmtu=1400) / quote


def seen(packets: Iterator[Packet], interface: str = "client/eth0", direction: int = 1) -> list[Frame]:
    """The packets as frames of one interface, a microsecond apart."""
    return [
        Frame(number * 1000, interface, direction, bytes(packet), number)
        for number, packet in enumerate(packets, start=1)
    ]
