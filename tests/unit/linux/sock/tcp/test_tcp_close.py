"""How connections end: FIN from either side or both, RST, TIME_WAIT, late segments."""

from __future__ import annotations

from tcp_rig import A, B, Rig

from k8semu.linux.core.drop import Drop
from k8semu.linux.sock.tcp.frame import lay_out
from k8semu.linux.sock.tcp.segment import ACK, FIN, MASK, RST, SYN


def test_the_side_that_closes_first_waits() -> None:
    rig = Rig()
    client, server = rig.connect(close_on_eof=True)
    del rig.log[:]
    client.sk.close()
    rig.run(0.01)
    assert rig.log == [
        "a>b F. 1:1 ack 1",
        "b>a F. 1:1 ack 2",
        "a>b . 2:2 ack 2",
    ]
    assert server.events == ["eof"]
    assert rig.states() == ("TIME_WAIT", "-")


def test_nothing_waits_for_time_wait_to_end() -> None:
    rig = Rig()
    client, _ = rig.connect(close_on_eof=True)
    client.sk.close()
    rig.run(0.01)
    assert rig.world.clock.next_due() is None


def test_time_wait_lasts_a_minute() -> None:
    rig = Rig()
    client, _ = rig.connect(close_on_eof=True)
    client.sk.close()
    rig.run(59.9)
    assert rig.states() == ("TIME_WAIT", "-")
    rig.run(0.2)
    assert rig.states() == ("-", "-")


def test_half_closed_connection_still_carries_the_other_direction() -> None:
    rig = Rig()
    client, server = rig.connect()
    client.write(b"question")
    client.sk.shutdown()
    rig.run(0.1)
    assert rig.states() == ("FIN_WAIT2", "CLOSE_WAIT")
    assert server.events == ["eof"]
    server.write(b"answer" * 1000)
    server.sk.close()
    rig.run(0.1)
    assert bytes(client.received) == b"answer" * 1000
    assert client.events == ["connected", "eof", "lost"]
    assert rig.states() == ("TIME_WAIT", "-")


def test_fin_rides_on_queued_data_but_not_on_sent_data() -> None:
    rig = Rig()
    client, _ = rig.connect()
    del rig.log[:]
    client.write(b"x" * 100)
    client.sk.close()
    rig.run(0.001)
    assert rig.log[:2] == ["a>b P. 1:101 ack 1", "a>b F. 101:101 ack 1"]
    rig = Rig()
    client, _ = rig.connect()
    del rig.log[:]
    client.write(b"x" * 14480 + b"y" * 100)
    client.sk.close()
    rig.run(0.01)
    assert "a>b FP. 14481:14581 ack 1" in rig.log


def test_both_may_close_at_once() -> None:
    rig = Rig()
    client, server = rig.connect()
    del rig.log[:]
    client.sk.shutdown()
    server.sk.shutdown()
    rig.run(0.00008)
    assert rig.states() == ("CLOSING", "CLOSING")
    rig.run(0.1)
    assert rig.log[:2] == ["a>b F. 1:1 ack 1", "b>a F. 1:1 ack 1"]
    assert rig.states() == ("TIME_WAIT", "TIME_WAIT")
    assert client.events[-1] == server.events[-1] == "lost"


def test_close_with_unread_bytes_is_a_reset() -> None:
    rig = Rig()
    client, server = rig.connect(consume=False)
    client.write(b"hello")
    rig.run(0.1)
    del rig.log[:]
    server.sk.close()
    rig.run(0.1)
    assert rig.log == ["b>a R. 1:1 ack 6"]
    assert client.events == ["connected", "lost ConnectionResetError"]
    assert rig.states() == ("-", "-")


def test_abort_is_a_reset() -> None:
    rig = Rig()
    client, server = rig.connect()
    client.sk.abort()
    rig.run(0.1)
    assert server.events == ["lost ConnectionResetError"]


def test_reset_after_the_fin_is_a_broken_pipe() -> None:
    rig = Rig()
    client, server = rig.connect()
    client.sk.shutdown()
    rig.run(0.01)
    client.sk.abort()
    rig.run(0.1)
    assert server.events == ["eof", "lost BrokenPipeError"]


def test_data_for_a_program_that_has_gone_is_answered_with_a_reset() -> None:
    rig = Rig()
    client, server = rig.connect()
    server.sk.close()
    rig.run(0.1)
    del rig.log[:]
    client.write(b"late")
    rig.run(0.1)
    assert rig.log == ["a>b P. 1:5 ack 2", "b>a R 2:2"]
    assert client.events == ["connected", "eof", "lost BrokenPipeError"]
    assert rig.b.net.drops == {Drop.TCP_ABORT_ON_DATA: 1}


