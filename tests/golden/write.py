"""Writes pcaps/ anew, or those of some scenarios: `python -m tests.golden.write [NAME…]`.

The one command that does; a commit says why.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from k8semu.capture.listing import write_listing
from k8semu.capture.same import same_bytes
from k8semu.scenario.load import bundled, load
from k8semu.scenario.run import run

PCAPS = Path(__file__).parents[2] / "pcaps"


def write_golden(name: str, folder: Path) -> tuple[Path, Path]:
    """Run a bundled scenario; its capture and the text of it, below `folder`."""
    capture, text = folder / f"{name}.pcapng", folder / f"{name}.txt"
    before = capture.read_bytes() if capture.exists() else None
    run(load(name), folder)
    if before is not None:
        keep_if_same(capture, before)
    write_listing(capture, text)
    return capture, text


def keep_if_same(capture: Path, before: bytes) -> None:
    """A capture that differs only in what TLS makes of chance stays as it was, so that git sees no change."""
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / capture.name
        old.write_bytes(before)
        if same_bytes(old, capture):
            capture.write_bytes(before)


def main(asked: list[str]) -> None:
    PCAPS.mkdir(exist_ok=True)
    names = list(bundled())
    for old in PCAPS.iterdir():
        if old.stem not in names:
            old.unlink()
    for name in asked or names:
        write_golden(name, PCAPS)
        print(f"pcaps/{name}.pcapng")


if __name__ == "__main__":
    main(sys.argv[1:])
