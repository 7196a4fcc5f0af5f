"""What the documents name is there: files, scenarios, options, links, dependencies."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

from k8semu.cli.main import cli

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]
WALK = (ROOT / "docs/packet-walk.md").read_text()
ROWS = [line for line in WALK.splitlines() if line.startswith("| ") and not line.startswith("| where ")]


def words(text: str, pattern: str) -> list[str]:
    return [word for word in re.findall(r"`([^`\n]+)`", text) if re.fullmatch(pattern, word)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text())]
    files = [target for target in targets if target and "://" not in target]
    assert [target for target in files if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_is_there(path: Path) -> None:
    files = words(path.read_text(), r"(k8semu|tests|docs|scenarios|pcaps|benchmarks)/[\w./-]+\.[a-z]+")
    assert [name for name in files if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_every_place_of_a_packet_walk_is_there(row: str) -> None:
    """A second place in a row may be a neighbour of the first, by its name alone."""
    places = words(row.split("|")[-2], r"[\w/.]+")
    assert places, "each step names the place that acts"
    folder = ROOT / "k8semu"
    for place in places:
        found = ROOT / "k8semu" / place if "/" in place else folder / place
        assert found.exists(), place
        folder = found.parent


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_line_is_one_that_k8semu_takes(path: Path) -> None:
    """Its scenario exists, and its options are those of the command."""
    for line in words(path.read_text(), r"k8semu (run|explain|exec|verify|export|diff|list)( .*)?"):
        _, name, *rest = line.partition(" -- ")[0].replace("\\|", "|").split()
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, line
        options = {option for parameter in command.params for option in parameter.opts}
        for word in rest:
            if word.startswith("-"):
                assert word.split("=")[0] in options, line
            elif re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+|loadbalancer|nodeport", word) and rest.index(word) == 0:
                assert (ROOT / f"scenarios/{word}.yaml").exists(), line


def test_every_dependency_is_in_the_decision_on_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = [re.split(r"[>=<\[]", one)[0] for one in asked]
    said = (ROOT / "docs/adr/0007-dependencies.md").read_text().lower()
    assert [name for name in names if name.lower() not in said] == []
