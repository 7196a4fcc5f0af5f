"""Pods and Nodes: what every cluster has."""

from typing import Any

from msgspec import field

from k8semu.kube.api.shapes import (
    AnyShape,
    Condition,
    Expression,
    Flag,
    Map,
    Number,
    NumberOrText,
    Shape,
    Strings,
    Text,
)


class ContainerPort(Shape):
    name: Text = None
    container_port: Number = None
    host_port: Number = None
    host_ip: Text = field(default=None, name="hostIP")
    protocol: Text = None


class ProbeTarget(Shape):
    port: NumberOrText = None
    path: Text = None


class Probe(Shape):
    http_get: ProbeTarget | None = None
    tcp_socket: ProbeTarget | None = None
    exec: dict[str, Any] | None = None
    grpc: dict[str, Any] | None = None


class Env(Shape):
    name: Text = None
    value: Text = None
    value_from: Any = None
    """See `environment`: few have one, and each type takes time to make."""


class VolumeMount(Shape):
    name: Text = None
    mount_path: Text = None
    sub_path: Text = None


class KeyToPath(Shape):
    key: Text = None
    path: Text = None


class SecretVolume(Shape):
    secret_name: Text = None
    items: list[KeyToPath] | None = None
    optional: Flag = None


class ConfigMapVolume(Shape):
    name: Text = None
    items: list[KeyToPath] | None = None
    optional: Flag = None


class Volume(Shape):
    name: Text = None
    secret: SecretVolume | None = None
    config_map: ConfigMapVolume | None = None


class Container(Shape):
    name: Text = None
    image: Text = None
    command: Strings = None
    args: Strings = None
    ports: list[ContainerPort] | None = None
    env: list[Env] | None = None
    env_from: list[Any] | None = None
    volume_mounts: list[VolumeMount] | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None


class Toleration(Shape):
    key: Text = None
    operator: Text = None
    value: Text = None
    effect: Text = None
    toleration_seconds: Number = None


class NodeTerm(Shape):
    match_fields: list[Expression] | None = None
    match_expressions: list[Expression] | None = None


class NodeTerms(Shape):
    node_selector_terms: list[NodeTerm] | None = None


class NodeAffinity(Shape):
    required: NodeTerms | None = field(default=None, name="requiredDuringSchedulingIgnoredDuringExecution")


class PodAffinity(Shape):
    node_affinity: NodeAffinity | None = None


class PodSpec(Shape):
    affinity: PodAffinity | None = None
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    node_name: Text = None
    node_selector: Map = None
    host_network: Flag = None
    hostname: Text = None
    subdomain: Text = None
    set_hostname_as_fqdn: Flag = field(default=None, name="setHostnameAsFQDN")
    enable_service_links: Flag = None
    host_aliases: list[Any] | None = None
    restart_policy: Text = None
    dns_policy: Text = None
    termination_grace_period_seconds: Number = None
    tolerations: list[Toleration] | None = None
    scheduler_name: Text = None
    service_account_name: Text = None
    volumes: list[Volume] | None = None


class PodIP(Shape):
    ip: Text = None


class PodStatus(Shape):
    phase: Text = None
    pod_ip: Text = field(default=None, name="podIP")
    pod_ips: list[PodIP] | None = field(default=None, name="podIPs")
    conditions: list[Condition] | None = None
    container_statuses: list[dict[str, Any]] | None = None


class PodShape(AnyShape):
    spec: PodSpec | None = None
    status: PodStatus | None = None


class Taint(Shape):
    key: Text = None
    value: Text = None
    effect: Text = None


class NodeSpec(Shape):
    pod_cidr: Text = field(default=None, name="podCIDR")
    pod_cidrs: Strings = field(default=None, name="podCIDRs")
    unschedulable: Flag = None
    taints: list[Taint] | None = None


class NodeAddress(Shape):
    type: Text = None
    address: Text = None


class NodeStatus(Shape):
    addresses: list[NodeAddress] | None = None
    conditions: list[Condition] | None = None


class NodeShape(AnyShape):
    spec: NodeSpec | None = None
    status: NodeStatus | None = None
