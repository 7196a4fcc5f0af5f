"""Headers that were laid out beforehand are those that Scapy lays out now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from k8semu.wire import lay_out
from k8semu.wire.build import BY_SCAPY, tcp_template
from k8semu.wire.laid_out import LAID_OUT


@pytest.mark.parametrize("shape", lay_out.SHAPES, ids=str)
def test_a_header_is_as_scapy_lays_it_out(shape: tuple[str, ...]) -> None:
    name, *args = shape
    assert LAID_OUT[shape] == BY_SCAPY[name](*args)


def test_the_file_is_what_the_command_writes() -> None:
    assert Path(lay_out.__file__).with_name("laid_out.py").read_text() == lay_out.text()


@pytest.mark.parametrize("mss", [536, 1410, 1460, 65495])
@pytest.mark.parametrize("scale", [7, 9])
def test_any_mss_and_scale_is_as_scapy_writes_it(mss: int, scale: int) -> None:
    options = (("MSS", mss), ("SAckOK", b""), ("Timestamp", (0, 0)), ("NOP", None), ("WScale", scale))
    mine, theirs = bytearray(tcp_template(options)), bytearray(BY_SCAPY["tcp_template"](options))
    theirs[50:52] = mine[50:52]     # the checksum, which the caller writes
    assert mine == theirs


def test_a_usual_run_needs_no_scapy() -> None:
    code = (
        "import sys; from k8semu.scenario.load import load; from k8semu.scenario.run import run;"
        "assert run(load('pod-cross-node-vxlan')).ok; assert 'scapy' not in sys.modules, 'Scapy was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
