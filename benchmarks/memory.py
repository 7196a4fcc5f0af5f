"""What a capture keeps of each frame that it has written: about nothing, however long it gets."""

from __future__ import annotations

import gc
import statistics
import tempfile
import tracemalloc
from pathlib import Path

from benchmarks.flow import Flow
from benchmarks.measure import ROUNDS, Result, at_most

SHORT, LONG = 2_000, 20_000


def _kept_until(flow: Flow, captured: int) -> int:
    """Bytes alive once at least `captured` sightings are written."""
    while flow.captured < captured:
        flow.send(2)
    flow.flush()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _slope() -> float:
    with tempfile.TemporaryDirectory() as out, Flow(Path(out)) as flow:
        tracemalloc.start()
        try:
            kept = _kept_until(flow, SHORT)
            before = flow.captured
            more = _kept_until(flow, LONG) - kept
            return more / (flow.captured - before)
        finally:
            tracemalloc.stop()
            flow.finish()


def capture_memory_slope() -> Result:
    """Bytes kept per captured frame, between 2,000 and 20,000 frames."""
    slopes = [_slope() for _ in range(ROUNDS)]
    detail = f"between {SHORT:,} and {LONG:,} frames, {min(slopes):.3f} to {max(slopes):.3f}"
    return at_most("capture_memory_slope", statistics.median(slopes), 1.0, detail)
