"""The subresource `scale`: how many Pods, and by which selector.

Kubernetes: pkg/registry/apps/deployment/storage/storage.go ScaleREST
"""

from __future__ import annotations

from typing import Any

from k8semu.kube.api.resources import BY_KIND
from k8semu.kube.api.status import bad_request, conflict
from k8semu.kube.api.table import selector_text

JSON = dict[str, Any]


def scale_of(obj: JSON) -> JSON:
    """The `Scale` of a workload."""
    meta = obj["metadata"]
    return {
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")},
        "spec": {"replicas": obj["spec"]["replicas"]},
        "status": {"replicas": (obj.get("status") or {}).get("replicas", 0),
                   "selector": selector_text(obj["spec"].get("selector"))},
    }  # fmt: skip


def with_scale(obj: JSON, scale: Any) -> JSON:
    """The workload as a `Scale` wants it; ApiError for what is none."""
    spec = scale.get("spec") if isinstance(scale, dict) else None
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("Scale: spec.replicas is a number")
    said = scale.get("metadata") or {}
    version = said.get("resourceVersion") if isinstance(said, dict) else None
    if version and version != obj["metadata"]["resourceVersion"]:
        raise conflict(BY_KIND[obj["apiVersion"], obj["kind"]], obj["metadata"]["name"])
    return {**obj, "spec": {**obj["spec"], "replicas": replicas}}
