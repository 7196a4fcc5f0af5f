"""The script that builds a journal's cluster, as a person reads it and as bash does."""

from __future__ import annotations

import shutil
import subprocess

import lab_journal
import pytest

from k8semu.cluster.journal import Call, Exec, NetnsAdd, Program, Step, Stop, Tell, Wait
from k8semu.lab.script import export, told
from k8semu.linux.core import commands as c


def test_each_command_says_in_which_namespace() -> None:
    assert told("host1", c.AddrAdd(dev="eth0", address="10.0.0.1/24")) == [
        "ip -n host1 addr add 10.0.0.1/24 brd + dev eth0"
    ]
    entry = c.FdbAdd(dev="vx", mac="02:00:00:00:00:01", dst="10.0.0.2")
    assert told("host1", entry)[0].startswith("bridge -n host1 fdb")
    assert told("host1", c.Sysctl(name="net.ipv4.ip_forward", value=1)) == [
        "ip netns exec host1 sysctl -qw net.ipv4.ip_forward=1"
    ]


def test_rules_are_a_here_document() -> None:
    (text,) = told("n", c.IptablesRestore(text="*filter\nCOMMIT\n"))
    assert text == "ip netns exec n iptables-restore --noflush -w <<'EOF'\n*filter\nCOMMIT\nEOF"


def test_who_asked_for_a_line_stands_above_it_once() -> None:
    origin = "Node host2"
    route = c.RouteAdd(dst="10.2.0.0/24", via="10.0.0.2", origin=origin)
    entries = [NetnsAdd(netns="n"), Tell(netns="n", command=route), Tell(netns="n", command=route)]
    assert export(entries).count("# Node host2\n") == 1


def test_steps_are_things_to_try() -> None:
    ping = Program(function="k8semu.apps.ping:ping", args={"host": "172.17.1.2", "count": 2})
    text = export([
        Step(number=1, name="is it\nthere?"), Call(netns="client", program=ping), Wait(seconds=1.5),
        Exec(netns="host1", argv=("bridge", "fdb", "show")), Stop(netns="client", pid="default/client/main"),
    ])  # fmt: skip
    assert "# === step 1: is it there?\n" in text
    assert "#   ip netns exec client ping -c 2 -s 56 172.17.1.2\n" in text
    assert "#   ip netns exec host1 bridge fdb show\n" in text
    head = [line for line in text.splitlines() if not line.startswith("#") and line]
    assert head[0] == "set -e"
    assert head[1].endswith("|| mount -t tmpfs tmpfs /run")
    assert len(head) == 2


def test_the_head_says_how_to_take_it_down() -> None:
    assert "for ns in underlay host1 host2 client near far dead; do ip netns del" in export(lab_journal.journal())


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_can_read_it() -> None:
    script = export(lab_journal.journal())
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
