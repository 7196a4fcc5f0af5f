"""`k8semu run`: what it says, what it writes, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_calls import Said, k8semu, left, process, refused

from k8semu.capture.reader import read_frames

HEAD = """apiVersion: k8semu/v1
kind: Scenario
spec:
  nodes: [{name: n1, address: 10.100.0.2/24}]
  steps:
"""
PODS = """
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c, image: busybox}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
"""


def scenario(folder: Path, steps: str, name: str = "mine") -> str:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(f"{HEAD}{steps}{PODS}")
    return str(path)


def test_the_story_says_what_was_asked_what_came_and_where_the_capture_is(tmp_path: Path) -> None:
    said = k8semu("run", "pod-same-node", "-o", str(tmp_path))
    assert (said.code, said.err) == (0, "")
    for part in (
        "Two Pods on one node", "docker0", "client$ ping -c 1 172.17.0.3", "as expected", "64 bytes from 172.17.0.3",
        "the way of packet", "In Wireshark", f"{tmp_path}/pod-same-node.pcapng", "k8semu explain pod-same-node",
    ):  # fmt: skip
        assert part in said.out
    assert "\x1b" not in said.out                       # plain where it is no terminal
    assert left(tmp_path) == ["pod-same-node.pcapng"]


def test_the_packet_to_look_for_is_the_one_that_the_story_followed(tmp_path: Path) -> None:
    said = k8semu("run", "pod-same-node", "-o", str(tmp_path))
    followed = said.out.partition("the way of packet ")[2].partition(":")[0]
    assert f"frame.packet_id == {followed} in Wireshark" in said.out


def test_a_call_by_name_is_followed_by_its_first_segment_and_a_way_is_told_once(tmp_path: Path) -> None:
    said = k8semu("run", "service-dns", "-o", str(tmp_path)).out
    call = said.partition("curl http://account-service/")[2].partition("\n\n")[0]
    assert "sent by curl tcp" in call                            # and not the question to DNS before it
    assert "Service default/account-service" in call
    assert "shares: account-1 3, account-2 1" in call
    assert said.count("the same as in step 2") == 6              # six more questions to DNS take the same way
    outside = said.partition("getent hosts www.example.com")[2].partition("\n\n")[0]
    assert "203.0.113.80    www.example.com" in outside


def test_a_packet_is_the_programs_own_also_where_arp_goes_through_a_tunnel(tmp_path: Path) -> None:
    said = k8semu("run", "pod-cross-node-weave", "-o", str(tmp_path)).out
    ping = said.partition("ping -c 1 172.17.1.3")[2].partition("\n\n")[0]
    assert "podx       sent by ping" in ping
    assert "pody       eth0 ▸ consumed: echo request" in ping


def test_the_story_says_who_is_behind_no_service_and_that_names_have_no_answer(tmp_path: Path) -> None:
    service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: shop}\n"
    service += "spec: {selector: {app: x}, ports: [{port: 80}]}\n"
    path = Path(scenario(tmp_path, "    - wait: 0.1\n"))
    path.write_text(path.read_text().replace("spec:\n", "spec:\n  services: {dns: false}\n", 1) + service)
    said = k8semu("run", str(path), "-o", str(tmp_path / "out"))
    assert "80/TCP   no endpoint: no Pod is labelled app=x\n" in said.out
    assert "  no cluster DNS   dns: false" in said.out


def test_of_a_long_output_the_rows_are_shown_that_were_expected(tmp_path: Path) -> None:
    said = k8semu("run", "service-clusterip", "-o", str(tmp_path)).out
    rules = said.partition("iptables-save -t nat")[2].partition("\n\n")[0]
    assert rules.count("--probability") == 3
    assert "\n   … 42 lines\n" in rules
    assert rules.endswith("\n   … 2 more lines")
    assert ":KUBE-MARK-MASQ" not in rules


def test_what_nobody_expected_anything_of_is_not_as_expected(tmp_path: Path) -> None:
    path = scenario(tmp_path, """
    - exec: {on: n1, command: ip neigh}
    - link: {on: client, dev: eth0, loss: 0.015, delay: 0.1}
    - link: {on: client, hairpin: false}
