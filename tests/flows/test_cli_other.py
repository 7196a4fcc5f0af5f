"""`k8semu list`, `export`, `diff`, `verify`'s bad input, and `--help`."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_calls import ROOT, k8semu, process, refused

from k8semu.scenario.load import bundled


def test_the_list_has_every_scenario_under_its_layer() -> None:
    said = k8semu("list")
    assert (said.code, said.err) == (0, "")
    for name in bundled():
        assert f"  {name} " in said.out
    layers = [line.split("  ")[0] for line in said.out.splitlines() if line.startswith("Layer")]
    assert layers == sorted(layers)


def test_the_list_as_json_has_name_layer_and_title() -> None:
    rows = json.loads(k8semu("list", "--json").out)
    assert [row["name"] for row in rows] == list(bundled())
    assert all(list(row) == ["name", "layer", "title"] and row["title"] for row in rows)


def test_the_exported_script_is_one_that_bash_reads(tmp_path: Path) -> None:
    for name in ("pod-cross-node-vxlan", "service-clusterip"):
        said = k8semu("export", name)
        assert said.code == 0
        for part in ("ip netns add", "type veth", "iptables-restore"):
            assert part in said.out
        checked = subprocess.run(["bash", "-n"], input=said.out, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")
    refused(k8semu("export", "nosuch"), "no scenario 'nosuch'")


def test_an_exported_load_balancer_has_the_rules_that_follow_from_its_first_checks() -> None:
    said = k8semu("export", "loadbalancer").out
    table = said.partition("ip netns exec slb nft -f - <<'EOF'\n")[2].partition("EOF\n")[0]
    assert "add rule ip slb lb-default/account-direct goto to-host1\n" in table     # the only node with an endpoint
    assert "ip -n slb rule add priority 1 from all fwmark 0x1 lookup 1001\n" in said


# --- diff ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures")
    for name, seed in (("a", "1"), ("b", "2")):
        assert k8semu("run", "node-network", "--seed", seed, "-o", str(folder / name)).code == 0
    assert k8semu("run", "pod-same-node", "-o", str(folder / "c")).code == 0
    return folder


def test_captures_that_differ_only_in_what_is_free_are_equal(captures: Path) -> None:
    a, b = (captures / name / "node-network.pcapng" for name in "ab")
    assert a.read_bytes() != b.read_bytes()
    said = k8semu("diff", str(a), str(b))
    assert (said.code, said.err) == (0, "")
    assert ", 0 different" in said.out


def test_captures_that_differ_are_exit_1_with_the_first_differences(captures: Path) -> None:
    a, c = captures / "a/node-network.pcapng", captures / "c/pod-same-node.pcapng"
    said = k8semu("diff", str(a), str(c), "--limit", "3")
    assert said.code == 1
    assert "client/eth0" in said.out
    assert ", 0 different" not in said.out


def test_what_is_no_whole_capture_is_bad_input(captures: Path, tmp_path: Path) -> None:
    whole = captures / "a/node-network.pcapng"
    cut, text, empty = (tmp_path / name for name in ("cut.pcapng", "text.pcapng", "empty.pcapng"))
    cut.write_bytes(whole.read_bytes()[:3000])
    text.write_text("not frames\n")
    empty.write_bytes(b"")
    for bad, says in ((cut, "cut off"), (text, "not a capture"), (empty, "empty")):
        refused(k8semu("diff", str(whole), str(bad)), str(bad), says)
        refused(k8semu("diff", str(bad), str(whole)), str(bad), says)
    refused(k8semu("diff", str(whole), str(tmp_path / "nosuch")), "nosuch", "No such file")
    refused(k8semu("diff", str(whole), str(tmp_path)), "a folder without .pcap files")
    refused(k8semu("diff", str(whole)), "B.pcapng")


# --- the rest -------------------------------------------------------------------------------------


def test_verify_refuses_what_it_cannot_find() -> None:
    refused(k8semu("verify", "nosuch"), "no scenario 'nosuch'")
    refused(k8semu("verify"), "no scenario")
    refused(k8semu("verify", "--all", "node-network"), "one or the other")


def test_an_unknown_command_or_option_is_one_line() -> None:
    refused(k8semu("nosuch"), "No such command 'nosuch'", "k8semu --help")
    refused(k8semu("list", "--nosuch"), "No such option", "k8semu list --help")


def test_only_the_name_of_the_program_shows_what_there_is() -> None:
    assert k8semu() == k8semu("--help")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["verify", "--help"], ["--version"]])
def test_help_loads_neither_scapy_nor_asyncio(words: list[str]) -> None:
    probe = (
        "import sys; from k8semu.cli.main import call; code = call(sys.argv[1:]);"
        "print([name for name in ('scapy', 'asyncio', 'rich', 'yaml', 'msgspec') if name in sys.modules], code)"
    )
    done = subprocess.run([sys.executable, "-c", probe, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_help_names_every_command(tmp_path: Path) -> None:
    said = process("--help", cwd=tmp_path)
    assert said.code == 0
    for name in ("list", "run", "explain", "exec", "verify", "export", "diff"):
        assert f"  {name} " in said.out
    assert "Usage: k8semu " in said.out


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"set -o pipefail; '{sys.executable}' -m k8semu export pod-cross-node-vxlan | head -1"
    from cli_calls import ROOT

    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_long_work_shows_on_a_terminal_what_goes_on_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    text = on_a_terminal(["run", "pod-same-node", "node-network", "-o", str(tmp_path)], columns=80)
    assert "running pod-same-node  1 of 2 …" in text
    assert "running node-network  2 of 2 …" in text
    for row in text.replace("\r\n", "\n").split("\n"):
        shown = row.rpartition("\r")[2]      # what a terminal shows in the end
        assert "running" not in shown


def test_a_folder_of_classic_captures_compares_with_the_one_capture_of_the_same_run(tmp_path: Path) -> None:
    for form in ("pcap", "pcapng"):
        assert k8semu("run", "pod-cross-node-vxlan", "--format", form, "-o", str(tmp_path)).code == 0
    folder, capture = str(tmp_path / "pod-cross-node-vxlan"), str(tmp_path / "pod-cross-node-vxlan.pcapng")
    for pair in ((folder, capture), (capture, folder)):
        said = k8semu("diff", *pair)
        assert (said.code, said.out.splitlines()[1:]) == (0, []), said.out


def test_sentences_are_broken_between_words_on_a_narrow_terminal(tmp_path: Path) -> None:
    text = on_a_terminal(["run", "cni-lifecycle", "-o", str(tmp_path)], columns=60)
    rows = [row.rpartition("\r")[2] for row in re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r\n", "\n").split("\n")]
    at = rows.index("   The runtime has made a namespace with nothing in it but")
    assert rows[at + 1] == "   lo. ADD brings eth0, an address and a default route."
    way = rows.index("                route to 172.17.0.3: 172.17.0.0/29 dev eth0")
    assert rows[way + 1].startswith(" " * 16 + "proto kernel scope link")


def on_a_terminal(words: list[str], columns: int) -> str:
    """What a command writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    command = [sys.executable, "-m", "k8semu", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        said = b""
        try:
            while data := os.read(ours, 65536):
                said += data
        except OSError:            # Linux: EIO once the other side is closed
            pass
        os.close(ours)
    assert process.returncode == 0
    return said.decode()
