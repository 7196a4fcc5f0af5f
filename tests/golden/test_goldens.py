"""Every bundled scenario gives the capture that lies in pcaps/: the same text, then the same bytes (but TLS's)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from k8semu.capture.difference import diff_exact
from k8semu.capture.reader import read_frames
from k8semu.capture.same import masked, same_bytes
from k8semu.scenario.load import bundled

PCAPS = Path(__file__).parents[2] / "pcaps"
WRITE = "python -m tests.golden.write"

_spec = importlib.util.spec_from_file_location("golden_write", Path(__file__).with_name("write.py"))
assert _spec is not None
assert _spec.loader is not None
golden = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden)


@pytest.mark.parametrize("name", list(bundled()))
def test_a_scenario_gives_its_golden(name: str, tmp_path: Path) -> None:
    capture, text = golden.write_golden(name, tmp_path)
    first = diff_exact(masked(read_frames(PCAPS / f"{name}.pcapng")), masked(read_frames(capture)))
    if text.read_text() != (PCAPS / f"{name}.txt").read_text() or first is not None:
        where = first.text("golden", "now") if first is not None else "the listing differs, the frames do not"
        pytest.fail(f"{where}\n\nif this is meant: {WRITE}")
    assert same_bytes(capture, PCAPS / f"{name}.pcapng"), f"other bytes; if this is meant: {WRITE}"


def test_there_is_a_golden_for_each_scenario_and_no_other() -> None:
    wanted = sorted(f"{name}.{kind}" for name in bundled() for kind in ("pcapng", "txt"))
    assert sorted(path.name for path in PCAPS.iterdir()) == wanted


def test_captures_that_differ_are_named(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("golden_same", Path(__file__).with_name("same.py"))
    assert spec is not None
    assert spec.loader is not None
    same = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(same)
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        for name in ("pod-same-node", "node-network"):
            (folder / f"{name}.pcapng").write_bytes((PCAPS / f"{name}.pcapng").read_bytes())
    assert same.differences(one, other) == []
    data = bytearray((other / "node-network.pcapng").read_bytes())
    data[-20] ^= 1
    (other / "node-network.pcapng").write_bytes(data)
    (one / "pod-same-node.pcapng").unlink()
    assert [line.split(":")[0] for line in same.differences(one, other)] == [
        "pod-same-node.pcapng", "node-network.pcapng",
    ]  # fmt: skip


def test_nothing_of_the_machine_or_the_day_is_in_a_golden() -> None:
    for path in PCAPS.glob("*.pcapng"):
        data = path.read_bytes()
        assert b"Linux" not in data[:200]
        assert all(frame.time < 3600 * 10**9 for frame in read_frames(path)), "simulated time starts at 0"
