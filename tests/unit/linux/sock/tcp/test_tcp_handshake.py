"""How connections begin: options as Linux writes them, retries, refusals, full queues."""

from __future__ import annotations

import pytest
from tcp_rig import A, B, Rig

from k8semu.linux.core.drop import Drop
from k8semu.linux.sock.tcp.frame import lay_out
from k8semu.linux.sock.tcp.segment import ACK, RST, SYN


def test_handshake_has_the_options_and_windows_of_linux() -> None:
    rig = Rig()
    client, server = rig.connect()
    assert rig.log == [
        "a>b S 0:0 win 64240 <mss 1460,sackOK,ts,wscale 7>",
        "b>a S. 0:0 ack 1 win 65160 <mss 1460,sackOK,ts,wscale 7>",
        "a>b . 1:1 ack 1",
    ]
    assert client.events == ["connected"]
    assert server.sk.remote == client.sk.local
    assert rig.states() == ("ESTABLISHED", "ESTABLISHED")


def test_syn_options_lie_in_the_order_of_linux() -> None:
    rig = Rig()
    rig.connect()
    syn, synack, ack = rig.wire.frames
    assert syn[54:62].hex() == "020405b40402080a"
    assert syn[70:].hex() == "01030307"
    assert synack[54:62].hex() == "020405b40402080a"
    assert synack[70:].hex() == "01030307"
    assert ack[54:58].hex() == "0101080a"
    assert synack[18:20] == b"\0\0", "Linux numbers a SYN-ACK 0"
    assert syn[20:22] == ack[20:22] == b"\x40\0", "do not fragment"


@pytest.mark.parametrize(("mtu", "mss", "syn", "synack"), [(1450, 1410, 64860, 64308), (65536, 65495, 65495, 65483)])
def test_first_window_is_whole_segments_in_64_kib(mtu: int, mss: int, syn: int, synack: int) -> None:
    rig = Rig(mtu=mtu)
    rig.connect()
    assert rig.log[0].startswith(f"a>b S 0:0 win {syn} <mss {mss},"), rig.log[0]
    assert f"win {synack} " in rig.log[1]


def test_peer_without_options_is_spoken_to_without() -> None:
    rig = Rig()
    for name in ("tcp_sack", "tcp_timestamps", "tcp_window_scaling"):
        rig.b.net.sysctl.set(f"net.ipv4.{name}", 0)
    client, server = rig.connect()
    client.write(b"x" * 3000)
    rig.run()
    assert rig.log[1] == "b>a S. 0:0 ack 1 win 64240 <mss 1460>"
    assert "a>b . 1:1461 ack 1" in rig.log
    assert bytes(server.received) == b"x" * 3000


def test_a_peer_that_names_no_mss_gets_536_bytes_at_a_time_from_who_called() -> None:
    rig = Rig()
    rig.wire.fate = lambda number, frame: []
    sk, client = rig.a.socket()
    sk.connect(B, 80)
    (syn,) = rig.wire.frames
    isn = int.from_bytes(syn[38:42], "big")
    rig.wire.arrive(bytes(lay_out((B, A, 80, sk.sport), 7, isn + 1, SYN | ACK, 65000)))
    assert client.events == ["connected"]
    client.write(b"x" * 2000)
    assert [line for line in rig.log if "a>b . 1:" in line][-1].startswith("a>b . 1:537 ")


def test_a_peer_that_names_no_mss_gets_536_bytes_at_a_time_from_who_was_called() -> None:
    rig = Rig()
    rig.wire.fate = lambda number, frame: []
    _, server = rig.b.listen(80)
    flow = (A, B, 40000, 80)
    rig.wire.arrive(bytes(lay_out(flow, 7, 0, SYN, 65000)))
    (synack,) = rig.wire.frames
    isn = int.from_bytes(synack[38:42], "big")
    rig.wire.arrive(bytes(lay_out(flow, 8, isn + 1, ACK, 65000)))
    server.child.write(b"x" * 2000)
    assert [line for line in rig.log if "b>a . 1:" in line][-1].startswith("b>a . 1:537 ")


