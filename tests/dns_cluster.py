"""A small cluster for questions about names.

    default/account-service   10.96.0.20   http 80, admin 8081       172.17.0.3, 172.17.1.3
    default/db                headless     mysql 3306                db-0 172.17.0.5, db-1 172.17.1.5
    default/outside           ExternalName www.example.org
    default/alias             ExternalName account-service.default.svc.cluster.local
    default/bare              10.96.0.30   no ports
    default/empty             headless     no endpoints
    kube-system/kube-dns      10.96.0.10   dns 53/UDP, dns-tcp 53    172.17.0.2
"""

from __future__ import annotations

from typing import Any


def service(name: str, ip: str, ports: list[tuple[str, int, str]], namespace: str = "default") -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "clusterIP": ip, "clusterIPs": [ip],
            "ports": [{"name": n, "port": port, "protocol": proto} for n, port, proto in ports],
        },
    }  # fmt: skip


def external(name: str, target: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": "ExternalName", "externalName": target},
    }  # fmt: skip


def endpoint_slice(
    name: str, of: str, endpoints: list[dict[str, Any]], ports: list[tuple[str, int, str]], namespace: str = "default"
) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": of}},
        "endpoints": endpoints, "ports": [{"name": n, "port": port, "protocol": proto} for n, port, proto in ports],
    }  # fmt: skip


def endpoint(ip: str, hostname: str = "", ready: bool | None = True, pod: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"addresses": [ip], "conditions": {} if ready is None else {"ready": ready}}
    if hostname:
        made["hostname"] = hostname
    if pod:
        made["targetRef"] = {"kind": "Pod", "name": pod, "namespace": "default"}
    return made


HTTP, MYSQL = ("http", 80, "TCP"), ("mysql", 3306, "TCP")
DNS = [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP")]


def objects() -> list[dict[str, Any]]:
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "quiet"}},
        service("account-service", "10.96.0.20", [HTTP, ("admin", 8081, "TCP")]),
        endpoint_slice(
            "account-service-a", "account-service", [endpoint("172.17.0.3", pod="account-1"), endpoint("172.17.1.3")],
            [("http", 8080, "TCP"), ("admin", 8081, "TCP")],
        ),
        service("db", "None", [MYSQL]),
        endpoint_slice(
            "db-a", "db",
            [
                endpoint("172.17.0.5", "db-0"), endpoint("172.17.1.5", "db-1", None),
                endpoint("172.17.1.6", "db-2", False),
            ],
            [MYSQL],
        ),
        external("outside", "www.example.org"),
        external("alias", "account-service.default.svc.cluster.local"),
        service("bare", "10.96.0.30", []),
        service("empty", "None", [HTTP]),
        endpoint_slice("empty-a", "empty", [], []),
        service("kube-dns", "10.96.0.10", DNS, "kube-system"),
        endpoint_slice("kube-dns-a", "kube-dns", [endpoint("172.17.0.2")], DNS, "kube-system"),
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "account-1", "namespace": "default"},
            "spec": {"containers": []}, "status": {"podIP": "172.17.0.3"},
        },
    ]  # fmt: skip


def events() -> list[dict[str, Any]]:
    """The whole list, as a watch tells it."""
    return [*({"type": "ADDED", "object": thing} for thing in objects()), {"type": "BOOKMARK"}]
