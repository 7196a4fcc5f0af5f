"""Services: what is filled in, what is refused, and which addresses and ports they get.

Kubernetes: pkg/apis/core/v1/defaults.go SetDefaults_Service(), pkg/registry/core/service/storage/{rest,alloc}.go,
            pkg/registry/core/service/strategy.go
"""

from __future__ import annotations

from typing import Any

from k8semu.kube.api import names
from k8semu.kube.api.allocator import AddressAllocator, AllocationError, PortAllocator
from k8semu.kube.api.field import Errors, invalid
from k8semu.kube.api.resources import RESOURCES
from k8semu.kube.api.status import internal_error
from k8semu.kube.api.status import invalid as refused
from k8semu.kube.api.strategies.base import JSON, Strategy, Transaction, with_spec
from k8semu.kube.api.strategies.service_update import keep_allocated, normalize, wipe_unneeded
from k8semu.kube.api.strategies.service_validation import (
    family_errors,
    validate_service,
    validate_service_status,
    validate_service_update,
)
from k8semu.kube.api.surroundings import Draw

RESOURCE = RESOURCES["services"]
AFFINITY_SECONDS = 10_800


class ServiceStrategy(Strategy):
    """`cidrs`: the ranges of ClusterIPs, one per address family, the default family first."""

    has_status = True

    def __init__(self, cidrs: tuple[str, ...], node_ports: tuple[int, int], addresses: Draw, ports: Draw) -> None:
        allocators = [AddressAllocator(cidr, addresses) for cidr in cidrs]
        self.addresses = {allocator.family: allocator for allocator in allocators}
        self.ports = PortAllocator(*node_ports, ports)

    # --- what is not said -----------------------------------------------------------------------

    def default(self, obj: JSON) -> JSON:
        spec = dict(obj.get("spec") or {})
        if not spec.get("sessionAffinity"):
            spec["sessionAffinity"] = "None"
        if spec["sessionAffinity"] == "None":
            spec.pop("sessionAffinityConfig", None)
        elif spec["sessionAffinity"] == "ClientIP":
            spec["sessionAffinityConfig"] = _affinity(spec.get("sessionAffinityConfig"))
        kind = spec["type"] = spec.get("type") or "ClusterIP"
        if spec.get("ports"):
            spec["ports"] = [_default_port(port) for port in spec["ports"]]
        if externally_accessible(spec) and not spec.get("externalTrafficPolicy"):
            spec["externalTrafficPolicy"] = "Cluster"
        if kind in ("ClusterIP", "NodePort", "LoadBalancer") and not spec.get("internalTrafficPolicy"):
            spec["internalTrafficPolicy"] = "Cluster"
        if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
            spec["allocateLoadBalancerNodePorts"] = True
        return {**obj, "spec": spec, "status": _default_status(obj.get("status"))}

    def initial_status(self) -> JSON:
        return {"loadBalancer": {}}

    def prepare_update(self, obj: JSON, old: JSON) -> JSON:
        obj = super().prepare_update(obj, old)
        spec = dict(obj["spec"])
        normalize(spec, old["spec"])
        keep_allocated(spec, old["spec"])
        wipe_unneeded(spec, old["spec"])
        return with_spec(obj, spec)

    # --- addresses and ports ----------------------------------------------------------------------

    def allocate(self, obj: JSON, old: JSON | None, transaction: Transaction) -> JSON:
        spec, before = dict(obj["spec"]), old["spec"] if old is not None else {}
        name = obj["metadata"].get("name", "")
        if old is None and spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        if spec["type"] != "ExternalName":
            self._families(name, spec, before)
        self._cluster_ips(name, spec, before, transaction)
        self._node_ports(name, spec, before, transaction)
        self._health_check_port(spec, before, transaction)
        return with_spec(obj, spec)

    def release(self, obj: JSON) -> None:
        spec = obj["spec"]
        for family, address in _addresses(spec):
            self.addresses[family].release(address)
        for port in [*node_ports(spec), *_health_check_port(spec)]:
            self.ports.release(port)

    def _families(self, name: str, spec: JSON, before: JSON) -> None:
        """Which address families a Service has. Kubernetes: initIPFamilyFields()."""
        headless = spec.get("clusterIP") == "None" and not spec.get("selector")
        if spec.get("ipFamilyPolicy") is None:
            default = "RequireDualStack" if headless else "SingleStack"
            spec["ipFamilyPolicy"] = before.get("ipFamilyPolicy") or default
        errors = family_errors(spec) or self._unfit_families(spec, headless)
        if errors:
            raise refused(RESOURCE, name, errors)
        families = list(spec.get("ipFamilies") or [])
        for address in spec.get("clusterIPs") or []:
            if address != "None" and len(families) < len(spec["clusterIPs"]):
                families.append(_family(address))
        families = families or [next(iter(self.addresses))]
        wants_both = spec["ipFamilyPolicy"] != "SingleStack" and len(families) == 1
        if wants_both and (headless or len(self.addresses) == 2):
            families.append("IPv6" if families[0] == "IPv4" else "IPv4")
        spec["ipFamilies"] = families

    def _unfit_families(self, spec: JSON, headless: bool) -> Errors:
        """What the policy, the families and the addresses of a Service say against each other."""
        errors: Errors = []
        policy, families = spec["ipFamilyPolicy"], spec.get("ipFamilies") or []
        for what, values in (("cluster IPs", spec.get("clusterIPs") or []), ("IP families", families)):
            if policy == "SingleStack" and len(values) == 2:
                said = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                errors.append(invalid("spec.ipFamilyPolicy", policy, said))
        for i, address in enumerate(spec.get("clusterIPs") or []):
            if address != "None" and i >= len(families) and _family(address) not in self.addresses:
                said = f"{_family(address)} is not configured on this cluster"
                errors.append(invalid(f"spec.clusterIPs[{i}]", spec["clusterIPs"], said))
        if errors or headless:
            return errors
        if policy == "RequireDualStack" and len(self.addresses) < 2:
            said = "this cluster is not configured for dual-stack services"
            errors.append(invalid("spec.ipFamilyPolicy", policy, said))
        for i, family in enumerate(families):
            if family not in self.addresses:
                errors.append(invalid(f"spec.ipFamilies[{i}]", family, "not configured on this cluster"))
        return errors

    def _cluster_ips(self, name: str, spec: JSON, before: JSON, transaction: Transaction) -> None:
        held = dict(_addresses(before))
        if spec["type"] == "ExternalName":
            for family, address in held.items():
                transaction.on_commit.append(lambda f=family, a=address: self.addresses[f].release(a))  # type: ignore[misc]
            return
        wanted = list(spec.get("clusterIPs") or [])
        if wanted[:1] == ["None"] or before.get("clusterIP") == "None":
            return
        for i, family in enumerate(spec["ipFamilies"]):
            if family in held:
                continue
            asked = wanted[i] if i < len(wanted) else ""
            address = self._cluster_ip(name, spec, family, asked)
            wanted[i:i + 1] = [address]
            transaction.on_revert.append(lambda f=family, a=address: self.addresses[f].release(a))  # type: ignore[misc]
        for family, address in held.items():
            if family not in spec["ipFamilies"]:
                transaction.on_commit.append(lambda f=family, a=address: self.addresses[f].release(a))  # type: ignore[misc]
        spec["clusterIPs"] = wanted
        spec["clusterIP"] = wanted[0]

    def _cluster_ip(self, name: str, spec: JSON, family: str, asked: str) -> str:
        allocator = self.addresses[family]
        try:
            if not asked:
                return allocator.allocate_next()
            allocator.allocate(asked)
            return asked
        except AllocationError as error:
            if not asked:
                raise internal_error(f"failed to allocate a serviceIP: {error}") from None
            said = f"failed to allocate IP {asked}: {error}"
            raise refused(RESOURCE, name, [invalid("spec.clusterIPs", spec["clusterIPs"], said)]) from None

    def _node_ports(self, name: str, spec: JSON, before: JSON, transaction: Transaction) -> None:
        """One number serves all protocols of a port, as for DNS over UDP and TCP. Kubernetes: initNodePorts()."""
        held = node_ports(before)
        if needs_node_ports(spec):
            ports = [dict(port) for port in spec.get("ports") or []]
            taken = set(held)
            chosen = {port["port"]: port["nodePort"] for port in reversed(ports) if port.get("nodePort")}
            for i, port in enumerate(ports):
                if not port.get("nodePort"):
                    if not allocates_node_ports(spec):
                        continue
                    port["nodePort"] = chosen.get(port["port"], 0)
                number = self._node_port(name, i, port.get("nodePort", 0), taken, transaction)
                port["nodePort"] = chosen[port["port"]] = number
                taken.add(number)
            spec["ports"] = ports
        kept = node_ports(spec) if needs_node_ports(spec) else []
        for number in held:
            if number not in kept:
                transaction.on_commit.append(lambda n=number: self.ports.release(n))  # type: ignore[misc]

    def _node_port(self, name: str, i: int, asked: int, taken: set[int], transaction: Transaction) -> int:
        if asked in taken:
            return asked
        try:
            if asked:
                self.ports.allocate(asked)
            number = asked or self.ports.allocate_next()
        except AllocationError as error:
            if not asked:
                raise internal_error(f"failed to allocate a nodePort: {error}") from None
            path = f"spec.ports[{i}].nodePort"
            raise refused(RESOURCE, name, [invalid(path, asked, str(error))]) from None
        transaction.on_revert.append(lambda: self.ports.release(number))
        return number

    def _health_check_port(self, spec: JSON, before: JSON, transaction: Transaction) -> None:
        """Kubernetes: allocHealthCheckNodePort()."""
        held = before.get("healthCheckNodePort", 0) if before and needs_health_check(before) else 0
        if held and not needs_health_check(spec):
            transaction.on_commit.append(lambda: self.ports.release(held))
            if spec.get("healthCheckNodePort") == held:
                del spec["healthCheckNodePort"]
        if held or not needs_health_check(spec):
            return
        asked = spec.get("healthCheckNodePort", 0)
        try:
            if asked:
                self.ports.allocate(asked)
            number = spec["healthCheckNodePort"] = asked or self.ports.allocate_next()
        except AllocationError as error:
            raise internal_error(f"failed to allocate requested HealthCheck NodePort {asked}: {error}") from None
        transaction.on_revert.append(lambda: self.ports.release(number))

    # --- what is refused ----------------------------------------------------------------------------

    def name_errors(self, name: str) -> list[str]:
        return names.dns_1035_label(name)

    def validate(self, obj: JSON) -> Errors:
        return validate_service(obj)

    def validate_update(self, obj: JSON, old: JSON) -> Errors:
        return validate_service_update(obj, old)

    def validate_status(self, obj: JSON, old: JSON) -> Errors:
        return validate_service_status(obj)


