"""A run whose control plane is on the wire, as it is handed to a kernel: without what only the emulator can run."""

from __future__ import annotations

import pytest

from k8semu.capture.frame import Frame
from k8semu.cluster.journal import Feed, Start, Tell
from k8semu.errors import NotVerifiableError
from k8semu.linux.core.commands import IptablesRestore
from k8semu.scenario.load import load, parse
from k8semu.scenario.run import Run
from k8semu.scenario.verify import _control_plane, verify_scenario

MASTER, NODE = bytes((10, 100, 0, 10)), bytes((10, 100, 0, 2))


def test_what_the_components_did_is_told_and_they_do_not_run_themselves() -> None:
    run = Run(load("service-discovery"))
    run.cluster.compared = True
    try:
        run.build()
        run.steps()
    finally:
        run.close()
    entries = run.cluster.journal.entries
    started = {entry.pid: entry.program for entry in entries if isinstance(entry, Start)}
    assert not any(program.function.startswith("k8semu.cluster.wire:") for program in started.values())
    dns = next(pid for pid in started if "coredns" in pid)
    assert "api" not in started[dns].args
    fed = [entry.message for entry in entries if isinstance(entry, Feed) and entry.pid == dns]
    assert any(m["type"] == "ADDED" and m["object"]["metadata"]["name"] == "account-service" for m in fed)
    told = {entry.netns for entry in entries if isinstance(entry, Tell) and isinstance(entry.command, IptablesRestore)}
    assert {"host1", "host2"} <= told


def test_a_kubectl_that_asks_such_an_api_server_cannot_be_compared() -> None:
    waits = "    - name: a moment\n      wait: 100ms\n"
    text = load("service-discovery").text.replace(waits, "    - kubectl: {from: host1, command: get pods}\n")
    with pytest.raises(NotVerifiableError, match="kubectl"):
        verify_scenario(parse(text, "mine.yaml", "mine"))


def _tcp(source: bytes, sport: int, target: bytes, dport: int, proto: int = 6) -> Frame:
    ports = sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
    ip = bytes((0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, proto, 0, 0)) + source + target
    return Frame(0, "host1/eth0", 1, bytes(12) + b"\x08\x00" + ip + ports + bytes(16))


def test_only_connections_to_the_api_server_and_arp_about_it_are_left_out() -> None:
    aside = _control_plane("10.100.0.10")
    assert aside(_tcp(NODE, 40000, MASTER, 6443))
    assert aside(_tcp(MASTER, 6443, NODE, 40000))
    assert not aside(_tcp(NODE, 40000, MASTER, 80))
    assert not aside(_tcp(NODE, 6443, MASTER, 40000))
    assert not aside(_tcp(NODE, 40000, MASTER, 6443, proto=17))
    assert not aside(Frame(0, "host1/eth0", 1, bytes(12) + b"\x08\x00" + bytes(12)))
    for sender, target, about in ((NODE, MASTER, True), (MASTER, NODE, True), (NODE, NODE, False)):
        arp = bytes(12) + b"\x08\x06" + bytes(8) + bytes(6) + sender + bytes(6) + target
        assert aside(Frame(0, "host1/eth0", 1, arp)) is about
