"""What an ICMP error quotes, and what fragments cut, compares without what Linux chooses freely."""

from __future__ import annotations

from itertools import islice

import pytest
from conversations import CLIENT, SERVER, back, http_call, in_vxlan, out, ping, seen

from k8semu.capture.compare import compare
from k8semu.capture.normal import normalise
from k8semu.capture.normal_frame import Normalise
from k8semu.wire.scapy_layers import ICMP, IP, UDP, Ether, Packet
from k8semu.wire.walk import Walk

ROUTER = "10.100.0.1"


def error_about(packet: Packet, size: int = 548) -> Packet:
    """A router cannot send `packet` on, and quotes its first bytes."""
    quote = bytes(packet[IP])[:size]
    return back() / IP(src=ROUTER, dst=packet[IP].src, id=packet[IP].id ^ 77) / ICMP(type=3, code=1) / quote


def tunnelled(number: int, free: int) -> Packet:
    """Packet `number` of a call in VXLAN; all that Linux chooses freely follows `free`."""
    call = http_call(
        sport=40000 + free, isn=1000 * free, answer_isn=70_000 * free, ident=free, tsval=free, window=1000 + free
    )
    packet = next(islice(in_vxlan(call, sport=50_000 + free), number, None))
    packet[IP].id = free
    return packet


@pytest.mark.parametrize("number", range(5))
def test_an_error_about_a_vxlan_datagram_compares_inside_the_quote(number: int) -> None:
    one, other = (seen(iter([error_about(tunnelled(number, free))])) for free in (1, 9))
    result = compare(one, other)
    assert result.same, result.text()
    (flow,) = normalise(one, Normalise())["client/eth0"]
    assert flow == f"icmp error about vxlan 1 10.100.0.2 <> 10.100.0.3, tcp {CLIENT}:#1 > {SERVER}:80"


@pytest.mark.parametrize("size", [28, 30, 36, 40, 49, 50, 70, 78, 85, 90, 100, 122])
def test_a_quote_may_end_anywhere(size: int) -> None:
    one, other = (seen(iter([error_about(tunnelled(0, free), size)])) for free in (1, 9))
    result = compare(one, other)
    assert result.same, result.text()


@pytest.mark.parametrize("size", range(28, 123))
def test_a_quote_that_is_cut_is_not_malformed(size: int) -> None:
    (frame,) = seen(iter([error_about(tunnelled(0, 1), size)]))
    assert all(layer.kind != "malformed" for layer in Walk(frame.data).layers)


def test_a_field_of_the_inner_packet_that_differs_is_named() -> None:
    one = seen(iter([error_about(tunnelled(0, 1))]))
    packet = tunnelled(0, 1)
    packet.getlayer(IP, 2).ttl = 63
    del packet.getlayer(IP, 2).chksum
    result = compare(one, seen(iter([error_about(packet)])))
    assert [field[:2] for field in result.differences[0].fields] == [("inner inner IP", "ttl")]


def test_an_error_about_flannels_udp_backend_and_about_an_echo_compares() -> None:
    def carried(free: int) -> Packet:
        inner = next(ping(free))[IP]
        inner.id = free
        return out() / IP(src="10.100.0.2", dst="10.100.0.3", id=free) / UDP(sport=8285, dport=8285) / inner

    one, other = (seen(iter([error_about(carried(free))])) for free in (3, 8))
    assert compare(one, other).same
    (flow,) = normalise(one, Normalise())["client/eth0"]
    assert flow == f"icmp error about flannel udp, icmp echo {CLIENT}:#1 > {SERVER}"


def test_an_error_inside_a_tunnel_is_one_about_the_packet_it_quotes() -> None:
    def inside(free: int) -> Packet:
        asked = IP(src=CLIENT, dst=SERVER, id=free) / UDP(sport=40000 + free, dport=53) / b"question"
        error = back() / IP(src=SERVER, dst=CLIENT, id=free) / ICMP(type=3, code=3) / bytes(asked)
        return next(in_vxlan(iter([error]), sport=50_000 + free))

    assert compare(seen(iter([inside(1)])), seen(iter([inside(2)]))).same


def test_an_outer_datagram_that_was_cut_compares_inside_its_first_fragment() -> None:
    def fragments(free: int) -> list[Packet]:
        whole = next(islice(in_vxlan(http_call(
            sport=40000 + free, isn=free, answer_isn=free, ident=free, tsval=free, request=b"x" * 1400
        ), sport=50_000 + free), 3, None))  # fmt: skip
        whole[IP].id = free
        return [Ether(src=whole.src, dst=whole.dst) / part for part in whole[IP].fragment(1200)]

    one, other = fragments(1), fragments(2)
    assert len(one) == 2
    result = compare(seen(iter(one)), seen(iter(other)))
    assert result.same, result.text()
    assert result.frames == 2