def test_syn_is_sent_again_as_linux_6_does_until_it_times_out() -> None:
    rig = Rig()
    times: list[int] = []
    rig.wire.fate = lambda number, frame: times.append(rig.world.clock.now // 10**9) or []  # type: ignore[func-returns-value]
    sk, client = rig.a.socket()
    sk.connect(B, 80)
    rig.settle()
    assert times == [0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67]
    assert rig.world.clock.now // 10**9 == 131
    assert client.events == ["failed TimeoutError 110"]
    assert sk.state == "CLOSED"


@pytest.mark.parametrize(("retries", "times", "end"), [
    (1, [0, 1, 2], 3), (2, [0, 1, 2, 3, 4, 5], 7), (3, [0, 1, 2, 3, 4, 5, 7, 11], 19),
])  # fmt: skip
def test_few_syn_retries_end_by_the_time_they_would_have_taken(retries: int, times: list[int], end: int) -> None:
    """As seen on Linux 6.18: the first SYNs go a second apart, but do not last longer for that."""
    rig = Rig()
    rig.a.net.sysctl.set("net.ipv4.tcp_syn_retries", retries)
    seen: list[int] = []
    rig.wire.fate = lambda number, frame: seen.append(rig.world.clock.now // 10**9) or []  # type: ignore[func-returns-value]
    rig.a.socket()[0].connect(B, 80)
    rig.settle()
    assert (seen, rig.world.clock.now // 10**9) == (times, end)


def test_connection_is_refused_where_nobody_listens() -> None:
    rig = Rig()
    sk, client = rig.a.socket()
    sk.connect(B, 81)
    rig.run()
    assert rig.log[1:] == ["b>a R. 0:0 ack 1"]
    assert client.events == ["failed ConnectionRefusedError 111"]
    assert rig.b.net.drops == {Drop.NO_SOCKET: 1}


def test_lost_synack_is_sent_again() -> None:
    rig = Rig()
    rig.lose(lambda line: line.startswith("b>a S."))
    rig.b.listen(80)
    sk, client = rig.a.socket()
    sk.connect(B, 80)
    rig.run(1.5)
    assert client.events == ["connected"]
    assert [line[:6] for line in rig.log if " S" in line].count("b>a S.") >= 2


def test_handshake_without_its_ack_ends_after_five_retries() -> None:
    rig = Rig()
    times: list[int] = []

    def fate(number: int, frame: bytes) -> list[tuple[int, bytes]]:
        if frame[26:30] == B:
            times.append(rig.world.clock.now // 10**9)
        return [(1000, frame)] if rig.wire.describe(frame).startswith("a>b S ") else []

    rig.wire.fate = fate
    listener, _ = rig.b.listen(80)
    flow = (A, B, 40000, 80)
    rig.wire.arrive(bytes(lay_out(flow, 5, 0, SYN, 1000, (("MSS", 1460),))))
    rig.run(200)
    assert times == [0, 1, 3, 7, 15, 31]
    assert not listener.requests


def test_both_may_connect_at_once() -> None:
    rig = Rig()
    sa, a = rig.a.socket()
    sb, b = rig.b.socket()
    sa.bind(A, 5000)
    sb.bind(B, 6000)
    sa.connect(B, 6000)
    sb.connect(A, 5000)
    rig.run()
    assert a.events == b.events == ["connected"]
    a.write(b"hello")
    rig.run()
    assert bytes(b.received) == b"hello"


def test_syn_is_dropped_when_as_many_wait_as_the_backlog_allows() -> None:
    rig = Rig()
    listener, server = rig.b.listen(80, backlog=1)
    listener.pause_accepting()
    clients = []
    for _ in range(4):
        sk, client = rig.a.socket()
        sk.connect(B, 80)
        clients.append(client)
        rig.run(0.01)
    assert [client.events for client in clients] == [["connected"], ["connected"], [], []]
    assert rig.b.net.drops[Drop.TCP_LISTEN_OVERFLOW] == 2
    assert server.events == []
    listener.resume_accepting()
    rig.run(3)
    assert [client.events for client in clients] == [["connected"]] * 4
    assert server.events == ["accepted"] * 4


def test_data_that_waits_for_accept_is_not_lost() -> None:
    rig = Rig()
    listener, server = rig.b.listen(80)
    listener.pause_accepting()
    sk, client = rig.a.socket()
    sk.connect(B, 80)
    rig.run(0.01)
    client.write(b"early")
    sk.shutdown()
    rig.run(0.01)
    listener.resume_accepting()
    assert bytes(server.child.received) == b"early"
    assert server.child.events == ["eof"]


def test_listener_answers_a_stray_ack_with_a_reset() -> None:
    rig = Rig()
    rig.b.listen(80)
    rig.wire.arrive(bytes(lay_out((A, B, 40000, 80), 5, 77, ACK, 1000)))
    reset = rig.wire.frames[0]
    assert reset[47] == RST
    assert reset[38:42] == (77).to_bytes(4, "big"), "numbered by what it answers"


def test_reset_of_a_segment_without_ack_acknowledges_it() -> None:
    rig = Rig()
    rig.wire.arrive(bytes(lay_out((A, B, 40000, 80), 5, 0, SYN, 1000)))
    reset = rig.wire.frames[0]
    assert reset[47] == RST | ACK
    assert reset[38:46] == (0).to_bytes(4, "big") + (6).to_bytes(4, "big")
    rig.wire.arrive(bytes(lay_out((A, B, 40000, 80), 5, 0, RST, 1000)))
    assert len(rig.wire.frames) == 1, "a reset is never answered"


@pytest.mark.parametrize(("asked", "window", "scale"), [
    (1_000, 1152, 0), (4_096, 2920, 0), (20_000, 18980, 0), (60_000, 59860, 0), (100_000, 65535, 1),
])  # fmt: skip
def test_a_receive_buffer_of_ones_own_is_what_the_first_window_is_taken_from(
    asked: int, window: int, scale: int
) -> None:
    """As Linux 6.18 offers it in a SYN."""
    rig = Rig()
    sk, _ = rig.a.socket()
    sk.setsockopt(1, 8, asked)
    sk.connect(B, 80)
    syn = rig.wire.frames[0]
    assert int.from_bytes(syn[48:50], "big") == window
    assert sk.rcv_wscale == scale


def test_a_receive_buffer_of_ones_own_does_not_grow() -> None:
    rig = Rig()
    listener, owner = rig.b.listen(80)
    listener.setsockopt(1, 8, 20_000)
    client = rig.a.socket()[1]
    client.sk.connect(B, 80)
    rig.run(0.01)
    client.write(bytes(500_000))
    rig.run(5)
    assert len(owner.child.received) == 500_000
    assert owner.child.sk.rcvbuf == 40_000
