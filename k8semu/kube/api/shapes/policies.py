"""NetworkPolicies."""

from msgspec import field

from k8semu.kube.api.shapes import AnyShape, Number, NumberOrText, Shape, Strings, Text
from k8semu.kube.api.shapes.workloads import Selector


class PolicyPort(Shape):
    protocol: Text = None
    port: NumberOrText = None
    end_port: Number = None


class IpBlock(Shape):
    cidr: Text = None
    excepted: Strings = field(default=None, name="except")


class Peer(Shape):
    pod_selector: Selector | None = None
    namespace_selector: Selector | None = None
    ip_block: IpBlock | None = None


class IngressRule(Shape):
    ports: list[PolicyPort] | None = None
    sources: list[Peer] | None = field(default=None, name="from")


class EgressRule(Shape):
    ports: list[PolicyPort] | None = None
    to: list[Peer] | None = None


class PolicySpec(Shape):
    pod_selector: Selector | None = None
    policy_types: Strings = None
    ingress: list[IngressRule] | None = None
    egress: list[EgressRule] | None = None


class PolicyShape(AnyShape):
    spec: PolicySpec | None = None
