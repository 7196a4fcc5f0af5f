"""Packets to virtual servers: where they go, what answers look like, what connection tracking knows."""

from __future__ import annotations

import pytest
from ipvs_lab import MASQUERADE, NODE, OUT, PA, PX, VIP, World
from netlab import icmp_echo, udp
from nf_fakes import checksums_hold, tcp

from k8semu.linux.core import commands as c

TCP = f"-A -t {VIP}:80 -s rr\n-a -t {VIP}:80 -r {PA}:8080 -m"
UDP = f"-A -u {VIP}:53 -s rr\n-a -u {VIP}:53 -r {PA}:53 -m"


def syn(src: str = f"{PX}:4000", dst: str = f"{VIP}:80") -> bytearray:
    return tcp(src, dst)


def test_a_connection_goes_to_the_real_server_and_the_answer_comes_from_the_virtual_one() -> None:
    world = World(TCP)
    world.send("px", syn())
    assert world.seen("pa") == [f"in tcp {PX}:4000 > {PA}:8080 S", f"out tcp {PA}:8080 > {PX}:4000 RA"]
    assert world.seen("px") == [f"out tcp {PX}:4000 > {VIP}:80 S", f"in tcp {VIP}:80 > {PX}:4000 RA"]


def test_every_checksum_holds_and_the_ttl_falls_by_one() -> None:
    world = World(TCP)
    world.send("px", syn())
    frames = [frame for tap in ("px/eth0", "pa/eth0") for _, frame in world.world.seen.taps[tap]]
    assert all(checksums_hold(bytearray(frame)) for frame in frames if frame[12:14] == b"\x08\x00")
    assert [frame[22] for way, frame in world.world.seen.taps["pa/eth0"] if way == "in"] == [63]


def test_connection_tracking_expects_the_real_servers_answer() -> None:
    world = World(UDP, MASQUERADE)
    world.send("px", udp(PX, VIP, 4000, 53))
    listed = world.net.netfilter.conntrack.list()
    assert f"src={PX} dst={VIP} sport=4000 dport=53 [UNREPLIED] src={PA} dst={PX} sport=53 dport=4000" in listed


def test_what_a_rule_marks_is_masqueraded_after_it_was_sent_on() -> None:
    world = World(TCP, MASQUERADE)
    world.world.nets["out"].apply(c.RouteAdd(dst=f"{VIP}/32", via=NODE))
    world.send("out", syn(f"{OUT}:4000"))
    assert world.seen("pa") == [f"in tcp 172.17.0.1:4000 > {PA}:8080 S", f"out tcp {PA}:8080 > 172.17.0.1:4000 RA"]
    assert world.seen("out")[-1] == f"in tcp {VIP}:80 > {OUT}:4000 RA"


def test_without_conntrack_no_rule_about_connections_and_no_masquerading() -> None:
    world = World(TCP, MASQUERADE, {"conntrack": 0})
    world.world.nets["out"].apply(c.RouteAdd(dst=f"{VIP}/32", via=NODE))
    world.send("out", syn(f"{OUT}:4000"))
    assert world.seen("pa")[0] == f"in tcp {OUT}:4000 > {PA}:8080 S"
    assert world.seen("out")[-1] == f"in tcp {VIP}:80 > {OUT}:4000 RA"
    assert f"dst={VIP}" not in world.net.netfilter.conntrack.list()


def test_the_machine_itself_calls_from_the_address_that_it_calls() -> None:
    world = World(TCP, "*nat\n-A POSTROUTING -s 10.96.0.1 -j MASQUERADE\nCOMMIT\n")
    world.send("h1", syn(f"{VIP}:4000"))
    assert world.seen("pa") == [f"in tcp 172.17.0.1:4000 > {PA}:8080 S", f"out tcp {PA}:8080 > 172.17.0.1:4000 RA"]


def test_a_pod_that_gets_itself_is_masqueraded_or_it_would_answer_itself() -> None:
    hairpin = f"*nat\n-A POSTROUTING -s {PA} -d {PA} -j MASQUERADE\nCOMMIT\n"
    world = World(TCP, hairpin)
    world.send("pa", syn(f"{PA}:4000"))
    assert world.seen("pa") == [
        f"out tcp {PA}:4000 > {VIP}:80 S", f"in tcp 172.17.0.1:4000 > {PA}:8080 S",
        f"out tcp {PA}:8080 > 172.17.0.1:4000 RA", f"in tcp {VIP}:80 > {PA}:4000 RA",
    ]  # fmt: skip


def test_without_bridge_nf_call_iptables_the_answer_to_a_pod_of_the_same_bridge_stays_untranslated() -> None:
    world = World(TCP)
    world.net.apply(c.Sysctl(name="net.bridge.bridge-nf-call-iptables", value=0))
    world.send("px", syn())
    assert f"in tcp {PA}:8080 > {PX}:4000 RA" in world.seen("px")


