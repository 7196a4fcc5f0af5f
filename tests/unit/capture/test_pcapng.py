"""What is written to a pcapng file is what is read from it, and any other file is refused."""

from __future__ import annotations

import io
import subprocess
from collections import deque
from contextlib import suppress
from pathlib import Path
from struct import pack

import pytest
from conversations import arp, http_call, in_vxlan, seen
from hypothesis import given
from hypothesis import strategies as st

from k8semu.capture.frame import LINKTYPE_ETHERNET, LINKTYPE_RAW, Frame
from k8semu.capture.pcapng import BUFFER, BYTE_ORDER_MAGIC, DSB, SHB, PcapngFile, PcapngWriter, _block
from k8semu.capture.pcapng_reader import PcapngReader
from k8semu.capture.reader import read_frames
from k8semu.errors import CaptureError
from k8semu.sim.clock import Clock

FRAMES = st.lists(
    st.builds(
        Frame,
        time=st.integers(0, 2**63),
        interface=st.sampled_from(["host1/docker0", "host1/flannel.1", "größe/eth0"]),
        direction=st.integers(0, 2),
        data=st.binary(max_size=80),
        packet_id=st.none() | st.integers(0, 2**64 - 1),
        comments=st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=3).map(tuple),
        linktype=st.sampled_from([LINKTYPE_ETHERNET, LINKTYPE_RAW]),
    ),
    max_size=6,
)


def written(frames: list[Frame], names: dict[bytes, str] | None = None) -> bytes:
    out = io.BytesIO()
    writer = PcapngWriter(out)
    writer.names(names or {})
    for frame in frames:
        writer.frame(frame)
    writer.close()
    return out.getvalue()


def read(data: bytes) -> list[Frame]:
    return list(PcapngReader(io.BytesIO(data), "x.pcapng"))


@given(FRAMES)
def test_frames_come_back_as_they_were_written(frames: list[Frame]) -> None:
    assert read(written(frames)) == frames


def test_names_and_silent_interfaces_come_back() -> None:
    out = io.BytesIO()
    writer = PcapngWriter(out)
    assert [writer.interface(name) for name in ("host1/eth0", "host1/docker0", "host1/eth0")] == [0, 1, 0]
    writer.names({b"\xac\x11\x00\x02": "client", b"\x0a\x60\x00\x14": "account-service.default"})
    writer.close()
    out.seek(0)
    reader = PcapngReader(out, "x.pcapng")
    assert list(reader) == []
    assert reader.interfaces == ["host1/eth0", "host1/docker0"]
    assert reader.names == {b"\xac\x11\x00\x02": "client", b"\x0a\x60\x00\x14": "account-service.default"}


def test_the_same_frames_are_the_same_bytes_with_nothing_of_the_machine() -> None:
    frames = seen(http_call())
    assert written(frames) == written(frames)
    assert b"Linux" not in written(frames)


def test_memory_does_not_grow_with_the_capture() -> None:
    class Count:
        total = 0

        def write(self, data: bytes) -> None:
            self.total += len(data)

    out = Count()
    writer = PcapngWriter(out)
    frame = seen(http_call())[0]
    for _ in range(20_000):
        writer.frame(frame)
        assert writer._end <= len(writer._buffer) == writer._size <= BUFFER
    assert out.total > 1_000_000


def test_a_block_longer_than_what_is_buffered_is_written_whole() -> None:
    names = {bytes((10, 1, number >> 8, number & 255)): f"pod-{number}.default" for number in range(30_000)}
    out, clock, lines = io.BytesIO(), Clock(), ["why " * 10_000] * 12
    writer = PcapngWriter(out)
    sight = writer.sight(writer.interface("host1/eth0"), 1, writer.comment(lines), clock, deque(), 0, lambda _: None)
    for packet_id in range(3):
        sight(bytearray(b"a frame"), packet_id)
    writer.names(names)
    writer.close()
    reader = PcapngReader(io.BytesIO(out.getvalue()), "x.pcapng")
    assert [(frame.data, frame.packet_id, frame.comments) for frame in reader] == [
        (b"a frame", packet_id, tuple(lines)) for packet_id in range(3)
    ]
    assert reader.names == names
    assert writer.frames == 3


@given(st.binary(max_size=200))
def test_any_bytes_are_a_capture_or_one_of_our_errors(data: bytes) -> None:
    for start in (b"", written([])):
        with suppress(CaptureError):
            read(start + data)


@given(st.data())
def test_a_damaged_capture_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(written(seen(arp()), {b"\xac\x11\x00\x02": "client"}))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(CaptureError):
        read(bytes(whole))


def test_a_capture_that_is_cut_off_anywhere_says_so_and_where() -> None:
    frames = seen(arp())
    whole = written(frames)
    ends = {len(written(frames[:count])) for count in range(len(frames) + 1)}
    out = io.BytesIO()
    writer = PcapngWriter(out)
    writer.interface(frames[0].interface)
    writer.close()
    ends.add(len(out.getvalue()))
    for length in set(range(len(whole))) - ends:
        with pytest.raises(CaptureError, match=r"x\.pcapng: byte \d+: (cut off|not a)"):
            read(whole[:length])


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (pack("<IIIIIIII", 6, 32, 9, 0, 0, 0, 0, 32), "a frame of interface 9, which is not described"),
        (pack("<III", 6, 13, 13), "a block of 13 bytes"),
        (pack("<IIII", 6, 16, 0, 16), "a frame of 4 bytes"),
        (pack("<III", 99, 12, 16), "a block of 12 bytes says 16 at its end"),
        (pack("<II", 6, 0x7FFFFFFC), "no block has that length"),
        (pack("<IIHHIHHIII", 1, 32, 1, 0, 0, 2, 99, 0, 0, 32), "option 2 of 99 bytes leaves its block"),
    ],
)
def test_a_block_that_contradicts_itself_is_named_with_its_place(block: bytes, says: str) -> None:
    whole = written([])
    with pytest.raises(CaptureError, match=says) as caught:
        read(whole + block)
    assert f"byte {len(whole)}:" in str(caught.value)


