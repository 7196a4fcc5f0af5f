"""Which JSON types the fields of an object have: what is read of a request before its rules are looked at.

Only fields that are read are named; others are kept as they are. `null` is a field that is not there.

Kubernetes: staging/src/k8s.io/api/*/v1/types.go; the words of errors are encoding/json's
Differs: an error names the kind, not the inner Go type, before the field's path.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

from msgspec import Struct, ValidationError, convert, field

T = TypeVar("T")
Text = str | None
Number = int | None
Flag = bool | None
Map = dict[str, str] | None
Strings = list[str] | None
NumberOrText = int | str | None


class Shape(Struct, rename="camel"):
    pass


class Owner(Shape):
    api_version: Text = None
    kind: Text = None
    name: Text = None
    uid: Text = None
    controller: Flag = None
    block_owner_deletion: Flag = None


class Meta(Shape):
    name: Text = None
    generate_name: Text = None
    namespace: Text = None
    labels: Map = None
    annotations: Map = None
    uid: Text = None
    resource_version: Text = None
    finalizers: Strings = None
    owner_references: list[Owner] | None = None
    deletion_grace_period_seconds: Number = None


class AnyShape(Shape):
    metadata: Meta | None = None


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


class Expression(Shape):
    key: Text = None
    operator: Text = None
    values: Strings = None


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
    restart_policy: Text = None
    dns_policy: Text = None
    termination_grace_period_seconds: Number = None
    tolerations: list[Toleration] | None = None
    scheduler_name: Text = None
    service_account_name: Text = None
    volumes: list[Volume] | None = None


class Condition(Shape):
    type: Text = None
    status: Text = None


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


class Template(Shape):
    metadata: Meta | None = None
    spec: PodSpec | None = None


class Selector(Shape):
    match_labels: Map = None
    match_expressions: list[Expression] | None = None


class Rolling(Shape):
    max_unavailable: NumberOrText = None
    max_surge: NumberOrText = None
    partition: Number = None


class RollingStrategy(Shape):
    type: Text = None
    rolling_update: Rolling | None = None


class Ordinals(Shape):
    start: Number = None


class WorkloadSpec(Shape):
    ordinals: Ordinals | None = None
    replicas: Number = None
    selector: Selector | None = None
    template: Template | None = None
    strategy: RollingStrategy | None = None
    update_strategy: RollingStrategy | None = None
    service_name: Text = None
    pod_management_policy: Text = None
    min_ready_seconds: Number = None
    revision_history_limit: Number = None
    progress_deadline_seconds: Number = None
    paused: Flag = None


class WorkloadStatus(Shape):
    replicas: Number = None
    ready_replicas: Number = None
    conditions: list[Condition] | None = None


class WorkloadShape(AnyShape):
    spec: WorkloadSpec | None = None
    status: WorkloadStatus | None = None


class EndpointConditions(Shape):
    ready: Flag = None
    serving: Flag = None
    terminating: Flag = None


class Hint(Shape):
    name: Text = None


class Hints(Shape):
    for_zones: list[Hint] | None = None
    for_nodes: list[Hint] | None = None


class Target(Shape):
    kind: Text = None
    name: Text = None
    namespace: Text = None
    uid: Text = None


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


class BackendPort(Shape):
    name: Text = None
    number: Number = None


class BackendService(Shape):
    name: Text = None
    port: BackendPort | None = None


class Backend(Shape):
    service: BackendService | None = None
    resource: dict[str, Any] | None = None


class HttpPath(Shape):
    path: Text = None
    path_type: Text = None
    backend: Backend | None = None


class Http(Shape):
    paths: list[HttpPath] | None = None


class IngressRule(Shape):
    host: Text = None
    http: Http | None = None


class IngressTls(Shape):
    hosts: Strings = None
    secret_name: Text = None


class IngressSpec(Shape):
    ingress_class_name: Text = None
    default_backend: Backend | None = None
    rules: list[IngressRule] | None = None
    tls: list[IngressTls] | None = None


class IngressShape(AnyShape):
    spec: IngressSpec | None = None
    status: BalancerStatus | None = None


class LeaseSpec(Shape):
    holder_identity: Text = None
    lease_duration_seconds: Number = None
    renew_time: Text = None
    acquire_time: Text = None


class LeaseShape(AnyShape):
    spec: LeaseSpec | None = None


class PolicySpec(Shape):
    pod_selector: Selector | None = None
    policy_types: Strings = None
    ingress: list[dict[str, Any]] | None = None
    egress: list[dict[str, Any]] | None = None


class PolicyShape(AnyShape):
    spec: PolicySpec | None = None


class ClassSpec(Shape):
    controller: Text = None


class IngressClassShape(AnyShape):
    spec: ClassSpec | None = None


class EventShape(AnyShape):
    type: Text = None
    reason: Text = None
    message: Text = None
    involved_object: Target | None = None


class DataShape(AnyShape):
    data: Map = None
    binary_data: Map = None
    immutable: Flag = None


class SecretShape(DataShape):
    string_data: Map = None
    type: Text = None


class SpecShape(AnyShape):
    spec: dict[str, Any] | None = None
    status: dict[str, Any] | None = None


SHAPES: dict[str, type[AnyShape]] = {
    "": SpecShape, "services": ServiceShape, "pods": PodShape, "endpointslices": EndpointSliceShape,
    "endpoints": EndpointsShape, "nodes": NodeShape, "ingresses": IngressShape, "leases": LeaseShape,
    "configmaps": DataShape, "secrets": SecretShape, "networkpolicies": PolicyShape,
    "ingressclasses": IngressClassShape, "events": EventShape,
    **dict.fromkeys(("deployments", "replicasets", "statefulsets", "daemonsets"), WorkloadShape),
}  # fmt: skip
"""By plural name; '' for any other kind."""
_GO = {"array": "array", "object": "object", "str": "string", "int": "number", "float": "number", "bool": "bool"}


def wrong_shape(shape: type[AnyShape], kind: str, obj: Any) -> str:
    """Which field has a wrong type, as Go's JSON decoder says it; '' when all are right."""
    try:
        convert(obj, shape)
    except ValidationError as error:
        return _said(kind, str(error))
    return ""


def _said(kind: str, text: str) -> str:
    """``Expected `int | null`, got `str` - at `$.spec.ports[0].port` `` in Go's words."""
    got = re.search(r"got `(\w+)`", text)
    wanted = re.search(r"Expected `([^`]*)`", text)
    path = re.search(r"at `\$\.?([^`]*)`", text)
    what = _GO.get(got[1], got[1]) if got else "value"
    types = wanted[1].replace(" | null", "") if wanted else "object"
    where = re.sub(r"\[[^]]*\]", "", path[1]) if path else ""
    return f"json: cannot unmarshal {what} into Go struct field {kind}.{where} of type {_GO.get(types, types)}"


def without_nulls(value: Any) -> Any:
    """`value` without the keys that are `null`; the same object where there are none."""
    if isinstance(value, dict):
        plain = {key: without_nulls(part) for key, part in value.items() if part is not None}
        if len(plain) == len(value) and all(part is value[key] for key, part in plain.items()):
            return value
        return plain
    if isinstance(value, list):
        parts = [without_nulls(part) for part in value]
        return value if all(a is b for a, b in zip(parts, value, strict=True)) else parts
    return value
