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


def read_frames(path: Path, interface: str | None = None) -> Iterator[Frame]:
    """The frames of the capture at `path`, in order; CaptureError if it is cut off or none.

    A classic pcap's one interface is called `interface`, or as the file is. A folder's frames come
    in order of time; its interfaces are called as its files are (``host1.docker0``).
    """
    if path.is_dir():
        files = sorted(path.glob("*.pcap"))
        if not files:
            raise CaptureError("not a capture: a folder without .pcap files", file=str(path))
        yield from merge(*(_read_file(file, None) for file in files), key=lambda frame: frame.time)
    else:
        yield from _read_file(path, interface)


def _read_file(path: Path, interface: str | None) -> Iterator[Frame]:
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
            stream.seek(0)
            reader: PcapngReader | PcapReader
            if magic == Struct("<I").pack(SHB):
                reader = PcapngReader(stream, str(path))
            else:
                reader = PcapReader(stream, str(path), interface or path.stem)
            yield from reader
    except OSError as error:
        raise CaptureError(f"cannot read: {error.strerror or error}", file=str(path)) from error
