"""What kube-proxy knows and decides, as values that every mode reads.

    ProxyState ── node, config
               └─ ports: one ServicePortInfo per port of each Service, sorted by name
                    ├─ where it is reached: cluster_ip, external_ips, lb_vips, node_port
                    └─ who answers: cluster, local, reachable, has_any

Kubernetes: pkg/proxy/types.go ServicePortName, serviceport.go BaseServicePortInfo, endpoint.go
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Protocol = Literal["TCP", "UDP", "SCTP"]


class LocalDetector(Struct, frozen=True):
    """How kube-proxy tells traffic of this cluster's Pods: by source address, or by interface.

    `value` is a CIDR, a bridge's name, or what an interface's name begins with.

    Kubernetes: pkg/proxy/util/localdetector.go
    """

    kind: Literal["None", "CIDR", "BridgeInterface", "InterfaceNamePrefix"] = "None"
    value: str = ""

    @property
    def implemented(self) -> bool:
        return self.kind != "None"


class ProxyConfig(Struct, frozen=True, kw_only=True):
    """What the KubeProxyConfiguration says, as far as rules depend on it.

    Kubernetes: pkg/proxy/apis/config/types.go KubeProxyConfiguration
    """

    detector: LocalDetector = LocalDetector()
    masquerade_all: bool = False
    masquerade_bit: int = 14
    localhost_node_ports: bool = True
    node_port_addresses: tuple[str, ...] = ()
    """CIDRs of the node addresses on which node ports are open (none: all), or ``primary``: the first one."""
    random_fully: bool = True
    conntrack_tcp_be_liberal: bool = False
    ipvs_scheduler: str = "rr"
    strict_arp: bool = False
    """ipvs mode: the node answers ARP for addresses of the interface that is asked by only, not for kube-ipvs0's."""

    @property
    def masquerade_mark(self) -> int:
        return 1 << self.masquerade_bit


class ProxyNode(Struct, frozen=True, kw_only=True):
    """The node on which the proxy runs. `addresses`: all of its own IPv4 addresses, the primary one first."""

    name: str
    addresses: tuple[str, ...] = ()
    zone: str = ""
    """Its label topology.kubernetes.io/zone."""

    @property
    def primary(self) -> str:
        return self.addresses[0] if self.addresses else ""

    def runs(self, endpoint: EndpointInfo) -> bool:
        """Is it an endpoint on this node?"""
        return bool(self.name) and endpoint.node_name == self.name


class ServicePortName(Struct, frozen=True, order=True):
    """One port of one Service: ``default/account-service:http``; ``default/web`` where the port has no name."""

    namespace: str
    name: str
    port: str
    protocol: Protocol

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}:{self.port}" if self.port else f"{self.namespace}/{self.name}"

    @property
    def service(self) -> str:
        """``default/account-service``."""
        return f"{self.namespace}/{self.name}"

    @property
    def origin(self) -> str:
        """What a trace says of a rule: ``Service default/account-service:http``."""
        return f"Service {self}"


class EndpointInfo(Struct, frozen=True, kw_only=True):
    """One address that may answer. `pod`: ``default/account-1`` where the slice says so."""

    ip: str
    port: int
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zone_hints: tuple[str, ...] = ()
    node_hints: tuple[str, ...] = ()
    node_name: str = ""
    pod: str = ""

    def __str__(self) -> str:
        return f"{self.ip}:{self.port}"


class Endpoints(Struct, frozen=True, kw_only=True):
    """Which endpoints of a service port take traffic on this node; in the order of ``ip:port`` as text."""

    cluster: tuple[EndpointInfo, ...] = ()
    """For traffic under policy Cluster."""
    local: tuple[EndpointInfo, ...] = ()
    """For traffic under policy Local."""
    reachable: tuple[EndpointInfo, ...] = ()
    """Both together."""
    has_any: bool = False
    """Is there one anywhere? If not, traffic is refused; if there is, but none for us, it is dropped."""


class ServicePortInfo(Struct, frozen=True, kw_only=True):
    """One port of one Service: where it is reached, under which policies, and who answers."""

    name: ServicePortName
    cluster_ip: str
    port: int
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    lb_vips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    """Who may use the lb_vips; none: everybody."""
    health_check_node_port: int = 0
    affinity_seconds: int = 0
    """How long a client stays with its endpoint; 0: not at all."""
    external_local: bool = False
    internal_local: bool = False
    all_endpoints: tuple[EndpointInfo, ...] = ()
    """Whatever the slices list, fit or not."""
    endpoints: Endpoints = Endpoints()

    @property
    def protocol(self) -> Protocol:
        return self.name.protocol

    @property
    def externally_accessible(self) -> bool:
        """By anything but its ClusterIP?"""
        return bool(self.node_port or self.lb_vips or self.external_ips)

    @property
    def uses_cluster(self) -> bool:
        """Is policy Cluster ever applied? (With external policy Local it is, to traffic from the cluster.)"""
        return not self.internal_local or self.externally_accessible

    @property
    def uses_local(self) -> bool:
        return self.internal_local or (self.external_local and self.externally_accessible)

    @property
    def internal(self) -> tuple[EndpointInfo, ...]:
        """Who answers at the ClusterIP."""
        return self.endpoints.local if self.internal_local else self.endpoints.cluster

    @property
    def external(self) -> tuple[EndpointInfo, ...]:
        """Who answers at node port, external and load balancer IPs, to clients outside the cluster."""
        return self.endpoints.local if self.external_local else self.endpoints.cluster

    @property
    def filtered(self) -> bool:
        """Is a load balancer IP open to some sources only?"""
        return bool(self.endpoints.has_any and self.lb_vips and self.source_ranges)


class ProxyState(Struct, frozen=True, kw_only=True):
    """All that one node's kube-proxy has to put into force."""

    node: ProxyNode
    config: ProxyConfig = ProxyConfig()
    ports: tuple[ServicePortInfo, ...] = ()
