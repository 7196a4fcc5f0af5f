"""Which rules each kind has."""

from __future__ import annotations

import msgspec

from k8semu.kube.api.resources import RESOURCES
from k8semu.kube.api.shapes import SHAPES
from k8semu.kube.api.strategies.base import Strategy
from k8semu.kube.api.strategies.endpoints import EndpointSliceStrategy, EndpointsStrategy
from k8semu.kube.api.strategies.others import IngressStrategy, NamespaceStrategy, NodeStrategy, PolicyStrategy
from k8semu.kube.api.strategies.pod import PodStrategy
from k8semu.kube.api.strategies.service import ServiceStrategy
from k8semu.kube.api.strategies.workload import WorkloadStrategy
from k8semu.kube.api.surroundings import Streams


class Ranges(msgspec.Struct, frozen=True):
    """What the API server is started with: ``--service-cluster-ip-range``, ``--service-node-port-range``."""

    service_cidrs: tuple[str, ...] = ("10.96.0.0/12",)
    node_ports: tuple[int, int] = (30_000, 32_767)


def strategies(ranges: Ranges, random: Streams) -> dict[str, Strategy]:
    """The rules of each kind, by plural name."""
    own: dict[str, Strategy] = {
        "services": ServiceStrategy(
            ranges.service_cidrs, ranges.node_ports, random["cluster-ips"], random["node-ports"]
        ),
        "pods": PodStrategy(), "endpointslices": EndpointSliceStrategy(), "endpoints": EndpointsStrategy(),
        "nodes": NodeStrategy(), "namespaces": NamespaceStrategy(), "ingresses": IngressStrategy(),
        "networkpolicies": PolicyStrategy(),
    }  # fmt: skip
    for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"):
        own[f"{kind.lower()}s"] = WorkloadStrategy(kind)
    table = {plural: own.get(plural) or Strategy() for plural in RESOURCES}
    for plural, strategy in table.items():
        strategy.shape = SHAPES.get(plural, SHAPES[""])
    return table
