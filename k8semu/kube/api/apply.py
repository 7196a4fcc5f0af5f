"""`kubectl apply`: what a file says now, what it said before, and what there is, in one.

    said before, and no longer   goes
    said now                     is as said
    never said                   stays (what controllers and `kubectl scale` wrote)

Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd/apply/patcher.go, util/apply.go
"""

from __future__ import annotations

from typing import Any

import msgspec

from k8semu.kube.api.patch import merge_key, strategic_merge
from k8semu.kube.api.registry import Registry
from k8semu.kube.api.resources import BY_KIND
from k8semu.kube.api.status import bad_request

JSON = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_json = msgspec.json.Encoder(order="sorted")


def apply(registry: Registry, manifest: JSON) -> JSON:
    """Make an object, or change it; ApiError says what is wrong."""
    resource = BY_KIND.get((manifest.get("apiVersion", ""), manifest.get("kind", "")))
    if resource is None:
        said = f'no matches for kind "{manifest.get("kind")}" in version "{manifest.get("apiVersion")}"'
        raise bad_request(said)
    meta = manifest.get("metadata") or {}
    namespace = (meta.get("namespace") or "default") if resource.namespaced else ""
    plain = {key: part for key, part in manifest.items() if key != "status"}
    new = _annotated(plain, {LAST_APPLIED: _json.encode(plain).decode() + "\n"})
    held = registry.caches[resource.plural].get(namespace, meta.get("name", ""))
    if held is None:
        return registry.create(resource.plural, new)
    last = (held["metadata"].get("annotations") or {}).get(LAST_APPLIED, "{}")
    patch = three_way(msgspec.json.decode(last), new, (resource.kind,))
    return registry.update(resource.plural, strategic_merge(held, patch))


def three_way(before: JSON, now: JSON, path: tuple[str, ...]) -> JSON:
    """A strategic merge patch: what is said now, and `null` or a deletion for what no longer is."""
    patch: JSON = {}
    for key in before:
        if key not in now:
            patch[key] = None
    for key, value in now.items():
        patch[key] = _value(before.get(key), value, (*path, key))
    return patch


def _value(before: Any, now: Any, path: tuple[str, ...]) -> Any:
    if isinstance(now, dict):
        return three_way(before if isinstance(before, dict) else {}, now, path)
    key = merge_key(path)
    if not key or not isinstance(now, list) or not all(isinstance(item, dict) and key in item for item in now):
        return now
    known = {item[key]: item for item in before or () if isinstance(item, dict) and key in item}
    gone = [{key: name, "$patch": "delete"} for name in known if name not in [item[key] for item in now]]
    return [*(three_way(known.get(item[key], {}), item, path) for item in now), *gone]


def _annotated(obj: JSON, annotations: dict[str, str]) -> JSON:
    meta = obj.get("metadata") or {}
    return {**obj, "metadata": {**meta, "annotations": {**(meta.get("annotations") or {}), **annotations}}}
