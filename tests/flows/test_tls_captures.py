"""TLS in a capture: Wireshark reads it, two runs differ only in what TLS makes of chance, and Linux agrees.

    client (host1) ── docker0 ── flannel.1 ══ VXLAN ══ flannel.1 ── docker0 ── shop (host2)
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import certificates
import pytest
import yaml

from k8semu.capture.compare import compare_files
from k8semu.capture.difference import diff_exact
from k8semu.capture.pcapng_reader import PcapngReader
from k8semu.capture.reader import read_frames
from k8semu.capture.same import masked, same_bytes
from k8semu.scenario.load import load
from k8semu.scenario.run import run
from k8semu.scenario.verify import verify_scenario


def scenario(folder: Path, kind: str = "p256", size: int = 0, strangers: bool = True, **pod_network: Any) -> Path:
    """A client Pod that says hello to shop on another node, whose certificate is of `kind`; then without trust."""
    shop = certificates.certificate("shop.example", kind=kind)
    args = {"certificate": shop.pem, "key": shop.key, "size": size}
    trusting, stranger = ({"from": "client", "function": "tls_programs:call", "args": {
        "host": "172.17.1.2", "name": "shop.example", "ca": ca}} for ca in (certificates.authority(), ""))  # fmt: skip
    head = {
        "apiVersion": "k8semu/v1", "kind": "Scenario", "metadata": {"name": "tls"},
        "spec": {
            "nodes": [
                {"name": "host1", "address": "10.100.0.2/24", "podCIDR": "172.17.0.0/24"},
                {"name": "host2", "address": "10.100.0.3/24", "podCIDR": "172.17.1.0/24"},
            ],
            "podNetwork": pod_network,
            "steps": [
                {"name": "hello", "program": trusting, "expect": {"error": "", "contains": "you said GET /hello"}},
                *([{"name": "a stranger", "program": stranger,
                    "expect": {"error": "unable to get local issuer certificate"}}] if strangers else []),
            ],
        },
    }  # fmt: skip
    client = _pod("client", "host1", {"name": "client", "image": "busybox"}, {})
    annotations = {"k8semu/program": "tls_programs:serve", "k8semu/args": json.dumps(args)}
    server = _pod("shop", "host2", {"name": "shop", "image": "shop"}, annotations)
    path = folder / "tls.yaml"
    path.write_text(yaml.safe_dump_all([head, client, server]))
    return path


def _pod(name: str, node: str, container: dict[str, str], annotations: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations},
            "spec": {"nodeName": node, "containers": [container]}}  # fmt: skip


def captured(path: Path, out: Path, form: str = "pcapng") -> Path:
    result = run(load(str(path)), out, form=form)
    assert result.ok, [step.failures for step in result.steps] + result.crashes
    return Path(result.capture)


def tshark(*words: str | Path) -> list[str]:
    done = subprocess.run(["tshark", *map(str, words)], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


@pytest.mark.parametrize("backend", ["vxlan", "host-gw", "udp"])
@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_two_runs_are_the_same_bytes_but_for_tls(kind: str, backend: str, tmp_path: Path) -> None:
    file = scenario(tmp_path, kind, backend=backend)
    one, other = captured(file, tmp_path / "a"), captured(file, tmp_path / "b")
    assert one.read_bytes() != other.read_bytes()
    assert same_bytes(one, other)
    assert diff_exact(masked(read_frames(one)), masked(read_frames(other))) is None
    assert compare_files(one, other).same


def test_a_long_answer_is_the_same_records_too(tmp_path: Path) -> None:
    file = scenario(tmp_path, size=100_000)
    one, other = captured(file, tmp_path / "a"), captured(file, tmp_path / "b")
    assert same_bytes(one, other)
    assert compare_files(one, other).same


def test_whatever_else_differs_is_seen(tmp_path: Path) -> None:
    one = captured(scenario(tmp_path, "rsa"), tmp_path / "a")
    other = captured(scenario(tmp_path, "ed25519"), tmp_path / "b")        # other lengths
    assert not same_bytes(one, other)
    comparison = compare_files(one, other)
    assert not comparison.same
    assert any(field == "TLS record of 172.17.1.2:443" for row in comparison.differences for _, field, *_ in row.fields)
    data = bytearray(one.read_bytes())
    at = data.index(b"\x17\x03\x03")             # the type of a record's first frame
    for position in (at, at + 4, data.index(b"sent by")):
        changed = bytearray(data)
        changed[position] ^= 1
        other.write_bytes(changed)
        assert not same_bytes(one, other), position
    changed = bytearray(data)
    changed[at + 7] ^= 1                         # only that record's body: but now its checksum is wrong
    other.write_bytes(changed)
    assert not same_bytes(one, other)


@pytest.mark.tshark
def test_wireshark_decrypts_with_no_preference_set(tmp_path: Path) -> None:
    capture = captured(scenario(tmp_path), tmp_path)
    shown = ("-T", "fields", "-e", "frame.interface_name", "-e", "http.request.uri")
    assert tshark("-r", capture, "-Y", "http.request", *shown) == ["client/eth0\t/hello"]   # the others repeat it
    assert tshark("-r", capture, "-Y", "_ws.malformed || tcp.checksum.status==0", "-o", "tcp.check_checksum:TRUE") == []
    assert any("Unknown CA" in row for row in tshark("-r", capture, "-Y", "tls.alert_message", "-O", "tls"))


@pytest.mark.tshark
@pytest.mark.parametrize("interface", ["host1/docker0", "host1/eth0", "shop/eth0"])
def test_the_frames_of_one_interface_take_their_secrets_along(interface: str, tmp_path: Path) -> None:
    capture, alone = captured(scenario(tmp_path), tmp_path), tmp_path / "alone.pcapng"
    tshark("-r", capture, "-Y", f'frame.interface_name == "{interface}"', "-w", alone)
    inside = ("-d", "udp.port==8472,vxlan")
    assert len(tshark("-r", alone, *inside, "-Y", 'http.request.uri == "/hello"')) == 1


@pytest.mark.tshark
def test_classic_captures_have_their_secrets_beside_them(tmp_path: Path) -> None:
    folder = captured(scenario(tmp_path), tmp_path, "pcap")
    keys = f"tls.keylog_file:{folder / 'tls.keys'}"
    rows = tshark("-r", folder / "shop.eth0.pcap", "-o", keys, "-Y", 'http.request.uri == "/hello"')
    assert len(rows) == 1
    assert len(list(read_frames(folder))) > 50


def test_secrets_come_before_what_they_decrypt_and_tell_of_every_connection(tmp_path: Path) -> None:
    with captured(scenario(tmp_path), tmp_path).open("rb") as stream:
        reader = PcapngReader(stream, "tls.pcapng")
        for frame in reader:
            if b"\x14\x03\x03\x00\x01\x01\x17\x03\x03" in frame.data:     # what a side encrypts first
                assert b"SERVER_HANDSHAKE_TRAFFIC_SECRET" in reader.secrets
        connections = {line.split()[1] for line in reader.secrets.splitlines()}
    assert len(connections) == 2


def test_a_capture_without_tls_keeps_no_secrets(tmp_path: Path) -> None:
    capture = captured(Path("pod-same-node"), tmp_path)
    with capture.open("rb") as stream:
        reader = PcapngReader(stream, "x")
        list(reader)
    assert reader.secrets == b""


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_linux_sees_the_same_records(kind: str, tmp_path: Path) -> None:
    """But for a refused handshake, where both sides hang up at once: `verify ingress-tls` has those, run alone."""
    report = verify_scenario(load(str(scenario(tmp_path, kind, size=3000, strangers=False))))
    assert report.same, report.text
    assert report.equal > 50


def test_a_list_of_packets_names_the_records_in_them(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from k8semu.cli.explain_command import command

    shown = CliRunner().invoke(command, [str(scenario(tmp_path)), "--list"]).output
    for words in ("tls Client Hello (shop.example) 512", "tls Change Cipher Spec 1, Application Data 69",
                  "tls Application Data 74, Application Data 74", "tls Alert (fatal, unknown CA) 2"):  # fmt: skip
        assert words in shown
