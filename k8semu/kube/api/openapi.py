"""As much OpenAPI as `kubectl` asks for: that each kind can be patched, and that the server looks at unknown fields.

Kubernetes: api/openapi-spec/v3
Not modelled: the schemas of the kinds: `kubectl explain` has nothing to say.
"""

from __future__ import annotations

from typing import Any

from k8semu.kube.api.resources import GROUPS, Resource

JSON = dict[str, Any]
PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]
PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json")


def document(path: str) -> JSON | None:
    """The document at a path, or None."""
    if path == "/openapi/v3":
        return {"paths": {_place(name): {"serverRelativeURL": f"/openapi/v3/{_place(name)}"} for name in GROUPS}}
    for name, resources in GROUPS.items():
        if path == f"/openapi/v3/{_place(name)}":
            return {
                "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.34.0"},
                "paths": {f"/{_place(name)}{_path(each)}": _item(each) for each in resources},
                "components": {"schemas": {}},
            }  # fmt: skip
    return None


def _place(api_version: str) -> str:
    return f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"


def _path(resource: Resource) -> str:
    path = f"/{resource.plural}/{{name}}"
    return f"/namespaces/{{namespace}}{path}" if resource.namespaced else path


def _item(resource: Resource) -> JSON:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    body = {"content": {media: {"schema": {"type": "object"}} for media in PATCHES}}
    return {
        "patch": {
            "operationId": f"patch{resource.kind}", "parameters": PARAMETERS, "requestBody": body,
            "responses": {"200": {"description": "OK"}}, "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": kind,
        }
    }  # fmt: skip
