"""Forwarding: TTL, MTU, who is told what and how often."""

from __future__ import annotations

from netlab import Emulated, Lab, icmp_echo, two_nodes, udp

from k8semu.linux.core.commands import LinkSet, RouteAdd, Sysctl
from k8semu.linux.core.drop import Drop
from k8semu.wire.addr import ip_aton, ip_ntoa
from k8semu.wire.build import icmp_build, ip_build
from k8semu.wire.checksum import checksum

X, Y = "172.17.0.2", "172.17.1.3"


def played(lab: Lab) -> Emulated:
    lab.tap("px", "eth0")
    world = Emulated(lab.netns)
    world.play(lab.steps)
    return world


def errors(world: Emulated) -> list[tuple[str, int, int, int]]:
    """ICMP errors that px received: (from, type, code, the rest of the header)."""
    found = []
    for direction, frame in world.seen.taps["px/eth0"]:
        if direction == "in" and frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34] in (3, 5, 11):
            found.append((ip_ntoa(frame[26:30]), frame[34], frame[35], int.from_bytes(frame[38:42], "big")))
    return found


def send(world: Emulated, packet: bytearray, seconds: float = 0.01) -> None:
    world._send("px", bytes(packet[14:]))
    world._wait(seconds)


def test_each_router_that_ends_a_ttl_says_so_with_its_own_address() -> None:
    world = played(two_nodes(overlay=False))
    for ttl in (1, 2):
        send(world, icmp_echo(X, Y, ttl=ttl))
    assert errors(world) == [("172.17.0.1", 11, 0, 0), ("10.100.0.3", 11, 0, 0)]


def test_a_packet_with_df_that_is_too_long_is_answered_with_the_mtu_by_the_way_to_the_sender() -> None:
    world = played(two_nodes())
    send(world, icmp_echo(X, Y, size=1472))
    assert errors(world) == [("172.17.0.1", 3, 4, 1450)]


def test_without_df_it_is_cut() -> None:
    world = played(two_nodes())
    send(world, icmp_echo(X, Y, size=1472, df=False))
    assert errors(world) == []
    replies = [f for d, f in world.seen.taps["px/eth0"] if d == "in" and f[12:14] == b"\x08\x00"]
    assert [len(f) - 14 for f in replies] == [1444, 76]


def test_a_path_mtu_that_a_router_learned_for_itself_does_not_bind_what_it_forwards() -> None:
    world = played(two_nodes(overlay=False))
    world.nets["h1"].ipv4.update_pmtu(b"\xac\x11\x01\x03", 1000)
    send(world, icmp_echo(X, Y, size=1472))
    assert errors(world) == []


def test_six_errors_come_at_once_and_then_one_each_second() -> None:
    world = played(two_nodes(overlay=False))
    for seq in range(9):
        send(world, icmp_echo(X, Y, seq, ttl=1), 0.001)
    assert len(errors(world)) == 6
    world._wait(2)
    for seq in range(9):
        send(world, icmp_echo(X, Y, seq, ttl=1), 0.001)
    assert len(errors(world)) == 8


def test_no_route_costs_twice() -> None:
    world = played(two_nodes(overlay=False))
    for seq in range(9):
        send(world, icmp_echo(X, "10.1.1.1", seq), 0.001)
    assert errors(world) == [("172.17.0.1", 3, 0, 0)] * 2


def test_needed_fragmentation_is_said_without_limit() -> None:
    world = played(two_nodes())
    world.nets["px"].ipv4.pmtu = Forgetful()
    for seq in range(9):
        send(world, icmp_echo(X, Y, seq, size=1472), 0.001)
    assert len(errors(world)) == 9


class Forgetful(dict[bytes, tuple[int, int]]):
    """px does not heed what it is told."""

    def __setitem__(self, key: bytes, value: tuple[int, int]) -> None:
        pass


def test_the_type_of_a_route_decides_what_is_said() -> None:
    world = played(two_nodes(overlay=False))
    for number, kind in enumerate(("unreachable", "prohibit", "blackhole")):
        world._tell("h1", RouteAdd(dst=f"10.1.{number}.0/24", type=kind))
        send(world, icmp_echo(X, f"10.1.{number}.1"), 2)
    assert [(kind, code) for _, kind, code, _ in errors(world)] == [(3, 1), (3, 13)]


def test_without_ip_forward_nothing_is_forwarded_and_nothing_said() -> None:
    world = played(two_nodes(overlay=False))
    world._tell("h1", Sysctl(name="net.ipv4.ip_forward", value=0))
    send(world, icmp_echo(X, Y))
    assert errors(world) == []
    assert world.nets["h1"].drops[Drop.IP_INADDRERRORS] == 1


def test_no_error_is_sent_about_an_error_a_later_fragment_or_a_broadcast() -> None:
    world = played(two_nodes(overlay=False))
    error = icmp_echo(X, Y, kind=3, ttl=1)
    later = icmp_echo(X, Y, ttl=1, df=False)
    later[20:22] = b"\x00\x10"
    later[24:26] = (int.from_bytes(later[24:26], "big") - 0x10).to_bytes(2, "big")
    for packet in (error, later, udp(X, "172.17.0.255", 1, 2)):
        send(world, packet)
    assert errors(world) == []


def test_a_router_forgets_redirects_when_it_begins_to_forward() -> None:
    world = played(two_nodes(overlay=False))
    conf = world.nets["h1"].sysctl.conf_all
    assert conf.accept_redirects == 0
    world._tell("h1", Sysctl(name="net.ipv4.ip_forward", value=0))
    assert conf.accept_redirects == 1


def test_an_echo_reply_keeps_the_type_of_service_and_has_no_df() -> None:
    world = played(two_nodes(overlay=False))
    send(world, icmp_echo(X, Y, tos=0x2F))
    (reply,) = [f for d, f in world.seen.taps["px/eth0"] if d == "in" and f[23:24] == b"\x01" and f[34] == 0]
    assert reply[15] == 0x2F
    assert reply[20] & 0x40 == 0


def test_a_next_link_with_a_smaller_mtu_cuts_again_what_was_cut_before() -> None:
    world = played(two_nodes(overlay=False))
    world._tell("h1", LinkSet(name="eth0", mtu=600))
    send(world, udp(X, Y, 5000, 6000, bytes(1400), df=False))
    cut = [step.text for hop in world.recorder.hops for step in hop.steps if step.text.startswith("fragments: cut")]
    assert cut[0] == "fragments: cut into 3 of at most 596 bytes"


def test_a_timestamp_request_is_answered_with_ms_since_midnight() -> None:
    world = played(two_nodes(overlay=False))
    world._wait(1)
    now = world.world.clock.now // 1_000_000
    message = icmp_build(13, 0, 0x0102_0304, b"\0\0\0\7" + bytes(8))
    send(world, ip_build(ip_aton(X), ip_aton("172.17.0.1"), 1, len(message)) + message)
    reply = next(f for d, f in world.seen.taps["px/eth0"] if d == "in" and f[12:14] == b"\x08\x00" and f[34] == 14)
    times = [int.from_bytes(reply[at : at + 4], "big") for at in (42, 46, 50)]
    assert (reply[38:42], checksum(reply[34:54])) == (b"\1\2\3\4", 0)
    assert times == [7, now, now]
