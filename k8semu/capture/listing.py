"""A capture as text: one line per frame, what was decided about it indented beneath.

    0.000123456 host1/docker0 in  #7 172.17.0.2.40000 > 172.17.0.3.80: tcp S seq 1 win 64240 […]
        fdb docker0: 02:42:ac:11:00:03 is behind veth5e6f7a8b

It is what people review when a capture changes, so it shows all that a person would look for and
leaves MAC addresses, IP ids and timestamps to the bytes.
Shown: `tcpdump -n`
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from k8semu.capture.frame import DIRECTION_NAMES, LINKTYPE_RAW, Frame, seconds
from k8semu.capture.reader import read_frames
from k8semu.capture.whole import WholeFile
from k8semu.wire.summary import Isns, summary
from k8semu.wire.tls import TlsStreams

BUFFER = 1 << 16


def frame_line(frame: Frame, isns: Isns | None = None, tls: TlsStreams | None = None) -> str:
    """One frame's line, without its comments; `isns` and `tls` as in `wire.summary.summary`."""
    number = f"#{frame.packet_id} " if frame.packet_id is not None else ""
    text = summary(frame.data, frame.linktype == LINKTYPE_RAW, isns, tls)
    return f"{seconds(frame.time)} {frame.interface} {DIRECTION_NAMES[frame.direction]:<3} {number}{text}"


def listing(frames: Iterable[Frame]) -> Iterator[str]:
    """The lines of a capture. Sequence numbers are relative, as tcpdump shows them."""
    isns: Isns = {}
    tls: dict[str, TlsStreams] = {}
    for frame in frames:
        yield frame_line(frame, isns, tls.setdefault(frame.interface, TlsStreams()))
        for comment in frame.comments:
            yield f"    {comment}"


def write_listing(capture: Path, text: Path) -> None:
    """Write the listing of the capture file `capture` to `text`, whole or not at all."""
    with WholeFile(text) as file:
        buffer = bytearray()
        for line in listing(read_frames(capture)):
            buffer += f"{line}\n".encode()
            if len(buffer) > BUFFER:
                file.write(buffer)
                buffer = bytearray()
        file.write(buffer)
