"""Which rules each kind has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from k8semu.kube.api.resources import RESOURCES
from k8semu.kube.api.shapes import SHAPES
from k8semu.kube.api.strategies.base import Strategy
from k8semu.kube.api.strategies.endpoints import EndpointSliceStrategy, EndpointsStrategy
from k8semu.kube.api.strategies.others import NamespaceStrategy, NodeStrategy, PolicyStrategy
from k8semu.kube.api.strategies.pod import PodStrategy
from k8semu.kube.api.strategies.service import ServiceStrategy
from k8semu.kube.api.strategies.workload import WorkloadStrategy
from k8semu.kube.api.surroundings import Streams

Listed = Callable[[str], Iterable[dict[str, Any]]]
"""All objects of a kind, by its plural name."""


class Ranges(msgspec.Struct, frozen=True):
    """What the API server is started with: ``--service-cluster-ip-range``, ``--service-node-port-range``."""

    service_cidrs: tuple[str, ...] = ("10.96.0.0/12",)
    node_ports: tuple[int, int] = (30_000, 32_767)


class Strategies(dict[str, Strategy]):
    """The rules of each kind, by plural name. Those that few clusters need are imported with their first object."""

    def __init__(self, own: dict[str, Strategy], listed: Listed) -> None:
        super().__init__()
        self._listed = listed
        for plural in RESOURCES:
            if plural not in ("ingresses", "ingressclasses", "secrets", "configmaps"):
                self._keep(plural, own.get(plural) or Strategy())

    def __missing__(self, plural: str) -> Strategy:
        assert plural in RESOURCES, plural
        from k8semu.kube.api.strategies.data import ConfigMapStrategy, SecretStrategy
        from k8semu.kube.api.strategies.ingress import IngressClassStrategy, IngressStrategy

        self._keep("ingresses", IngressStrategy(lambda: self._listed("ingressclasses")))
        self._keep("ingressclasses", IngressClassStrategy())
        self._keep("secrets", SecretStrategy())
        self._keep("configmaps", ConfigMapStrategy())
        return self[plural]

    def _keep(self, plural: str, strategy: Strategy) -> None:
        strategy.shape = SHAPES.get(plural, SHAPES[""])
        self[plural] = strategy


def strategies(ranges: Ranges, random: Streams, listed: Listed) -> Strategies:
    """`listed` gives the objects that there are."""
    own: dict[str, Strategy] = {
        "services": ServiceStrategy(
            ranges.service_cidrs, ranges.node_ports, random["cluster-ips"], random["node-ports"]
        ),
        "pods": PodStrategy(), "endpointslices": EndpointSliceStrategy(), "endpoints": EndpointsStrategy(),
        "nodes": NodeStrategy(), "namespaces": NamespaceStrategy(), "networkpolicies": PolicyStrategy(),
    }  # fmt: skip
    for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"):
        own[f"{kind.lower()}s"] = WorkloadStrategy(kind)
    return Strategies(own, listed)
