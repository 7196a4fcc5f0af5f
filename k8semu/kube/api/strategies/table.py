"""Which rules each kind has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from k8semu.kube.api.resources import RESOURCES
from k8semu.kube.api.shapes import shape_of
from k8semu.kube.api.strategies.base import Strategy

if TYPE_CHECKING:
    from k8semu.kube.api.surroundings import Streams

Listed = Callable[[str], Iterable[dict[str, Any]]]
"""All objects of a kind, by its plural name."""


class Ranges(msgspec.Struct, frozen=True):
    """What the API server is started with: ``--service-cluster-ip-range``, ``--service-node-port-range``."""

    service_cidrs: tuple[str, ...] = ("10.96.0.0/12",)
    node_ports: tuple[int, int] = (30_000, 32_767)


WORKLOADS = {f"{kind.lower()}s": kind for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")}


class Strategies(dict[str, Strategy]):
    """The rules of each kind, by plural name; imported and made with its first object."""

    def __init__(self, ranges: Ranges, random: Streams, listed: Listed) -> None:
        super().__init__()
        self._ranges, self._random, self._listed = ranges, random, listed

    def __missing__(self, plural: str) -> Strategy:
        assert plural in RESOURCES, plural
        made = self[plural] = self._make(plural)
        made.shape = shape_of(plural)
        return made

    def _make(self, plural: str) -> Strategy:
        if plural in WORKLOADS:
            from k8semu.kube.api.strategies.workload import WorkloadStrategy

            return WorkloadStrategy(WORKLOADS[plural])
        make = _MAKE.get(plural)
        return make(self) if make is not None else Strategy()

    def service(self) -> Strategy:
        from k8semu.kube.api.strategies.service import ServiceStrategy

        cidrs, ports, random = self._ranges.service_cidrs, self._ranges.node_ports, self._random
        return ServiceStrategy(cidrs, ports, random["cluster-ips"], random["node-ports"])

    def ingress(self) -> Strategy:
        from k8semu.kube.api.strategies.ingress import IngressStrategy

        return IngressStrategy(lambda: self._listed("ingressclasses"))


def _plain(place: str) -> Callable[[Strategies], Strategy]:
    """Rules that need nothing else: ``module:class`` of this package."""

    def make(own: Strategies) -> Strategy:
        module, _, name = place.partition(":")
        strategy: Strategy = getattr(import_module(f"k8semu.kube.api.strategies.{module}"), name)()
        return strategy

    return make


_MAKE: dict[str, Callable[[Strategies], Strategy]] = {
    "services": Strategies.service, "ingresses": Strategies.ingress, "pods": _plain("pod:PodStrategy"),
    "endpointslices": _plain("endpoints:EndpointSliceStrategy"), "endpoints": _plain("endpoints:EndpointsStrategy"),
    "nodes": _plain("others:NodeStrategy"), "namespaces": _plain("others:NamespaceStrategy"),
    "networkpolicies": _plain("policy:PolicyStrategy"), "ingressclasses": _plain("ingress:IngressClassStrategy"),
    "secrets": _plain("data:SecretStrategy"), "configmaps": _plain("data:ConfigMapStrategy"),
}  # fmt: skip


def strategies(ranges: Ranges, random: Streams, listed: Listed) -> Strategies:
    """`listed` gives the objects that there are."""
    return Strategies(ranges, random, listed)
