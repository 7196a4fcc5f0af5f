"""The kinds of objects: as what each is read, and which have an effect on the network."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from k8semu.kube.objects import WORKLOADS, AnyObject, Namespace, NodeObject, Pod, Workload

if TYPE_CHECKING:
    from k8semu.kube.services import EndpointSlice, Service

KubeKind: TypeAlias = "Pod | Workload | NodeObject | Namespace | Service | EndpointSlice | AnyObject"
TYPES: dict[str, type[KubeKind]] = {
    "Pod": Pod, "Node": NodeObject, "Namespace": Namespace, **dict.fromkeys(WORKLOADS, Workload),
}  # fmt: skip
"""What a kind is read as; any other as AnyObject."""

LATER = {
    **dict.fromkeys(("Service", "EndpointSlice"), "k8semu.kube.services"),
    **dict.fromkeys(("Ingress", "IngressClass", "Secret", "ConfigMap"), "k8semu.kube.ingress.objects"),
}
"""Kinds that not every file has: the module of their types, imported with the first one (`type_of`)."""
NOT_YET = ("Endpoints", "NetworkPolicy")
"""Kinds that have an effect on a real cluster's network, and not yet here."""
SILENT = ("ServiceAccount",)
"""Kinds that only serve others; nobody wonders that they do nothing by themselves."""
KINDS = (*TYPES, *LATER, *NOT_YET, *SILENT)


def type_of(kind: str) -> Any:
    """What an object of `kind` is read as."""
    if kind in LATER:
        return getattr(import_module(LATER[kind]), kind)
    return TYPES.get(kind, AnyObject)
