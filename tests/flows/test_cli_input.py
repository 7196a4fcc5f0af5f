"""Bad files on the command line: each is exit 2 and one line with file, line and path; nothing is written.

What the loader makes of each mistake is held in tests/unit/scenario; here it is what a person sees.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from cli_calls import k8semu, left, refused

HEAD = "apiVersion: k8semu/v1\nkind: Scenario\nspec:\n"
NODE = "  nodes:\n    - {name: n1, address: 10.100.0.2/24}\n"
POD = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: client}\nspec: {containers: [{name: c, image: busybox}]}\n"
TWO_PODS = POD + POD


class Mistake(NamedTuple):
    name: str
    text: str
    says: tuple[str, ...]


MISTAKES = [
    Mistake("no YAML", "a: [1", ("bad.yaml:2:", "not YAML")),
    Mistake("empty", "", ("bad.yaml:", "nothing in it", "apiVersion: k8semu/v1")),
    Mistake("a wrong type", HEAD + "  seed: many\n", ("bad.yaml:4:", "spec.seed", "a whole number")),
    Mistake("an unknown key", HEAD + "  noodles: []\n", ("bad.yaml:4:", "spec.noodles", "did you mean nodes?")),
    Mistake("a duplicate node", HEAD + NODE + "    - {name: n1, address: 10.100.0.3/24}\n",
            ("bad.yaml:6:", "spec.nodes[1].name", "'n1' is there already")),
    Mistake("a duplicate address", HEAD + NODE + "    - {name: n2, address: 10.100.0.2/24}\n",
            ("bad.yaml:6:", "spec.nodes[1].address", "10.100.0.2 is there already", "n1 has it")),
    Mistake("a duplicate Pod", HEAD + NODE + TWO_PODS,
            ("bad.yaml:14:", "documents[2].metadata.name", "Pod default/client is there already", "see line 7")),
    Mistake("subnets that overlap", HEAD + "  nodes:\n    - {name: a, address: 10.0.0.2/24, podCIDR: 172.17.0.0/24}\n"
            "    - {name: b, address: 10.0.0.3/24, podCIDR: 172.17.0.128/25}\n",
            ("bad.yaml:6:", "spec.nodes[1].podCIDR", "overlaps 172.17.0.0/24")),
    Mistake("an exhausted range", HEAD + "  nodes:\n    - {name: a, address: 10.0.0.2/24, podCIDR: 172.17.0.0/30}\n"
            + TWO_PODS.replace("client", "other", 1),
            ("bad.yaml:12:", "Pod client", "no IP addresses available", "172.17.0.1-172.17.0.2", "node a")),
    Mistake("an unknown node", HEAD + NODE + POD.replace("spec: {", "spec: {nodeName: n9, "),
            ("bad.yaml:10:", "documents[1].spec.nodeName", "n9")),
    Mistake("an unknown Pod", HEAD + NODE + "  steps:\n    - ping: {from: clinet, to: 10.100.0.2}\n" + POD,
            ("bad.yaml:7:", "spec.steps[0].ping.from", "clinet", "did you mean client?")),
    Mistake("an unknown step", HEAD + NODE + "  steps:\n    - pnig: {from: client, to: 10.100.0.2}\n" + POD,
            ("bad.yaml:7:", "spec.steps[0].pnig", "did you mean ping?")),
]  # fmt: skip


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "bad.yaml"


@pytest.mark.parametrize("mistake", MISTAKES, ids=[m.name for m in MISTAKES])
@pytest.mark.parametrize("command", [("run",), ("run", "--json"), ("explain",), ("export",)])
def test_a_mistake_in_a_file_is_one_error_and_nothing_is_written(
    mistake: Mistake, command: tuple[str, ...], bad: Path
) -> None:
    bad.write_text(mistake.text)
    said = k8semu(*command, "bad.yaml")
    refused(said, *mistake.says)
    assert said.out == ""
    assert [name for name in left(bad.parent) if name not in ("bad.yaml", "captures")] == []


@pytest.mark.parametrize("command", ["run", "explain", "export", "exec", "verify"])
def test_every_command_that_takes_a_file_says_what_is_wrong_with_it(command: str, bad: Path) -> None:
    bad.write_text("a: [1")
    rest = ("n1", "--", "ip", "addr") if command == "exec" else ()
    refused(k8semu(command, "bad.yaml", *rest), "bad.yaml:2:", "not YAML")


def test_bytes_that_are_no_text_are_refused(bad: Path) -> None:
    bad.write_bytes(b"a: \xff\xfe")
    refused(k8semu("run", "bad.yaml"), "bad.yaml:1:", "not UTF-8")
    bad.write_bytes(b"\x00" * 100)
    refused(k8semu("run", "bad.yaml"), "bad.yaml:1:", "NUL")
