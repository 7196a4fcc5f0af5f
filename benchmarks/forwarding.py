"""Frame-hops per second through the emulated datapath, against naive forwarding with Scapy.

A frame-hop is one frame's pass through one namespace. A frame between the Pods makes five, on both
sides of the comparison: the sending Pod, its node (bridge, netfilter with DNAT, route, into the tunnel), the
switch, the other node (out of the tunnel, route, netfilter, bridge), and the receiving Pod. Ours
does in them all that a run does: TCP with its timers, both programs, connection tracking, and ten
sightings of each frame written to a pcapng file with their comments. Scapy's does what
`benchmarks.naive` says. A round of the one takes about as long as one of the other, and begins with a little
that is not timed: what lay idle meanwhile is cold, also by what a virtual machine's host does with idle memory.
"""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

from benchmarks.flow import CLIENT, Flow
from benchmarks.measure import Result, at_least, seconds, side_by_side
from benchmarks.naive import NAMESPACES, forward
from k8semu.capture.reader import read_frames

CHUNKS = 80     # some 5,700 frames
SAMPLE = 200    # of them go through Scapy
WARM = 8        # chunks, or frames, before either


def _sent(path: Path) -> list[bytes]:
    """The frames of the flow as the Pods sent them, from the middle of the capture."""
    out = f"{CLIENT}/eth0"
    frames = [bytes(frame.data) for frame in read_frames(path) if frame.interface.endswith(out)]
    tcp = [frame for frame in frames if frame[12:14] == b"\x08\x00" and frame[23] == 6]
    return tcp[len(tcp) // 2 :][:SAMPLE]


def _ours(flow: Flow) -> float:
    """How long CHUNKS take."""
    flow.send(WARM)
    return seconds(lambda: flow.send(CHUNKS))


def _naive(sample: list[bytes]) -> float:
    """How long Scapy takes, with garbage collected as in any script: a run does without, and that is our doing."""
    gc.enable()
    try:
        forward(sample[:WARM])
        return seconds(lambda: forward(sample))
    finally:
        gc.disable()


def forwarding_vs_scapy() -> Result:
    """An established flow Pod → ClusterIP → VXLAN → Pod with all capture points on."""
    with tempfile.TemporaryDirectory() as out:
        with Flow(Path(out)) as flow:
            flow.send(4)
            flow.finish()
            sample = _sent(flow.path)
        gc.collect()
        gc.freeze()
        gc.disable()  # as a run does
        try:
            with Flow(Path(out)) as flow:
                before = flow.frames
                flow.send(CHUNKS)
                frames = flow.frames - before
                ours, scapy = side_by_side(lambda: _ours(flow), lambda: _naive(sample))
                flow.finish()
        finally:
            gc.enable()
            gc.unfreeze()
    ours_rate, scapy_rate = frames * NAMESPACES / ours, len(sample) * NAMESPACES / scapy
    detail = f"{ours_rate:,.0f} frame-hops/s against {scapy_rate:,.0f}"
    return at_least("forwarding_vs_scapy", ours_rate / scapy_rate, 50, detail)
