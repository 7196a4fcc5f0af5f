"""Which Pods are behind a Service. Kubernetes: pkg/controller/endpointslice"""

from __future__ import annotations

from collections.abc import Iterable

from k8semu.kube.objects import ObjectMeta, Pod
from k8semu.kube.services import (
    SERVICE_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Service,
    ServicePort,
    TargetRef,
)


def slice_of(service: Service, pods: Iterable[tuple[Pod, str, str]]) -> EndpointSlice:
    """The endpoints of a Service among Pods, each with its address and node."""
    meta, selector = service.metadata, service.spec.selector
    mine = [
        (pod, address, node) for pod, address, node in pods
        if selector and pod.metadata.namespace == meta.namespace and selector.items() <= pod.metadata.labels.items()
    ]  # fmt: skip
    return EndpointSlice(
        api_version="discovery.k8s.io/v1",
        kind="EndpointSlice",
        metadata=ObjectMeta(name=meta.name, namespace=meta.namespace, labels={SERVICE_LABEL: meta.name}),
        address_type="IPv4",
        endpoints=[_endpoint(*one) for one in mine],
        ports=[_port(port, [pod for pod, _, _ in mine]) for port in service.spec.ports],
    )


def _endpoint(pod: Pod, address: str, node: str) -> Endpoint:
    target = TargetRef(kind="Pod", name=pod.metadata.name, namespace=pod.metadata.namespace)
    return Endpoint(
        addresses=[address], conditions=EndpointConditions(ready=True), node_name=node, target_ref=target
    )


def _port(port: ServicePort, pods: list[Pod]) -> EndpointPort:
    target = port.target_port or port.port
    if isinstance(target, str):
        named = {held.name: held.container_port for pod in pods for c in pod.spec.containers for held in c.ports}
        return EndpointPort(name=port.name, port=named.get(target), protocol=port.protocol)
    return EndpointPort(name=port.name, port=target, protocol=port.protocol)
