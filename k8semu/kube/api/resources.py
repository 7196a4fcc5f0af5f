"""The kinds that the API server keeps: group, version, names as `kubectl api-resources` lists them.

Shown: `kubectl api-resources`
"""

from __future__ import annotations

import msgspec

GIT_VERSION = "v1.34.0"
"""The Kubernetes whose behaviour is followed."""


class Resource(msgspec.Struct, frozen=True):
    """A kind and how it is called. `group` is '' for the core group."""

    plural: str
    kind: str
    group: str = ""
    version: str = "v1"
    short: tuple[str, ...] = ()
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def api_version(self) -> str:
        """``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """``deployments.apps``: how errors call it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


_ALL = ("all",)
_SCALED = ("status", "scale")
TABLE = (
    Resource("configmaps", "ConfigMap", short=("cm",)),
    Resource("endpoints", "Endpoints", short=("ep",)),
    Resource("events", "Event", short=("ev",)),
    Resource("namespaces", "Namespace", short=("ns",), namespaced=False, subresources=("status", "finalize")),
    Resource("nodes", "Node", short=("no",), namespaced=False, subresources=("status",)),
    Resource("pods", "Pod", short=("po",), subresources=("status", "binding", "eviction"), categories=_ALL),
    Resource("secrets", "Secret"),
    Resource("serviceaccounts", "ServiceAccount", short=("sa",)),
    Resource("services", "Service", short=("svc",), subresources=("status",), categories=_ALL),
    Resource("daemonsets", "DaemonSet", "apps", short=("ds",), subresources=("status",), categories=_ALL),
    Resource("deployments", "Deployment", "apps", short=("deploy",), subresources=_SCALED, categories=_ALL),
    Resource("replicasets", "ReplicaSet", "apps", short=("rs",), subresources=_SCALED, categories=_ALL),
    Resource("statefulsets", "StatefulSet", "apps", short=("sts",), subresources=_SCALED, categories=_ALL),
    Resource("leases", "Lease", "coordination.k8s.io"),
    Resource("endpointslices", "EndpointSlice", "discovery.k8s.io"),
    Resource("ingressclasses", "IngressClass", "networking.k8s.io", namespaced=False),
    Resource("ingresses", "Ingress", "networking.k8s.io", short=("ing",), subresources=("status",)),
    Resource("networkpolicies", "NetworkPolicy", "networking.k8s.io", short=("netpol",)),
)  # fmt: skip
RESOURCES: dict[str, Resource] = {resource.plural: resource for resource in TABLE}
"""By plural name."""
BY_KIND: dict[tuple[str, str], Resource] = {(r.api_version, r.kind): r for r in TABLE}
"""By (apiVersion, kind)."""
GROUPS: dict[str, list[Resource]] = {}
"""By apiVersion, the core group first."""
for _resource in TABLE:
    GROUPS.setdefault(_resource.api_version, []).append(_resource)


def find(name: str) -> Resource | None:
    """The kind that a person calls ``service``, ``svc``, ``Services`` or ``deployments.apps``."""
    plain, _, group = name.lower().partition(".")
    for resource in TABLE:
        if plain in (resource.plural, resource.singular, *resource.short) and group in ("", resource.group):
            return resource
    return None
