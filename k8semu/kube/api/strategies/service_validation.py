"""What is refused of a Service.

Kubernetes: pkg/apis/core/validation/validation.go ValidateService(), ValidateServiceUpdate(),
            ValidateServiceClusterIPsRelatedFields(), ValidateServiceStatusUpdate()
"""

from __future__ import annotations

from k8semu.kube.api import names
from k8semu.kube.api.field import (
    Errors,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from k8semu.kube.api.strategies.base import JSON

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
POLICIES = ("Cluster", "Local")
DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
ONE_DAY = 86_400
NO_PORT = {"Name": "", "Protocol": "", "AppProtocol": None, "Port": 0, "TargetPort": 0, "NodePort": 0}
"""A ServicePort as the API server's own type prints it."""


def validate_service(obj: JSON) -> Errors:
    spec = obj["spec"]
    kind, headless = spec["type"], is_headless(spec)
    errors: Errors = []
    if not spec.get("ports") and not headless and kind != "ExternalName":
        errors.append(required("spec.ports"))
    if kind in ("LoadBalancer", "NodePort") and headless:
        errors.append(invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"))
    if kind == "ExternalName":
        errors += _external_name(spec)
    errors += _ports(spec)
    errors += names.validate_labels("spec.selector", spec.get("selector") or {})
    errors += _affinity(spec)
    errors += family_errors(spec)
    for i, address in enumerate(spec.get("externalIPs") or []):
        path = f"spec.externalIPs[{i}]"
        errors += names.ip_address(path, address) or names.non_special_ip(path, address)
    if kind not in TYPES:
        errors.append(not_supported("spec.type", kind, TYPES))
    errors += _node_ports(spec) + _port_clashes(spec)
    return errors + _load_balancer(obj) + _policies(spec)


def is_headless(spec: JSON) -> bool:
    return bool(spec.get("clusterIPs") == ["None"])


def _external_name(spec: JSON) -> Errors:
    errors: Errors = []
    for key in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(key):
            errors.append(forbidden(f"spec.{key}", "may not be set for ExternalName services"))
    name = (spec.get("externalName") or "").removesuffix(".")
    if not name:
        return [*errors, required("spec.externalName")]
    return errors + [invalid("spec.externalName", name, said) for said in names.dns_subdomain(name)]


def _ports(spec: JSON) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    ports = spec.get("ports") or []
    for i, port in enumerate(ports):
        path, name = f"spec.ports[{i}]", port.get("name") or ""
        if not name and len(ports) > 1:
            errors.append(required(f"{path}.name"))
        elif name:
            errors += [invalid(f"{path}.name", name, said) for said in names.dns_label(name)]
            if name in seen:
                errors.append(duplicate(f"{path}.name", name))
            seen.add(name)
        errors += names.port_number(f"{path}.port", port.get("port", 0))
        if port["protocol"] not in PROTOCOLS:
            errors.append(not_supported(f"{path}.protocol", port["protocol"], PROTOCOLS))
        errors += names.port_number_or_name(f"{path}.targetPort", port["targetPort"])
        if port.get("appProtocol") is not None:
            app = port["appProtocol"]
            errors += [invalid(f"{path}.appProtocol", app, said) for said in names.qualified_name(app)]
    return errors


def _affinity(spec: JSON) -> Errors:
    affinity = spec["sessionAffinity"]
    if affinity not in ("ClientIP", "None"):
        return [not_supported("spec.sessionAffinity", affinity, ("ClientIP", "None"))]
    if affinity == "None":
        return []
    seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"]
    if 0 < seconds <= ONE_DAY:
        return []
    path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
    return [invalid(path, seconds, f"must be greater than 0 and less than {ONE_DAY}")]


def family_errors(spec: JSON) -> Errors:
    """`clusterIP`, `clusterIPs` and `ipFamilies` against each other."""
    if spec["type"] == "ExternalName":
        return []
    first, addresses = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    errors: Errors = []
    if first and not addresses:
        errors.append(required("spec.clusterIPs"))
    elif first and addresses[0] != first:
        errors.append(invalid("spec.clusterIPs", addresses, "first value must match `clusterIP`"))
    elif not first and addresses:
        errors.append(invalid("spec.clusterIPs", addresses, "must be empty when `clusterIP` is not specified"))
    families = spec.get("ipFamilies") or []
    for i, family in enumerate(families):
        if family not in ("IPv4", "IPv6"):
            errors.append(not_supported(f"spec.ipFamilies[{i}]", family, ("IPv4", "IPv6")))
        if family in families[:i]:
            errors.append(duplicate(f"spec.ipFamilies[{i}]", family))
    policy, policies = spec.get("ipFamilyPolicy"), ("PreferDualStack", "RequireDualStack", "SingleStack")
    if policy is not None and policy not in policies:
        errors.append(not_supported("spec.ipFamilyPolicy", policy, policies))
    wrong = _bad_addresses(addresses)
    return errors + (wrong or _unfit_addresses(addresses, families))


def _bad_addresses(addresses: list[str]) -> Errors:
    errors: Errors = []
    for i, address in enumerate(addresses):
        if i == 0 and address == "None":
            if len(addresses) > 1:
                errors.append(invalid("spec.clusterIPs", addresses, "'None' must be the first and only value"))
            continue
        errors += names.ip_address(f"spec.clusterIPs[{i}]", address)
    return errors


def _unfit_addresses(addresses: list[str], families: list[str]) -> Errors:
    errors: Errors = []
    if len(addresses) > 2:
        errors.append(invalid("spec.clusterIPs", addresses, "may only hold up to 2 values"))
    if len(addresses) > 1 and len({":" in address for address in addresses}) < len(addresses):
        said = "may specify no more than one IP for each IP family"
        errors.append(invalid("spec.clusterIPs", addresses, said))
    if addresses[:1] != ["None"]:
        for i, (address, family) in enumerate(zip(addresses, families, strict=False)):
            if (":" in address) != (family == "IPv6"):
                said = f"expected an {family} value as indicated by `ipFamilies[{i}]`"
                errors.append(invalid(f"spec.clusterIPs[{i}]", address, said))
    return errors


def _node_ports(spec: JSON) -> Errors:
    errors: Errors = []
    seen = set()
    for i, port in enumerate(spec.get("ports") or []):
        number = port.get("nodePort")
        if not number:
            continue
        path = f"spec.ports[{i}].nodePort"
        if spec["type"] == "ClusterIP":
            errors.append(forbidden(path, "may not be used when `type` is 'ClusterIP'"))
        if (port["protocol"], number) in seen:
            errors.append(duplicate(path, number))
        seen.add((port["protocol"], number))
    return errors


def _port_clashes(spec: JSON) -> Errors:
    errors: Errors = []
    seen = set()
    for i, port in enumerate(spec.get("ports") or []):
        key = (port["protocol"], port.get("port", 0))
        if key in seen:
            errors.append(duplicate(f"spec.ports[{i}]", {**NO_PORT, "Protocol": key[0], "Port": key[1]}))
        seen.add(key)
    return errors


def _load_balancer(obj: JSON) -> Errors:
    spec, errors = obj["spec"], Errors()
    balanced, only = spec["type"] == "LoadBalancer", "may only be used when `type` is 'LoadBalancer'"
    if spec.get("loadBalancerSourceRanges"):
        path = "spec.LoadBalancerSourceRanges"
        if not balanced:
            errors.append(forbidden(path, only))
        for i, prefix in enumerate(spec["loadBalancerSourceRanges"]):
            errors += names.cidr(f"{path}[{i}]", prefix.strip())
    if not balanced and spec.get("allocateLoadBalancerNodePorts") is not None:
        errors.append(forbidden("spec.allocateLoadBalancerNodePorts", only))
    name = spec.get("loadBalancerClass")
    if name is not None and balanced:
        errors += [invalid("spec.loadBalancerClass", name, said) for said in names.qualified_name(name)]
    elif name is not None:
        errors.append(forbidden("spec.loadBalancerClass", only))
    return errors


def _policies(spec: JSON) -> Errors:
    errors: Errors = []
    kind, external = spec["type"], spec.get("externalTrafficPolicy")
    reachable = kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and spec.get("externalIPs"))
    if not reachable and external:
        said = "may only be set for externally-accessible services"
        errors.append(invalid("spec.externalTrafficPolicy", external, said))
    elif reachable and external not in POLICIES:
        errors.append(not_supported("spec.externalTrafficPolicy", external, POLICIES))
    check = spec.get("healthCheckNodePort", 0)
    if check and not (kind == "LoadBalancer" and external == "Local"):
        said = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        errors.append(invalid("spec.healthCheckNodePort", check, said))
    internal = spec.get("internalTrafficPolicy")
    if internal is not None and internal not in POLICIES:
        errors.append(not_supported("spec.internalTrafficPolicy", internal, POLICIES))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in DISTRIBUTIONS:
        errors.append(not_supported("spec.trafficDistribution", distribution, DISTRIBUTIONS))
    return errors


def validate_service_update(obj: JSON, old: JSON) -> Errors:
    spec, before = obj["spec"], old["spec"]
    errors: Errors = []
    if "ExternalName" not in (spec["type"], before["type"]):
        errors += _changed_addresses(spec, before)
    if spec["type"] == before["type"] == "LoadBalancer":
        name = spec.get("loadBalancerClass")
        if name != before.get("loadBalancerClass"):
            errors.append(invalid("spec.loadBalancerClass", name, "may not change once set"))
        checks = [part.get("healthCheckNodePort") for part in (spec, before)
                  if part.get("externalTrafficPolicy") == "Local"]  # fmt: skip
        if len(checks) == 2 and checks[0] != checks[1]:
            errors.append(forbidden("spec.healthCheckNodePort", "field is immutable"))
    return errors + validate_service(obj)


def _changed_addresses(spec: JSON, before: JSON) -> Errors:
    now, then = spec.get("clusterIPs") or [], before.get("clusterIPs") or []
    if then and not now:
        return [invalid("spec.clusterIPs[0]", now, "primary clusterIP can not be unset")]
    errors: Errors = []
    for i, (a, b) in enumerate(zip(now, then, strict=False)):
        if a != b:
            errors.append(invalid(f"spec.clusterIPs[{i}]", now, "may not change once set"))
    if not is_headless(spec) and not is_headless(before):
        families = spec.get("ipFamilies") or []
        for a, b in zip(families, before.get("ipFamilies") or [], strict=False):
            if a != b:
                errors.append(invalid("spec.ipFamilies[0]", families, "may not change once set"))
    return errors


def validate_service_status(obj: JSON) -> Errors:
    """Ways in that a load balancer has made."""
    errors: Errors = []
    ways = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    if obj["spec"]["type"] != "LoadBalancer" and ways:
        said = "may only be used when `spec.type` is LoadBalancer"
        return [forbidden("status.loadBalancer.ingress", said)]
    for i, way in enumerate(ways):
        path = f"status.loadBalancer.ingress[{i}]"
        ip, name, mode = way.get("ip"), way.get("hostname"), way.get("ipMode")
        if ip:
            errors += names.ip_address(f"{path}.ip", ip)
        elif mode is not None:
            errors.append(forbidden(f"{path}.ipMode", "may not be specified when `ip` is not set"))
        if mode is not None and mode not in ("Proxy", "VIP"):
            errors.append(not_supported(f"{path}.ipMode", mode, ("Proxy", "VIP")))
        if name:
            errors += [invalid(f"{path}.hostname", name, said) for said in names.dns_subdomain(name)]
            if names.parse_ip(name):
                said = "must be a DNS name, not an IP address"
                errors.append(invalid(f"{path}.hostname", name, said))
    return errors