def needs_node_ports(spec: JSON) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer")


def allocates_node_ports(spec: JSON) -> bool:
    return spec["type"] == "NodePort" or spec.get("allocateLoadBalancerNodePorts") is not False


def needs_health_check(spec: JSON) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def externally_accessible(spec: JSON) -> bool:
    return needs_node_ports(spec) or (spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs")))


def node_ports(spec: JSON) -> list[int]:
    """The node ports that a Service holds."""
    return list(dict.fromkeys(port["nodePort"] for port in spec.get("ports") or [] if port.get("nodePort")))


def _health_check_port(spec: JSON) -> list[int]:
    return [spec["healthCheckNodePort"]] if spec.get("healthCheckNodePort") else []


def _addresses(spec: JSON) -> list[tuple[str, str]]:
    """(family, address) that a Service holds."""
    addresses = spec.get("clusterIPs") or []
    return [] if addresses[:1] == ["None"] else list(zip(spec.get("ipFamilies") or [], addresses, strict=False))


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _affinity(config: Any) -> JSON:
    client = dict((config or {}).get("clientIP") or {})
    if client.get("timeoutSeconds") is None:
        client["timeoutSeconds"] = AFFINITY_SECONDS
    return {"clientIP": client}


def _default_port(port: JSON) -> JSON:
    port = {**port, "protocol": port.get("protocol") or "TCP"}
    port.setdefault("port", 0)
    if port.get("targetPort") in (None, 0, ""):
        port["targetPort"] = port["port"]
    return port


def _default_status(status: JSON | None) -> JSON:
    balancer = dict((status or {}).get("loadBalancer") or {})
    if balancer.get("ingress"):
        balancer["ingress"] = [{**way, "ipMode": "VIP"} if way.get("ip") and not way.get("ipMode") else way
                               for way in balancer["ingress"]]  # fmt: skip
    return {**(status or {}), "loadBalancer": balancer}
