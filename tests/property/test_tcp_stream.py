"""What is always true of TCP, whatever the network does to its segments.

A pattern of loss, copies, delay and corruption is drawn; then: what arrives is a prefix of what was
sent; once the network is fair all of it arrives; every frame sent has valid checksums; any bytes as
a segment are put up with.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/sock/tcp"))

from tcp_rig import A, B, Program, Rig

from k8semu.linux.core.skb import Skb
from k8semu.linux.sock.tcp.segment import unwrap
from k8semu.wire.build import ip_build
from k8semu.wire.checksum import checksum, transport_checksum

FATES = st.lists(
    st.one_of(
        st.just(("pass", 0)),
        st.just(("lose", 0)),
        st.tuples(st.just("late"), st.integers(1, 3_000_000)),
        st.tuples(st.just("twice"), st.integers(0, 3_000_000)),
        st.tuples(st.just("spoil"), st.integers(34, 1600)),
    ),
    max_size=80,
)
SIZES = st.integers(0, 40_000)


def hostile(rig: Rig, fates: list[tuple[str, int]]) -> None:
    """The n-th frame meets the n-th fate; when they are used up the network is fair."""

    def fate(number: int, frame: bytes) -> list[tuple[int, bytes]]:
        kind, value = fates[number - 1] if number <= len(fates) else ("pass", 0)
        delay = rig.wire.delay
        if kind == "lose":
            return []
        if kind == "late":
            return [(delay + value, frame)]
        if kind == "twice":
            return [(delay, frame), (delay + value, frame)]
        if kind == "spoil":
            spoiled = bytearray(frame)
            spoiled[min(value, len(frame) - 1)] ^= 0x40
            return [(delay, bytes(spoiled))]
        return [(delay, frame)]

    rig.wire.fate = fate


SYNACKS = 6
"""Linux: tcp_synack_retries, and the first one."""


def gave_up(rig: Rig, fates: list[tuple[str, int]], client: Program, children: int) -> None:
    """A handshake may die, as on Linux: after seven SYNs, or six SYN/ACKs of which none was answered."""
    assert sum(kind in ("lose", "spoil") for kind, _ in fates) >= SYNACKS
    assert children == 0
    if client.events == ["connected"]:       # the server has forgotten it, and says so
        client.write(b"x")
        rig.run(200)
    assert client.events in (["failed TimeoutError 110"], ["connected", "lost ConnectionResetError"])


@settings(max_examples=120)
@given(fates=FATES, up=SIZES, down=SIZES, sack=st.booleans(), stamps=st.booleans(), scale=st.booleans())
def test_every_byte_arrives_in_order_once_the_network_is_fair(
    fates: list[tuple[str, int]], up: int, down: int, sack: bool, stamps: bool, scale: bool
) -> None:
    rig = Rig()
    for name, value in (("tcp_sack", sack), ("tcp_timestamps", stamps), ("tcp_window_scaling", scale)):
        rig.b.net.sysctl.set(f"net.ipv4.{name}", int(value))
    hostile(rig, fates)
    _, owner = rig.b.listen(80)
    sk, client = rig.a.socket()
    sk.connect(B, 80)
    there, back = bytes(i * 7 & 255 for i in range(up)), bytes(i * 11 & 255 for i in range(down))
    rig.run(200)
    if client.events != ["connected"] or not owner.children:
        gave_up(rig, fates, client, len(owner.children))
        return
    client.write(there)
    server = owner.child
    server.write(back)
    for _ in range(4000):
        assert there.startswith(bytes(server.received))
        assert back.startswith(bytes(client.received))
        if len(server.received) == up and len(client.received) == down:
            break
        rig.run(1)
    client.sk.shutdown()
    rig.run(200)
    server.sk.close()
    rig.settle()
    assert bytes(server.received) == there
    assert bytes(client.received) == back
    assert server.events == ["eof"]
    assert client.events == ["connected", "eof", "lost"]
    for frame in rig.wire.frames:
        assert checksum(frame[14:34]) == 0
        assert transport_checksum(frame[26:30], frame[30:34], 6, frame[34:]) == 0


@settings(max_examples=60)
@given(fates=st.lists(st.sampled_from([("lose", 0), ("pass", 0), ("late", 900_000)]), min_size=20, max_size=200),
       size=st.integers(1, 300_000))
def test_what_arrives_is_a_prefix_even_when_the_connection_dies(fates: list[tuple[str, int]], size: int) -> None:
    rig = Rig()
    client, server = rig.connect()
    start = rig.wire.count
    hostile(rig, [("pass", 0)] * start + fates + [("lose", 0)] * 2000)
    data = bytes(i * 13 & 255 for i in range(size))
    client.write(data)
    client.sk.close()
    rig.run(300)
    assert data.startswith(bytes(server.received))
    assert rig.a.tcp.listing() == [] or rig.a.tcp.listing()[0][0] in ("TIME_WAIT", "FIN_WAIT2")


def segment(saddr: bytes, daddr: bytes, body: bytes) -> bytearray:
    """`body` as a TCP segment with a right checksum, as far as it is long enough to have one."""
    frame = ip_build(saddr, daddr, 6, len(body)) + body
    if len(body) >= 18:
        frame[50:52] = b"\0\0"
        frame[50:52] = transport_checksum(saddr, daddr, 6, frame[34:]).to_bytes(2, "big")
    return frame


OFFSETS = st.integers(-70_000, 70_000) | st.integers(0, 2**32 - 1)
SEGMENTS = st.tuples(OFFSETS, OFFSETS, st.integers(0, 255), st.integers(0, 15), st.integers(0, 65535),
                     st.binary(max_size=80))  # fmt: skip


@settings(max_examples=200)
@given(
    segments=st.lists(SEGMENTS, max_size=12),
    stage=st.sampled_from(["listen", "syn_recv", "established", "fin_wait", "close_wait", "time_wait", "syn_sent"]),
)
def test_no_segment_is_too_odd_in_any_state(segments: list[tuple[int, int, int, int, int, bytes]], stage: str) -> None:
    rig = Rig()
    _, owner = rig.b.listen(80)
    sk, client = rig.a.socket(Program(close_on_eof=stage == "time_wait"))
    if stage == "syn_recv":
        rig.lose(lambda line: line.startswith("a>b . "), times=100)
    if stage == "syn_sent":
        sk.bind(A, 4000)
        rig.lose(lambda line: True, times=100)
    sk.connect(B, 80)
    rig.run(0.01)
    if stage == "fin_wait":
        owner.child.sk.shutdown()
    elif stage == "close_wait":
        client.sk.shutdown()
    elif stage == "time_wait":
        owner.child.sk.close()
    rig.run(0.01)
    target, source, port, peer = (A, B, sk.sport, 80) if stage == "syn_sent" else (B, A, 80, sk.sport)
    near = owner.children[0].sk if owner.children else None
    for seq, ack, flags, offset, window, rest in segments:
        seq += near.rcv_nxt if near is not None else 0
        ack += near.snd_nxt if near is not None else sk.iss
        head = peer.to_bytes(2, "big") + port.to_bytes(2, "big") + (seq & 0xFFFFFFFF).to_bytes(4, "big")
        head += (ack & 0xFFFFFFFF).to_bytes(4, "big") + bytes((offset << 4, flags)) + window.to_bytes(2, "big")
        net = rig.b.net if target == B else rig.a.net
        skb = Skb(net, segment(source, target, head + bytes(4) + rest), 1, rig.wire.rcvd)
        skb.net.ipv4.protocols[6](skb)
        assert skb.ended
    rig.run(5)


@settings(max_examples=200)
@given(body=st.binary(max_size=120))
def test_any_bytes_are_dropped_or_answered(body: bytes) -> None:
    rig = Rig()
    rig.b.listen(80)
    skb = Skb(rig.b.net, segment(A, B, body), 1, rig.wire.rcvd)
    rig.b.net.ipv4.protocols[6](skb)
    assert skb.ended


@given(near=st.integers(0, 2**40), distance=st.integers(-(2**31), 2**31 - 1))
def test_numbers_from_the_wire_find_their_place(near: int, distance: int) -> None:
    assert unwrap(near, near + distance & 0xFFFFFFFF) == near + distance
