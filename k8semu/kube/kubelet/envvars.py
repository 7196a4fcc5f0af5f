"""What the kubelet tells containers of Services, in variables: how one found a Service before there was a DNS.

    Service redis-primary, 10.0.0.11, port 6379
      REDIS_PRIMARY_SERVICE_HOST=10.0.0.11      REDIS_PRIMARY_PORT=tcp://10.0.0.11:6379
      REDIS_PRIMARY_SERVICE_PORT=6379           REDIS_PRIMARY_PORT_6379_TCP=tcp://10.0.0.11:6379, …

The second column is the form of Docker's links.

Kubernetes: pkg/kubelet/envvars/envvars.go, pkg/kubelet/kubelet_pods.go getServiceEnvVarMap()
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

JSON = dict[str, Any]


def variable_name(name: str) -> str:
    """``redis-primary`` is ``REDIS_PRIMARY``."""
    return name.upper().replace("-", "_")


def from_services(services: Iterable[JSON]) -> dict[str, str]:
    """The variables of Services that have a ClusterIP, one Service after the other."""
    found: dict[str, str] = {}
    for service in services:
        address, ports = service["spec"].get("clusterIP") or "None", service["spec"].get("ports") or []
        if address == "None" or not ports:
            continue
        prefix = variable_name(service["metadata"]["name"])
        found[f"{prefix}_SERVICE_HOST"] = address
        found[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                found[f"{prefix}_SERVICE_PORT_{variable_name(port['name'])}"] = str(port["port"])
        found |= _links(prefix, address, ports)
    return found


def _links(prefix: str, address: str, ports: list[JSON]) -> dict[str, str]:
    """What `docker run --link` sets. The first port stands for the Service."""
    found: dict[str, str] = {}
    for port in ports:
        number, protocol = port["port"], port.get("protocol") or "TCP"
        link = f"{protocol.lower()}://{address}:{number}"
        found.setdefault(f"{prefix}_PORT", link)
        one = f"{prefix}_PORT_{number}_{protocol}"
        found |= {one: link, f"{one}_PROTO": protocol.lower(), f"{one}_PORT": str(number), f"{one}_ADDR": address}
    return found
