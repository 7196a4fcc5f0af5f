"""Where each header lies, in whatever bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.wire.scapy_layers import ARP, ICMP, IP, TCP, UDP, VXLAN, Ether, Packet
from k8semu.wire.walk import Layer, Walk

ETHER = Ether(src="02:42:ac:11:00:02", dst="02:42:ac:11:00:03")
SEGMENT = IP(src="172.17.0.2", dst="172.17.0.3") / TCP(sport=40000, dport=80) / b"data"
OUTER = ETHER / IP(src="10.100.0.2", dst="10.100.0.3")


def kinds(packet: Packet | bytes, raw_ip: bool = False) -> list[tuple[int, str]]:
    return [(layer.level, layer.kind) for layer in Walk(bytes(packet), raw_ip).layers]


@pytest.mark.parametrize("port", [8472, 6784, 4789])
def test_a_tunnelled_frame_is_walked_to_its_end(port: int) -> None:
    packet = OUTER / UDP(sport=1, dport=port) / VXLAN(vni=1, flags=8) / ETHER / SEGMENT
    assert kinds(packet) == [
        (0, "Ether"), (0, "IP"), (0, "UDP"), (0, "VXLAN"), (1, "Ether"), (1, "IP"), (1, "TCP"), (1, "payload"),
    ]  # fmt: skip


def test_the_packet_inside_flannels_udp_backend_is_walked() -> None:
    assert kinds(OUTER / UDP(sport=8285, dport=8285) / SEGMENT)[3:] == [(1, "IP"), (1, "TCP"), (1, "payload")]
    assert kinds(OUTER / UDP(sport=8285, dport=8285) / b"hello")[3:] == [(0, "payload")]


def test_what_an_icmp_error_quotes_is_walked_though_it_is_cut_off() -> None:
    error = IP(src="172.17.0.1", dst="172.17.0.2") / ICMP(type=3, code=4) / bytes(SEGMENT)[:28]
    layers = Walk(bytes(error), True).layers
    assert [layer.kind for layer in layers] == ["IP", "ICMP", "IP", "TCP"]
    assert [layer.quoted for layer in layers] == [False, False, True, True]
    assert layers[3].end - layers[3].start == 8


def test_an_answer_from_a_tunnels_port_is_no_tunnel() -> None:
    assert kinds(OUTER / UDP(sport=8472, dport=40000) / (b"\x08" * 60))[3:] == [(0, "payload")]


def test_arp_fragments_padding_and_unknown_protocols_have_their_layers() -> None:
    fragments = (IP(src="1.1.1.1", dst="2.2.2.2") / UDP() / (b"x" * 2000)).fragment(1400)
    assert kinds(fragments[0], True) == [(0, "IP"), (0, "UDP"), (0, "payload")]
    assert kinds(fragments[1], True) == [(0, "IP"), (0, "fragment")]
    assert kinds(bytes(ETHER / ARP()) + bytes(18)) == [(0, "Ether"), (0, "ARP"), (0, "padding")]
    assert kinds(bytes(ETHER / SEGMENT) + bytes(2))[-1] == (0, "padding")
    assert kinds(IP(src="1.1.1.1", dst="2.2.2.2", proto=47) / b"gre", True) == [(0, "IP"), (0, "payload")]
    assert kinds(bytes(ETHER)[:12] + b"\x86\xdd" + b"ipv6") == [(0, "Ether"), (0, "payload")]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "Ethernet header cut off"),
        (bytes(ETHER / ARP())[:30], "ARP cut off"),
        (bytes(ETHER / SEGMENT)[:20], "IP header cut off"),
        (bytes(ETHER / SEGMENT)[:-1], "IP total length 44 of 43"),
        (bytes(ETHER / IP(src="1.1.1.1", dst="2.2.2.2", version=6)), "IP version 6"),
        (bytes(ETHER / IP(src="1.1.1.1", dst="2.2.2.2", ihl=4)), "IP header length 16"),
        (bytes(ETHER / IP(src="1.1.1.1", dst="2.2.2.2", proto=6) / b"short"), "TCP header cut off"),
        (bytes(ETHER / IP(src="1.1.1.1", dst="2.2.2.2") / TCP(dataofs=15)), "TCP header length 60"),
        (bytes(ETHER / IP(src="1.1.1.1", dst="2.2.2.2") / UDP(len=99)), "UDP length 99 of 8"),
        (bytes(ETHER / IP(src="1.1.1.1", dst="2.2.2.2", proto=1) / b"icm"), "ICMP header cut off"),
    ],
)
def test_what_contradicts_itself_is_named(data: bytes, problem: str) -> None:
    last = Walk(data).layers[-1]
    assert (last.kind, last.problem) == ("malformed", problem)


def test_tunnels_within_tunnels_come_to_an_end() -> None:
    packet: Packet = ETHER / SEGMENT
    for _ in range(12):
        packet = OUTER / UDP(dport=8472) / VXLAN(vni=1, flags=8) / packet
    assert max(layer.level for layer in Walk(bytes(packet)).layers) == 8


def covered(layers: list[Layer]) -> bool:
    """Each layer lies within the frame and behind the one in front of it."""
    return all(
        one.start <= one.end <= one.limit and one.end <= other.start
        for one, other in pairwise(layers)
    )


@given(st.binary(max_size=120), st.booleans())
def test_any_bytes_have_layers_in_order(data: bytes, raw_ip: bool) -> None:
    layers = Walk(data, raw_ip).layers
    assert layers
    assert covered(layers)
    assert layers[-1].end <= len(data)


@given(st.data())
def test_damaged_tunnels_have_layers_in_order(data: st.DataObject) -> None:
    frame = bytearray(bytes(OUTER / UDP(dport=8472) / VXLAN(vni=1, flags=8) / ETHER / SEGMENT))
    for _ in range(data.draw(st.integers(1, 5))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(frame)))
    assert covered(Walk(bytes(frame[:length])).layers)
