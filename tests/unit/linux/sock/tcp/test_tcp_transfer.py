"""Bytes under way: segmentation, PSH, Nagle, windows, loss, recovery, timeouts."""

from __future__ import annotations

import itertools

import pytest
from tcp_rig import NS_PER_MS, A, B, Rig

from k8semu.linux.core.drop import Drop
from k8semu.linux.sock.tcp.frame import TS_OPTIONS, lay_out
from k8semu.linux.sock.tcp.segment import ACK, MASK, PSH, URG


def lengths(rig: Rig, way: str) -> list[tuple[str, int]]:
    """(flags, bytes) of the segments with data."""
    found = []
    for line in rig.log:
        arrow, flags, span = line.split()[:3]
        start, end = map(int, span.split(":"))
        if arrow == way and end > start:
            found.append((flags, end - start))
    return found


def test_first_window_goes_in_two_halves_that_each_end_with_psh() -> None:
    """As seen on Linux 6.18 without offloads: half a congestion window at a time, PSH on its last segment."""
    rig = Rig()
    client, server = rig.connect()
    client.write(b"x" * 20_000)
    rig.run()
    data = lengths(rig, "a>b")
    assert data[:10] == [(".", 1448), (".", 1448), (".", 1448), (".", 1448), ("P.", 1448)] * 2
    assert data[-1] == ("P.", 20_000 - 13 * 1448)
    assert bytes(server.received) == b"x" * 20_000


def test_each_send_ends_with_psh() -> None:
    rig = Rig()
    client, _ = rig.connect()
    for size in (18, 1448, 1449):
        client.write(b"x" * size)
        rig.run(0.1)
    assert lengths(rig, "a>b") == [("P.", 18), ("P.", 1448), (".", 1448), ("P.", 1)]


def test_segments_fit_the_smaller_mss() -> None:
    rig = Rig()
    rig.b.net.ipv4.dev.mtu = 1450  # type: ignore[attr-defined]
    client, server = rig.connect()
    client.write(b"x" * 3000)
    server.write(b"y" * 3000)
    rig.run()
    assert lengths(rig, "a>b")[0] == lengths(rig, "b>a")[0] == (".", 1398)


def test_nagle_holds_a_small_segment_while_another_is_in_flight() -> None:
    rig = Rig()
    client, server = rig.connect(nodelay=False)
    client.sk.setsockopt(6, 1, 0)
    for _ in range(5):
        client.write(b"tiny")
    rig.run(1)
    assert lengths(rig, "a>b") == [("P.", 4), ("P.", 16)]
    assert bytes(server.received) == b"tiny" * 5


def test_without_nagle_each_goes_at_once() -> None:
    rig = Rig()
    client, _ = rig.connect()
    for _ in range(5):
        client.write(b"tiny")
    assert lengths(rig, "a>b") == [("P.", 4)] * 5


def test_closed_window_is_probed_and_opens_when_the_program_reads() -> None:
    rig = Rig()
    client, server = rig.connect(consume=False)
    client.write(b"x" * 200_000)
    rig.run(5)
    held = len(server.received)
    assert 60_000 < held < 80_000
    probes = [line for line in rig.log if line.startswith("a>b . ") and line.split()[2] == f"{held}:{held}"]
    assert 3 <= len(probes) <= 6, "backed off"
    server.consume = True
    server.sk.consumed(held)
    rig.run(2)
    assert bytes(server.received) == b"x" * 200_000


def test_lost_window_update_does_not_stall() -> None:
    rig = Rig()
    client, server = rig.connect(consume=False)
    client.write(b"x" * 200_000)
    rig.run(1)
    rig.lose(lambda line: line.startswith("b>a"))
    server.consume = True
    server.sk.consumed(len(server.received))
    rig.run(10)
    assert bytes(server.received) == b"x" * 200_000


def test_connection_that_is_never_read_times_out_only_when_probes_go_unanswered() -> None:
    rig = Rig()
    client, _ = rig.connect(consume=False)
    client.write(b"x" * 200_000)
    rig.run(3600)
    assert client.error is None
    rig.wire.fate = lambda number, frame: []
    rig.run(3600)
    assert client.events[-1] == "lost TimeoutError"


def test_one_lost_segment_is_sent_again_after_three_sacks() -> None:
    rig = Rig()
    client, server = rig.connect()
    rig.lose(lambda line: line.startswith("a>b . 1449:"))
    client.write(b"x" * 14_480)
    rig.run(0.01)
    assert bytes(server.received) == b"x" * 14_480, "long before any timeout"
    assert sum(line.startswith("a>b . 1449:2897") for line in rig.log) == 2
    assert any(line.endswith("ack 1449 sack 2897:4345") for line in rig.log)
    assert client.sk.ssthresh == 7, "CUBIC leaves 0.7"


