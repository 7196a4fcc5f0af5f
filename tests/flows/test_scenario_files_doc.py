"""What docs/scenario-files.md says of scenario files is so, and its examples work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cli_calls import ROOT, k8semu

from k8semu.scenario import model

DOC = (ROOT / "docs" / "scenario-files.md").read_text()
SPEC, STEPS = (DOC.split(f"\n## {title}\n")[1].split("\n## ")[0] for title in ("`spec`", "Steps"))


def example(language: str) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)[0]


@pytest.mark.parametrize(
    "struct", [model.Spec, model.NodeSpec, model.HostSpec, model.PodNetwork, model.Services, model.LinkSpec]
)
def test_every_field_of_a_spec_is_described(struct: type[msgspec.Struct]) -> None:
    said = set(re.findall(r"[A-Za-z]+", SPEC))
    assert {field.encode_name for field in msgspec.structs.fields(struct)} <= said


@pytest.mark.parametrize("action", model.ACTIONS)
def test_every_field_and_expectation_of_a_step_is_described(action: str) -> None:
    said = set(re.findall(r"[A-Za-z]+", STEPS))
    assert f"`{action}: " in STEPS
    struct = next(field.type for field in msgspec.structs.fields(model.Step) if field.name == action)
    for part in getattr(struct, "__args__", ()):
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            assert {field.encode_name for field in msgspec.structs.fields(part)} <= said
    row = next(line for line in STEPS.splitlines() if f"`{action}: " in line)
    if "the same" not in row:
        assert set(model.EXPECTS[action]) <= set(re.findall(r"[A-Za-z]+", row))


def test_the_shortest_test_is_as_expected_and_fails_without_its_service(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(example("yaml"))
    assert k8semu("run", str(file), "-o", str(tmp_path)).code == 0
    file.write_text(example("yaml").replace("targetPort: http", "targetPort: web"))
    assert k8semu("run", str(file), "-o", str(tmp_path)).code == 1


def test_pytest_tells_what_was_otherwise_in_a_file(tmp_path: Path) -> None:
    network = tmp_path / "network"
    network.mkdir()
    (tmp_path / "test_network.py").write_text(example("python"))
    (network / "good.yaml").write_text(example("yaml"))
    (network / "other.yaml").write_text(example("yaml").replace("status: 200", "status: 404"))
    (network / "wrong.yaml").write_text("steps: [{htp: {}}]\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)], check=False, text=True,
        capture_output=True, cwd=tmp_path, env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert "2 failed, 1 passed" in done.stdout, done.stdout
    assert "the shop answers by its Service's name: status: expected 404, got 200" in done.stdout
    assert "wrong.yaml:1: steps[0].htp: unknown key 'htp' (did you mean http?)" in done.stdout
