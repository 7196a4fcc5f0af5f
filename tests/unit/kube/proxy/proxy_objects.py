"""Services and EndpointSlices for tests of kube-proxy, in a line each.

    10.96.0.x   ClusterIPs        172.17.n.y   Pods of host<n+1>
    10.100.0.2  host1             198.51.100.x load balancers, 203.0.113.x clients outside
"""

from __future__ import annotations

from typing import Any

import msgspec

from k8semu.kube.proxy.decisions import decide
from k8semu.kube.proxy.model import LocalDetector, ProxyConfig, ProxyNode, ProxyState, ServicePortInfo
from k8semu.kube.services import EndpointSlice, Service

NODE = ProxyNode(name="host1", addresses=("10.100.0.2",), zone="a")
CONFIG = ProxyConfig(detector=LocalDetector("CIDR", "172.17.0.0/16"))


def service(name: str = "web", ports: Any = ("80",), *, status: Any = None, labels: Any = None, **spec: Any) -> Service:
    """`ports`: ``[name:]port[/protocol][@nodePort]``."""
    spec = {"clusterIP": "10.96.0.1", "ports": [_port(p) for p in ports], **spec}
    namespace, _, name = name.rpartition("/")
    metadata = {"name": name, "namespace": namespace or "default", "labels": labels or {}}
    manifest = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    if status is not None:
        manifest["status"] = {"loadBalancer": {"ingress": status}}
    return msgspec.convert(manifest, Service)


def _port(text: str) -> dict[str, Any]:
    rest, _, node_port = text.partition("@")
    rest, _, protocol = rest.partition("/")
    name, _, port = rest.rpartition(":")
    return {"name": name, "port": int(port), "protocol": protocol or "TCP", "nodePort": int(node_port or 0)}


def endpoints(
    *addresses: str, service: str = "web", ports: Any = ("8080",), of: str = "", family: str = "IPv4"
) -> EndpointSlice:
    """`addresses`: ``ip [notready|ending|ended] [zone=Z] [node=N]``: hints; ending: still serving, ended: not."""
    namespace, _, name = service.rpartition("/")
    manifest = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": {
            "name": of or f"{name}-x", "namespace": namespace or "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "endpoints": [_endpoint(a) for a in addresses],
        "ports": [{k: v for k, v in _port(p).items() if k != "nodePort"} for p in ports],
    }  # fmt: skip
    return msgspec.convert(manifest, EndpointSlice)


def _endpoint(text: str) -> dict[str, Any]:
    ip, *words = text.split()
    found: dict[str, Any] = {"conditions": {}}
    hints: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key == "zone":
            hints["forZones"] = [{"name": value}]
        elif key == "node":
            hints["forNodes"] = [{"name": value}]
        elif key == "notready":
            found["conditions"].update(ready=False)
        elif key == "ending":
            found["conditions"].update(ready=False, serving=True, terminating=True)
        elif key == "ended":
            found["conditions"].update(ready=False, serving=False, terminating=True)
        else:
            raise AssertionError(word)
    third = ip.split(".")[2] if ip.count(".") == 3 else "0"
    found |= {"addresses": [ip], "nodeName": f"host{int(third) + 1}"}
    if hints:
        found["hints"] = hints
    return found


def state(
    services: list[Service], slices: list[EndpointSlice], node: ProxyNode = NODE, config: ProxyConfig = CONFIG
) -> ProxyState:
    return decide(services, slices, node, config)


def one(svc: Service, *slices: EndpointSlice, node: ProxyNode = NODE) -> ServicePortInfo:
    (port,) = state([svc], list(slices), node).ports
    return port


def texts(found: Any) -> list[str]:
    return [str(e) for e in found]
