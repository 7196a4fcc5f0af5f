"""A scenario in both worlds: run in the emulator, replayed in the kernel, and compared.

    run ─▶ journal + emulated frames ─▶ kernel twin replays the journal ─▶ frames ─▶ comparison
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from k8semu.capture.pcapng import PcapngFile
from k8semu.capture.reader import read_frames
from k8semu.scenario.load import Loaded
from k8semu.scenario.run import Run

if TYPE_CHECKING:
    from k8semu.lab.verify import Report


def verify_scenario(loaded: Loaded) -> Report:
    """Compare a scenario with the kernel; NotVerifiableError if that cannot be done here."""
    from k8semu.lab.chance import without_chance
    from k8semu.lab.verify import verify

    with tempfile.TemporaryDirectory(prefix="k8semu-") as folder:
        path = Path(folder) / "emulated.pcapng"
        this = Run(loaded)
        this.cluster.reword = without_chance
        sink = PcapngFile(path)
        try:
            this.capture(sink)
            this.build()
            this.steps()
            this.finish()
        except BaseException:
            sink.abort()
            raise
        finally:
            this.close()
        frames = list(read_frames(path))
    return verify(this.cluster.journal, frames, this.cluster.hosts)
