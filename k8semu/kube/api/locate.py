"""Where a proxy subresource leads: the address that the API server itself dials.

    services/[https:]NAME[:PORT]/proxy/   a ready endpoint, drawn at random: podIP:targetPort, never the ClusterIP
    pods/[https:]NAME[:PORT]/proxy/       podIP:PORT, or the first port of its containers
    nodes/[https:]NAME[:PORT]/proxy/      the node's kubelet, or another port of the node
    pods/NAME/exec, attach, portforward   the kubelet of the Pod's node

Kubernetes: pkg/registry/core/service/storage/storage.go, pkg/registry/core/pod/strategy.go,
            pkg/registry/core/node/strategy.go (all ResourceLocation()), pkg/kubelet/client/kubelet_client.go
Differs: a Service's endpoints are those of its EndpointSlices.
"""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

from k8semu.kube.api import status
from k8semu.kube.api.registry import Registry
from k8semu.kube.api.surroundings import Draw

JSON = dict[str, Any]
KUBELET_PORT = 10250
ADDRESS_ORDER = ("InternalIP", "ExternalIP")
"""Which of a node's addresses is dialled. Kubernetes: --kubelet-preferred-address-types
Differs: names are passed over, since nobody resolves the node names of a cluster here."""


class Location(NamedTuple):
    host: str
    port: int
    tls: bool = False


def split_id(text: str) -> tuple[str, str, str] | None:
    """(scheme, name, port) of ``name``, ``name:port`` or ``scheme:name:port``. Kubernetes: SplitSchemeNamePort()."""
    parts = text.split(":")
    if len(parts) == 1:
        scheme, name, port = "", parts[0], ""
    elif len(parts) == 2:
        scheme, (name, port) = "", parts
    elif len(parts) == 3:
        scheme, name, port = parts
    else:
        return None
    return (scheme, name, port) if name and scheme in ("", "http", "https") else None


def locate_service(registry: Registry, namespace: str, text: str, draw: Draw) -> Location:
    """One of the Service's ready endpoints; ApiError 503 if there is none."""
    found = split_id(text)
    if found is None:
        raise status.bad_request(f'invalid service request "{text}"')
    scheme, name, port = found
    service = registry.get("services", namespace, name)
    if port.isascii() and port.isdigit():
        port = _port_name(service, name, int(port))
    chosen = _draw_endpoint(registry, namespace, name, port, draw)
    if chosen is None:
        raise status.service_unavailable(f'no endpoints available for service "{text}"')
    return Location(*chosen, scheme == "https")


def _port_name(service: JSON, name: str, number: int) -> str:
    for port in service["spec"].get("ports") or ():
        if port["port"] == number:
            return str(port.get("name") or "")
    raise status.service_unavailable(f'no service port {number} found for service "{name}"')


def _draw_endpoint(registry: Registry, namespace: str, name: str, port: str, draw: Draw) -> tuple[str, int] | None:
    ready: list[tuple[str, int]] = []
    slices = registry.caches["endpointslices"].with_labels(namespace, {"kubernetes.io/service-name": name})
    for found in sorted(slices, key=lambda each: str(each["metadata"]["name"])):
        numbers = [each["port"] for each in found.get("ports") or () if (each.get("name") or "") == port]
        for endpoint in found.get("endpoints") or () if numbers else ():
            address = endpoint["addresses"][0]
            if (endpoint.get("conditions") or {}).get("ready") is not False and _is_pods(registry, endpoint, address):
                ready.append((address, numbers[0]))
    return ready[draw.below(len(ready))] if ready else None


def _is_pods(registry: Registry, endpoint: JSON, address: str) -> bool:
    """Only addresses that Pods have are dialled. Kubernetes: isValidAddress()."""
    target = endpoint.get("targetRef") or {}
    if target.get("kind") != "Pod":
        return False
    pod = registry.caches["pods"].get(target.get("namespace", ""), target.get("name", ""))
    return pod is not None and address in _pod_ips(pod)


def _pod_ips(pod: JSON) -> list[str]:
    about = pod.get("status") or {}
    return [str(each["ip"]) for each in about.get("podIPs") or ()] or [str(about.get("podIP") or "")]


def locate_pod(registry: Registry, namespace: str, text: str) -> Location:
    """The Pod's own address."""
    found = split_id(text)
    if found is None:
        raise status.bad_request(f'invalid pod request "{text}"')
    scheme, name, port = found
    pod = registry.get("pods", namespace, name)
    if not port:
        declared = [each["containerPort"] for container in pod["spec"]["containers"]
                    for each in container.get("ports") or ()]  # fmt: skip
        port = str(declared[0]) if declared else ("443" if scheme == "https" else "80")
    return Location(_global(_pod_ips(pod)[0]), _port_number(port), scheme == "https")


def locate_node(registry: Registry, text: str) -> Location:
    """The node's kubelet, or another port of the node."""
    found = split_id(text)
    if found is None:
        raise status.bad_request(f'invalid node request "{text}"')
    scheme, name, port = found
    number = _port_number(port) if port else kubelet_port(registry, name)
    return Location(node_address(registry, name), number, scheme == "https")


def node_address(registry: Registry, name: str) -> str:
    """The address by which a node's kubelet is dialled."""
    node = registry.get("nodes", "", name)
    addresses = (node.get("status") or {}).get("addresses") or ()
    for kind in ADDRESS_ORDER:
        for each in addresses:
            if each["type"] == kind:
                return str(each["address"])
    said = ", ".join(ADDRESS_ORDER)
    raise status.internal_error(f"no preferred addresses found; known addresses: {[a['type'] for a in addresses]}, "
                                f"preferred: {said}")  # fmt: skip


def kubelet_port(registry: Registry, name: str) -> int:
    """The port that a node says its kubelet has. Kubernetes: NodeConnectionInfoGetter.GetConnectionInfo()."""
    about = registry.get("nodes", "", name).get("status") or {}
    port = ((about.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    return port if isinstance(port, int) and port else KUBELET_PORT


def locate_kubelet(registry: Registry, pod: JSON) -> Location:
    """The kubelet that runs a Pod; ApiError 400 if it has no node yet."""
    node = (pod["spec"] or {}).get("nodeName")
    if not node:
        raise status.bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    return Location(node_address(registry, node), kubelet_port(registry, node))


def _global(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        raise status.bad_request("address not allowed") from None
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        raise status.bad_request("address not allowed")
    return address


def _port_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
        raise status.bad_request(f'invalid port "{text}"')
    return int(text)
