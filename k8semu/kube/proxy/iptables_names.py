"""Names of kube-proxy's chains: a prefix that says what for, and a hash of the service port.

    KUBE-SVC-  endpoints of the whole cluster      KUBE-EXT-  entry for traffic to external addresses
    KUBE-SVL-  endpoints of this node              KUBE-FW-   who may use the load balancer's address
    KUBE-SEP-  one endpoint (hashed with it)

Kubernetes: pkg/proxy/iptables/proxier.go portProtoHash(), servicePortEndpointChainName()
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from k8semu.kube.proxy.model import ServicePortName

PREFIXES = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-")


_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]


def _hash(text: str) -> str:
    """16 digits of 5 bits: base32 of the first ten bytes. RFC 4648."""
    bits = int.from_bytes(hashlib.sha256(text.encode()).digest()[:10], "big")
    return "".join([_PAIRS[bits >> shift & 1023] for shift in range(70, -1, -10)])


@lru_cache(maxsize=65536)
def port_hash(name: ServicePortName) -> str:
    """What the names of a service port's four chains end with."""
    return _hash(f"{name}{name.protocol.lower()}")


@lru_cache(maxsize=262144)
def endpoint_chain(name: ServicePortName, endpoint: str) -> str:
    """KUBE-SEP-… of the endpoint ``ip:port``."""
    return "KUBE-SEP-" + _hash(f"{name}{name.protocol.lower()}{endpoint}")
