"""The kinds of objects: as what each is read, and which have an effect on the network."""

from __future__ import annotations

from typing import Any

from k8semu.kube.objects import WORKLOADS, AnyObject, Namespace, NodeObject, Pod, Workload
from k8semu.kube.services import EndpointSlice, Service

KubeKind = Pod | Workload | NodeObject | Namespace | Service | EndpointSlice | AnyObject
TYPES: dict[str, type[KubeKind]] = {
    "Pod": Pod, "Node": NodeObject, "Namespace": Namespace, "Service": Service, "EndpointSlice": EndpointSlice,
    **dict.fromkeys(WORKLOADS, Workload),
}  # fmt: skip
"""What a kind is read as; any other as AnyObject."""

LATER = ("Ingress", "IngressClass", "Secret", "ConfigMap")
"""Kinds that few files have: their types are imported with the first one (`type_of`)."""
NOT_YET = ("Endpoints", "NetworkPolicy")
"""Kinds that have an effect on a real cluster's network, and not yet here."""
SILENT = ("ServiceAccount",)
"""Kinds that only serve others; nobody wonders that they do nothing by themselves."""
KINDS = (*TYPES, *LATER, *NOT_YET, *SILENT)


def type_of(kind: str) -> Any:
    """What an object of `kind` is read as."""
    if kind in LATER:
        from k8semu.kube.ingress import objects

        return getattr(objects, kind)
    return TYPES.get(kind, AnyObject)
