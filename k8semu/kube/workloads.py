"""Workloads become Pods, with the names a cluster gives them.

    Deployment account    account-5d7c9b8f64-x7k2m     (ReplicaSet hash, then a random suffix)
    ReplicaSet account    account-x7k2m
    StatefulSet account   account-0, account-1, …
    DaemonSet account     account-x7k2m, one on each node

Kubernetes: pkg/controller/controller_utils.go, staging/src/k8s.io/apimachinery/pkg/util/rand
"""

from __future__ import annotations

import zlib

import msgspec

from k8semu.kube.objects import ObjectMeta, Pod, PodTemplateSpec, Workload
from k8semu.sim.streams import Stream

SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""Letters and digits of generated names: no vowels, so no words."""


def suffix(stream: Stream, length: int = 5) -> str:
    """A random name part. Kubernetes: rand.String()."""
    return "".join(SAFE[stream.below(len(SAFE))] for _ in range(length))


def template_hash(template: PodTemplateSpec) -> str:
    """The pod-template-hash: the same for the same template. Differs: another hash function than Go's."""
    number = zlib.crc32(msgspec.json.encode(template, order="deterministic"))
    return "".join(SAFE[int(digit)] for digit in str(number))


def pods_of(workload: Workload, nodes: list[str], stream: Stream) -> list[Pod]:
    """The Pods that the controllers would make."""
    name, kind = workload.metadata.name, workload.kind
    if kind == "StatefulSet":
        return [_pod(workload, f"{name}-{i}", "") for i in range(workload.spec.replicas)]
    if kind == "DaemonSet":
        return [_pod(workload, f"{name}-{suffix(stream)}", node) for node in nodes]
    if kind == "Deployment":
        name = f"{name}-{template_hash(workload.spec.template)}"
    return [_pod(workload, f"{name}-{suffix(stream)}", "") for _ in range(workload.spec.replicas)]


def _pod(workload: Workload, name: str, node: str) -> Pod:
    template = workload.spec.template
    spec = msgspec.structs.replace(template.spec, node_name=node) if node else template.spec
    meta = ObjectMeta(
        name=name, namespace=workload.metadata.namespace, labels=template.metadata.labels,
        annotations=template.metadata.annotations,
    )  # fmt: skip
    return Pod(api_version="v1", kind="Pod", metadata=meta, spec=spec)
