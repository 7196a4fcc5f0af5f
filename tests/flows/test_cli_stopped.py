"""A run that is stopped in the middle leaves nothing half-written, and old captures as they were.

A program in a Pod ends the process that plays the scenario, at a moment of simulated time: no test
has to guess when.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_calls import left, process

SCENARIO = """
apiVersion: k8semu/v1
kind: Scenario
spec:
  nodes: [{name: n1, address: 10.100.0.2/24}]
  steps: [{ping: {from: client, to: 10.100.0.2, count: 3}}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c, image: busybox}]}
---
apiVersion: v1
kind: Pod
metadata: {name: end, annotations: {k8semu/program: "cli_programs:PROGRAM"}}
spec: {containers: [{name: c, image: busybox}]}
"""


@pytest.fixture(autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """Also where the tests run in the background of a script, which ignores it, and what it starts, too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def scenario(folder: Path, program: str) -> None:
    (folder / "mine.yaml").write_text(SCENARIO.replace("PROGRAM", program))


@pytest.mark.parametrize("program", ["interrupt", "interrupt_while_serving", "interrupt_in_a_finalizer"])
@pytest.mark.parametrize("form", ["pcapng", "pcap"])
def test_ctrl_c_leaves_nothing_and_says_so_in_a_line(tmp_path: Path, form: str, program: str) -> None:
    scenario(tmp_path, program)
    said = process("run", "mine.yaml", "--format", form, "-o", "out", cwd=tmp_path)
    assert (said.code, said.err.lstrip("\n")) == (130, "k8semu: interrupted\n")     # below the terminal's ^C
    assert left(tmp_path / "out") == []


@pytest.mark.parametrize(("form", "old"), [("pcapng", "out/mine.pcapng"), ("pcap", "out/mine/n1.eth0.pcap")])
@pytest.mark.parametrize("program", ["interrupt", "terminate", "kill"])
def test_an_old_capture_stays_whole_when_the_next_run_is_stopped(
    tmp_path: Path, form: str, old: str, program: str
) -> None:
    (tmp_path / old).parent.mkdir(parents=True)
    (tmp_path / old).write_bytes(b"what was there")
    scenario(tmp_path, program)
    said = process("run", "mine.yaml", "--format", form, "-o", "out", cwd=tmp_path)
    code = {"interrupt": 130, "terminate": -signal.SIGTERM, "kill": -signal.SIGKILL}[program]
    assert said.code == code
    assert "Traceback" not in said.err
    assert (tmp_path / old).read_bytes() == b"what was there"
    seen = [name for name in left(tmp_path / "out") if not name.startswith(".")]
    if form == "pcapng" or program == "interrupt":      # nothing hidden either
        assert seen == left(tmp_path / "out")
    assert seen == ([old.removeprefix("out/")] if form == "pcapng" else ["mine", "mine/n1.eth0.pcap"])


def test_what_a_killed_run_left_hidden_goes_with_the_next_run(tmp_path: Path) -> None:
    scenario(tmp_path, "kill")
    assert process("run", "mine.yaml", "--format", "pcap", "-o", "out", cwd=tmp_path).code == -signal.SIGKILL
    assert [name for name in left(tmp_path / "out") if not name.startswith(".")] == []
    (tmp_path / "mine.yaml").write_text(SCENARIO.partition("---\napiVersion: v1\nkind: Pod\nmetadata: {name: end")[0])
    assert process("run", "mine.yaml", "--format", "pcap", "-o", "out", cwd=tmp_path).code == 0
    assert [name for name in left(tmp_path / "out") if name.startswith(".")] == []


def test_ctrl_c_among_several_keeps_those_that_were_done(tmp_path: Path) -> None:
    scenario(tmp_path, "interrupt")
    said = process("run", "node-network", "mine.yaml", "pod-same-node", "-o", "out", cwd=tmp_path)
    assert said.code == 130
    assert left(tmp_path / "out") == ["node-network.pcapng"]


def test_a_command_on_a_machine_can_be_stopped_as_well(tmp_path: Path) -> None:
    scenario(tmp_path, "interrupt")
    said = process("exec", "mine.yaml", "n1", "--", "ip", "addr", cwd=tmp_path)
    assert (said.code, said.out, said.err.lstrip("\n")) == (130, "", "k8semu: interrupted\n")