def test_latest_sack_block_comes_first_and_three_fit_beside_timestamps() -> None:
    rig = Rig()
    client, _ = rig.connect()
    lost = iter(range(1, 10))
    rig.lose(lambda line: line.startswith("a>b") and line.split()[2].split(":")[0] in ("1", "2897", "5793", "8689")
             and next(lost) < 5, times=4)  # fmt: skip
    client.write(b"x" * 14_480)
    rig.run(0.0002)
    sacks = [line.split("sack ")[1] for line in rig.log if " sack " in line]
    assert sacks[0] == "1449:2897"
    assert sacks[3].split(",") == ["10137:11585", "7241:8689", "4345:5793"]
    rig.wire.fate = None
    rig.run(1)


def test_tail_of_several_segments_is_probed_after_two_round_trips() -> None:
    """As seen on Linux 6.18: the last segment after some 8 ms, the first after the RTO."""
    rig = Rig()
    client, _ = rig.connect()
    rig.wire.fate = lambda number, frame: []
    client.write(b"x" * 4000)
    del rig.log[:]
    rig.run(0.02)
    assert rig.log == ["a>b P. 2897:4001 ack 1"]
    rig.run(0.25)
    assert rig.log[1:] == ["a>b . 1:1449 ack 1"]


def test_lost_tail_of_several_segments_is_recovered_without_a_timeout() -> None:
    rig = Rig()
    client, server = rig.connect()
    rig.lose(lambda line: line.startswith(("a>b . 4345:", "a>b P. 5793:")), times=2)
    client.write(b"x" * 7240)
    rig.run(0.05)
    assert len(server.received) == 7240, "the probe for the last finds that the one before is missing"


def test_lost_tail_of_one_segment_waits_for_the_timer() -> None:
    rig = Rig()
    client, server = rig.connect()
    rig.lose(lambda line: line.startswith("a>b P. "))
    client.write(b"x" * 1000)
    rig.run(0.19)
    assert not server.received
    rig.run(0.1)
    assert bytes(server.received) == b"x" * 1000


def test_silence_doubles_the_timer_until_the_connection_times_out() -> None:
    rig = Rig()
    client, _ = rig.connect()
    start = rig.world.clock.now
    times: list[float] = []
    rig.wire.fate = lambda number, frame: times.append((rig.world.clock.now - start) / 10**9) or []  # type: ignore[func-returns-value]
    client.write(b"x")
    rig.run(2000)
    gaps = [round(later - earlier, 1) for earlier, later in itertools.pairwise(times)]
    assert gaps[:7] == [0.2, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4], "a loss probe, then timeouts"
    assert gaps[-1] == 120
    assert 800 < times[-1] < 810, "the timer after the last one, at 924.7 s, gives up (tcp_retries2)"
    assert client.events[-1] == "lost TimeoutError"


def test_a_lost_segment_is_sent_again_also_to_a_peer_without_sack() -> None:
    rig = Rig()
    rig.b.net.sysctl.set("net.ipv4.tcp_sack", 0)
    client, server = rig.connect()
    rig.lose(lambda line: line.startswith("a>b . 1449:"))
    client.write(b"x" * 14_480)
    rig.run(0.01)
    assert bytes(server.received) == b"x" * 14_480


def test_old_data_is_dropped_and_reported() -> None:
    rig = Rig()
    client, server = rig.connect()
    client.write(b"x" * 100)
    rig.run(0.1)
    frame = next(frame for frame in rig.wire.frames if len(frame) == 166)
    rig.wire.arrive(frame)
    rig.run(0.1)
    assert rig.b.net.drops == {Drop.TCP_OLD_DATA: 1}
    assert rig.log[-1] == "b>a . 1:1 ack 101 sack 1:101"
    assert bytes(server.received) == b"x" * 100


def test_wrong_checksum_is_dropped() -> None:
    rig = Rig()
    client, _server = rig.connect()
    client.write(b"x" * 100)
    frame = bytearray(rig.wire.frames[-1])
    frame[-1] ^= 1
    rig.wire.arrive(bytes(frame))
    assert rig.b.net.drops == {Drop.TCP_CSUM: 1}


def test_old_timestamp_is_dropped() -> None:
    rig = Rig()
    client, server = rig.connect()
    sk = server.sk
    ts = (sk.ts_recent - 5000 & MASK, 0)
    rig.wire.arrive(bytes(lay_out((A, B, client.sk.sport, 80), sk.rcv_nxt, sk.snd_nxt, ACK | PSH, 500, TS_OPTIONS, ts)))
    assert rig.b.net.drops == {Drop.TCP_RFC7323_PAWS: 1}


def test_acknowledgement_of_what_was_never_sent_is_dropped() -> None:
    rig = Rig()
    client, server = rig.connect()
    sk = server.sk
    rig.wire.arrive(bytes(lay_out((A, B, client.sk.sport, 80), sk.rcv_nxt, sk.snd_nxt + 5, ACK, 500)))
    assert rig.b.net.drops == {Drop.TCP_ACK_UNSENT_DATA: 1}


