"""A frame in one line, and field by field, as Scapy reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.wire.dissect import fields
from k8semu.wire.scapy_layers import ARP, ICMP, IP, TCP, UDP, VXLAN, Ether, Packet
from k8semu.wire.summary import Isns, summary

MACS = {"src": "02:42:ac:11:00:02", "dst": "02:42:ac:11:00:03"}
ETHER = Ether(**MACS)
POD = IP(src="172.17.0.2", dst="172.17.0.3")
SYN = TCP(
    sport=40000, dport=80, flags="S", seq=1, window=64240,
    options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)],
)  # fmt: skip
SYN_TEXT = "172.17.0.2.40000 > 172.17.0.3.80: tcp S seq 1 win 64240 [mss 1460,sackOK,TS,nop,wscale 7]"
HOSTS = ETHER / IP(src="10.100.0.2", dst="10.100.0.3")


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (ETHER / POD / SYN, SYN_TEXT),
        (
            ETHER / POD / TCP(sport=1, dport=2, flags="PA", seq=5, ack=6, window=7) / b"abc",
            "172.17.0.2.1 > 172.17.0.3.2: tcp PA seq 5 ack 6 win 7 len 3",
        ),
        (
            ETHER / POD / TCP(sport=1, dport=2, flags="A", options=[("NOP", None), ("NOP", None), ("SAck", (8, 9))]),
            "172.17.0.2.1 > 172.17.0.3.2: tcp A seq 0 ack 0 win 8192 [sack 8 9]",
        ),
        (ETHER / POD / UDP(sport=5, dport=53) / b"abc", "172.17.0.2.5 > 172.17.0.3.53: udp len 3"),
        (ETHER / POD / ICMP(id=7, seq=1) / (b"x" * 56), "172.17.0.2 > 172.17.0.3: icmp echo request id 7 seq 1 len 64"),
        (
            Ether(src=MACS["src"], dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="172.17.0.2", pdst="172.17.0.3"),
            "arp who-has 172.17.0.3 tell 172.17.0.2",
        ),
        (
            ETHER / ARP(psrc="172.17.0.2", pdst="172.17.0.3"),
            "arp who-has 172.17.0.3 (02:42:ac:11:00:03) tell 172.17.0.2",
        ),
        (
            ETHER / ARP(op=2, hwsrc=MACS["src"], psrc="172.17.0.2", pdst="172.17.0.3"),
            "arp 172.17.0.2 is-at 02:42:ac:11:00:02",
        ),
        (
            HOSTS / UDP(sport=43211, dport=8472, chksum=0) / VXLAN(vni=1, flags=8) / ETHER / POD / SYN,
            f"10.100.0.2.43211 > 10.100.0.3.8472: vxlan vni 1 {{ {SYN_TEXT} }}",
        ),
        (
            HOSTS / UDP(sport=43211, dport=6784, chksum=0) / VXLAN(vni=9, flags=8) / ETHER / POD / SYN,
            f"10.100.0.2.43211 > 10.100.0.3.6784: vxlan vni 9 {{ {SYN_TEXT} }}",
        ),
        (
            HOSTS / UDP(sport=8285, dport=8285) / POD / SYN,
            f"10.100.0.2.8285 > 10.100.0.3.8285: flannel udp {{ {SYN_TEXT} }}",
        ),
        (
            ETHER / POD / ICMP(type=3, code=4, nexthopmtu=1450) / bytes(POD / SYN)[:28],
            "172.17.0.2 > 172.17.0.3: icmp fragmentation needed mtu 1450 "
            "{ 172.17.0.2.40000 > 172.17.0.3.80: tcp seq 1 }",
        ),
        (
            ETHER / POD / ICMP(type=3, code=1) / POD / UDP(sport=5, dport=53) / b"abc",
            "172.17.0.2 > 172.17.0.3: icmp host unreachable { 172.17.0.2.5 > 172.17.0.3.53: udp len 3 }",
        ),
        (
            ETHER / POD / ICMP(type=5, code=1, gw="10.0.0.1") / POD / UDP(sport=5, dport=53),
            "172.17.0.2 > 172.17.0.3: icmp redirect host to 10.0.0.1 { 172.17.0.2.5 > 172.17.0.3.53: udp len 0 }",
        ),
        (
            ETHER / POD / ICMP(type=11) / IP(src="172.17.0.2", dst="172.17.0.3", ttl=1) / UDP(sport=5, dport=53),
            "172.17.0.2 > 172.17.0.3: icmp time exceeded in transit { 172.17.0.2.5 > 172.17.0.3.53: udp len 0 ttl 1 }",
        ),
        (
            ETHER / IP(src="1.1.1.1", dst="2.2.2.2", ttl=63, tos=0x10) / UDP(sport=5, dport=53),
            "1.1.1.1.5 > 2.2.2.2.53: udp len 0 ttl 63 tos 0x10",
        ),
        (
            ETHER / IP(src="1.1.1.1", dst="2.2.2.2", chksum=1) / UDP(sport=5, dport=53, chksum=1),
            "1.1.1.1.5 > 2.2.2.2.53: udp len 0 (bad udp cksum) (bad ip cksum)",
        ),
        (ETHER / IP(src="1.1.1.1", dst="2.2.2.2", proto=47) / b"gre", "1.1.1.1 > 2.2.2.2: protocol 47 len 3"),
        (Ether(**MACS, type=0x86DD) / b"x", "02:42:ac:11:00:02 > 02:42:ac:11:00:03: ethertype 0x86dd len 1"),
        (b"abc", "malformed: Ethernet header cut off (3 bytes)"),
        (bytes(ETHER / POD / SYN)[:30], "malformed: IP header cut off (16 bytes)"),
        (ETHER / POD / TCP(dataofs=15), "172.17.0.2 > 172.17.0.3: malformed: TCP header length 60 (20 bytes)"),
    ],
)
def test_a_frame_reads_as_with_tcpdump(packet: Packet | bytes, text: str) -> None:
    assert summary(bytes(packet)) == text


def test_fragments_show_their_place() -> None:
    whole = IP(src="1.1.1.1", dst="2.2.2.2", id=9) / UDP(sport=5, dport=53) / (b"x" * 3000)
    assert [summary(bytes(piece), raw_ip=True) for piece in whole.fragment(1400)] == [
        "1.1.1.1.5 > 2.2.2.2.53: udp len 3000 frag 9:1400@0+",
        "1.1.1.1 > 2.2.2.2: udp frag 9:1400@1400+",
        "1.1.1.1 > 2.2.2.2: udp frag 9:208@2800",
    ]


def test_sequence_numbers_are_relative_once_the_syn_was_seen_also_in_a_quotation() -> None:
    isns: Isns = {}
    syn = POD / TCP(sport=40000, dport=80, flags="S", seq=0xFFFFFFFF)
    data = POD / TCP(sport=40000, dport=80, flags="PA", seq=0, ack=0) / b"x"
    error = IP(src="172.17.0.1", dst="172.17.0.2") / ICMP(type=3, code=1) / bytes(data)[:28]
    assert "seq 4294967295" in summary(bytes(syn), True, isns)
    assert "seq 1 ack 0" in summary(bytes(data), True, isns)
    assert "tcp seq 1 }" in summary(bytes(error), True, isns)


def test_fields_name_every_header_and_the_rest_in_rows() -> None:
    packet = HOSTS / UDP(sport=1, dport=8472) / VXLAN(vni=1, flags=8) / ETHER / POD / SYN / (b"z" * 20)
    rows = fields(bytes(packet))
    assert list(dict.fromkeys(layer for layer, _, _ in rows)) == [
        "Ether", "IP", "UDP", "VXLAN", "inner Ether", "inner IP", "inner TCP", "inner payload",
    ]  # fmt: skip
    assert ("IP", "src", "10.100.0.2") in rows
    assert ("inner IP", "src", "172.17.0.2") in rows
    assert ("inner TCP", "dport", "80") in rows
    assert rows[-1] == ("inner payload", "0x0010", "7a 7a 7a 7a")


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_have_a_text(data: bytes, raw_ip: bool) -> None:
    assert summary(data, raw_ip, {})
    fields(data, raw_ip)


@given(st.data())
def test_a_damaged_frame_has_a_text(data: st.DataObject) -> None:
    error = POD / ICMP(type=3, code=1) / POD / SYN
    packet = data.draw(st.sampled_from([
        ETHER / POD / SYN, ETHER / error, ETHER / ARP(),
        HOSTS / UDP(dport=8472) / VXLAN(vni=1, flags=8) / ETHER / POD / SYN,
    ]))  # fmt: skip
    frame = bytearray(bytes(packet))
    for _ in range(data.draw(st.integers(1, 6))):
        frame[data.draw(st.integers(12, len(frame) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(frame)))
    text = summary(bytes(frame[:length]), False, {})
    assert text
    assert "\n" not in text
    fields(bytes(frame[:length]))
