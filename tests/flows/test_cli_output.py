"""Standard output that cannot be written: one line and exit 2; a reader that has gone: silence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_calls import ROOT

COMMANDS = [
    ("list",),
    ("list", "--json"),
    ("run", "node-network"),
    ("run", "--json", "node-network"),
    ("explain", "node-network"),
    ("exec", "node-network", "host1", "--", "ip", "addr"),
    ("export", "node-network"),
    ("diff", str(ROOT / "pcaps/node-network.pcapng"), str(ROOT / "pcaps/pod-same-node.pcapng")),
    ("--help",),
]


def said(words: tuple[str, ...], cwd: Path, stdout: int, **environment: str) -> tuple[int, str]:
    """Exit status and standard error of a command whose standard output is `stdout`."""
    done = subprocess.run(
        [sys.executable, "-m", "k8semu", *words], cwd=cwd, stdout=stdout, stderr=subprocess.PIPE, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_full_disk_is_one_line(words: tuple[str, ...], unbuffered: str, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        result = said(words, tmp_path, full, PYTHONUNBUFFERED=unbuffered)
    finally:
        os.close(full)
    assert result == (2, "k8semu: cannot write standard output: No space left on device\n")


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("words", COMMANDS[::4], ids=" ".join)
def test_a_reader_that_has_gone_is_no_error_and_nothing_is_said(
    words: tuple[str, ...], unbuffered: str, tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert said(words, tmp_path, writer, PYTHONUNBUFFERED=unbuffered) == (0, "")
    finally:
        os.close(writer)


def test_no_standard_output_at_all_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m k8semu run node-network >&-"], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "k8semu: cannot write standard output: Bad file descriptor\n"
    assert list(tmp_path.iterdir()) == []


def test_a_story_is_told_in_an_encoding_that_lacks_its_lines_and_arrows(tmp_path: Path) -> None:
    with (tmp_path / "story").open("wb") as out:
        assert said(("run", "node-network"), tmp_path, out.fileno(), PYTHONIOENCODING="ascii") == (0, "")
    assert "as expected" in (tmp_path / "story").read_text(encoding="ascii")
