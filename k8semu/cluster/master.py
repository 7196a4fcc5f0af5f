"""The Master of a cluster whose control plane is instant: an API server that no packet goes to.

    kubectl apply, delete ─▶ registry (checked, allocated) ─▶ kube-proxy and cluster DNS, at once

Kubernetes: cmd/kube-apiserver
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from k8semu.kube.api.registry import Registry
from k8semu.kube.api.resources import BY_KIND, find
from k8semu.kube.api.strategies.table import Ranges
from k8semu.kube.objects import full_name
from k8semu.kube.services import EndpointSlice, Service

if TYPE_CHECKING:
    from k8semu.cluster.cluster import Cluster

JSON = dict[str, Any]


class Master:
    """The objects that are not Pods or workloads."""

    def __init__(self, cluster: Cluster, service_cidr: str) -> None:
        ranges = Ranges(service_cidrs=(service_cidr,))
        self.registry = Registry(cluster.clock, cluster.world.random, ranges, provision=True)

    def apply(self, manifest: JSON) -> None:
        """`kubectl apply`; ApiError says what is wrong. A load balancer's address in `status` is taken over."""
        plural = BY_KIND[manifest["apiVersion"], manifest["kind"]].plural
        meta = manifest["metadata"]
        namespace, name = meta.get("namespace", "default"), meta["name"]
        if self.registry.caches[plural].get(namespace, name) is None:
            kept = self.registry.create(plural, manifest)
        else:
            kept = self.registry.update(plural, manifest)
        if plural == "services" and manifest.get("status"):
            self.registry.update(plural, {**kept, "status": manifest["status"]}, "status")

    def delete(self, kind: str, namespace: str, name: str) -> bool:
        """`kubectl delete`; False if it is no kind of this registry. ApiError if there is no such object."""
        resource = find(kind)
        if resource is None or resource.kind not in KEPT:
            return False
        self.registry.delete(resource.plural, namespace, name)
        return True

    def services(self) -> dict[str, Service]:
        return {_name(obj): msgspec.convert(obj, Service) for obj in self.registry.list("services")}

    def slices(self) -> dict[str, EndpointSlice]:
        """Those that somebody made by hand."""
        return {_name(obj): msgspec.convert(obj, EndpointSlice) for obj in self.registry.list("endpointslices")}

    def objects(self, slices: Iterable[EndpointSlice]) -> dict[tuple[str, str], JSON]:
        """All that a watcher can ask for, by kind and name."""
        found = {("Namespace", obj["metadata"]["name"]): obj for obj in self.registry.list("namespaces")}
        found |= {("Service", _name(obj)): obj for obj in self.registry.list("services")}
        found |= {("EndpointSlice", full_name(s.metadata)): msgspec.to_builtins(s) for s in slices}
        return found


KEPT = ("Service", "EndpointSlice")
"""The kinds that are kept here."""


def _name(obj: JSON) -> str:
    meta = obj["metadata"]
    return f"{meta['namespace']}/{meta['name']}"
