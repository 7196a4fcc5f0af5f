"""The kinds of objects: as what each is read, and which have an effect on the network."""

from __future__ import annotations

from k8semu.kube.objects import WORKLOADS, AnyObject, Namespace, NodeObject, Pod, Workload
from k8semu.kube.services import EndpointSlice, Service

KubeKind = Pod | Workload | NodeObject | Namespace | Service | EndpointSlice | AnyObject
TYPES: dict[str, type[KubeKind]] = {
    "Pod": Pod, "Node": NodeObject, "Namespace": Namespace, "Service": Service, "EndpointSlice": EndpointSlice,
    **dict.fromkeys(WORKLOADS, Workload),
}  # fmt: skip
"""What a kind is read as; any other as AnyObject."""

NOT_YET = ("Endpoints", "Ingress", "IngressClass", "NetworkPolicy")
"""Kinds that have an effect on a real cluster's network, and not yet here."""
SILENT = ("Secret", "ConfigMap", "ServiceAccount")
"""Kinds that only serve others; nobody wonders that they do nothing by themselves."""
KINDS = (*TYPES, *NOT_YET, *SILENT)
