"""Which endpoints take a Service's traffic on this node: pure functions, the same for every mode.

    EndpointSlices ─▶ endpoints_of ─▶ categorize ─▶ cluster: ready (near ones if hinted), else serving while ending
                                                └─▶ local:   ready on this node, else serving here while ending

Kubernetes: pkg/proxy/topology.go CategorizeEndpoints(), serviceport.go newBaseServiceInfo(),
            endpointslicecache.go, util/nodeport_addresses.go
Differs:    IPv4 only; services are visited in the order of their names, not in Go's random order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache

from k8semu.kube.proxy.model import (
    EndpointInfo,
    Endpoints,
    ProxyConfig,
    ProxyNode,
    ProxyState,
    ServicePortInfo,
    ServicePortName,
)
from k8semu.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from k8semu.wire.addr import ip_aton, ip_ntoa, prefix_mask

PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
"""A Service that carries it is another proxy's."""

PRIMARY = "primary"

EndpointsMap = dict[ServicePortName, tuple[EndpointInfo, ...]]


class Decisions:
    """What the kube-proxies of all nodes have to put into force: most of it is the same for all, and decided once."""

    def __init__(self, services: Iterable[Service], slices: Iterable[EndpointSlice]) -> None:
        found = endpoints_of(slices)
        ports = [info for service in services if proxied(service) for info in _ports_of(service, found)]
        ports.sort(key=lambda info: (str(info.name), info.name.protocol))
        self._ports = tuple(ports)
        self._differ = [at for at, info in enumerate(ports) if _differs(info)]

    def of(self, node: ProxyNode, config: ProxyConfig) -> ProxyState:
        """Everything that `node`'s kube-proxy has to put into force, sorted by the ports' names."""
        ports = self._ports
        if self._differ:
            own = list(ports)
            for at in self._differ:
                own[at] = _with_endpoints(own[at], node)
            ports = tuple(own)
        return ProxyState(node=node, config=config, ports=ports)


def decide(
    services: Iterable[Service], slices: Iterable[EndpointSlice], node: ProxyNode, config: ProxyConfig
) -> ProxyState:
    """The decisions of one node."""
    return Decisions(services, slices).of(node, config)


def _differs(info: ServicePortInfo) -> bool:
    """Does it depend on the node which endpoints take the traffic?"""
    return info.uses_local or any(e.node_hints or e.zone_hints for e in info.all_endpoints)


def proxied(service: Service) -> bool:
    """Is a Service kube-proxy's? Headless ones and ExternalNames are not. Kubernetes: ShouldSkipService()."""
    spec = service.spec
    if spec.type == "ExternalName" or PROXY_NAME_LABEL in service.metadata.labels:
        return False
    return bool(canonical_ip(spec.cluster_ip))


def _ports_of(service: Service, found: EndpointsMap) -> Iterable[ServicePortInfo]:
    meta = service.metadata
    for port in service.spec.ports:
        name = ServicePortName(meta.namespace, meta.name, port.name, port.protocol)
        yield service_port(service, port, found.get(name, ()))


def service_port(service: Service, port: ServicePort, endpoints: tuple[EndpointInfo, ...]) -> ServicePortInfo:
    """One port of a Service, as nodes see it that are none of its endpoints'."""
    spec, meta = service.spec, service.metadata
    ingress = service.status.load_balancer.ingress
    external_ips = _ipv4(spec.external_ips)
    external = spec.type != "ClusterIP" or bool(spec.external_ips)
    external_local = external and spec.external_traffic_policy == "Local"
    info = ServicePortInfo(
        name=ServicePortName(meta.namespace, meta.name, port.name, port.protocol),
        cluster_ip=canonical_ip(spec.cluster_ip),
        port=port.port,
        node_port=port.node_port,
        external_ips=external_ips,
        lb_vips=_ipv4(i.ip for i in ingress if i.ip_mode != "Proxy"),
        source_ranges=source_ranges(spec.load_balancer_source_ranges),
        health_check_node_port=(
            spec.health_check_node_port if spec.type == "LoadBalancer" and external_local else 0
        ),
        affinity_seconds=_affinity(service),
        external_local=external_local,
        internal_local=spec.internal_traffic_policy == "Local",
        all_endpoints=endpoints,
    )
    return _with_endpoints(info, ProxyNode(name="")) if endpoints else info


def _with_endpoints(info: ServicePortInfo, node: ProxyNode) -> ServicePortInfo:
    """As `node` sees it."""
    from msgspec.structs import replace

    return replace(info, endpoints=categorize(info.all_endpoints, info, node))


def _affinity(service: Service) -> int:
    spec = service.spec
    if spec.session_affinity != "ClientIP":
        return 0
    config = spec.session_affinity_config
    return config.client_ip.timeout_seconds if config is not None else 10_800


# --- endpoints --------------------------------------------------------------------------------


def endpoints_of(slices: Iterable[EndpointSlice]) -> EndpointsMap:
    """The endpoints of each service port, sorted by ``ip:port`` as text.

    An address that two slices list is one endpoint; one that is not terminating wins.
    """
    found: dict[ServicePortName, dict[str, EndpointInfo]] = {}
    for part in sorted(slices, key=lambda s: (s.metadata.namespace, s.metadata.name)):
        if part.address_type != "IPv4" or not part.service_name:
            continue
        for port in part.ports:
            if port.port is None:
                continue
            name = ServicePortName(part.metadata.namespace, part.service_name, port.name, port.protocol)
            here = found.setdefault(name, {})
            for endpoint in part.endpoints:
                info = _endpoint(endpoint, port.port)
                key = str(info)
                if info is not None and (not info.terminating or key not in here):
                    here[key] = info
    return {name: tuple(here[key] for key in sorted(here)) for name, here in found.items()}


