"""`iptables-restore` on an emulated node takes and refuses what the real one does, in its words; and packets obey."""

from __future__ import annotations

import subprocess

import pytest

from k8semu.apps.shell.iptables_restore import read, refused
from k8semu.apps.shell.output import Output
from k8semu.cluster.cluster import Cluster
from k8semu.errors import CommandError
from k8semu.scenario.load import parse
from k8semu.scenario.run import Run
from k8semu.scenario.verify import verify_scenario

pytestmark = pytest.mark.kernel

TEXTS = [
    "*nat\n-A PREROUTING -m foo --bar 1 -j ACCEPT\nCOMMIT\n", "*nat\n-A PREROUTING -j ACCEPT\n",
    "*nat\n:POSTROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp --dport 80 -j\nCOMMIT\n", "*nat\n-A PRE",
    "*nat\n-A NOPE -j ACCEPT\nCOMMIT\n", "*foo\nCOMMIT\n", "garbage\n", "*nat\n-A PREROUTING -j NOPE\nCOMMIT\n",
    "*filter\n-A INPUT -p tcp --dport x -j DROP\nCOMMIT\n",
    "", "# nothing\n", "*filter\n:KUBE-A - [0:0]\n-A INPUT -j KUBE-A\nCOMMIT\n",
]  # fmt: skip
ARGS = [[], ["-n"], ["--noflush", "-c"], ["-t"], ["--nonsense"], ["/nofile"]]


def real(args: list[str], text: str) -> tuple[int, str]:
    done = subprocess.run(
        ["unshare", "-Urn", "iptables-restore", *args], input=text, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def emulated(args: list[str], text: str) -> tuple[int, str]:
    cluster = Cluster(1)
    try:
        cluster.add_netns("node")
        asked = read(args, text, {})
        said = asked.wrong or Output("")
        if asked.command is not None:
            cluster.tell("node", asked.command)
    except CommandError as error:
        said = refused(error.what)
    finally:
        cluster.close()
    return said.code, said.shown


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_taken_or_refused_in_the_same_words(text: str) -> None:
    assert emulated([], text) == real([], text)


@pytest.mark.parametrize("args", ARGS, ids=" ".join)
def test_its_options_are_the_same(args: list[str]) -> None:
    text = "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n"
    assert emulated(args, text) == real(args, text)


SCENARIO = """
apiVersion: k8semu/v1
kind: Scenario
spec:
  steps:
    - ping: {from: web, to: 10.100.0.3}
      expect: {received: 1}
    - exec:
        on: host2
        command: iptables-restore -n
        stdin: |
          *filter
          -A INPUT -s 10.100.0.2/32 -p icmp -m icmp --icmp-type 8 -j REJECT --reject-with icmp-host-prohibited
          COMMIT
          *nat
          -A POSTROUTING -m foo -j ACCEPT
          COMMIT
      expect: {code: 2, contains: ["Couldn't load match `foo'", "Error occurred at line: 5"]}
    - ping: {from: web, to: 10.100.0.3}
      expect: {received: 0}
    - exec: {on: host2, command: iptables-save -t filter}
      expect: {contains: -A INPUT -s 10.100.0.2/32 -p icmp}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {nodeName: host1, containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
"""


def test_packets_obey_rules_that_a_step_brings_in_both_worlds() -> None:
    loaded = parse(SCENARIO, "rules.yaml", "rules")
    this = Run(loaded)
    try:
        this.build()
        assert [step.failures for step in this.steps()] == [[], [], [], []]
    finally:
        this.close()
    report = verify_scenario(parse(SCENARIO, "rules.yaml", "rules"))
    assert report.same, report.text