""")
    said = k8semu("run", path, "-o", str(tmp_path))
    assert "as expected" not in said.out
    assert "\n1  exec 1   n1$ ip neigh\n   (no output)\n" in said.out
    assert "client$ tc qdisc replace dev eth0 root netem loss 1.5% delay 100ms\n" in said.out
    assert "bridge link set dev (the port of client) hairpin off" in said.out
    assert f"\n  k8semu explain {path}\n" in said.out           # what to type next works as it stands


def test_json_is_one_line_a_scenario_in_its_stable_shape(tmp_path: Path) -> None:
    said = k8semu("run", "pod-same-node", "node-network", "--json", "-o", str(tmp_path))
    first, second = (json.loads(line) for line in said.out.splitlines())
    assert (first["scenario"], second["scenario"]) == ("pod-same-node", "node-network")
    assert list(first) == ["scenario", "ok", "frames", "capture", "steps"]
    assert first["ok"] is True
    assert first["capture"] == str(tmp_path / "pod-same-node.pcapng")
    assert first["frames"] == len(list(read_frames(Path(first["capture"]))))
    ping, http, _ = first["steps"]
    assert [list(step) for step in first["steps"]] == [["name", "ok", "result", "expect"]] * 3
    assert (ping["name"], ping["result"]["received"], ping["expect"]) == ("ping", 1, {"received": 1})
    [call] = http["result"]["calls"]
    assert (call["status"], call["servedBy"], call["clientAddress"], call["error"]) == (200, "web", "172.17.0.2", "")


def test_classic_captures_are_one_file_an_interface(tmp_path: Path) -> None:
    said = k8semu("run", "pod-same-node", "--format", "pcap", "-o", str(tmp_path))
    files = [name.partition("/")[2] for name in left(tmp_path) if "/" in name]
    assert {"client.eth0.pcap", "web.eth0.pcap", "host1.eth0.pcap", "host1.docker0.pcap"} <= set(files)
    assert len(files) == 6
    assert f"{tmp_path}/pod-same-node " in said.out
    frames = list(read_frames(tmp_path / "pod-same-node/client.eth0.pcap"))
    assert len(frames) > 10


def test_a_second_run_replaces_what_the_first_wrote(tmp_path: Path) -> None:
    for form in ("pcap", "pcapng"):
        once = k8semu("run", "node-network", "--json", "--format", form, "-o", str(tmp_path))
        before = {name: (tmp_path / name).stat().st_size for name in left(tmp_path)}
        assert k8semu("run", "node-network", "--json", "--format", form, "-o", str(tmp_path)) == once
        assert {name: (tmp_path / name).stat().st_size for name in left(tmp_path)} == before


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    seeds = {"a": "7", "b": "7", "c": "8"}
    for folder, seed in seeds.items():
        assert k8semu("run", "pod-same-node", "--seed", seed, "-o", str(tmp_path / folder)).code == 0
    a, b, c = ((tmp_path / folder / "pod-same-node.pcapng").read_bytes() for folder in seeds)
    assert a == b
    assert a != c


def test_of_several_scenarios_each_gets_one_line(tmp_path: Path) -> None:
    said = k8semu("run", "pod-same-node", "node-network", "-o", str(tmp_path))
    assert said.code == 0
    assert [line.split()[:2] for line in said.out.splitlines()[:2]] == [["ok", "pod-same-node"], ["ok", "node-network"]]
    assert said.out.endswith("2 of 2 scenarios as expected\n")
    assert left(tmp_path) == ["node-network.pcapng", "pod-same-node.pcapng"]


def test_all_are_the_bundled_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from k8semu.scenario import load

    two = dict(list(load.bundled().items())[:2])
    monkeypatch.setattr(load, "bundled", lambda: two)
    said = k8semu("run", "--all", "-o", str(tmp_path))
    assert said.code == 0
    assert left(tmp_path) == sorted(f"{name}.pcapng" for name in two)


def test_a_command_that_fails_is_shown_with_its_exit_status(tmp_path: Path) -> None:
    steps = "    - exec: {on: web, command: cat /nosuch}\n      expect: {code: 1}\n"
    said = k8semu("run", scenario(tmp_path, steps), "-o", str(tmp_path / "out"))
    assert said.code == 0
    assert "exit status 1" in said.out


def test_a_file_runs_like_a_bundled_scenario(tmp_path: Path) -> None:
    path = scenario(tmp_path, "    - ping: {from: client, to: 172.17.0.3}\n")
    said = k8semu("run", path, "-o", str(tmp_path / "out"))
    assert said.code == 0
    assert left(tmp_path / "out") == ["mine.pcapng"]


def test_an_expectation_that_fails_is_exit_1_and_says_what_came_instead(tmp_path: Path) -> None:
    steps = "    - name: knock\n      tcp: {from: client, to: '172.17.0.3:81'}\n      expect: {error: ''}\n"
    said = k8semu("run", scenario(tmp_path, steps), "-o", str(tmp_path / "out"))
    assert said.code == 1
    assert "NOT as expected" in said.out
    assert "ECONNREFUSED" in said.out
    assert left(tmp_path / "out") == ["mine.pcapng"]      # what happened is to be looked at
    quick = k8semu("run", scenario(tmp_path, steps), "--json", "-o", str(tmp_path / "out"))
    assert quick.code == 1
    assert json.loads(quick.out)["ok"] is False


def test_one_failed_scenario_among_several_does_not_stop_the_others(tmp_path: Path) -> None:
    steps = "    - ping: {from: client, to: 172.17.0.3}\n      expect: {received: 0}\n"
    said = k8semu("run", scenario(tmp_path, steps), "node-network", "-o", str(tmp_path / "out"))
    assert said.code == 1
    assert said.out.splitlines()[0].startswith("FAILED mine")
    assert "received" in said.out
    assert said.out.endswith("1 of 2 scenarios as expected\n")


def test_json_says_of_a_step_what_was_otherwise(tmp_path: Path) -> None:
    steps = "    - ping: {from: client, to: 172.17.0.3}\n      expect: {received: 0}\n    - wait: 0.1\n"
    said = k8semu("run", scenario(tmp_path, steps), "--json", "-o", str(tmp_path / "out"))
    [failed, waited] = json.loads(said.out)["steps"]
    assert (said.code, failed["failures"], "failures" in waited) == (1, ["received: expected 0, got 1"], False)


def test_json_says_what_has_no_effect(tmp_path: Path) -> None:
    path = Path(scenario(tmp_path, "    - wait: 0.1\n"))
    path.write_text(f"{path.read_text()}---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: migrate}}\n")
    said = k8semu("run", str(path), "--json", "-o", str(tmp_path / "out"))
    assert json.loads(said.out)["withoutEffect"] == ["Job migrate: its Pods are not made"]


def test_json_says_which_program_crashed(tmp_path: Path) -> None:
    path = Path(scenario(tmp_path, "    - wait: 0.1\n"))
    crash = "metadata: {name: web, annotations: {k8semu/program: 'cli_programs:crash'}}"
    path.write_text(path.read_text().replace("metadata: {name: web}", crash))
    said = k8semu("run", str(path), "--json", "-o", str(tmp_path / "out"))
    [crashed] = json.loads(said.out)["crashes"]
    assert crashed.endswith("RuntimeError: out of coffee")


def test_files_whose_captures_would_have_one_name_are_refused(tmp_path: Path) -> None:
    one, other = (scenario(folder, "    - wait: 0.1\n") for folder in (tmp_path / "a", tmp_path / "b"))
    refused(k8semu("run", one, other, "-o", str(tmp_path / "out")), "would write the same capture, mine", "-o DIR")
    assert not (tmp_path / "out").exists()
    assert k8semu("run", one, one, "-o", str(tmp_path / "out")).code == 0


def test_a_folder_is_no_scenario_but_its_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    refused(k8semu("run", "mine"), "'mine' is a folder", "mine/*.yaml")


def test_a_file_may_come_by_standard_input(tmp_path: Path) -> None:
    path = Path(scenario(tmp_path, "    - ping: {from: client, to: 172.17.0.3}\n      expect: {received: 1}\n"))
    for text, code in ((path.read_bytes(), 0), (b"a: [1", 2)):
        said = k8semu("run", "-", "-o", str(tmp_path / "out"), stdin=text)
        assert said.code == code
    assert said.err.startswith("k8semu: stdin:2: not YAML")
    assert left(tmp_path / "out") == ["stdin.pcapng"]


def test_a_program_that_crashes_is_told_and_is_exit_1(tmp_path: Path) -> None:
    path = Path(scenario(tmp_path, "    - wait: 0.1\n"))
    crash = "metadata: {name: web, annotations: {k8semu/program: 'cli_programs:crash'}}"
    path.write_text(path.read_text().replace("metadata: {name: web}", crash))
    said = k8semu("run", str(path), "-o", str(tmp_path / "out"))
    assert said.code == 1
    assert "RuntimeError: out of coffee" in said.out
    assert "Traceback" not in said.out + said.err


def test_a_wrong_file_among_several_is_found_before_any_runs(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [1")
    refused(k8semu("run", "node-network", str(bad), "-o", str(tmp_path / "out")), "bad.yaml:2", "not YAML")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "no scenario"), (("--all", "node-network"), "one or the other"), (("nosuch",), "no scenario 'nosuch'"),
        (("n" * 300,), "no scenario 'nnn"),
        (("pod-same-nod",), "did you mean pod-same-node"), (("--seed", "x", "node-network"), "not a valid integer"),
        (("--format", "txt", "node-network"), "'pcapng', 'pcap'"), (("--nosuch",), "No such option"),
        (("nosuch.yaml",), "nosuch.yaml: cannot read: No such file"), (("/",), "Is a directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_one_clear_error(words: tuple[str, ...], says: str) -> None:
    refused(k8semu("run", *words), says)


def test_an_output_that_cannot_be_written_is_one_clear_error_before_the_story(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for form in ("pcap", "pcapng"):
        said = k8semu("run", "node-network", "--format", form, "-o", str(file))
        refused(said, f"{file}/node-network", "cannot write: Not a directory")
        assert said.out == ""
        refused(k8semu("run", "node-network", "--format", form, "-o", "/proc/k8semu"), "/proc/k8semu", "cannot write")
    (tmp_path / "taken" / "node-network.pcapng").mkdir(parents=True)
    refused(k8semu("run", "node-network", "-o", str(tmp_path / "taken")), "it is a folder")
    (tmp_path / "taken" / "node-network").write_text("mine")
    refused(k8semu("run", "node-network", "--format", "pcap", "-o", str(tmp_path / "taken")), "it is a file")
    assert file.read_text() == "mine"
    assert left(tmp_path) == ["file", "taken", "taken/node-network", "taken/node-network.pcapng"]


OWN = """apiVersion: k8semu/v1
kind: Scenario
spec:
  nodes: [{name: n1, address: 10.100.0.2/24}]
  steps:
    - tcp: {from: n1, to: "172.17.0.2:9000", send: "hello"}
      expect: {reply: "you said hello"}
