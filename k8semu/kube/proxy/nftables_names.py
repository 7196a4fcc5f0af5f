"""Names of kube-proxy's chains and sets in nftables mode: a prefix, a short hash, and the port in words.

    service-ULMVA6XW-ns1/svc1/tcp/p80                     endpoints of the whole cluster
    local-, external-, firewall-…                         as in iptables mode SVL, EXT, FW
    endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80     one endpoint; affinity-… its clients

Kubernetes: pkg/proxy/nftables/proxier.go servicePortChainNameBase(), servicePortEndpointChainNameBase()
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache

from k8semu.kube.proxy.model import EndpointInfo, ServicePortName

LONGEST = 256 - 16
"""What nf_tables allow for a name, less the longest prefix."""


def _hashed(name: str) -> str:
    digest = base64.b32encode(hashlib.sha256(name.encode()).digest())[:8].decode()
    name = f"{digest}-{name}"
    return name if len(name) <= LONGEST else name[: LONGEST - 3] + "..."


@lru_cache(maxsize=65536)
def port_base(name: ServicePortName) -> str:
    """``ULMVA6XW-ns1/svc1/tcp/p80``."""
    return _hashed(f"{name.namespace}/{name.name}/{name.protocol.lower()}/{name.port}")


@lru_cache(maxsize=262144)
def endpoint_base(name: ServicePortName, ip: str, port: int) -> str:
    """``5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80``."""
    return _hashed(f"{name.namespace}/{name.name}/{name.protocol.lower()}/{name.port}__{ip}/{port}")


def endpoint_chain(name: ServicePortName, endpoint: EndpointInfo) -> str:
    return "endpoint-" + endpoint_base(name, endpoint.ip, endpoint.port)


def affinity_set(name: ServicePortName, endpoint: EndpointInfo) -> str:
    return "affinity-" + endpoint_base(name, endpoint.ip, endpoint.port)
