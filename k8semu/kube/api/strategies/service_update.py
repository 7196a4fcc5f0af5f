"""What an update of a Service need not say.

It keeps its addresses and ports, and loses those that its new type has not.

Each function changes a `spec` that is the caller's own.

Kubernetes: pkg/registry/core/service/storage/rest.go normalizeClusterIPs(), patchAllocatedValues(),
            pkg/registry/core/service/strategy.go dropTypeDependentFields()
"""

from __future__ import annotations

from k8semu.kube.api.strategies.base import JSON


def normalize(spec: JSON, old: JSON) -> None:
    """`clusterIP` and `clusterIPs` say the same; a client may know but the first."""
    same_ip = spec.get("clusterIP", "") == old.get("clusterIP", "")
    same_ips = (spec.get("clusterIPs") or []) == (old.get("clusterIPs") or [])
    if same_ip:
        if old.get("clusterIPs") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = old["clusterIPs"]
    elif old.get("clusterIP") and not spec.get("clusterIP"):
        if same_ips:
            spec.pop("clusterIPs", None)
    elif same_ips or not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def keep_allocated(spec: JSON, old: JSON) -> None:
    if _has_cluster_ip(old) and _has_cluster_ip(spec):
        if not spec.get("clusterIP"):
            spec["clusterIP"] = old.get("clusterIP", "")
        if not spec.get("clusterIPs") and spec["clusterIP"] == old.get("clusterIP", ""):
            spec["clusterIPs"] = old.get("clusterIPs", [])
    if _has_node_ports(old) and _has_node_ports(spec):
        _keep_node_ports(spec, old)
    if _has_health_check(old) and _has_health_check(spec) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = old.get("healthCheckNodePort", 0)


def _keep_node_ports(spec: JSON, old: JSON) -> None:
    """A port keeps its node port by its name, unless another port took that number over."""
    before = {port.get("name", ""): port.get("nodePort", 0) for port in old.get("ports") or []}
    said = {port.get("nodePort", 0) for port in spec.get("ports") or []}
    ports = []
    for port in spec.get("ports") or []:
        number = before.get(port.get("name", ""), 0)
        keep = not port.get("nodePort") and number and number not in said
        ports.append({**port, "nodePort": number} if keep else port)
    spec["ports"] = ports


def wipe_unneeded(spec: JSON, old: JSON) -> None:
    """Fields that the new type has not go, where the user has not touched them."""
    if _has_cluster_ip(old) and not _has_cluster_ip(spec):
        if (spec.get("clusterIPs") or []) == (old.get("clusterIPs") or []):
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
        _wipe(spec, old, "ipFamilies")
        _wipe(spec, old, "ipFamilyPolicy")
    if _has_node_ports(old) and not _has_node_ports(spec):
        held = [port.get("nodePort", 0) for port in old.get("ports") or []]
        said = [port.get("nodePort", 0) for port in spec.get("ports") or []]
        if held == said:
            spec["ports"] = [
                {key: value for key, value in port.items() if key != "nodePort"} for port in spec.get("ports") or []
            ]
    if _has_health_check(old) and not _has_health_check(spec):
        _wipe(spec, old, "healthCheckNodePort")
    if old.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        _wipe(spec, old, "allocateLoadBalancerNodePorts")
        _wipe(spec, old, "loadBalancerClass")
    if _has_external_policy(old) and not _has_external_policy(spec):
        _wipe(spec, old, "externalTrafficPolicy")


def _wipe(spec: JSON, old: JSON, key: str) -> None:
    if spec.get(key) == old.get(key):
        spec.pop(key, None)


def _has_cluster_ip(spec: JSON) -> bool:
    return spec.get("type") in ("ClusterIP", "NodePort", "LoadBalancer")


def _has_node_ports(spec: JSON) -> bool:
    return spec.get("type") == "NodePort" or (
        spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
    )


def _has_health_check(spec: JSON) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _has_external_policy(spec: JSON) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer") or bool(spec.get("externalIPs"))
