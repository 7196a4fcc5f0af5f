"""Any capture: a pcapng file, a classic pcap, or a folder of classic pcaps (one per interface)."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from pathlib import Path
from struct import Struct

from k8semu.capture.frame import Frame
from k8semu.capture.pcap import PcapReader
from k8semu.capture.pcapng import SHB
from k8semu.capture.pcapng_reader import PcapngReader
from k8semu.errors import CaptureError


def read_frames(path: Path) -> Iterator[Frame]:
    """The frames of the capture at `path`, in order; CaptureError if it is cut off or none.

    A classic pcap's one interface is called as the file is, a folder's as its files are
    (``host1.docker0``); a folder's frames come in order of time.
    """
    if path.is_dir():
        files = sorted(path.glob("*.pcap"))
        if not files:
            raise CaptureError("not a capture: a folder without .pcap files", file=str(path))
        yield from merge(*(_read_file(file) for file in files), key=lambda frame: frame.time)
    else:
        yield from _read_file(path)


def _read_file(path: Path) -> Iterator[Frame]:
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
            stream.seek(0)
            reader: PcapngReader | PcapReader
            if magic == Struct("<I").pack(SHB):
                reader = PcapngReader(stream, str(path))
            else:
                reader = PcapReader(stream, str(path), path.stem)
            yield from reader
    except OSError as error:
        raise CaptureError(f"cannot read: {error.strerror or error}", file=str(path)) from error
