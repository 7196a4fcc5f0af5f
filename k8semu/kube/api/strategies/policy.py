"""NetworkPolicies: what is filled in, and what is refused.

Kubernetes: pkg/apis/networking/v1/defaults.go SetDefaults_NetworkPolicy(), SetDefaults_NetworkPolicyPort();
            pkg/apis/networking/validation/validation.go ValidateNetworkPolicySpec()
"""

from __future__ import annotations

import ipaddress

from k8semu.kube.api import names
from k8semu.kube.api.field import Errors, forbidden, invalid, not_supported, required
from k8semu.kube.api.selectors import validate_selector
from k8semu.kube.api.strategies.base import JSON, Strategy, with_spec

PROTOCOLS = ("SCTP", "TCP", "UDP")
TYPES = ("Egress", "Ingress")
RULES = (("ingress", "from"), ("egress", "to"))


class PolicyStrategy(Strategy):
    has_generation = True

    def default(self, obj: JSON) -> JSON:
        spec = dict(obj.get("spec") or {})
        spec.setdefault("podSelector", {})
        for direction, _ in RULES:
            if spec.get(direction):
                spec[direction] = [_with_protocols(rule) for rule in spec[direction]]
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        return with_spec(obj, spec)

    def validate(self, obj: JSON) -> Errors:
        spec = obj["spec"]
        errors = validate_selector("spec.podSelector", spec.get("podSelector") or {})
        for direction, key in RULES:
            for i, rule in enumerate(spec.get(direction) or []):
                here = f"spec.{direction}[{i}]"
                for j, port in enumerate(rule.get("ports") or []):
                    errors += _port(f"{here}.ports[{j}]", port)
                for j, peer in enumerate(rule.get(key) or []):
                    errors += _peer(f"{here}.{key}[{j}]", peer)
        types = spec.get("policyTypes") or []
        if len(types) > len(TYPES):
            return [*errors, invalid("spec.policyTypes", types, "may not specify more than two policyTypes")]
        wrong = [(i, kind) for i, kind in enumerate(types) if kind not in TYPES]
        return errors + [not_supported(f"spec.policyTypes[{i}]", kind, TYPES) for i, kind in wrong]


def _with_protocols(rule: JSON) -> JSON:
    ports = rule.get("ports")
    return rule if not ports else {**rule, "ports": [{"protocol": "TCP", **port} for port in ports]}


def _port(path: str, port: JSON) -> Errors:
    errors: Errors = []
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in PROTOCOLS:
        errors.append(not_supported(f"{path}.protocol", protocol, PROTOCOLS))
    if number is not None:
        errors += names.port_number_or_name(f"{path}.port", number)
    if end is None:
        return errors
    if number is None:
        return [*errors, invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified")]
    if isinstance(number, str):
        return [*errors, invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric")]
    if end < number:
        errors.append(invalid(f"{path}.endPort", number, "must be greater than or equal to `port`"))
    return errors + names.port_number(f"{path}.endPort", end)


def _peer(path: str, peer: JSON) -> Errors:
    errors: Errors = []
    for key in ("podSelector", "namespaceSelector"):
        if peer.get(key) is not None:
            errors += validate_selector(f"{path}.{key}", peer[key])
    block = peer.get("ipBlock")
    if block is not None:
        errors += _block(f"{path}.ipBlock", block)
    given = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
    if not given:
        return [*errors, required(path, "must specify a peer")]
    if block is not None and len(given) > 1:
        errors.append(forbidden(path, "may not specify both ipBlock and another peer"))
    return errors


def _block(path: str, block: JSON) -> Errors:
    cidr = block.get("cidr") or ""
    if not cidr:
        return [required(f"{path}.cidr")]
    errors = names.cidr(f"{path}.cidr", cidr)
    if errors:
        return errors
    whole = ipaddress.ip_network(cidr, strict=False)
    for i, text in enumerate(block.get("except") or []):
        here = f"{path}.except[{i}]"
        wrong = names.cidr(here, text)
        if wrong:
            errors += wrong
            continue
        part = ipaddress.ip_network(text, strict=False)
        inside = part.version == whole.version and part.network_address in whole
        if not inside or whole.prefixlen >= part.prefixlen:
            errors.append(invalid(here, text, "must be a strict subset of `cidr`"))
    return errors
