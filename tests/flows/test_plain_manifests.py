"""What who applies plain manifests meets: no scenario document, and a cluster as any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_calls import k8semu

WEB = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: host1, containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.20, selector: {app: APP}, ports: [{port: 80}]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my.yaml"


def test_a_node_has_a_default_route_and_calls_a_cluster_ip(file: Path) -> None:
    file.write_text(WEB + "---" + SERVICE.replace("APP", "web"))
    said = k8semu("exec", str(file), "host2", "--", "curl", "-s", "http://10.96.0.20/")
    assert (said.code, '"servedBy": "web"' in said.out) == (0, True)
    assert "default via 10.100.0.1 dev eth0" in k8semu("exec", str(file), "host1", "--", "ip", "route").out


def test_where_nobody_is_behind_a_service_a_pod_is_refused(file: Path) -> None:
    file.write_text(WEB + "---" + SERVICE.replace("APP", "nobody"))
    said = k8semu("exec", str(file), "web", "--", "curl", "-sv", "http://10.96.0.20/")
    assert said.code == 7
    assert "Connection refused" in said.err


def test_a_node_that_has_the_routers_address_keeps_it(file: Path) -> None:
    head = "apiVersion: k8semu/v1\nkind: Scenario\nspec:\n  nodes: [{name: one, address: 10.0.0.1/24}]\n"
    file.write_text(head + "---" + WEB.replace("host1", "one") + "---" + SERVICE.replace("APP", "web"))
    assert "default" not in k8semu("exec", str(file), "one", "--", "ip", "route").out
