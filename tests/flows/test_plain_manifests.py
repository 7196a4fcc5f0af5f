"""What who applies plain manifests meets: no scenario document, and a cluster as any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_calls import k8semu, refused

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


@pytest.mark.parametrize(
    ("address", "command", "owner"),
    [("10.96.0.10", "ip addr", "kube-dns"), ("10.96.0.1", "kubectl get svc", "kubernetes")],
)
def test_a_service_with_an_address_of_the_clusters_own_is_refused(
    file: Path, address: str, command: str, owner: str
) -> None:
    file.write_text(WEB + "---" + SERVICE.replace("10.96.0.20", address))
    said = k8semu("exec", str(file), "host1", "--", *command.split())
    refused(said, "my.yaml:10", "spec.clusterIP", "provided IP is already allocated", f"Service {owner} has it")


# --- the API server -----------------------------------------------------------------------------


def kubectl(file: Path, *words: str) -> list[list[str]]:
    said = k8semu("exec", str(file), "host1", "--", "kubectl", *words)
    assert said.code == 0, said.err
    return [line.split() for line in said.out.splitlines()]


def test_kubectl_shows_the_api_servers_service_the_endpoints_and_the_version_of_nodes(file: Path) -> None:
    file.write_text(WEB + "---" + SERVICE.replace("APP", "web"))
    assert [row[:3] for row in kubectl(file, "get", "svc")[1:]] == [
        ["kubernetes", "ClusterIP", "10.96.0.1"], ["web", "ClusterIP", "10.96.0.20"],
    ]  # fmt: skip
    assert [row[:2] for row in kubectl(file, "get", "ep")[1:]] == [
        ["kubernetes", "10.100.0.10:6443"], ["web", "172.17.0.2:80"],
    ]  # fmt: skip
    assert {row[4] for row in kubectl(file, "get", "nodes")[1:]} == {"v1.34.0"}


def test_kubectl_writes_yaml_as_go_does(file: Path) -> None:
    file.write_text(WEB + "---" + SERVICE.replace("APP", '"80"'))
    said = k8semu("exec", str(file), "host1", "--", "kubectl", "get", "svc", "web", "-o", "yaml").out
    assert "last-applied-configuration: |\n      {" in said
    assert 'creationTimestamp: "2026-01-01T00:00:00Z"' in said
    assert 'app: "80"' in said


@pytest.mark.parametrize(
    ("machine", "url"),
    [("host2", "http://master:6443"), ("host1", "http://10.100.0.10:6443"), ("web", "http://10.100.0.10:6443")],
)
def test_curl_asks_the_api_server_by_its_port(file: Path, machine: str, url: str) -> None:
    file.write_text(WEB + "---" + SERVICE.replace("APP", "web"))
    said = k8semu("exec", str(file), machine, "--", "curl", "-s", f"{url}/api/v1/namespaces/default/services/web")
    assert '"clusterIP":"10.96.0.20"' in said.out


# --- namespaces ---------------------------------------------------------------------------------


def test_a_namespace_that_no_manifest_makes_comes_with_its_first_object_and_is_told(file: Path) -> None:
    file.write_text(WEB.replace("name: web,", "name: web, namespace: prod,"))
    told = k8semu("run", str(file), "-o", str(file.parent))
    assert (told.code, "Namespace prod   made by itself: no manifest makes it" in told.out) == (0, True)
    assert "prod " in k8semu("exec", str(file), "host1", "--", "kubectl", "get", "ns").out


def test_a_namespace_is_what_its_manifest_says_and_takes_its_objects_along(file: Path) -> None:
    space = "apiVersion: v1\nkind: Namespace\nmetadata: {name: prod, labels: {tier: web}}\n"
    head = "apiVersion: k8semu/v1\nkind: Scenario\nspec:\n  steps:\n"
    steps = "    - delete: {object: namespace/prod}\n      expect: {stopped: [web]}\n"
    file.write_text("---".join([space, WEB.replace("name: web,", "name: web, namespace: prod,")]))
    told = k8semu("run", str(file), "-o", str(file.parent))
    assert "made by itself" not in told.out
    assert "tier=web" in k8semu("exec", str(file), "host1", "--", "kubectl", "get", "ns", "--show-labels").out
    file.write_text(f"{head}{steps}---\n{file.read_text()}")
    assert k8semu("run", str(file), "-o", str(file.parent)).code == 0


# --- nodes --------------------------------------------------------------------------------------

HEALTHZ = '{exec: {on: host1, command: "curl -si http://10.100.0.3:10256/healthz"}, expect: {code: 0, contains: "%s"}}'
NODE = "{apply: [{apiVersion: v1, kind: Node, metadata: {name: host2}, spec: {taints: [%s]}}]}"
LIVEZ = HEALTHZ.replace("healthz", "livez") % "200 OK"
TO_BE_DELETED = 'key: ToBeDeletedByClusterAutoscaler, value: \\"1\\", effect: NoSchedule'.replace("\\", "")


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables", "userspace"])
def test_a_node_that_is_about_to_go_tells_load_balancers_so(file: Path, mode: str) -> None:
    steps = [HEALTHZ % "200 OK", NODE % f"{{{TO_BE_DELETED}}}", HEALTHZ % "503 Service Unavailable", LIVEZ, NODE % "",
             HEALTHZ % "200 OK"]  # fmt: skip
    head = f"apiVersion: k8semu/v1\nkind: Scenario\nspec:\n  services: {{proxyMode: {mode}}}\n  steps:\n"
    file.write_text(head + "".join(f"    - {step}\n" for step in steps) + "---" + WEB + "---" + SERVICE)
    said = k8semu("run", str(file), "-o", str(file.parent))
    assert said.code == 0, said.out
    assert '"nodeEligible": false' in said.out


def test_on_the_wire_kube_proxy_hears_of_its_node_by_a_watch(file: Path) -> None:
    wait = "{wait: 1}"
    steps = [wait, HEALTHZ % "200 OK", NODE % f"{{{TO_BE_DELETED}}}", wait, HEALTHZ % "503 Service Unavailable",
             NODE % "", wait, HEALTHZ % "200 OK"]  # fmt: skip
    head = "apiVersion: k8semu/v1\nkind: Scenario\nspec:\n  controlPlane: wire\n  steps:\n"
    file.write_text(head + "".join(f"    - {step}\n" for step in steps) + "---" + WEB + "---" + SERVICE)
    said = k8semu("run", str(file), "-o", str(file.parent))
    assert said.code == 0, said.out


def test_the_taints_of_a_node_say_which_pods_come_and_which_leave(file: Path) -> None:
    workload = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\nspec:\n  replicas: 2\n"
        "  selector: {matchLabels: {app: app}}\n  template: {metadata: {labels: {app: app}}, "
        "spec: {containers: [{name: c, image: nginx}]}}\n"
    )
    tainted = "apiVersion: v1\nkind: Node\nmetadata: {name: host1}\nspec: {taints: [{key: a, effect: NoSchedule}]}\n"
    two = "apiVersion: v1\nkind: Node\nmetadata: {name: host2}\n"
    steps = [NODE.replace("host2", "host1") % "", NODE % "{key: b, effect: NoExecute}"]
    head = "apiVersion: k8semu/v1\nkind: Scenario\nspec:\n  steps:\n    - " + "\n    - ".join(steps) + "\n"
    file.write_text("---\n".join([workload, tainted, two]))
    assert k8semu("exec", str(file), "host1", "--", "docker", "ps").out.count("/pause") == 0
    file.write_text("---\n".join([head, workload, tainted, two]))
    assert k8semu("exec", str(file), "host1", "--", "docker", "ps").out.count("/pause") == 2


def test_a_node_that_is_no_machine_cannot_be_applied(file: Path) -> None:
    steps = NODE.replace("host2", "host9") % ""
    file.write_text(f"apiVersion: k8semu/v1\nkind: Scenario\nspec:\n  steps:\n    - {steps}\n")
    refused(k8semu("run", str(file)), "my.yaml:5", "spec.steps[0].apply[0].metadata.name", "no node 'host9'")