def _endpoint(endpoint: Endpoint, port: int) -> EndpointInfo | None:
    ip = canonical_ip(endpoint.addresses[0])
    if not ip:
        return None
    conditions, hints, target = endpoint.conditions, endpoint.hints, endpoint.target_ref
    return EndpointInfo(
        ip=ip,
        port=port,
        ready=conditions.ready is not False,
        serving=conditions.serving is not False,
        terminating=bool(conditions.terminating),
        zone_hints=tuple(hint.name for hint in hints.for_zones) if hints is not None else (),
        node_hints=tuple(hint.name for hint in hints.for_nodes) if hints is not None else (),
        node_name=endpoint.node_name or "",
        pod=f"{target.namespace}/{target.name}" if target is not None and target.kind == "Pod" else "",
    )


def categorize(endpoints: Sequence[EndpointInfo], info: ServicePortInfo, node: ProxyNode) -> Endpoints:
    """The endpoints that take traffic on this node. Kubernetes: CategorizeEndpoints()."""
    cluster = _cluster(endpoints, node) if info.uses_cluster else ()
    if not info.uses_local:
        return Endpoints(cluster=cluster, reachable=cluster, has_any=bool(cluster))
    local = _usable([e for e in endpoints if node.runs(e)])
    has_any = bool(cluster or _usable(endpoints))
    if not info.uses_cluster:
        return Endpoints(local=local, reachable=local, has_any=has_any)
    both = {str(e): e for e in (*cluster, *local)}
    reachable = tuple(both[key] for key in sorted(both))
    return Endpoints(cluster=cluster, local=local, reachable=reachable, has_any=has_any)


def _usable(endpoints: Sequence[EndpointInfo]) -> tuple[EndpointInfo, ...]:
    """The ready ones; where there is none, those that still serve while they end."""
    ready = tuple(e for e in endpoints if e.ready)
    return ready or tuple(e for e in endpoints if e.serving and e.terminating)


def _cluster(endpoints: Sequence[EndpointInfo], node: ProxyNode) -> tuple[EndpointInfo, ...]:
    usable = _usable(endpoints)
    if not usable or not usable[0].ready:
        return usable
    if all(e.node_hints for e in usable):
        near = tuple(e for e in usable if node.name in e.node_hints)
        if near:
            return near
    if all(e.zone_hints for e in usable):
        near = tuple(e for e in usable if node.zone in e.zone_hints)
        if near:
            return near
    return usable


# --- addresses --------------------------------------------------------------------------------


@lru_cache(maxsize=65536)
def canonical_ip(text: str) -> str:
    """An IPv4 address in its usual form (leading zeros dropped), or '' if it is none."""
    with suppress(ValueError):
        if ip_ntoa(ip_aton(text)) == text:
            return text
    parts = text.split(".")
    if len(parts) != 4 or not all(p.isascii() and p.isdecimal() and int(p) < 256 for p in parts):
        return ""
    return ".".join(str(int(p)) for p in parts)


def _ipv4(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(ip for ip in map(canonical_ip, texts) if ip)


def _packed(ip: str) -> int:
    return int.from_bytes(bytes(map(int, ip.split("."))), "big")


def canonical_cidr(text: str) -> str:
    """``10.1.0.0/16`` of ``10.1.2.3/16``, or '' if it is no IPv4 network."""
    address, _, plen = text.strip().partition("/")
    ip = canonical_ip(address)
    if not ip or not (plen.isascii() and plen.isdecimal() and int(plen) <= 32):
        return ""
    return f"{ip_ntoa((_packed(ip) & prefix_mask(int(plen))).to_bytes(4, 'big'))}/{int(plen)}"


def source_ranges(texts: Iterable[str]) -> tuple[str, ...]:
    """Who may use a load balancer's IP. One range that holds everybody: no filter at all."""
    ranges = tuple(cidr for cidr in map(canonical_cidr, texts) if cidr)
    return () if any(cidr.endswith("/0") for cidr in ranges) else ranges


def contains(cidr: str, ip: str) -> bool:
    """Is `ip` in the (canonical) network `cidr`?"""
    net, _, plen = cidr.partition("/")
    return _packed(ip) & prefix_mask(int(plen)) == _packed(net)


def node_port_addresses(node: ProxyNode, config: ProxyConfig) -> tuple[str, ...] | None:
    """The node's addresses on which node ports are open, in order; None: on all.

    A list that names no IPv4 network means all. 127.0.0.1 counts as an address of every node.

    Kubernetes: pkg/proxy/util/nodeport_addresses.go NodePortAddresses
    """
    if PRIMARY in config.node_port_addresses:
        return (node.primary,) if node.primary else ()
    cidrs = [cidr for cidr in map(canonical_cidr, config.node_port_addresses) if cidr]
    if not cidrs or any(cidr.endswith("/0") for cidr in cidrs):
        return None
    own = dict.fromkeys((*node.addresses, "127.0.0.1"))
    return tuple(ip for ip in own if any(contains(cidr, ip) for cidr in cidrs))