@pytest.mark.parametrize("packet", [syn(), udp(PX, VIP, 4000, 53)])
def test_a_virtual_server_without_real_ones_refuses_tcp_and_udp_by_icmp(packet: bytearray) -> None:
    world = World(f"-A -t {VIP}:80 -s rr\n-A -u {VIP}:53 -s rr")
    world.send("px", packet)
    port = int.from_bytes(packet[36:38], "big")
    assert world.seen("px")[-1] == f"in icmp 3/3 {VIP} > {PX} about {PX}:4000 > {VIP}:{port}"


def test_a_real_server_of_weight_zero_gets_nothing_new_and_keeps_what_it_has() -> None:
    world = World(f"-A -u {VIP}:53 -s rr\n-a -u {VIP}:53 -r {PA}:53 -m")
    world.send("px", udp(PX, VIP, 4000, 53))
    world.say(f"-e -u {VIP}:53 -r {PA}:53 -m -w 0")
    world.send("px", udp(PX, VIP, 4000, 53))
    world.send("px", udp(PX, VIP, 4001, 53))
    assert [line for line in world.seen("pa") if line.startswith("in ")] == [f"in udp {PX}:4000 > {PA}:53"] * 2
    assert world.seen("px")[-1].startswith("in icmp 3/3")


def test_a_segment_that_begins_no_connection_is_not_for_a_real_server() -> None:
    world = World(TCP)
    world.send("px", tcp(f"{PX}:4000", f"{VIP}:80", "A"))
    assert world.seen("pa") == []
    assert world.seen("px")[-1] == f"in tcp {VIP}:80 > {PX}:4000 R"


def test_other_ports_of_the_address_are_the_machines_own() -> None:
    world = World(TCP)
    world.send("px", syn(dst=f"{VIP}:81"))
    world.send("px", icmp_echo(PX, VIP))
    assert world.seen("pa") == []
    assert world.seen("px")[1] == f"in tcp {VIP}:81 > {PX}:4000 RA"


def test_an_icmp_error_of_a_real_server_reaches_the_client_as_one_about_the_virtual_server() -> None:
    world = World(UDP)
    world.send("px", udp(PX, VIP, 4000, 53))
    assert world.seen("pa")[-1] == f"out icmp 3/3 {PA} > {PX} about {PX}:4000 > {PA}:53"
    assert world.seen("px")[-1] == f"in icmp 3/3 {VIP} > {PX} about {PX}:4000 > {VIP}:53"


def test_an_icmp_error_of_a_client_reaches_the_real_server_as_one_about_itself() -> None:
    world = World(UDP)
    world.send("px", udp(PX, VIP, 4000, 53))
    answer = udp(VIP, PX, 53, 4000)
    from nf_fakes import icmp_error

    world.send("px", icmp_error(PX, VIP, answer, code=3))
    assert world.seen("pa")[-1] == f"in icmp 3/3 {PX} > {PA} about {PA}:53 > {PX}:4000"


def test_a_packet_that_may_not_go_further_is_answered_by_the_virtual_server() -> None:
    world = World(TCP)
    packet = syn()
    packet[22] = 1
    packet[24:26] = b"\0\0"
    from k8semu.wire.checksum import checksum

    packet[24:26] = checksum(memoryview(packet)[14:34]).to_bytes(2, "big")
    world.send("px", packet)
    assert world.seen("px")[-1] == f"in icmp 11/0 {VIP} > {PX} about {PX}:4000 > {VIP}:80"


def test_a_real_server_that_is_the_machine_itself_gets_the_packet_where_it_is() -> None:
    world = World(f"-A -t {VIP}:80 -s rr\n-a -t {VIP}:80 -r {NODE}:8080 -m")
    world.send("px", syn())
    assert world.seen("px") == [f"out tcp {PX}:4000 > {VIP}:80 S", f"in tcp {VIP}:80 > {PX}:4000 RA"]


def test_a_firewall_mark_can_be_what_is_called() -> None:
    rule = "*mangle\n-A PREROUTING -p tcp -j MARK --set-mark 7\nCOMMIT\n"
    world = World(f"-A -f 7 -s rr\n-a -f 7 -r {PA}:8080 -m", rule)
    world.send("px", syn(dst=f"{VIP}:99"))
    assert world.seen("pa")[0] == f"in tcp {PX}:4000 > {PA}:8080 S"
    assert world.seen("px")[-1] == f"in tcp {VIP}:99 > {PX}:4000 RA"


def test_a_client_that_is_persistent_stays_with_its_real_server_until_its_time_is_over() -> None:
    world = World(f"-A -u {VIP}:53 -s rr -p 100\n-a -u {VIP}:53 -r {PA}:53 -m\n-a -u {VIP}:53 -r {PX}:53 -m")

    def asked(port: int) -> str:
        world.send("out", udp(OUT, VIP, port, 53))
        return world.show("-Lnc").splitlines()[2:][[c.split()[3] for c in world.show("-Lnc").splitlines()[2:]].index(
            f"{OUT}:{port}")].split()[5]  # fmt: skip

    first = asked(4000)
    assert [asked(port) for port in (4001, 4002, 4003)] == [first] * 3
    world.world._wait(99)
    assert asked(4004) == first  # and the time begins anew
    world.world._wait(99)
    assert asked(4005) == first


