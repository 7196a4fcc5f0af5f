"""Names that are not the cluster's: CoreDNS asks the name server of its node's resolv.conf."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_calls import k8semu, refused

FILE = """
apiVersion: k8semu/v1
kind: Scenario
spec:
  hosts: [{name: www, address: 203.0.113.80/24}, {name: dns, address: 203.0.113.53/24}]
  names: {www.example.com: 203.0.113.80}
  nameServer: SERVER
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: host1, containers: [{name: c, image: debian}]}
---
apiVersion: v1
kind: Pod
metadata: {name: plain}
spec: {nodeName: host1, dnsPolicy: Default, containers: [{name: c, image: debian}]}
---
apiVersion: v1
kind: Service
metadata: {name: ext}
spec: {type: ExternalName, externalName: www.example.com}
"""


@pytest.fixture(params=["router", "dns"])
def file(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    path = tmp_path / f"{request.param}.yaml"
    path.write_text(FILE.replace("SERVER", request.param))
    return str(path)


@pytest.mark.parametrize(
    ("machine", "command", "code", "printed"),
    [
        ("client", "getent hosts www.example.com", 0, "203.0.113.80    www.example.com\n"),
        ("client", "getent hosts nobody.example.com", 2, ""),
        ("client", "dig +short www.example.com", 0, "203.0.113.80\n"),
        ("client", "dig +short +tcp www.example.com", 0, "203.0.113.80\n"),
        ("client", "dig +short ext.default.svc.cluster.local", 0, "www.example.com.\n203.0.113.80\n"),
        ("plain", "dig +short www.example.com", 0, "203.0.113.80\n"),
        ("host2", "dig +short www.example.com", 0, "203.0.113.80\n"),
        ("www", "dig +short WWW.example.com", 0, "203.0.113.80\n"),
    ],
)
def test_a_name_outside_is_found(file: str, machine: str, command: str, code: int, printed: str) -> None:
    said = k8semu("exec", file, machine, "--", *command.split())
    assert (said.code, said.out) == (code, printed)


def test_its_answers_are_those_of_a_recursive_server_and_kept(file: str) -> None:
    said = k8semu("exec", file, "host1", "--", "dig", "+noall", "+comments", "+answer", "www.example.com").out
    assert "flags: qr rd ra;" in said
    assert "300\tIN\tA\t203.0.113.80" in said
    assert "status: NXDOMAIN" in k8semu("exec", file, "client", "--", "dig", "nobody.example.com").out
    assert "status: NOERROR" in k8semu("exec", file, "client", "--", "dig", "www.example.com", "AAAA").out
    nslookup = k8semu("exec", file, "client", "--", "nslookup", "nobody").out
    assert "server can't find nobody: NXDOMAIN" in nslookup


def test_the_nodes_resolv_conf_names_it_and_a_pods_names_the_cluster(file: str) -> None:
    server = "10.100.0.1" if "router" in file else "203.0.113.53"
    for machine, nameserver in (("host1", server), ("plain", server), ("client", "10.96.0.10")):
        assert f"nameserver {nameserver}\n" in k8semu("exec", file, machine, "--", "cat", "/etc/resolv.conf").out


def test_a_name_server_that_is_no_machine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(FILE.replace("SERVER", "nobody"))
    refused(k8semu("run", str(path)), "my.yaml:7", "spec.nameServer", "no node or host 'nobody'", "www, dns, router")
