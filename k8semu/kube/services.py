"""Services and EndpointSlices, as the network needs them.

Kubernetes: staging/src/k8s.io/api/core/v1/types.go Service, staging/src/k8s.io/api/discovery/v1/types.go
"""

# Annotations are types here, not their text (no `from __future__`): msgspec would compile each text by itself.
from typing import Annotated, Literal

from msgspec import Meta, field

from k8semu.kube.objects import KubeObject, ObjectMeta, PortNumber

Protocol = Literal["TCP", "UDP", "SCTP"]
NodePort = Annotated[int, Meta(ge=0, le=65535)]
"""0: none asked for."""


class ServicePort(KubeObject, kw_only=True):
    port: PortNumber
    name: str = ""
    protocol: Protocol = "TCP"
    app_protocol: str | None = None
    target_port: PortNumber | str | None = None
    """A number, or the name of a container's port; None is `port`."""
    node_port: NodePort = 0


class ClientIPConfig(KubeObject, kw_only=True):
    timeout_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 10_800


class SessionAffinityConfig(KubeObject, kw_only=True):
    client_ip: ClientIPConfig = field(default_factory=ClientIPConfig, name="clientIP")


class ServiceSpec(KubeObject, kw_only=True):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    cluster_ip: str = field(default="", name="clusterIP")
    """``None`` is a headless Service; '' until one is allocated."""
    cluster_ips: list[str] = field(default_factory=list, name="clusterIPs")
    ports: list[ServicePort] = field(default_factory=list)
    selector: dict[str, str] | None = None
    external_ips: list[str] = field(default_factory=list, name="externalIPs")
    external_name: str = ""
    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    internal_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    external_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    traffic_distribution: str | None = None
    """PreferClose (PreferSameZone), PreferSameNode."""
    load_balancer_ip: str = field(default="", name="loadBalancerIP")
    load_balancer_source_ranges: list[str] = field(default_factory=list)
    load_balancer_class: str | None = None
    allocate_load_balancer_node_ports: bool = True
    health_check_node_port: NodePort = 0
    publish_not_ready_addresses: bool = False
    ip_families: list[Literal["IPv4", "IPv6"]] = field(default_factory=list)
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None

    @property
    def headless(self) -> bool:
        return self.cluster_ip == "None"


class LoadBalancerIngress(KubeObject, kw_only=True):
    ip: str = ""
    hostname: str = ""
    ip_mode: Literal["VIP", "Proxy"] | None = None


class LoadBalancerStatus(KubeObject, kw_only=True):
    ingress: list[LoadBalancerIngress] = field(default_factory=list)


class ServiceStatus(KubeObject, kw_only=True):
    load_balancer: LoadBalancerStatus = field(default_factory=LoadBalancerStatus)


class Service(KubeObject, kw_only=True):
    """One stable address for Pods that come and go."""

    api_version: Literal["v1"]
    kind: Literal["Service"]
    metadata: ObjectMeta
    spec: ServiceSpec = field(default_factory=ServiceSpec)
    status: ServiceStatus = field(default_factory=ServiceStatus)


class EndpointConditions(KubeObject, kw_only=True):
    """None is unknown: ready and serving then count as true, terminating as false."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TargetRef(KubeObject, kw_only=True):
    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""


class ZoneHint(KubeObject, kw_only=True):
    name: str


class EndpointHints(KubeObject, kw_only=True):
    for_zones: list[ZoneHint] = field(default_factory=list)
    for_nodes: list[ZoneHint] = field(default_factory=list)


class Endpoint(KubeObject, kw_only=True):
    addresses: Annotated[list[str], Meta(min_length=1, max_length=100)]
    conditions: EndpointConditions = field(default_factory=EndpointConditions)
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None
    target_ref: TargetRef | None = None

    @property
    def ready(self) -> bool:
        return self.conditions.ready is not False

    @property
    def serving(self) -> bool:
        """As `ready` where it is not said (before Kubernetes 1.22 it was not)."""
        return self.ready if self.conditions.serving is None else self.conditions.serving

    @property
    def terminating(self) -> bool:
        return bool(self.conditions.terminating)


class EndpointPort(KubeObject, kw_only=True):
    name: str = ""
    port: PortNumber | None = None
    protocol: Protocol = "TCP"
    app_protocol: str | None = None


class EndpointSlice(KubeObject, kw_only=True):
    """Some of a Service's endpoints; the label kubernetes.io/service-name says whose."""

    api_version: Literal["discovery.k8s.io/v1"]
    kind: Literal["EndpointSlice"]
    metadata: ObjectMeta
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: list[Endpoint] = field(default_factory=list)
    ports: list[EndpointPort] = field(default_factory=list)

    @property
    def service_name(self) -> str:
        return self.metadata.labels.get(SERVICE_LABEL, "")


SERVICE_LABEL = "kubernetes.io/service-name"
