"""Field names that a manifest may have beside those that are read: so that a misspelt one is told from an unknown one.

An API server knows them all and refuses others (`kubectl apply` validates strictly); here an unknown field
is passed over unless it looks like one that is read.

Kubernetes: staging/src/k8s.io/api/core/v1/types.go, apps/v1/types.go
"""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple

from k8semu.kube.objects import WORKLOADS

OBJECT = {"apiVersion", "kind", "metadata", "spec", "status"}
METADATA = {
    "name", "namespace", "labels", "annotations", "generateName", "uid", "resourceVersion", "generation",
    "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "finalizers", "ownerReferences",
    "managedFields", "selfLink",
}  # fmt: skip
POD_SPEC = {
    "containers", "initContainers", "ephemeralContainers", "nodeName", "nodeSelector", "hostNetwork", "hostPID",
    "hostIPC", "hostname", "hostUsers", "hostAliases", "subdomain", "volumes", "restartPolicy", "dnsPolicy",
    "dnsConfig", "serviceAccount", "serviceAccountName", "securityContext", "affinity", "tolerations", "os",
    "terminationGracePeriodSeconds", "topologySpreadConstraints", "priority", "priorityClassName", "schedulerName",
    "imagePullSecrets", "overhead", "enableServiceLinks", "readinessGates", "runtimeClassName", "resources",
    "automountServiceAccountToken", "activeDeadlineSeconds", "shareProcessNamespace", "schedulingGates",
    "preemptionPolicy", "setHostnameAsFQDN", "resourceClaims",
}  # fmt: skip
CONTAINER = {
    "name", "image", "command", "args", "ports", "env", "envFrom", "workingDir", "resources", "volumeMounts",
    "volumeDevices", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "imagePullPolicy", "stdin",
    "stdinOnce", "tty", "securityContext", "terminationMessagePath", "terminationMessagePolicy", "resizePolicy",
    "restartPolicy",
}  # fmt: skip
PORT = {"containerPort", "hostPort", "hostIP", "protocol", "name"}
WORKLOAD_SPEC = {
    "replicas", "selector", "template", "strategy", "updateStrategy", "serviceName", "volumeClaimTemplates",
    "minReadySeconds", "revisionHistoryLimit", "paused", "progressDeadlineSeconds", "podManagementPolicy",
    "persistentVolumeClaimRetentionPolicy", "ordinals",
}  # fmt: skip
NEAR = 0.75


class Misspelt(NamedTuple):
    """A key that nobody knows, and the one that looks like it."""

    path: str
    key: str
    meant: str


def misspelt(manifest: dict[Any, Any]) -> Misspelt | None:
    """The first key that looks like another: `contianers`. Expects nothing of the manifest's types."""
    kind = manifest.get("kind")
    if kind != "Pod" and kind not in WORKLOADS:
        return None
    found = _in(manifest, OBJECT, "") or _in(manifest.get("metadata"), METADATA, ".metadata")
    spec = manifest.get("spec")
    if found or kind == "Pod":
        return found or _pod_spec(spec, ".spec")
    template = spec.get("template") if isinstance(spec, dict) else None
    inner = template.get("spec") if isinstance(template, dict) else None
    return _in(spec, WORKLOAD_SPEC, ".spec") or _pod_spec(inner, ".spec.template.spec")


def _pod_spec(spec: Any, path: str) -> Misspelt | None:
    found = _in(spec, POD_SPEC, path)
    containers = spec.get("containers") if isinstance(spec, dict) else None
    if found or not isinstance(containers, list):
        return found
    for i, container in enumerate(containers):
        here = f"{path}.containers[{i}]"
        ports = container.get("ports") if isinstance(container, dict) else None
        found = _in(container, CONTAINER, here)
        for j, port in enumerate(ports if isinstance(ports, list) else []):
            found = found or _in(port, PORT, f"{here}.ports[{j}]")
        if found:
            return found
    return None


def _in(mapping: Any, known: set[str], path: str) -> Misspelt | None:
    if not isinstance(mapping, dict) or mapping.keys() <= known:
        return None
    for key in mapping:
        if isinstance(key, str) and key not in known and len(key) < 80:
            near = difflib.get_close_matches(key, sorted(known), 1, NEAR)
            if near:
                return Misspelt(f"{path}.{key}", key, near[0])
    return None
