"""flannel's proxy and weave's router, between a device and a socket that only write down what they are given."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.apps.flanneld import Flanneld
from k8semu.apps.weaver import Weaver
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import icmp_build, ip_build
from k8semu.wire.checksum import checksum

TUN = "172.17.0.0"
HERE, THERE, NOWHERE = "172.17.0.2", "172.17.1.3", "172.17.9.9"


class Device:
    """The near end of a device."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.sent.append(bytes(data))


class Socket:
    """A UDP socket."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, tuple[str, int]]] = []

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        self.sent.append((bytes(data), address))


def ip(daddr: str, protocol: int = 17, ttl: int = 64, offset: int = 0, options: bytes = b"") -> bytes:
    """An IP packet with 20 bytes behind its header."""
    packet = ip_build(ip_aton(HERE), ip_aton(daddr), protocol, 20, ttl=ttl, ident=7)[14:]
    packet[6:8] = offset.to_bytes(2, "big")
    packet[0] += len(options) // 4
    packet[2:4] = (40 + len(options)).to_bytes(2, "big")
    packet += options
    packet[10:12] = b"\0\0"
    packet[10:12] = checksum(packet).to_bytes(2, "big")
    return bytes(packet + bytes(range(100, 120)))


# --- flannel ------------------------------------------------------------------------------------


@pytest.fixture
def proxy() -> Flanneld:
    made = Flanneld(TUN, {"172.17.1.0/24": "10.100.0.3", "172.17.2.0/24": "10.100.0.4"}, 8285)
    made.tun, made.udp = Device(), Socket()
    return made


def test_a_packet_goes_to_the_node_that_has_its_subnet_with_one_hop_less(proxy: Flanneld) -> None:
    proxy.packet_received(ip(THERE))
    assert proxy.udp.sent == [(ip(THERE, ttl=63), ("10.100.0.3", 8285))]
    assert checksum(proxy.udp.sent[0][0][:20]) == 0


def test_a_packet_from_a_node_goes_to_the_kernel_with_one_hop_less(proxy: Flanneld) -> None:
    proxy.from_peer(ip(HERE, ttl=63))
    assert proxy.tun.sent == [ip(HERE, ttl=62)]


def test_a_packet_whose_last_hop_this_was_is_dropped_in_silence(proxy: Flanneld) -> None:
    proxy.packet_received(ip(THERE, ttl=1))
    proxy.from_peer(ip(HERE, ttl=1))
    assert (proxy.tun.sent, proxy.udp.sent) == ([], [])


def test_who_sends_into_nobodys_subnet_is_told_that_the_network_is_unreachable(proxy: Flanneld) -> None:
    proxy.packet_received(ip(NOWHERE))
    (answer,) = proxy.tun.sent
    assert answer[12:20] == ip_aton(TUN) + ip_aton(HERE)
    assert (answer[8], answer[6:8], answer[4:6]) == (8, b"\0\0", b"\0\0")
    assert answer[20:22] == b"\3\0"
    assert answer[28:] == ip(NOWHERE)[:28]
    assert checksum(answer[:20]) == checksum(answer[20:]) == 0


def test_an_error_quotes_the_whole_header_and_eight_bytes(proxy: Flanneld) -> None:
    packet = ip(NOWHERE, options=bytes([1] * 8))
    proxy.packet_received(packet)
    assert proxy.tun.sent[0][28:] == packet[: 28 + 8]
    proxy.packet_received(ip(NOWHERE)[:24])
    assert proxy.tun.sent[1][28:] == ip(NOWHERE)[:24] + bytes(4)


@pytest.mark.parametrize(
    "packet",
    [
        ip(NOWHERE, protocol=1), ip(NOWHERE, offset=0x00B9), ip(NOWHERE, offset=0x20B9),
        ip(NOWHERE, options=bytes([1] * 40)), b"\x60" + bytes(60), ip(NOWHERE)[:19],
    ],
    ids=["ICMP", "last fragment", "middle fragment", "longest header", "IPv6", "cut off"],
)  # fmt: skip
def test_there_is_no_error_about(proxy: Flanneld, packet: bytes) -> None:
    proxy.packet_received(packet)
    assert (proxy.tun.sent, proxy.udp.sent) == ([], [])


def test_the_first_fragment_is_answered(proxy: Flanneld) -> None:
    proxy.packet_received(ip(NOWHERE, offset=0x2000))
    assert len(proxy.tun.sent) == 1


def test_an_error_that_is_passed_on_stays_as_it_is(proxy: Flanneld) -> None:
    error = ip_build(ip_aton(THERE), ip_aton(HERE), 1, 36)[14:] + icmp_build(3, 3, 0, ip(THERE)[:28])
    proxy.from_peer(bytes(error))
    assert proxy.tun.sent[0][20:] == bytes(error[20:])


# --- weave --------------------------------------------------------------------------------------

OURS, ONE, OTHER = 0x111, 0x222, 0x333
A, B, BROADCAST = b"\x02\x42\xac\x11\0\2", b"\x02\x42\xac\x11\1\3", b"\xff" * 6


@pytest.fixture
def router() -> Weaver:
    made = Weaver(OURS, {"10.100.0.3": ONE, "10.100.0.4": OTHER}, 6784)
    made.device, made.udp = Device(), Socket()
    return made


def eth(dmac: bytes, smac: bytes) -> bytes:
    return dmac + smac + b"\x88\xb5" + bytes(46)


def vxlan(source: int, target: int, frame: bytes, flags: int = 8) -> bytes:
    return bytes([flags, 0, 0, 0]) + ((source | target << 12) << 8).to_bytes(4, "big") + frame


def sent(router: Weaver) -> list[Any]:
    found, router.udp.sent = router.udp.sent, []
    return found


def test_a_broadcast_goes_to_every_peer_each_with_its_own_vni(router: Weaver) -> None:
    router.packet_received(eth(BROADCAST, A))
    assert sent(router) == [
        (vxlan(OURS, ONE, eth(BROADCAST, A)), ("10.100.0.3", 6784)),
        (vxlan(OURS, OTHER, eth(BROADCAST, A)), ("10.100.0.4", 6784)),
    ]


def test_a_mac_is_at_the_peer_that_the_vni_names(router: Weaver) -> None:
    router.from_peer(vxlan(ONE, OURS, eth(A, B)))
    assert router.device.sent == [eth(A, B)]
    router.packet_received(eth(B, A))
    assert sent(router) == [(vxlan(OURS, ONE, eth(B, A)), ("10.100.0.3", 6784))]


def test_a_frame_for_another_peer_is_relayed_to_it_and_teaches_nothing(router: Weaver) -> None:
    router.from_peer(vxlan(ONE, OTHER, eth(A, B)))
    assert router.device.sent == []
    assert sent(router) == [(vxlan(ONE, OTHER, eth(A, B)), ("10.100.0.4", 6784))]
    assert router.macs == {}


@pytest.mark.parametrize(
    "datagram",
    [
        vxlan(0x999, OURS, eth(A, B)), vxlan(ONE, 0x999, eth(A, B)), vxlan(ONE, OURS, eth(A, B), flags=0),
        vxlan(ONE, OURS, eth(bytes(6), bytes(6))), vxlan(ONE, OURS, eth(A, B)[:13]), b"",
    ],
    ids=["unknown source", "unknown target", "no VNI", "heartbeat", "cut off", "empty"],
)  # fmt: skip
def test_a_datagram_that_is_no_frame_of_a_peer_goes_nowhere(router: Weaver, datagram: bytes) -> None:
    router.from_peer(datagram)
    assert (router.device.sent, sent(router), router.macs) == ([], [], {})


def test_a_mac_of_another_peer_that_comes_out_of_our_own_bridge_is_an_echo(router: Weaver) -> None:
    router.from_peer(vxlan(ONE, OURS, eth(BROADCAST, B)))
    router.packet_received(eth(BROADCAST, B))
    assert sent(router) == []


def test_what_the_own_bridge_delivers_and_spanning_tree_stay_on_the_node(router: Weaver) -> None:
    router.packet_received(eth(BROADCAST, A))
    sent(router)
    router.packet_received(eth(A, b"\x02\x42\xac\x11\0\5"))
    router.packet_received(eth(b"\x01\x80\xc2\0\0\0", A))
    assert sent(router) == []


def test_a_mac_that_moved_to_another_peer_is_followed(router: Weaver) -> None:
    router.from_peer(vxlan(ONE, OURS, eth(BROADCAST, B)))
    router.from_peer(vxlan(OTHER, OURS, eth(BROADCAST, B)))
    router.packet_received(eth(B, A))
    assert sent(router) == [(vxlan(OURS, OTHER, eth(B, A)), ("10.100.0.4", 6784))]
