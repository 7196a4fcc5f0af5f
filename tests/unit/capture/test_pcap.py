"""Classic captures, one per interface."""

from __future__ import annotations

import io
import resource
import subprocess
from contextlib import suppress
from pathlib import Path
from struct import pack

import pytest
from conversations import arp, http_call, seen
from hypothesis import given
from hypothesis import strategies as st

from k8semu.capture import pcap
from k8semu.capture.frame import LINKTYPE_RAW, Frame
from k8semu.capture.pcap import PcapFolder, PcapReader
from k8semu.capture.reader import read_frames
from k8semu.errors import CaptureError


def write(folder: PcapFolder, frame: Frame) -> None:
    number = folder.interface(frame.interface, frame.linktype)
    folder.write(number, folder.pack(number, frame.time, frame.direction, frame.data, 0), folder.comment(["why"]))


def read(data: bytes) -> list[Frame]:
    return list(PcapReader(io.BytesIO(data), "x.pcap", "eth0"))


def test_each_interface_has_its_file_also_a_silent_one(tmp_path: Path) -> None:
    folder = PcapFolder(tmp_path / "pod-same-node")
    folder.interface("host1/eth0")
    for frame in seen(arp(), "host1/docker0"):
        write(folder, frame)
    write(folder, Frame(5, "host1/flannel0", 2, b"E\0", linktype=LINKTYPE_RAW))
    assert list(tmp_path.glob("pod*")) == []
    folder.close()
    assert sorted(path.name for path in (tmp_path / "pod-same-node").iterdir()) == [
        "host1.docker0.pcap", "host1.eth0.pcap", "host1.flannel0.pcap",
    ]  # fmt: skip
    frames = list(read_frames(tmp_path / "pod-same-node"))
    assert [(frame.time, frame.interface, frame.linktype) for frame in frames] == [
        (5, "host1.flannel0", 101), (1000, "host1.docker0", 1), (2000, "host1.docker0", 1),
    ]  # fmt: skip
    assert [frame.data for frame in frames[1:]] == [frame.data for frame in seen(arp())]


def test_two_interfaces_whose_names_become_one_keep_their_own_files(tmp_path: Path) -> None:
    folder = PcapFolder(tmp_path / "x")
    write(folder, Frame(1, "a/b.c", 1, b"1"))
    write(folder, Frame(2, "a.b/c", 1, b"2"))
    folder.close()
    assert [frame.data for frame in read_frames(tmp_path / "x")] == [b"1", b"2"]


def test_hundreds_of_interfaces_need_no_more_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcap, "BUFFER", 2000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    folder = PcapFolder(tmp_path / "x")
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        for number in range(900):
            write(folder, Frame(number, f"pod-{number % 300}/eth0", 1, b"frame"))
        folder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(list((tmp_path / "x").iterdir())) == 300
    assert len(list(read_frames(tmp_path / "x" / "pod-7.eth0.pcap"))) == 3


def test_an_aborted_folder_leaves_nothing(tmp_path: Path) -> None:
    folder = PcapFolder(tmp_path / "x")
    write(folder, Frame(1, "a/b", 1, b"1"))
    folder.flush()
    folder.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "scale"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_captures_of_either_byte_order_and_precision_are_read(order: str, magic: int, scale: int) -> None:
    data = pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 1) + pack(order + "IIII", 3, 7, 2, 60) + b"ab"
    assert read(data) == [Frame(3_000_000_000 + 7 * scale, "eth0", 0, b"ab")]


@given(st.binary(max_size=120))
def test_any_bytes_are_a_classic_capture_or_one_of_our_errors(data: bytes) -> None:
    for start in (b"", pcap.file_header(1)[:4], pcap.file_header(1)):
        with suppress(CaptureError):
            read(start + data)


def test_a_classic_capture_that_is_cut_off_says_where() -> None:
    whole = pcap.file_header(1) + pack("<IIII", 3, 7, 4, 4) + b"abcd"
    for length in set(range(len(whole))) - {24}:
        with pytest.raises(CaptureError, match=r"x\.pcap: byte (0|24): (cut off|not a capture|.* bytes)"):
            read(whole[:length])


@pytest.mark.tshark
def test_wireshark_reads_nanoseconds_from_a_classic_capture(tmp_path: Path) -> None:
    folder = PcapFolder(tmp_path / "x")
    for frame in seen(http_call(), "client/eth0"):
        write(folder, frame)
    folder.close()
    shown = subprocess.run(
        ["tshark", "-r", str(tmp_path / "x" / "client.eth0.pcap"), "-T", "fields", "-e", "frame.time_epoch"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout.splitlines()[:2] == ["0.000001000", "0.000002000"]
    assert len(shown.stdout.splitlines()) == len(list(http_call()))
