"""EndpointSlices and Endpoints.

Kubernetes: pkg/apis/discovery/validation/validation.go, pkg/apis/core/validation/validation.go ValidateEndpoints()
"""

from __future__ import annotations

from functools import lru_cache

from k8semu.kube.api import names
from k8semu.kube.api.field import Errors, duplicate, invalid, not_supported, required, too_many
from k8semu.kube.api.strategies.base import JSON, Strategy

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
PROTOCOLS = ("SCTP", "TCP", "UDP")
MOST_ENDPOINTS, MOST_ADDRESSES, MOST_PORTS, MOST_HINTS = 1000, 100, 20_000, 8
FQDN_SAID = "should be a domain with at least two segments separated by dots"


class EndpointSliceStrategy(Strategy):
    has_generation = True
    generated = "slice-names"

    def default(self, obj: JSON) -> JSON:
        ports = obj.get("ports") or []
        return {**obj, "ports": [_default_port(port) for port in ports], "endpoints": obj.get("endpoints") or []}

    def validate(self, obj: JSON) -> Errors:
        kind = obj.get("addressType") or ""
        errors: Errors = []
        if not kind:
            errors.append(required("addressType"))
        elif kind not in ADDRESS_TYPES:
            errors.append(not_supported("addressType", kind, ADDRESS_TYPES))
        endpoints = obj["endpoints"]
        if len(endpoints) > MOST_ENDPOINTS:
            return [*errors, too_many("endpoints", len(endpoints), MOST_ENDPOINTS)]
        for i, endpoint in enumerate(endpoints):
            if not _is_usual(endpoint, kind):
                errors += _endpoint(f"endpoints[{i}]", endpoint, kind)
        return errors + _ports(obj["ports"])

    def validate_update(self, obj: JSON, old: JSON) -> Errors:
        errors = self.validate(obj)
        if obj.get("addressType") != old.get("addressType"):
            errors.append(invalid("addressType", obj.get("addressType"), "field is immutable"))
        return errors


def _default_port(port: JSON) -> JSON:
    return {**port, "name": port.get("name") or "", "protocol": port.get("protocol") or "TCP"}


def _is_usual(endpoint: JSON, kind: str) -> bool:
    """One plain IPv4 address on a node, and nothing else that could be wrong."""
    addresses = endpoint.get("addresses") or []
    if kind != "IPv4" or len(addresses) != 1 or "hostname" in endpoint or "hints" in endpoint:
        return False
    return names.is_ordinary_ipv4(addresses[0]) and _is_node_name(endpoint.get("nodeName") or "node")


@lru_cache(maxsize=4096)
def _is_node_name(name: str) -> bool:
    return not names.dns_subdomain(name)


def _endpoint(path: str, endpoint: JSON, kind: str) -> Errors:
    errors: Errors = []
    addresses = endpoint.get("addresses") or []
    if not addresses:
        errors.append(required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(addresses) > MOST_ADDRESSES:
        errors.append(too_many(f"{path}.addresses", len(addresses), MOST_ADDRESSES))
    for i, address in enumerate(addresses):
        errors += _address(f"{path}.addresses[{i}]", address, kind)
    if endpoint.get("hostname"):
        name = endpoint["hostname"]
        errors += [invalid(f"{path}.hostname", name, said) for said in names.dns_label(name)]
    if endpoint.get("nodeName"):
        name = endpoint["nodeName"]
        errors += [invalid(f"{path}.nodeName", name, said) for said in names.dns_subdomain(name)]
    zones = (endpoint.get("hints") or {}).get("forZones") or []
    if len(zones) > MOST_HINTS:
        errors.append(too_many(f"{path}.hints.forZones", len(zones), MOST_HINTS))
    return errors


def _address(path: str, address: str, kind: str) -> Errors:
    if kind == "IPv4" and names.is_ordinary_ipv4(address):
        return []
    if kind == "FQDN":
        errors = [invalid(path, address, said) for said in names.dns_subdomain(address.removesuffix("."))]
        return errors or ([] if "." in address else [invalid(path, address, FQDN_SAID)])
    if kind not in ("IPv4", "IPv6"):
        return []
    ip = names.parse_ip(address)
    if ip is None or f"IPv{ip.version}" != kind:
        said = "must be a valid IPv4 address" if kind == "IPv4" else "must be a valid IPv6 address"
        return [invalid(path, address, said)]
    return names.non_special_ip(path, address)


def _ports(ports: list[JSON]) -> Errors:
    if len(ports) > MOST_PORTS:
        return [too_many("ports", len(ports), MOST_PORTS)]
    errors: Errors = []
    seen: set[str] = set()
    for i, port in enumerate(ports):
        path, name = f"ports[{i}]", port["name"]
        if name:
            errors += [invalid(f"{path}.name", name, said) for said in names.dns_label(name)]
        if name in seen:
            errors.append(duplicate(f"{path}.name", name))
        seen.add(name)
        if port.get("port") is not None:
            errors += names.port_number(f"{path}.port", port["port"])
        if port["protocol"] not in PROTOCOLS:
            errors.append(not_supported(f"{path}.protocol", port["protocol"], PROTOCOLS))
    return errors


class EndpointsStrategy(Strategy):
    def default(self, obj: JSON) -> JSON:
        subsets = []
        for subset in obj.get("subsets") or []:
            ports = [{**port, "protocol": port.get("protocol") or "TCP"} for port in subset.get("ports") or []]
            subsets.append({**subset, "ports": ports} if ports else subset)
        return {**obj, "subsets": subsets} if subsets else obj

    def validate(self, obj: JSON) -> Errors:
        errors: Errors = []
        for i, subset in enumerate(obj.get("subsets") or []):
            path = f"subsets[{i}]"
            ready, others = subset.get("addresses") or [], subset.get("notReadyAddresses") or []
            if not ready and not others:
                errors.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
            for key, addresses in (("addresses", ready), ("notReadyAddresses", others)):
                for j, address in enumerate(addresses):
                    here, ip = f"{path}.{key}[{j}].ip", address.get("ip") or ""
                    errors += names.ip_address(here, ip) or names.non_special_ip(here, ip)
            for j, port in enumerate(subset.get("ports") or []):
                errors += _endpoint_port(f"{path}.ports[{j}]", port, len(subset["ports"]) > 1)
        return errors


def _endpoint_port(path: str, port: JSON, require_name: bool) -> Errors:
    name = port.get("name") or ""
    errors: Errors = []
    if require_name and not name:
        errors.append(required(f"{path}.name"))
    elif name:
        errors += [invalid(f"{path}.name", name, said) for said in names.dns_label(name)]
    errors += names.port_number(f"{path}.port", port.get("port", 0))
    if port["protocol"] not in PROTOCOLS:
        errors.append(not_supported(f"{path}.protocol", port["protocol"], PROTOCOLS))
    return errors