---
apiVersion: v1
kind: Pod
metadata: {name: own, annotations: {k8semu/program: "PROGRAM"}}
spec: {containers: [{name: c, image: x}]}
"""
SERVE = """import asyncio
async def serve():
    async def answer(reader, writer):
        writer.write(b"you said " + await reader.read(5))
        writer.close()
    async with await asyncio.start_server(answer, "0.0.0.0", 9000) as server:
        await server.serve_forever()
def no_coroutine(): pass
"""


def own(folder: Path, program: str, module: str = SERVE) -> Said:
    (folder / "beside_it.py").write_text(module)
    (folder / "mine.yaml").write_text(OWN.replace("PROGRAM", program))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    return process("run", str(folder / "mine.yaml"), "-o", str(folder / "out"), cwd=elsewhere, python=("-P",))


def test_a_program_of_ones_own_lies_beside_the_file(tmp_path: Path) -> None:
    said = own(tmp_path, "beside_it:serve")
    assert (said.code, said.err) == (0, "")
    assert "answered 'you said hello'" in said.out


@pytest.mark.parametrize(
    ("program", "module", "why"),
    [
        ("beside_it:serve", "def serve(:", "SyntaxError: invalid syntax"),
        ("beside_it:serve", "1 / 0", "ZeroDivisionError: division by zero"),
        ("beside_it:nothing", SERVE, "has no attribute 'nothing'"),
        ("beside_it:no_coroutine", SERVE, "is no `async def`"),
        ("not_beside_it:serve", SERVE, "No module named 'not_beside_it'"),
    ],
)
def test_a_program_of_ones_own_that_cannot_be_is_one_clear_error(
    tmp_path: Path, program: str, module: str, why: str
) -> None:
    refused(own(tmp_path, program, module), "mine.yaml:", "k8semu/program", program, why)