def test_a_capture_of_another_tool_in_big_endian_and_microseconds_is_read() -> None:
    data = (
        pack(">IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
        + pack(">IIHHII", 1, 20, 1, 0, 0, 20)
        + pack(">II", 5, 12) + pack(">I", 12)
        + pack(">IIIIIII4sI", 6, 36, 0, 0, 1_500_000, 3, 60, b"abc\0", 36)
    )  # fmt: skip
    assert read(data) == [Frame(1_500_000_000, "0", 0, b"abc")]


def test_a_file_that_is_no_capture_or_is_missing_is_refused(tmp_path: Path) -> None:
    text, empty = tmp_path / "notes.txt", tmp_path / "empty.pcapng"
    text.write_text("not a capture at all, but long enough to be one")
    empty.write_bytes(b"")
    for path, says in (
        (text, "not a capture"),
        (empty, "the file is empty"),
        (tmp_path / "missing", "cannot read: No such file"),
        (tmp_path, "a folder without .pcap files"),
    ):
        with pytest.raises(CaptureError, match=says) as caught:
            list(read_frames(path))
        assert str(path) in str(caught.value)


def test_an_aborted_capture_leaves_no_file(tmp_path: Path) -> None:

    def run() -> None:
        with PcapngFile(tmp_path / "x.pcapng") as capture:
            capture.frame(seen(arp())[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.tshark
def test_wireshark_reads_names_ids_comments_and_finds_nothing_malformed(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    capture = PcapngFile(path)
    capture.names({b"\xac\x11\x00\x02": "client"})
    frames = [*seen(arp(), "host1/docker0"), *seen(in_vxlan(http_call()), "host1/eth0", 2)]
    frames[0] = Frame(123_456, "host1/docker0", 1, frames[0].data, 2**40, ("fdb: learned", "flooded, ünïcode"))
    raw = seen(http_call())[0]
    frames.append(Frame(10**15, "host1/flannel0", 2, raw.data[14:], 77, (), LINKTYPE_RAW))
    for frame in frames:
        capture.frame(frame)
    capture.close()
    columns = ["frame.interface_name", "frame.packet_id", "frame.time_epoch", "frame.packet_flags_direction",
               "frame.comment", "ip.src"]  # fmt: skip
    command = ["tshark", "-n", "-r", str(path), "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE",
               "-T", "fields"]  # fmt: skip
    shown = subprocess.run(
        command + [word for column in columns for word in ("-e", column)], capture_output=True, text=True, check=True
    )
    rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert len(rows) == len(frames)
    assert rows[0][:5] == ["host1/docker0", str(2**40), "0.000123456", "0x00000001", "fdb: learned,flooded, ünïcode"]
    assert rows[-1][:4] == ["host1/flannel0", "77", "1000000.000000000", "0x00000002"]
    assert rows[-1][5] == "172.17.0.2"
    bad = subprocess.run(
        [*command[:8], "-Y", "_ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert bad.stdout == ""
    named = subprocess.run(["tshark", "-N", "n", "-r", str(path), "-Y", "arp"], capture_output=True, text=True)
    assert "cut short" not in named.stderr


def test_secrets_lie_in_front_of_the_frames_that_they_decrypt(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with PcapngFile(path) as file:
        number = file.interface("a/eth0")
        file.write(number, file.pack(number, 1, 1, b"one", 1), b"")
        file.secrets(b"CLIENT_RANDOM aa bb\n")
        file.write(number, file.pack(number, 2, 1, b"two", 2), b"")
        file.secrets(b"CLIENT_RANDOM cc dd\n")
    with path.open("rb") as stream:
        reader = PcapngReader(stream, "a.pcapng")
        seen = [(frame.data, reader.secrets) for frame in reader]
        assert seen == [(b"one", b""), (b"two", b"CLIENT_RANDOM aa bb\n")]
        assert reader.secrets.endswith(b"CLIENT_RANDOM cc dd\n")


@pytest.mark.parametrize("body", [b"", b"KSLT", b"KSLT\xff\0\0\0abcd"])
def test_secrets_that_leave_their_block_are_an_error(body: bytes) -> None:
    block = _block(DSB, body)
    data = _block(SHB, pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)) + block
    with pytest.raises(CaptureError, match="secrets"):
        list(PcapngReader(io.BytesIO(data), "x"))


def test_secrets_of_another_kind_are_passed_over() -> None:
    body = pack("<II", 0x57474B4C, 4) + b"wire"
    data = _block(SHB, pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)) + _block(DSB, body)
    reader = PcapngReader(io.BytesIO(data), "x")
    assert list(reader) == []
    assert reader.secrets == b""
