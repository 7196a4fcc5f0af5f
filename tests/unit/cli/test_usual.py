"""The usual command line is read as click would read it, and any other one is left to click."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.cli.main import cli
from k8semu.cli.usual import read

WORD = st.sampled_from(["run", "list", "a", "b.yaml", "-o", "out", "", "-", "--", "--json", "--output", "-oout", "-h"])


@given(st.lists(WORD, max_size=6).map(lambda words: ["run", *words]))
def test_what_is_read_without_click_is_what_click_reads(words: list[str]) -> None:
    found = read(words)
    if found is None:
        return
    command = cli.get_command(click.Context(cli), "run")
    assert command is not None
    params = command.make_context("run", words[1:]).params
    names, output = found
    assert params == {
        "names": names, "output": output, "everything": False, "form": "pcapng", "seed": None, "as_json": False,
    }  # fmt: skip


def test_names_and_a_folder_are_usual() -> None:
    assert read(["run", "a", "-o", "out", "b.yaml"]) == (("a", "b.yaml"), "out")
    assert read(["run", "a"]) == (("a",), "captures")


@pytest.mark.parametrize("line", [
    "", "list", "run", "run --all", "run a --json", "run a -o", "run a -o -b", "run -h", "run a --seed 1", "--version",
])  # fmt: skip
def test_anything_else_is_clicks_to_read(line: str) -> None:
    assert read(line.split()) is None


def test_a_shell_that_asks_for_completions_asks_click(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_K8SEMU_COMPLETE", "bash_source")
    assert read(["run", "a"]) is None
