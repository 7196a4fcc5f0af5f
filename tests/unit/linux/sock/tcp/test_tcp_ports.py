"""Who may have which port: Linux's rules, one by one."""

from __future__ import annotations

import pytest
from tcp_rig import A, B, Program, Rig

from k8semu.linux.sock.tcp.sock import TcpSock

ANY = bytes(4)
LOOPBACK = b"\x7f\0\0\1"


def bound(rig: Rig, addr: bytes, port: int, reuse: bool = False, listen: bool = False) -> TcpSock:
    sk, _ = rig.b.socket()
    if reuse:
        sk.setsockopt(1, 2, 1)
    sk.bind(addr, port)
    if listen:
        sk.listen(5)
    return sk


@pytest.mark.parametrize(("first", "second", "free"), [
    (ANY, ANY, False), (ANY, B, False), (B, ANY, False), (B, B, False), (B, LOOPBACK, True),
])  # fmt: skip
def test_wildcard_overlaps_every_address(first: bytes, second: bytes, free: bool) -> None:
    rig = Rig()
    bound(rig, first, 80, listen=True)
    if free:
        bound(rig, second, 80, listen=True)
    else:
        with pytest.raises(OSError, match="Address already in use"):
            bound(rig, second, 80)


def test_reuseaddr_does_not_help_against_a_listener() -> None:
    rig = Rig()
    bound(rig, ANY, 80, reuse=True, listen=True)
    with pytest.raises(OSError, match="Address already in use"):
        bound(rig, ANY, 80, reuse=True)


def test_two_with_reuseaddr_may_bind_but_only_one_may_listen() -> None:
    rig = Rig()
    first, second = bound(rig, ANY, 80, reuse=True), bound(rig, ANY, 80, reuse=True)
    first.listen(5)
    with pytest.raises(OSError, match="Address already in use"):
        second.listen(5)


def test_address_that_is_not_ours_cannot_be_bound() -> None:
    rig = Rig()
    with pytest.raises(OSError, match="Cannot assign requested address"):
        bound(rig, A, 80)


def test_port_is_free_again_after_close() -> None:
    rig = Rig()
    bound(rig, ANY, 80, listen=True).close()
    bound(rig, ANY, 80, listen=True)


def test_time_wait_holds_its_port_from_those_without_reuseaddr() -> None:
    rig = Rig()
    listener, owner = rig.b.socket()
    listener.setsockopt(1, 2, 1)
    listener.bind(ANY, 80)
    listener.listen(5)
    sk, _client = rig.a.socket(Program(close_on_eof=True))
    sk.connect(B, 80)
    rig.run(0.01)
    owner.child.sk.close()
    listener.close()
    rig.run(0.01)
    assert rig.states() == ("-", "TIME_WAIT")
    with pytest.raises(OSError, match="Address already in use"):
        bound(rig, ANY, 80)
    bound(rig, ANY, 80, reuse=True, listen=True).close()
    rig.run(61)
    bound(rig, ANY, 80)


def test_ephemeral_ports_come_from_the_range_even_first_for_connect() -> None:
    rig = Rig()
    rig.a.net.sysctl.set("net.ipv4.ip_local_port_range", "40000\t40003")
    ports = []
    for _ in range(4):
        sk, _ = rig.a.socket()
        sk.connect(B, 80)
        ports.append(sk.sport)
    assert {port % 2 for port in ports[:2]} == {0}
    assert sorted(ports) == [40000, 40001, 40002, 40003]
    sk, _ = rig.a.socket()
    with pytest.raises(OSError, match="Cannot assign requested address"):
        sk.connect(B, 80)
    sk, _ = rig.a.socket()
    sk.connect(B, 81)
    assert sk.sport in ports, "another destination may share a port"


def test_bind_to_port_0_takes_a_free_one() -> None:
    rig = Rig()
    ports = {bound(rig, ANY, 0, listen=True).sport for _ in range(20)}
    assert len(ports) == 20
    assert all(32768 <= port <= 60999 for port in ports)


def test_reserved_ports_are_left_alone() -> None:
    rig = Rig()
    rig.a.net.sysctl.set("net.ipv4.ip_local_port_range", "40000\t40005")
    rig.a.net.sysctl.set("net.ipv4.ip_local_reserved_ports", "40000,40002-40004")
    ports = []
    for _ in range(2):
        sk, _ = rig.a.socket()
        sk.connect(B, 80)
        ports.append(sk.sport)
    assert sorted(ports) == [40001, 40005]


def test_listener_at_the_very_address_is_preferred() -> None:
    rig = Rig()
    specific = bound(rig, B, 80, listen=True)
    assert rig.b.tcp.lookup_listener(B, 80, b"") is specific
    assert rig.b.tcp.lookup_listener(LOOPBACK, 80, b"") is None


def test_listing_shows_what_ss_shows() -> None:
    rig = Rig()
    client, _ = rig.connect()
    assert rig.b.tcp.listing() == [
        ("LISTEN", (ANY, 80), (ANY, 0), "test", 0, 100),
        ("ESTABLISHED", (B, 80), (A, client.sk.sport), "test", 0, 0),
    ]


def test_nothing_is_left_of_a_namespace_that_goes_away() -> None:
    rig = Rig()
    client, _ = rig.connect()
    client.write(b"x" * 100_000)
    sk, _ = rig.a.socket()
    sk.connect(B, 99)
    rig.a.tcp.destroy()
    rig.b.tcp.destroy()
    rig.run(0.001)
    assert rig.world.clock.next_due() is None
    for machine in (rig.a, rig.b):
        assert (machine.tcp.hash, machine.tcp.ports, machine.tcp.listeners) == ({}, {}, {})


def test_same_seed_same_frames() -> None:
    def frames(seed: int) -> list[bytes]:
        rig = Rig(seed)
        client, _server = rig.connect()
        client.write(b"hello")
        rig.run()
        return rig.wire.frames

    assert frames(3) == frames(3)
    assert frames(3) != frames(4)


def test_connections_are_spread_over_listeners_that_share_a_port() -> None:
    rig = Rig()
    owners = []
    for _ in range(3):
        listener, owner = rig.b.socket()
        listener.setsockopt(1, 15, 1)
        listener.bind(ANY, 80)
        listener.listen(50)
        owners.append(owner)
    for _ in range(30):
        rig.a.socket()[0].connect(B, 80)
    rig.run(0.1)
    shares = [len(owner.children) for owner in owners]
    assert sum(shares) == 30
    assert min(shares) > 3


def test_who_shares_a_port_takes_what_is_left_when_another_goes() -> None:
    rig = Rig()
    first, second = (bound_to_share(rig) for _ in range(2))
    first.listen(5)
    second.listen(5)
    first.close()
    assert rig.b.tcp.lookup_listener(B, 80, b"any flow") is second


def bound_to_share(rig: Rig) -> TcpSock:
    sk, _ = rig.b.socket()
    sk.setsockopt(1, 15, 1)
    sk.bind(ANY, 80)
    return sk
