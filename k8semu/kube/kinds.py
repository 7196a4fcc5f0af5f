"""The kinds of objects: as what each is read, and which have an effect on the network."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from k8semu.kube.objects import WORKLOADS, AnyObject, Namespace, NodeObject, Pod, Workload

if TYPE_CHECKING:
    from k8semu.kube.netpol.objects import NetworkPolicy
    from k8semu.kube.services import EndpointSlice, Service

KubeKind: TypeAlias = "Pod | Workload | NodeObject | Namespace | Service | EndpointSlice | NetworkPolicy | AnyObject"
TYPES: dict[str, type[KubeKind]] = {
    "Pod": Pod, "Node": NodeObject, "Namespace": Namespace, **dict.fromkeys(WORKLOADS, Workload),
}  # fmt: skip
"""What a kind is read as; any other as AnyObject."""

LATER = {
    **dict.fromkeys(("Service", "EndpointSlice"), "k8semu.kube.services"),
    **dict.fromkeys(("Ingress", "IngressClass", "Secret", "ConfigMap"), "k8semu.kube.ingress.objects"),
    "NetworkPolicy": "k8semu.kube.netpol.objects",
}
"""Kinds that not every file has: the module of their types, imported with the first one (`type_of`)."""
NOT_YET = ("Endpoints",)
"""Kinds that have an effect on a real cluster's network, and not yet here."""
SILENT = ("ServiceAccount",)
"""Kinds that only serve others; nobody wonders that they do nothing by themselves."""
BUILT_IN = frozenset(
    f"{name}.k8s.io" for name in (
        "admissionregistration", "apiextensions", "apiregistration", "authentication", "authorization", "certificates",
        "coordination", "events", "flowcontrol.apiserver", "internal.apiserver", "node", "rbac.authorization",
        "resource", "scheduling", "storage",
    )
)  # fmt: skip
"""Kubernetes' own groups of which nothing has to do with the network."""
POD_MAKERS = ("Job", "CronJob", "ReplicationController")
"""Kinds whose Pods a real cluster would make."""
KINDS = (*TYPES, *LATER, *NOT_YET, *SILENT)


def type_of(kind: str) -> Any:
    """What an object of `kind` is read as."""
    if kind in LATER:
        return getattr(import_module(LATER[kind]), kind)
    return TYPES.get(kind, AnyObject)


def group_of(api_version: str) -> str:
    """The API group: ``apps`` of apps/v1, '' of v1."""
    return api_version.rpartition("/")[0]


def is_foreign(api_version: str, kind: str) -> bool:
    """Is it a custom resource? Its group is a domain, and its Service (Knative has one) is not Kubernetes'.

    A kind of ours under a mistyped group of Kubernetes (``network.k8s.io``) is none: it is a mistake.
    """
    group = group_of(api_version)
    if "." not in group or group in ("discovery.k8s.io", "networking.k8s.io"):
        return False
    return kind not in KINDS or not group.endswith(".k8s.io")


def why_inert(api_version: str, kind: str) -> str:
    """Why an object of a kind that is read as AnyObject does nothing, '' where nobody would wonder."""
    if is_foreign(api_version, kind) and group_of(api_version) not in BUILT_IN:
        return "a custom resource, not modelled"
    if kind in SILENT:
        return ""
    if kind in POD_MAKERS:
        return "its Pods are not made"
    return "not modelled yet" if kind in NOT_YET else "no effect on the network"
