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

RunningPod = tuple[Pod, str, str]
"""A Pod, its address, its node."""


class Selected:
    """Pods by their labels."""

    def __init__(self, pods: Iterable[RunningPod]) -> None:
        self._by_label: dict[tuple[str, str, str], list[RunningPod]] = {}
        for one in pods:
            meta = one[0].metadata
            for key, value in meta.labels.items():
                self._by_label.setdefault((meta.namespace, key, value), []).append(one)

    def by(self, namespace: str, selector: dict[str, str]) -> list[RunningPod]:
        """Those that a selector selects; an empty one selects nothing."""
        items = selector.items()
        lists = [self._by_label.get((namespace, key, value), []) for key, value in items]
        return [one for one in min(lists, key=len, default=[]) if items <= one[0].metadata.labels.items()]


def slice_of(service: Service, pods: Selected) -> EndpointSlice:
    """The endpoints of a Service among the Pods that run."""
    meta = service.metadata
    mine = pods.by(meta.namespace, service.spec.selector or {})
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
