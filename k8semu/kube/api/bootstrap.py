"""What the API server makes by itself: the Service `kubernetes`, by which Pods find it.

Kubernetes: pkg/controlplane/controller/kubernetesservice, pkg/controlplane/reconcilers
"""

from __future__ import annotations

import ipaddress
from typing import Any

from k8semu.kube.api.registry import Registry

JSON = dict[str, Any]
NAME = "kubernetes"


def service_of_api_server(cidr: str, port: int = 6443) -> JSON:
    """Its object: the first address of the range."""
    meta = {"name": NAME, "namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"}}
    ports = [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}]
    spec = {"clusterIP": str(ipaddress.ip_network(cidr)[1]), "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def publish_api_server(registry: Registry, cidr: str, addresses: list[str], port: int = 6443) -> JSON:
    """default/kubernetes: the first address of the range, and behind it the API servers' own addresses."""
    ports = [{"name": "https", "protocol": "TCP", "port": port}]
    service = registry.create("services", service_of_api_server(cidr, port))
    skip = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    registry.create("endpoints", {
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": NAME, "namespace": "default", "labels": skip},
        "subsets": [{"addresses": [{"ip": address} for address in addresses], "ports": ports}],
    })  # fmt: skip
    registry.create("endpointslices", {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": NAME, "namespace": "default", "labels": {"kubernetes.io/service-name": NAME}},
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": ports,
    })  # fmt: skip
    return service
