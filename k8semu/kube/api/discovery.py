"""What the API server has: groups, versions, kinds and their verbs.

Shown: `kubectl api-resources`, `kubectl api-versions`
"""

from __future__ import annotations

from typing import Any

from k8semu.kube.api.resources import GIT_VERSION, GROUPS, Resource

JSON = dict[str, Any]
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
VERSION = {
    "major": "1", "minor": "34", "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
    "emulationMajor": "1", "emulationMinor": "34",
}  # fmt: skip
SCALE = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
EVICTION = {"group": "policy", "version": "v1", "kind": "Eviction"}
SPECIAL: dict[str, JSON] = {"binding": {"kind": "Binding"}, "eviction": EVICTION}
"""Subresources that are objects of their own."""


def api_versions(address: str) -> JSON:
    servers = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": servers}


def api_groups() -> JSON:
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in GROUPS if "/" in name]}


def api_group(group: str) -> JSON | None:
    found = next((name for name in GROUPS if name.startswith(f"{group}/")), None)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(found)} if found else None


def _group(api_version: str) -> JSON:
    group, _, version = api_version.partition("/")
    preferred = {"groupVersion": api_version, "version": version}
    return {"name": group, "versions": [preferred], "preferredVersion": preferred}


def api_resources(api_version: str) -> JSON | None:
    resources = GROUPS.get(api_version)
    if resources is None:
        return None
    rows = [row for resource in resources for row in _rows(resource)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": rows}


def aggregated(core: bool) -> JSON:
    """All groups with their kinds in one answer: of ``/api``, or of ``/apis``.

    Kubernetes: staging/src/k8s.io/api/apidiscovery/v2/types.go
    """
    names = [name for name in GROUPS if ("/" in name) != core]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
            "items": [_aggregated_group(name) for name in names]}  # fmt: skip


def _aggregated_group(api_version: str) -> JSON:
    group, _, version = api_version.rpartition("/")
    resources = [_aggregated_row(resource) for resource in GROUPS[api_version]]
    meta = {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
    return {"metadata": meta, "versions": [{"version": version, "resources": resources, "freshness": "Current"}]}


def _aggregated_row(resource: Resource) -> JSON:
    row, *subs = _rows(resource)
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    found: JSON = {
        "resource": resource.plural, "responseKind": kind, "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular, "verbs": row["verbs"],
        **{key: row[key] for key in ("shortNames", "categories") if key in row},
    }  # fmt: skip
    if subs:
        found["subresources"] = [_aggregated_subresource(kind, sub) for sub in subs]
    return found


def _aggregated_subresource(kind: JSON, row: JSON) -> JSON:
    own = {key: row.get(key, kind[key]) for key in ("group", "version", "kind")}
    return {"subresource": row["name"].partition("/")[2], "responseKind": own, "verbs": row["verbs"]}


def _rows(resource: Resource) -> list[JSON]:
    row: JSON = {
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": VERBS,
    }  # fmt: skip
    if resource.short:
        row["shortNames"] = list(resource.short)
    if resource.categories:
        row["categories"] = list(resource.categories)
    return [row, *(_subresource(resource, name) for name in resource.subresources)]


def _subresource(resource: Resource, name: str) -> JSON:
    row: JSON = {
        "name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": ["get", "patch", "update"],
    }  # fmt: skip
    if name == "scale":
        row |= SCALE
    elif name in SPECIAL:
        row |= {**SPECIAL[name], "verbs": ["create"]}
    elif name == "finalize":
        row["verbs"] = ["update"]
    return row
