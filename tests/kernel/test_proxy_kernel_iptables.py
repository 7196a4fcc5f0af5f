"""The kernel takes kube-proxy's rules, and iptables-save prints them as the emulated node does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/kube/proxy"))

from proxy_cases import CASES, large
from proxy_objects import endpoints, service
from proxy_rules import Node, UserspaceNode

from k8semu.kube.proxy.model import ProxyState
from k8semu.linux.core.commands import Command, Iptables, IptablesRestore

pytestmark = pytest.mark.kernel

SAVE = "iptables-save | grep -v '^#'; echo ==="


def kernel(commands: list[Command | str]) -> list[list[str]]:
    """What `iptables-save` prints at each SAVE, in a network namespace of its own."""
    script = "set -e\n" + "\n".join(str(command) for command in commands)
    run = subprocess.run(
        ["unshare", "-nm", "bash"], input=script, capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return [part.strip("\n").split("\n") for part in run.stdout.split("===\n")[:-1]]


def follow(states: list[ProxyState]) -> None:
    """A node that goes through `states` has the same rules after each, emulated and real."""
    node = Node()
    commands: list[Command | str] = list(node.told)
    emulated = []
    for state in states:
        commands += [c for c in node.sync(state) if isinstance(c, (Iptables, IptablesRestore))]
        commands.append(SAVE)
        emulated.append(node.save())
    assert emulated == kernel(commands)


@pytest.mark.parametrize("name", ["nothing", "external-local", "affinity", "no-endpoints", "udp-sctp", "source-ranges"])
def test_a_node_that_starts_with_these_services_has_the_same_rules(name: str) -> None:
    follow([CASES[name]])


def test_a_node_that_goes_from_case_to_case_has_the_same_rules_after_each() -> None:
    follow(list(CASES.values()))


def test_a_large_cluster_is_the_same() -> None:
    follow([large(3, 400), large(2, 600), large(3, 10)])


def test_rules_that_a_real_node_saved_are_restored_as_they_were() -> None:
    node = Node(CASES["external-local"])
    (real,) = kernel([*node.told[:0], f"iptables-restore <<'EOF'\n{node.netfilter.save()}EOF", SAVE])
    assert real == node.save()


def test_the_rules_of_userspace_mode_are_the_same() -> None:
    node = UserspaceNode()
    commands: list[Command | str] = []
    emulated = []
    web = service(
        "web", ["80@30080", "dns:53/UDP@30053"], type="NodePort", externalIPs=["192.0.2.7"],
        status=[{"ip": "198.51.100.1"}],
    )  # fmt: skip
    for services in ([web], [service("web")], []):
        node.sync(services, [endpoints("172.17.0.2")])
        commands += [*node.told, "iptables-save | grep '^-A'; echo ==="]
        emulated.append(node.save())
    assert emulated == kernel(commands)
