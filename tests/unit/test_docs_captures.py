"""docs/captures.md and docs/json.md say what is so: the reader reads, the keys are the keys, the words the words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from k8semu.capture.reader import read_frames
from k8semu.cli.main import cli
from k8semu.scenario.load import load
from k8semu.scenario.run import run

DOCS = Path(__file__).parents[2] / "docs"
CAPTURES, JSON = (DOCS / "captures.md").read_text(), (DOCS / "json.md").read_text()
NAMES = ("pod-cross-node-udp", "ingress-tls", "nodeport")
EPB, IDB, KNOWN = 6, 1, {0x0A0D0D0A, 1, 4, 6, 10}


@pytest.fixture(scope="module")
def reader() -> SimpleNamespace:
    """The page's program, as a module."""
    (program,) = re.findall(r"```python\n(.*?)```", CAPTURES, re.DOTALL)
    names: dict[str, Any] = {"__name__": "reader"}
    exec(compile(program, "captures.md", "exec"), names)
    return SimpleNamespace(**names)


@pytest.fixture(scope="module", params=NAMES)
def capture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(run(load(request.param), tmp_path_factory.mktemp("captures")).capture)


def test_the_reader_of_the_page_reads_what_ours_reads(reader: SimpleNamespace, capture: Path) -> None:
    frames, names = reader.read(capture.read_bytes())
    ours = [
        (f.time, f.interface, ("?", "in", "out")[f.direction], f.packet_id, list(f.comments), f.data)
        for f in read_frames(capture)
    ]
    assert frames == ours
    assert names["10.100.0.2"] == "host1"


def test_blocks_times_flags_and_lengths_are_as_the_page_says(reader: SimpleNamespace, capture: Path) -> None:
    blocks = list(reader.blocks(capture.read_bytes()))
    assert {kind for kind, _ in blocks} <= KNOWN
    assert [kind for kind, _ in blocks].count(0x0A0D0D0A) == 1
    for kind, body in blocks:
        if kind == EPB:
            assert body[12:16] == body[16:20]
        if kind == IDB:
            assert int.from_bytes(body[:2], "little") in (1, 101)
            assert body[4:8] == bytes(4)
            assert dict(reader.options(body[8:]))[9] == b"\x09"
    frames, _ = reader.read(capture.read_bytes())
    times = [frame[0] for frame in frames]
    assert times == sorted(times)


BEGINNINGS = re.compile(
    r"sent by |route to |neigh |fdb |bridge |(filter|nat|mangle|raw) \S+ (rule \d+: |policy )|(ip|inet) .* rule \d+: "
    r"|nat: (icmp error: )?(src|dst) |ipvs: |\S+: (encapsulated|decapsulated) |icmp: |fragment|delivered to |consumed: "
    r"|dropped: [A-Z0-9_]+"
)
"""What the page's table says that comments begin with."""


def test_every_comment_of_all_goldens_begins_with_a_word_of_the_page(reader: SimpleNamespace) -> None:
    odd = set()
    for golden in sorted((DOCS.parent / "pcaps").glob("*.pcapng")):
        for kind, body in reader.blocks(golden.read_bytes()):
            if kind == EPB:
                length = int.from_bytes(body[12:16], "little")
                found = reader.options(body[20 + length + -length % 4 :])
                odd |= {value.decode() for code, value in found if code == 1 and not BEGINNINGS.match(value.decode())}
    assert not odd


def keys_of(section: str, first: str) -> set[str]:
    """The words in backquotes in the first column of the table that begins with `first`."""
    text = JSON.split(f"## k8semu {section}\n")[1].split("\n## ")[0]
    table = text.split(f"| {first} |", 1)[1].split("\n\n")[0]
    return {key for row in table.splitlines()[2:] for key in re.findall(r"`(\w+)`", row.split("|")[1])}


def said(*words: str) -> Any:
    done = CliRunner().invoke(cli, list(words), standalone_mode=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_list_and_explain_have_the_keys_of_the_page() -> None:
    assert all(set(row) == {"name", "layer", "title"} for row in said("list", "--json"))
    hops = said("explain", "service-clusterip", "--json")
    assert all(set(hop) == keys_of("explain", "key of a hop") for hop in hops)
    steps = [step for hop in hops for step in hop["steps"]]
    for name, fields in re.findall(r"^\| `([A-Z]\w+)` \| (.*) \|$", JSON, re.MULTILINE):
        wanted = set(re.findall(r"`(\w+)`", fields))
        assert all(wanted <= set(step) for step in steps if step["type"] == name), name
    rows = said("explain", "service-clusterip", "--list", "--json")
    assert all(set(row) == keys_of("explain", "key") for row in rows)


def test_every_packet_of_the_list_ends_and_was_seen_where_the_capture_has_it(tmp_path: Path) -> None:
    rows = {row["packet"]: row for row in said("explain", "nodeport", "--list", "--json")}
    seen: dict[int | None, list[str]] = {}
    for frame in read_frames(Path(run(load("nodeport"), tmp_path).capture)):
        seen.setdefault(frame.packet_id, []).append(frame.interface)
    assert {number: row["seen"] for number, row in rows.items() if row["seen"]} == seen
    assert all(row["ends"] for row in rows.values())
    dropped = {end["reason"] for row in rows.values() for end in row["ends"] if end["end"] == "dropped"}
    assert dropped == {"BRIDGE_INGRESS_STP_STATE", "NO_SOCKET"}


def test_run_has_the_keys_of_the_page(tmp_path: Path) -> None:
    told = said("run", "pod-same-node", "-o", str(tmp_path), "--json")
    keys = keys_of("run", "key")
    assert set(told) <= keys
    assert {"scenario", "ok", "frames", "capture", "steps"} <= set(told)
    assert all(set(step) == {"name", "ok", "result", "expect"} for step in told["steps"])


@pytest.mark.parametrize(("kind", "name"), [("ping", "pod-same-node"), ("dns", "service-dns"), ("tcp", "nodeport")])
def test_a_step_has_the_keys_of_the_page(kind: str, name: str, tmp_path: Path) -> None:
    loaded = load(name)
    told = run(loaded, tmp_path).steps
    (row,) = re.findall(rf"^\| `{kind}`.*\|$", JSON, re.MULTILINE)
    wanted = set(re.findall(r"`(\w+)`", row.split("|", 2)[2]))
    asked = loaded.scenario.spec.steps
    which = [step for step, one in zip(told, asked, strict=True) if getattr(one, kind) is not None]
    assert which
    assert all(set(step.result) == wanted for step in which)