def test_urgent_data_is_not_passed_over_in_silence() -> None:
    rig = Rig()
    client, server = rig.connect()
    seen: list[str] = []

    class Trace:
        def hop(self, hop: object) -> None:
            seen.extend(step.text for step in hop.steps)  # type: ignore[attr-defined]

        def change(self, time: int, netns: str, step: object) -> None: ...

    rig.b.net.trace = Trace()  # type: ignore[assignment]
    sk = server.sk
    rig.wire.arrive(bytes(lay_out((A, B, client.sk.sport, 80), sk.rcv_nxt, sk.snd_nxt, ACK | URG, 500)))
    assert "not modelled: TCP urgent data: taken as ordinary" in seen


def test_keepalive_finds_a_dead_peer() -> None:
    rig = Rig()
    client, _ = rig.connect()
    client.sk.setsockopt(1, 9, 1)
    client.sk.setsockopt(6, 4, 10)
    client.sk.setsockopt(6, 5, 2)
    client.sk.setsockopt(6, 6, 3)
    rig.run(25)
    assert client.error is None
    rig.wire.fate = lambda number, frame: []
    rig.run(30)
    assert client.events[-1] == "lost TimeoutError"


def test_acknowledgement_waits_for_the_answer_to_carry_it() -> None:
    rig = Rig()
    client, server = rig.connect()
    for _ in range(3):
        client.write(b"ping")
        rig.run(0.001)
        server.write(b"pong")
        rig.run(0.001)
    del rig.log[:]
    client.write(b"ping")
    rig.run(0.001)
    server.write(b"pong")
    rig.run(0.001)
    assert rig.log == ["a>b P. 13:17 ack 13", "b>a P. 13:17 ack 17"]
    rig.run(0.1)
    assert rig.log[2:] == ["a>b . 17:17 ack 17"], "after 40 ms"


def test_send_takes_what_the_buffer_holds_and_says_when_there_is_room() -> None:
    rig = Rig()
    client, server = rig.connect()
    taken = client.sk.send(b"x" * 1_000_000)
    assert 80_000 < taken < 120_000
    assert client.sk.send(b"x") == 0
    client.unsent += b"x" * (1_000_000 - taken)
    rig.run()
    assert len(server.received) == 1_000_000


def test_window_grows_for_a_program_that_reads_fast() -> None:
    rig = Rig(delay=20 * NS_PER_MS)
    rig.b.listen(80)
    sk, client = rig.a.socket()
    sk.connect(B, 80)
    rig.run(0.1)
    client.write(b"x" * 5_000_000)
    rig.run(10)
    server = rig.b.tcp.listeners[80][0].owner.child  # type: ignore[union-attr]
    assert len(server.received) == 5_000_000
    assert server.sk.rcvbuf > 500_000
    assert client.sk.sndbuf > 500_000


def test_numbers_wrap_around() -> None:
    rig = Rig()
    for machine in (rig.a, rig.b):
        machine.tcp.isn = lambda key: 0xFFFFFF00        # type: ignore[method-assign]
        machine.tcp.ts_offset = lambda key: 0xFFFFFFF0  # type: ignore[method-assign]
    client, server = rig.connect()
    rig.lose(lambda line: line.startswith("a>b . 1449:"))
    data = bytes(range(256)) * 400
    client.write(data)
    rig.run(0.1)
    server.write(data)
    rig.run(0.1)
    assert bytes(server.received) == bytes(client.received) == data
    client.sk.close()
    rig.run(0.1)
    server.sk.close()
    rig.run(0.1)
    assert rig.states() == ("TIME_WAIT", "-")
    assert not rig.a.net.drops


@pytest.mark.parametrize(("loss", "size"), [(0.0, 10 << 20), (0.01, 10 << 20), (0.1, 1 << 20)])
def test_large_transfer_arrives_intact_through_loss_and_reordering(loss: float, size: int) -> None:
    rig = Rig(seed=7)
    rig.wire.logging = False
    chance = rig.world.random["fate"]

    def fate(number: int, frame: bytes) -> list[tuple[int, bytes]]:
        if chance.unit() < loss:
            return []
        delay = rig.wire.delay
        if loss and chance.unit() < 0.02:
            delay += chance.below(200_000)
        return [(delay, frame)]

    rig.wire.fate = fate
    rig.b.listen(80, close_on_eof=True)
    sk, client = rig.a.socket()
    sk.connect(B, 80)
    while not client.events:
        rig.run(0.1)
    data = bytes(rig.world.random["data"].bits(8) for _ in range(4099))
    data = (data * (size // 4099 + 1))[:size]
    client.write(data)
    while client.unsent:
        rig.run(0.1)
    sk.shutdown()
    rig.settle()
    server = rig.b.tcp.listeners[80][0].owner.child  # type: ignore[union-attr]
    assert server.received == data
    assert server.events == ["eof"]
    assert client.events == ["connected", "eof", "lost"]
