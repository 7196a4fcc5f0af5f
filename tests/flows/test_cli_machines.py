"""`k8semu exec`: a command on a machine of a scenario. Its formats are held to the real ones in tests/kernel."""

from __future__ import annotations

import re

import pytest
from cli_calls import k8semu, refused

HERE = "pod-same-node"


def test_the_output_is_that_of_the_command_and_nothing_else() -> None:
    said = k8semu("exec", HERE, "client", "--", "ip", "-br", "addr", "show", "eth0")
    assert (said.code, said.out.split(), said.err) == (0, ["eth0@if4", "UP", "172.17.0.2/24"], "")


def test_the_two_dashes_may_be_left_out_and_options_belong_to_the_command() -> None:
    assert k8semu("exec", HERE, "host1", "ip", "-4", "route").out.startswith("10.100.0.0/24 dev eth0")


def test_the_steps_have_been_taken_before() -> None:
    asked = k8semu("exec", HERE, "client", "--", "ip", "n", "show", "dev", "eth0")
    assert "172.17.0.3 lladdr 02:42:ac:11:00:03" in asked.out
    assert "dport=80" in k8semu("exec", HERE, "host1", "--", "conntrack", "-L", "-p", "tcp").out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("ip addr", 0), ("ip link show nosuch", 1), ("ip foo bar", 1), ("ip addr foo", 255), ("iptables -S NOSUCH", 1),
        ("ping -c 1 172.17.0.3", 0), ("ping -c 1 -W 1 172.17.0.99", 1), ("curl -s http://172.17.0.3/", 0),
        ("curl -s http://172.17.0.3:81/", 7), ("nosuch", 127), ("/usr/sbin/nosuch -x", 127),
        ("cat /etc/nosuch", 1), ("sysctl net.nosuch", 1),
    ],
)  # fmt: skip
def test_the_exit_status_is_that_of_the_command(words: str, code: int) -> None:
    said = k8semu("exec", HERE, "client", "--", *words.split())
    assert said.code == code
    assert "Traceback" not in said.err


def test_an_unknown_command_is_told_as_a_shell_tells_it() -> None:
    said = k8semu("exec", HERE, "client", "--", "nosuch")
    assert (said.code, said.out, said.err) == (127, "", "sh: nosuch: not found\n")


def test_a_command_in_one_word_is_told_how_it_would_be_right() -> None:
    said = k8semu("exec", "node-network", "host1", "--", "curl http://10.100.0.3/ | head -1")
    assert (said.code, said.out) == (127, "")
    assert "'curl http://10.100.0.3/ | head -1': not found (the words of a command without quotes" in said.err


@pytest.mark.parametrize(("words", "step"), [("delete pod web", "delete"), ("run x --image=nginx", "apply")])
def test_a_kubectl_that_would_change_the_cluster_names_the_step_that_does(words: str, step: str) -> None:
    said = k8semu("exec", "node-network", "host1", "--", "kubectl", *words.split())
    assert (said.code, said.out) == (1, "")
    assert said.err.endswith(f"is not modelled: what changes the cluster is a scenario's step, `{step}`\n")


def test_there_is_no_docker_in_a_pod() -> None:
    assert k8semu("exec", HERE, "client", "--", "docker", "ps").code == 127
    assert "/pause" in k8semu("exec", HERE, "host1", "--", "docker", "ps").out


def test_errors_of_the_command_are_on_standard_error() -> None:
    said = k8semu("exec", HERE, "host1", "--", "conntrack", "-L", "-p", "tcp")
    assert "flow entries have been shown" in said.err
    assert "flow entries" not in said.out


def test_an_unknown_machine_is_an_error_that_names_those_there_are() -> None:
    refused(k8semu("exec", HERE, "host9", "--", "ip", "addr"), "'host9'", "host1", "client", "web")


def test_a_command_line_without_a_command_is_an_error() -> None:
    refused(k8semu("exec", HERE, "host1"), "CMD", "k8semu exec --help")
    refused(k8semu("exec", HERE, "host1", "--"), "CMD")
    refused(k8semu("exec", "nosuch", "host1", "--", "ip"), "no scenario 'nosuch'")


def test_a_node_shows_whom_session_affinity_remembers() -> None:
    rules = k8semu("exec", "session-affinity", "host1", "--", "iptables-save", "-t", "nat").out
    lists = sorted(set(re.findall(r"--rcheck --seconds 5 --reap --name (\S+)", rules)))
    assert len(lists) == 3
    shown = [k8semu("exec", "session-affinity", "host1", "--", "cat", f"/proc/net/xt_recent/{name}") for name in lists]
    assert all(said.code == 0 for said in shown)
    rows = "".join(said.out for said in shown)
    assert re.search(r"^src=172\.17\.0\.2 ttl: 64 last_seen: (\d+) oldest_pkt: \d+ .*\1$", rows, re.MULTILINE)


def test_a_machine_tells_its_addresses() -> None:
    assert k8semu("exec", "pod-same-node", "web", "--", "hostname", "-i").out == "172.17.0.3\n"
    assert k8semu("exec", "pod-same-node", "host1", "--", "hostname", "-I").out == "10.100.0.2 172.17.0.1 \n"


def test_kube_proxy_is_on_a_node_before_its_pods() -> None:
    """What a Pod's hostPort puts first in POSTROUTING stands before kube-proxy's chain, as on a node that is up."""
    said = k8semu("exec", "ingress-host-path", "host1", "--", "iptables-save", "-t", "nat")
    chains = [row.split()[-1] for row in said.out.splitlines() if row.startswith("-A POSTROUTING ")]
    assert chains == ["CNI-HOSTPORT-MASQ", "KUBE-POSTROUTING", "FLANNEL-POSTRTG"]
    entries = [row.split()[-1] for row in said.out.splitlines() if row.startswith("-A PREROUTING ")]
    assert entries == ["KUBE-SERVICES", "CNI-HOSTPORT-DNAT"]


def test_a_shell_runs_commands_one_after_the_other_and_says_what_it_does_not_do() -> None:
    def sh(line: str) -> tuple[int, str, str]:
        said = k8semu("exec", HERE, "web", "--", "sh", "-c", line)
        return said.code, said.out, said.err

    rows = sh("hostname -i; ping -c 1 172.17.0.2 && echo 'a  b' c || echo no")[1].splitlines()
    assert (rows[0], rows[1][:4], rows[-1]) == ("172.17.0.3", "PING", "a  b c")
    assert sh("false && echo no || echo yes") == (0, "yes\n", "")
    assert sh("nosuch; true") == (0, "", "sh: nosuch: not found\n")
    assert sh("") == (0, "", "")
    for line, what in (("ip addr | grep inet", "|"), ("echo $?", "$?"), ("A=1 true", "A=1"), ("echo `id`", "`")):
        assert sh(line) == (2, "", f"sh: {what} is not modelled\n")
    assert sh("echo $HOME '$HOME'") == (0, "/root $HOME\n", "")
    assert k8semu("exec", HERE, "web", "--", "sh").err.startswith("sh: there is nobody to type")
