"""Two captures that differ in what TLS makes of chance are the same, and in nothing else."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from conversations import http_call, in_vxlan, seen, too_long
from hypothesis import given, settings
from hypothesis import strategies as st

from k8semu.capture.compare import compare
from k8semu.capture.frame import Frame
from k8semu.capture.listing import listing
from k8semu.capture.pcapng import PcapngFile
from k8semu.capture.same import masked, same_bytes
from k8semu.errors import CaptureError


def record(kind: int, body: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(body).to_bytes(2, "big") + body


def conversation(chance: int, sizes: list[int], tunnel: bool = False) -> list[Frame]:
    """A client's and a server's records of these sizes; `chance` is what is random in them."""
    draw = random.Random(chance).randbytes
    sealed = b"".join(record(23, draw(size)) for size in sizes)
    request = record(22, b"\1" + draw(60)) + record(20, b"\1") + sealed
    answer = record(22, b"\2" + draw(80)) + record(20, b"\1") + sealed
    packets = list(http_call(request=request, answer=answer, dport=443))
    packets.append(too_long(packets[3]))
    return seen(in_vxlan(iter(packets)) if tunnel else iter(packets))


FEW = settings(max_examples=12)      # laying frames out and reading them takes Scapy its time
SIZES = st.lists(st.integers(17, 200), max_size=4)       # an encrypted record has at least 17 bytes


@FEW
@given(SIZES, st.booleans(), st.integers(1, 1000))
def test_chance_inside_records_is_no_difference(sizes: list[int], tunnel: bool, chance: int) -> None:
    one, other = conversation(0, sizes, tunnel), conversation(chance, sizes, tunnel)
    assert one != other
    assert list(masked(one)) == list(masked(other))
    assert list(listing(one)) == list(listing(other))
    assert compare(one, other).same


@FEW
@given(SIZES, st.integers(0, 4))
def test_the_length_of_a_record_is_one(sizes: list[int], at: int) -> None:
    longer = [*sizes[:at], 201, *sizes[at:]]
    one, other = conversation(0, sizes), conversation(0, longer)
    assert list(masked(one)) != list(masked(other))
    assert not compare(one, other).same


@FEW
@given(st.data())
def test_a_bit_outside_of_the_records_is_a_difference(data: st.DataObject) -> None:
    frames = conversation(0, [20])
    number = data.draw(st.integers(0, len(frames) - 1))
    frame = frames[number]
    at = data.draw(st.integers(0, 65))          # the headers, of a frame that has 66 bytes of them or more
    changed = bytearray(frame.data)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    other = [*frames[:number], msgspec.structs.replace(frame, data=bytes(changed)), *frames[number + 1 :]]
    assert list(masked(frames)) != list(masked(other))


@FEW
@given(st.binary(max_size=120), st.binary(max_size=120), st.integers(0, 400))
def test_anything_can_follow_a_hello(first: bytes, second: bytes, cut: int) -> None:
    hello = record(22, b"\1" + bytes(40))
    packets = list(http_call(request=hello + first, answer=second, dport=443))
    frames = seen(iter([*packets, too_long(packets[3]), packets[3]]))
    frames[3] = msgspec.structs.replace(frames[3], data=frames[3].data[: len(frames[3].data) - cut])
    assert [len(frame.data) for frame in masked(frames)] == [len(frame.data) for frame in frames]
    assert list(masked(masked(frames))) == list(masked(frames))
    assert compare(frames, frames).same
    assert list(listing(frames))


def write(path: Path, frames: list[Frame], secrets: bytes) -> Path:
    with PcapngFile(path) as file:
        file.secrets(secrets)
        for frame in frames:
            file.frame(frame)
    return path


@pytest.mark.parametrize(
    ("secrets", "same"),
    [
        (b"CLIENT_RANDOM 0123 abcd\n", True), (b"CLIENT_RANDOM ffff 0000\n", True),
        (b"CLIENT_RANDOM 012 abcde\n", False), (b"SERVER_RANDOM 0123 abcd\n", False),
        (b"CLIENT_RANDOM 0123 abcd\n\n\n\n\n", False),
    ],
)  # fmt: skip
def test_of_secrets_counts_which_there_are(secrets: bytes, same: bool, tmp_path: Path) -> None:
    one = write(tmp_path / "a.pcapng", conversation(0, [30]), b"CLIENT_RANDOM 4567 89ef\n")
    other = write(tmp_path / "b.pcapng", conversation(1, [30]), secrets)
    assert same_bytes(one, other) is same


def test_files_without_tls_are_compared_to_the_last_bit(tmp_path: Path) -> None:
    frames = seen(http_call())
    one, other = write(tmp_path / "a.pcapng", frames, b""), write(tmp_path / "b.pcapng", frames, b"")
    assert same_bytes(one, other)
    data = bytearray(one.read_bytes())
    for at in range(len(data) - 300, len(data), 7):
        data[at] ^= 1
        other.write_bytes(data)
        data[at] ^= 1
        with suppress(CaptureError):            # of a block that is none any more
            assert not same_bytes(one, other)
