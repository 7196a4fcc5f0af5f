"""Services, and what is behind them."""

from msgspec import field

from k8semu.kube.api.shapes import AnyShape, Flag, Map, Number, NumberOrText, Shape, Strings, Target, Text


class ServicePort(Shape):
    name: Text = None
    protocol: Text = None
    app_protocol: Text = None
    port: Number = None
    target_port: NumberOrText = None
    node_port: Number = None


class ClientIP(Shape):
    timeout_seconds: Number = None


class Affinity(Shape):
    client_ip: ClientIP | None = field(default=None, name="clientIP")


class ServiceSpec(Shape):
    type: Text = None
    cluster_ip: Text = field(default=None, name="clusterIP")
    cluster_ips: Strings = field(default=None, name="clusterIPs")
    ports: list[ServicePort] | None = None
    selector: Map = None
    external_ips: Strings = field(default=None, name="externalIPs")
    external_name: Text = None
    session_affinity: Text = None
    session_affinity_config: Affinity | None = None
    internal_traffic_policy: Text = None
    external_traffic_policy: Text = None
    traffic_distribution: Text = None
    load_balancer_ip: Text = field(default=None, name="loadBalancerIP")
    load_balancer_source_ranges: Strings = None
    load_balancer_class: Text = None
    allocate_load_balancer_node_ports: Flag = None
    health_check_node_port: Number = None
    publish_not_ready_addresses: Flag = None
    ip_families: Strings = None
    ip_family_policy: Text = None


class Way(Shape):
    ip: Text = None
    hostname: Text = None
    ip_mode: Text = None


class Balancer(Shape):
    ingress: list[Way] | None = None


class BalancerStatus(Shape):
    load_balancer: Balancer | None = None


class ServiceShape(AnyShape):
    spec: ServiceSpec | None = None
    status: BalancerStatus | None = None


class EndpointConditions(Shape):
    ready: Flag = None
    serving: Flag = None
    terminating: Flag = None


class Hint(Shape):
    name: Text = None


class Hints(Shape):
    for_zones: list[Hint] | None = None
    for_nodes: list[Hint] | None = None


class Endpoint(Shape):
    addresses: Strings = None
    conditions: EndpointConditions | None = None
    hostname: Text = None
    node_name: Text = None
    zone: Text = None
    hints: Hints | None = None
    target_ref: Target | None = None


class EndpointPort(Shape):
    name: Text = None
    port: Number = None
    protocol: Text = None
    app_protocol: Text = None


class EndpointSliceShape(AnyShape):
    address_type: Text = None
    endpoints: list[Endpoint] | None = None
    ports: list[EndpointPort] | None = None


class EndpointAddress(Shape):
    ip: Text = None
    hostname: Text = None
    node_name: Text = None
    target_ref: Target | None = None


class Subset(Shape):
    addresses: list[EndpointAddress] | None = None
    not_ready_addresses: list[EndpointAddress] | None = None
    ports: list[EndpointPort] | None = None


class EndpointsShape(AnyShape):
    subsets: list[Subset] | None = None