def test_lost_fin_is_sent_again() -> None:
    rig = Rig()
    client, _ = rig.connect(close_on_eof=True)
    rig.lose(lambda line: " F" in line, times=2)
    client.sk.close()
    rig.run(3)
    assert rig.states() == ("TIME_WAIT", "-")


def test_time_wait_answers_a_fin_that_comes_again() -> None:
    rig = Rig()
    client, _ = rig.connect(close_on_eof=True)
    rig.lose(lambda line: line == "a>b . 2:2 ack 2")
    client.sk.close()
    rig.run(0.01)
    assert rig.states() == ("TIME_WAIT", "LAST_ACK")
    rig.run(1)
    assert rig.states() == ("TIME_WAIT", "-")
    assert rig.log[-2:] == ["b>a F. 1:1 ack 2", "a>b . 2:2 ack 2"]


def test_new_connection_may_take_the_numbers_of_one_in_time_wait() -> None:
    rig = Rig()
    client, server = rig.connect(close_on_eof=True)
    port = client.sk.sport
    server.sk.close()                     # the listening side waits
    rig.run(0.01)
    client.sk.close()
    rig.run(0.01)
    assert rig.states() == ("-", "TIME_WAIT")
    again, program = rig.a.socket()
    again.bind(A, port)
    rig.run(1)
    again.connect(B, 80)
    rig.run(0.01)
    assert program.events == ["connected"]
    assert rig.states() == ("ESTABLISHED", "ESTABLISHED")


def test_reset_ends_a_connection_only_at_the_very_next_number() -> None:
    rig = Rig()
    client, server = rig.connect()
    sk = server.sk
    flow = (A, B, client.sk.sport, 80)
    rig.wire.arrive(bytes(lay_out(flow, sk.rcv_nxt + 1000, 0, RST, 0)))
    rig.wire.arrive(bytes(lay_out(flow, sk.rcv_nxt - 1, 0, RST, 0)))
    rig.run(0.1)
    assert server.events == []
    assert rig.log[-1] == "b>a . 1:1 ack 1", "challenged"
    rig.wire.arrive(bytes(lay_out(flow, sk.rcv_nxt, 0, RST, 0)))
    assert server.events == ["lost ConnectionResetError"]


def test_syn_inside_a_connection_is_challenged() -> None:
    rig = Rig()
    client, server = rig.connect()
    before = len(rig.log)
    for _ in range(3):
        rig.wire.arrive(bytes(lay_out((A, B, client.sk.sport, 80), server.sk.rcv_nxt + 5, 0, SYN, 100)))
    assert rig.log[before:] == ["b>a . 1:1 ack 1"], "and not more often than twice a second"
    assert rig.states() == ("ESTABLISHED", "ESTABLISHED")


def test_orphan_gives_up_when_its_peer_is_silent() -> None:
    rig = Rig()
    client, _ = rig.connect()
    rig.wire.fate = lambda number, frame: []
    client.write(b"x" * 1000)
    client.sk.close()
    rig.settle()
    assert 60 < rig.world.clock.now / 10**9 < 200
    assert rig.a.tcp.listing() == []


def test_closing_a_listener_resets_what_was_not_accepted() -> None:
    rig = Rig()
    listener, _ = rig.b.listen(80)
    listener.pause_accepting()
    sk, client = rig.a.socket()
    sk.connect(B, 80)
    rig.run(0.01)
    listener.close()
    rig.run(0.01)
    assert client.events == ["connected", "lost ConnectionResetError"]
    assert rig.b.tcp.listing() == []
    assert not rig.b.tcp.ports


def test_fin_out_of_order_waits_for_what_is_missing() -> None:
    rig = Rig()
    client, server = rig.connect()
    rig.lose(lambda line: line.startswith("a>b P. 1:"))
    client.write(b"lost at first")
    client.sk.shutdown()
    rig.run(0.01)
    assert server.events == []
    rig.run(1)
    assert bytes(server.received) == b"lost at first"
    assert server.events == ["eof"]


def test_fin_bit_of_a_segment_outside_of_the_window_counts_for_nothing() -> None:
    rig = Rig()
    client, server = rig.connect()
    far = server.sk.rcv_nxt + 1_000_000 & MASK
    rig.wire.arrive(bytes(lay_out((A, B, client.sk.sport, 80), far, server.sk.snd_nxt, FIN | ACK, 100)))
    assert server.events == []
    assert rig.b.net.drops == {Drop.TCP_INVALID_SEQUENCE: 1}
