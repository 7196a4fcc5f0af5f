"""What a cluster has besides what its users ask for: cluster DNS, and a class for Ingresses.

Kubernetes: cmd/kubeadm/app/phases/addons/dns/manifests.go
Differs: one CoreDNS Pod unless more are asked for, so that small clusters stay easy to follow.
"""

from __future__ import annotations

import ipaddress
from typing import Any

NAMESPACE = "kube-system"
DNS_LABELS = {"k8s-app": "kube-dns"}
INGRESS_CLASSES = {
    "k8s.io/ingress-nginx": "nginx", "nginx.org/ingress-controller": "nginx",
    "traefik.io/ingress-controller": "traefik",
    "ingress-controllers.konghq.com/kong": "kong", "haproxy-ingress.github.io/controller": "haproxy",
    "haproxy.org/ingress-controller/haproxy": "haproxy",
}  # fmt: skip
"""The usual name of the class of a controller."""
COREDNS = "registry.k8s.io/coredns/coredns:v1.14.7"


def own_labels(node: str) -> dict[str, str]:
    """What every kubelet says of its node. Kubernetes: pkg/kubelet/kubelet_node_status.go initialNode()"""
    return {"kubernetes.io/hostname": node, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}


def dns_address(service_cidr: str) -> str:
    """The tenth address of the range of ClusterIPs: 10.96.0.10. Kubernetes: kubeadm constants.GetDNSIP()."""
    return str(ipaddress.ip_network(service_cidr)[10])


def api_address(service_cidr: str) -> str:
    """The first address of the range: 10.96.0.1. Kubernetes: pkg/controlplane/instance.go"""
    return str(ipaddress.ip_network(service_cidr)[1])


def kube_dns(service_cidr: str) -> dict[str, Any]:
    """The Service by which Pods reach DNS."""
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
        {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153},
    ]
    return {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": NAMESPACE, "labels": DNS_LABELS},
        "spec": {"clusterIP": dns_address(service_cidr), "selector": DNS_LABELS, "ports": ports},
    }  # fmt: skip


def ingress_class(controller: str) -> dict[str, Any]:
    """The class that an Ingress controller's installation brings, here also for Ingresses that name none."""
    name = INGRESS_CLASSES.get(controller) or controller.partition(".")[0]
    default = {"ingressclass.kubernetes.io/is-default-class": "true"}
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {"name": name, "annotations": default}, "spec": {"controller": controller},
    }  # fmt: skip


def coredns(replicas: int) -> dict[str, Any]:
    """The Pods that answer."""
    container = {
        "name": "coredns", "image": COREDNS, "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
            {"name": "metrics", "containerPort": 9153, "protocol": "TCP"},
        ],
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": NAMESPACE, "labels": DNS_LABELS},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": DNS_LABELS},
            "template": {
                "metadata": {"labels": DNS_LABELS},
                "spec": {"dnsPolicy": "Default", "containers": [container]},
            },
        },
    }  # fmt: skip