def test_a_template_of_a_real_server_without_weight_is_forgotten_if_the_setting_says_so() -> None:
    servers = f"-A -u {VIP}:53 -s rr -p 100\n-a -u {VIP}:53 -r {PA}:53 -m\n-a -u {VIP}:53 -r {PX}:53 -m"
    for quiescent, stays in ((0, True), (1, False)):
        world = World(servers, settings={"expire_quiescent_template": quiescent})
        world.send("out", udp(OUT, VIP, 4000, 53))
        was = world.show("-Lnc").splitlines()[2].split()[5]
        world.say(f"-e -u {VIP}:53 -r {was} -m -w 0")
        world.send("out", udp(OUT, VIP, 4001, 53))
        now = next(line.split()[5] for line in world.show("-Lnc").splitlines() if f"{OUT}:4001" in line)
        assert (now == was) is stays


@pytest.mark.parametrize(("expire", "left"), [(1, 0), (0, 1)])
def test_when_a_real_server_goes_its_connections_go_with_it_if_the_setting_says_so(expire: int, left: int) -> None:
    world = World(UDP, MASQUERADE, {"expire_nodest_conn": expire})
    world.send("px", udp(PX, VIP, 4000, 53))
    world.say(f"-d -u {VIP}:53 -r {PA}:53")
    assert world.show("-Lnc").count("UDP ") == 2 * left
    assert world.net.netfilter.conntrack.list().count(f"dst={VIP}") == left
    world.send("px", udp(PX, VIP, 4000, 53))
    assert len([line for line in world.seen("pa") if line.startswith("in ")]) == 1


def test_a_connection_lives_as_long_as_its_state_allows_and_takes_its_tracking_along() -> None:
    world = World(UDP, MASQUERADE)
    world.net.apply(c.Sysctl(name="net.netfilter.nf_conntrack_udp_timeout", value=1000))
    world.send("px", udp(PX, VIP, 4000, 53), 0)
    assert " 04:59 " in world.show("-Lnc")
    world.world._wait(299)
    assert f"{PX}:4000" in world.show("-Lnc")
    world.world._wait(2)
    assert f"{PX}:4000" not in world.show("-Lnc")
    assert f"dst={VIP}" not in world.net.netfilter.conntrack.list()


def test_the_state_of_a_connection_follows_its_segments_and_is_counted() -> None:
    world = World(TCP)
    world.send("px", syn(), 0)
    line = world.show("-Lnc").splitlines()[2]
    assert line.split()[2] in ("SYN_RECV", "CLOSE")
    world.world._wait(0.01)   # the real server refuses
    assert world.show("-Lnc").splitlines()[2].split()[2] == "CLOSE"
    assert f"  -> {PA}:8080".ljust(34) + "Masq    1      0          1         " in world.show()


def test_a_port_that_a_client_uses_anew_after_the_end_is_a_new_connection() -> None:
    world = World(f"{TCP}\n-a -t {VIP}:80 -r {PX}:8080 -m", MASQUERADE)
    world.send("out", syn(f"{OUT}:4000"))
    before = world.show("-Lnc").splitlines()[2].split()[5]
    for _ in range(3):  # a segment that conntrack knows is dropped once, so that its entry goes
        world.send("out", syn(f"{OUT}:4000"), 1)
    assert world.show("-Lnc").splitlines()[2].split()[5] != before


def test_what_was_sent_is_counted_for_virtual_and_real_server() -> None:
    world = World(TCP)
    world.send("px", syn())
    lines = world.show("-Ln", "--stats").splitlines()
    assert lines[3].split() == ["TCP", f"{VIP}:80", "1", "1", "1", "40", "40"]
    assert lines[4].split() == ["->", f"{PA}:8080", "1", "1", "1", "40", "40"]


def test_what_is_known_at_any_moment_is_in_the_trace() -> None:
    from k8semu.trace.state import states

    world = World(f"{TCP}\n{UDP}\n-E -u {VIP}:53 -s rr -p 100", MASQUERADE, {"expire_nodest_conn": 1})

    def same() -> dict[str, str]:
        known = {conn.key_text: conn.text for conn in world.net.netfilter.ipvs.conns.all()}
        assert states(world.world.recorder.changes)["h1"].virtual == known
        return known

    world.send("px", syn())
    world.send("px", udp(PX, VIP, 4000, 53))
    assert len(same()) == 3
    assert any(" CLOSE " in line for line in same().values())
    world.world._wait(11)   # CLOSE lives for ten seconds
    assert len(same()) == 2
    world.say(f"-d -u {VIP}:53 -r {PA}:53")
    assert same() == {}
