"""Workloads become Pods, with the names a cluster gives them.

    Deployment account    account-5d7c9b8f64-x7k2m     (ReplicaSet hash, then a random suffix)
    ReplicaSet account    account-x7k2m
    StatefulSet account   account-0, account-1, …
    DaemonSet account     account-x7k2m, one on each node that it selects

Kubernetes: pkg/controller/{deployment,replicaset,statefulset,daemon},
            pkg/controller/controller_utils.go, staging/src/k8s.io/apimachinery/pkg/util/rand
"""

from __future__ import annotations

import zlib

import msgspec

from k8semu.kube.objects import ObjectMeta, Pod, PodTemplateSpec, Workload
from k8semu.sim.streams import Stream

SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""Letters and digits of generated names: no vowels, so no words."""
HASH_LABEL = "pod-template-hash"


def suffix(stream: Stream, length: int = 5) -> str:
    """A random name part. Kubernetes: rand.String()."""
    return "".join(SAFE[stream.below(len(SAFE))] for _ in range(length))


def template_hash(template: PodTemplateSpec) -> str:
    """The pod-template-hash: the same for the same template. Differs: another hash function than Go's."""
    number = zlib.crc32(msgspec.json.encode(template, order="deterministic"))
    return "".join(SAFE[int(digit)] for digit in str(number))


def missing_pods(workload: Workload, have: list[Pod], nodes: dict[str, dict[str, str]], stream: Stream) -> list[Pod]:
    """The Pods that the controllers would make beside those that are there. `nodes`: name to labels."""
    kind, names = workload.kind, {pod.metadata.name for pod in have}
    if kind == "StatefulSet":
        ordinals = [f"{workload.metadata.name}-{i}" for i in range(workload.spec.replicas)]
        return [_pod(workload, name, "") for name in ordinals if name not in names]
    if kind == "DaemonSet":
        covered = {pod.spec.node_name for pod in have}
        return [
            _pod(workload, f"{workload.metadata.name}-{suffix(stream)}", node)
            for node in daemon_nodes(workload, nodes) if node not in covered
        ]  # fmt: skip
    count = workload.spec.replicas - len(have)
    return [_pod(workload, f"{base_name(workload)}-{suffix(stream)}", "") for _ in range(count)]


def base_name(workload: Workload) -> str:
    """What the names of its Pods start with: a Deployment's ReplicaSet has the template's hash in its name."""
    name = workload.metadata.name
    return f"{name}-{template_hash(workload.spec.template)}" if workload.kind == "Deployment" else name


def daemon_nodes(workload: Workload, nodes: dict[str, dict[str, str]]) -> list[str]:
    """The nodes that a DaemonSet wants a Pod on."""
    wanted = workload.spec.template.spec.node_selector.items()
    return [name for name, labels in nodes.items() if wanted <= labels.items()]


def _pod(workload: Workload, name: str, node: str) -> Pod:
    template = workload.spec.template
    spec = msgspec.structs.replace(template.spec, node_name=node) if node else template.spec
    labels = dict(template.metadata.labels)
    if workload.kind == "Deployment":
        labels[HASH_LABEL] = template_hash(template)
    meta = ObjectMeta(
        name=name, namespace=workload.metadata.namespace, labels=labels, annotations=template.metadata.annotations
    )
    return Pod(api_version="v1", kind="Pod", metadata=meta, spec=spec)
