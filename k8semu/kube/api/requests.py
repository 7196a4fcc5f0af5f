"""The API server's handlers, without a connection: a request, and the answer.

    Request ─▶ handle ─▶ Answer (status and JSON), or Watching (a stream of events)

Kubernetes: staging/src/k8s.io/apiserver/pkg/endpoints/handlers
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from k8semu.kube.api import discovery, openapi, status
from k8semu.kube.api.arguments import (
    AGGREGATED,
    Request,
    Target,
    delete_how,
    delete_options,
    dry_run,
    find_target,
    flag,
    included,
    page,
    read_json,
    read_object,
    read_yaml,
    readable,
    selection,
    version,
    wants_aggregated,
    wants_table,
)
from k8semu.kube.api.cache import JSON, key_of
from k8semu.kube.api.patch import ACCEPTED, APPLY, STRATEGIC, apply_patch
from k8semu.kube.api.registry import Registry
from k8semu.kube.api.resources import Resource
from k8semu.kube.api.scale import scale_of, with_scale
from k8semu.kube.api.selectors import Test
from k8semu.kube.api.status import ApiError
from k8semu.kube.api.surroundings import Now
from k8semu.kube.api.table import as_table

HEALTH = ("/healthz", "/livez", "/readyz")
RETURNED = ("pods", "serviceaccounts", "services")
"""Kinds whose delete answers with the object that is gone. Kubernetes: ReturnDeletedObject."""


class Answer(msgspec.Struct):
    """`body` is JSON, or text as it is."""

    code: int
    body: Any
    content_type: str = ""
    """Unless it is what the body is."""


class Watching(msgspec.Struct):
    """A watch that is to be streamed. `since` None: first all objects as they are."""

    resource: Resource
    namespace: str | None
    since: int | None
    test: Test
    table: str = ""
    """What a row of a table includes; '' is no table."""
    seconds: int | None = None
    bookmarks: bool = False
    initial_end: bool = False
    """Whether a bookmark says where the objects as they are end."""


class Api:
    """The handlers over a registry. `changed` is called after each write."""

    def __init__(self, registry: Registry, clock: Now, changed: Callable[[], None] = lambda: None) -> None:
        self.registry, self.clock, self.changed = registry, clock, changed

    def handle(self, request: Request) -> Answer | Watching:
        """Never raises for what a client sends."""
        try:
            path, _, query = request.target.partition("?")
            options = dict(parse_qsl(query, keep_blank_values=True))
            return self._route(request, path.rstrip("/") or "/", options)
        except ApiError as error:
            return Answer(error.code, error.status())
        except RecursionError:
            return Answer(400, status.bad_request("exceeded max depth").status())

    def _route(self, request: Request, path: str, options: dict[str, str]) -> Answer | Watching:
        document = self._document(path)
        if document is not None:
            if request.method not in ("GET", "HEAD"):
                raise status.method_not_allowed()
            if path in ("/api", "/apis") and wants_aggregated(request):
                return Answer(200, discovery.aggregated(core=path == "/api"), AGGREGATED)
            return Answer(200, document)
        target = find_target(path)
        if target is None:
            raise status.no_such_path()
        handler = self._handler(request.method, target)
        return handler(request, target, options)

    def _document(self, path: str) -> Any:
        """What is not an object: discovery, version, health."""
        parts = path.strip("/").split("/")
        if path in HEALTH or path.startswith(tuple(f"{health}/" for health in HEALTH)):
            return "ok"
        if path == "/version":
            return discovery.VERSION
        if path == "/":
            return {"paths": ["/api", "/apis", *HEALTH, "/version", "/openapi/v3"]}
        if parts[0] == "openapi":
            return openapi.document(path)
        if path == "/api":
            return discovery.api_versions("")
        if path == "/apis":
            return discovery.api_groups()
        if parts[0] == "api" and len(parts) == 2:
            return discovery.api_resources(parts[1])
        if parts[0] == "apis" and len(parts) == 2:
            return discovery.api_group(parts[1])
        if parts[0] == "apis" and len(parts) == 3:
            return discovery.api_resources(f"{parts[1]}/{parts[2]}")
        return None

    def _handler(self, method: str, target: Target) -> Callable[..., Answer | Watching]:
        special = {"scale": self._scale, "binding": self._binding, "eviction": self._eviction}.get(target.subresource)
        if special is not None:
            return special
        found: Callable[..., Answer | Watching] | None
        if target.name:
            found = {"GET": self._get, "HEAD": self._get, "PUT": self._update, "PATCH": self._patch,
                     "DELETE": self._delete}.get(method)  # fmt: skip
            if target.subresource and method == "DELETE":
                found = None
        else:
            found = {"GET": self._list, "HEAD": self._list, "POST": self._create,
                     "DELETE": self._delete_all}.get(method)  # fmt: skip
        if found is None:
            raise status.method_not_allowed()
        return found

    # --- reading --------------------------------------------------------------------------------

    def _get(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        obj = self.registry.get(target.resource.plural, target.namespace or "", target.name)
        return Answer(200, self._shown(request, target, options, obj))

    def _shown(self, request: Request, target: Target, options: dict[str, str], obj: JSON) -> JSON:
        """As an object, or as a table of one row."""
        if not wants_table(request):
            return obj
        version = int(obj["metadata"]["resourceVersion"])
        return as_table(target.resource.plural, [obj], version, self.clock.now, included(options))

    def _list(self, request: Request, target: Target, options: dict[str, str]) -> Answer | Watching:
        test = selection(target.resource.plural, options)
        if flag(options, "watch"):
            return self._watch(request, target, options, test)
        resource, version = target.resource, self.registry.version
        readable(options, version)
        found = sorted((obj for obj in self.registry.list(resource.plural, target.namespace) if test(obj)), key=key_of)
        found, more = page(found, options)
        meta: JSON = {"resourceVersion": str(version), **more}
        if wants_table(request):
            body = as_table(resource.plural, found, version, self.clock.now, included(options))
            return Answer(200, {**body, "metadata": meta})
        items = [{key: value for key, value in obj.items() if key not in ("kind", "apiVersion")} for obj in found]
        return Answer(200, {
            "kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": meta, "items": items,
        })  # fmt: skip

    def _watch(self, request: Request, target: Target, options: dict[str, str], test: Test) -> Watching:
        said, initial = options.get("resourceVersion", ""), options.get("sendInitialEvents")
        since = version(said) if said not in ("", "0") and initial != "true" else None
        if since is not None and since > self.registry.version:
            raise status.too_large_version(since, self.registry.version)
        if initial == "false":
            since = self.registry.version
        seconds = options.get("timeoutSeconds", "")
        return Watching(
            target.resource, target.namespace, since, test, included(options) if wants_table(request) else "",
            int(seconds) if seconds.isdecimal() and len(seconds) < 10 else None,
            flag(options, "allowWatchBookmarks"), initial == "true",
        )  # fmt: skip

    # --- writing --------------------------------------------------------------------------------

    def _create(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        obj = read_object(request, target)
        made = self.registry.create(target.resource.plural, obj, dry_run=dry_run(options))
        self.changed()
        return Answer(201, self._shown(request, target, options, made))

    def _update(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        obj = read_object(request, target)
        if obj["metadata"].get("name") != target.name:
            said = obj["metadata"].get("name", "")
            raise status.bad_request(
                f"the name of the object ({said}) does not match the name on the URL ({target.name})"
            )
        kept = self.registry.update(target.resource.plural, obj, target.subresource, dry_run=dry_run(options))
        self.changed()
        return Answer(200, self._shown(request, target, options, kept))

    def _patch(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        kind = request.content_type.partition(";")[0].strip()
        if kind == APPLY:
            return self._apply(request, target, options)
        if kind not in ACCEPTED:
            raise status.unsupported_media_type((*ACCEPTED, APPLY))
        patch = read_json(request.body)
        kept = self._patched(target, lambda obj: apply_patch(kind, patch, obj), dry_run(options))
        self.changed()
        return Answer(200, self._shown(request, target, options, kept))

    def _apply(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        """Server-side apply, without its owners of fields: what is said is merged, and nothing is taken away."""
        if not options.get("fieldManager"):
            raise status.bad_request("PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: "
                                     "is required for apply patch")  # fmt: skip
        patch = read_yaml(request.body)
        if not isinstance(patch, dict):
            raise status.bad_request("error decoding YAML: an object is expected")
        plural, namespace = target.resource.plural, target.namespace or ""
        if self.registry.caches[plural].get(namespace, target.name) is None:
            body = msgspec.structs.replace(request, body=msgspec.json.encode(patch), content_type="application/json")
            return self._create(body, target, options)
        kept = self._patched(target, lambda obj: apply_patch(STRATEGIC, patch, obj), dry_run(options))
        self.changed()
        return Answer(200, self._shown(request, target, options, kept))

    def _patched(self, target: Target, change: Callable[[JSON], JSON], dry_run: bool) -> JSON:
        old = self.registry.get(target.resource.plural, target.namespace or "", target.name)
        new = change(old)
        meta = new.get("metadata")
        if not isinstance(meta, dict):
            raise status.bad_request("metadata is missing")
        if meta.get("name") != target.name or meta.get("namespace", "") != old["metadata"].get("namespace", ""):
            raise status.bad_request(
                f"the name of the object ({meta.get('name')}) does not match the name on the URL ({target.name})"
            )
        return self.registry.update(target.resource.plural, new, target.subresource, dry_run=dry_run)

    def _delete(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        how = delete_options(request, options)
        plural, namespace = target.resource.plural, target.namespace or ""
        gone = self.registry.delete(plural, namespace, target.name, **how)
        self.changed()
        if not gone.gone or plural in RETURNED:
            return Answer(200, self._shown(request, target, options, gone.object))
        return Answer(200, status.success(target.resource, target.name, gone.object["metadata"]["uid"]))

    def _delete_all(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        test, how = selection(target.resource.plural, options), delete_options(request, options)
        plural = target.resource.plural
        found = sorted((obj for obj in self.registry.list(plural, target.namespace) if test(obj)), key=key_of)
        for obj in found:
            self.registry.delete(plural, *key_of(obj), **how)
        self.changed()
        meta = {"resourceVersion": str(self.registry.version)}
        kind = f"{target.resource.kind}List"
        return Answer(200, {"kind": kind, "apiVersion": target.resource.api_version, "metadata": meta, "items": found})

    # --- subresources of their own ----------------------------------------------------------------

    def _scale(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        old = self.registry.get(target.resource.plural, target.namespace or "", target.name)
        if request.method in ("GET", "HEAD"):
            return Answer(200, scale_of(old))
        if request.method == "PUT":
            scale = read_json(request.body)
        elif request.method == "PATCH":
            kind = request.content_type.partition(";")[0].strip()
            if kind not in ACCEPTED:
                raise status.unsupported_media_type(ACCEPTED)
            scale = apply_patch(kind, read_json(request.body), scale_of(old))
        else:
            raise status.method_not_allowed()
        kept = self.registry.update(target.resource.plural, with_scale(old, scale), dry_run=dry_run(options))
        self.changed()
        return Answer(200, scale_of(kept))

    def _binding(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        if request.method != "POST":
            raise status.method_not_allowed()
        body = read_json(request.body)
        node = body.get("target") if isinstance(body, dict) else None
        if not isinstance(node, dict) or not isinstance(node.get("name"), str) or not node["name"]:
            raise status.bad_request("Binding needs target.name")
        self.registry.bind(target.namespace or "", target.name, node["name"])
        self.changed()
        return Answer(201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})

    def _eviction(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        if request.method != "POST":
            raise status.method_not_allowed()
        body = read_json(request.body) if request.body else {}
        inner = body.get("deleteOptions") if isinstance(body, dict) else None
        how = delete_how(inner if isinstance(inner, dict) else {}, options)
        self.registry.delete("pods", target.namespace or "", target.name, **how)
        self.changed()
        return Answer(201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
