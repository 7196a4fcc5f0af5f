"""What ICMP says about a connection: the end while connecting, a hint later, a smaller MTU."""

from __future__ import annotations

import errno

import pytest
from tcp_rig import A, B, Rig

from k8semu.linux.core.skb import Skb, consume
from k8semu.linux.ipv4.icmp import IcmpError
from k8semu.linux.sock.tcp.errors import os_error


def icmp(rig: Rig, frame: bytes, icmp_type: int, code: int, mtu: int = 0) -> None:
    """A router tells machine a about a frame it sent."""
    skb = Skb(rig.a.net, bytearray(frame), 0, rig.wire.rcvd)
    rig.a.net.ipv4.err_handlers[6](IcmpError(rig.a.net, icmp_type, code, mtu, B, frame[14:42], skb))
    consume(skb, "ICMP error")


@pytest.mark.parametrize(
    ("code", "event"),
    [(3, "failed ConnectionRefusedError 111"), (1, "failed OSError 113"), (0, "failed OSError 101"),
     (13, "failed OSError 113")],
)  # fmt: skip
def test_unreachable_ends_an_attempt_to_connect_at_once(code: int, event: str) -> None:
    rig = Rig()
    rig.wire.fate = lambda number, frame: []
    sk, client = rig.a.socket()
    sk.connect(B, 80)
    icmp(rig, rig.wire.frames[0], 3, code)
    assert client.events == [event]
    assert sk.state == "CLOSED"
    rig.settle()
    assert len(rig.log) == 1


def test_unreachable_is_only_remembered_in_a_connection() -> None:
    rig = Rig()
    client, _ = rig.connect()
    rig.wire.fate = lambda number, frame: []
    client.write(b"x")
    icmp(rig, rig.wire.frames[-1], 3, 1)
    assert client.events == ["connected"]
    rig.run(2000)
    assert client.error is not None
    assert client.error.errno == errno.EHOSTUNREACH, "the reason when it times out"


def test_error_about_a_number_never_sent_is_ignored() -> None:
    rig = Rig()
    rig.wire.fate = lambda number, frame: []
    sk, client = rig.a.socket()
    sk.connect(B, 80)
    forged = bytearray(rig.wire.frames[0])
    forged[38] ^= 0x55
    icmp(rig, bytes(forged), 3, 3)
    assert client.events == []


def test_fragmentation_needed_makes_segments_smaller_and_sends_them_again() -> None:
    rig = Rig()
    client, server = rig.connect()

    def fate(number: int, frame: bytes) -> list[tuple[int, bytes]]:
        if len(frame) - 14 > 1400:
            rig.world.clock.post(rig.wire.delay, icmp, rig, frame, 3, 4, 1400)
            return []
        return [(rig.wire.delay, frame)]

    rig.wire.fate = fate
    client.write(b"x" * 10_000)
    rig.run(0.1)
    assert bytes(server.received) == b"x" * 10_000
    starts = ("1:1349", "6741:7241")
    again = [line.split()[2] for line in rig.log if line.startswith("a>b") and line.split()[2] in starts]
    assert again == ["1:1349", "6741:7241"], "what went in one go, 1:7241, is cut as one piece, as Linux does"


def test_exceptions_are_those_that_python_raises_on_linux() -> None:
    assert type(os_error(errno.ECONNREFUSED)) is ConnectionRefusedError
    assert type(os_error(errno.ETIMEDOUT)) is TimeoutError
    assert type(os_error(errno.ECONNRESET)) is ConnectionResetError
    assert type(os_error(errno.EPIPE)) is BrokenPipeError
    assert str(os_error(errno.EADDRINUSE)) == "[Errno 98] Address already in use"


def test_sending_without_a_connection_fails_as_on_linux() -> None:
    rig = Rig()
    sk, _ = rig.a.socket()
    with pytest.raises(BrokenPipeError):
        sk.send(b"x")
    client, _ = rig.connect()
    client.sk.shutdown()
    with pytest.raises(BrokenPipeError):
        client.sk.send(b"x")
    with pytest.raises(OSError, match="already connected"):
        client.sk.connect(A, 80)
