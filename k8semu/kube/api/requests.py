"""What a request asks for, and the answer: the API server's handlers, without a connection.

    Request ─▶ handle ─▶ Answer (status and JSON), or Watching (a stream of events)

Kubernetes: staging/src/k8s.io/apiserver/pkg/endpoints/{request/requestinfo.go,handlers}
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from k8semu.kube.api import discovery, openapi, status
from k8semu.kube.api.cache import JSON, key_of
from k8semu.kube.api.patch import ACCEPTED, APPLY, STRATEGIC, apply_patch
from k8semu.kube.api.registry import Registry
from k8semu.kube.api.resources import GROUPS, RESOURCES, Resource
from k8semu.kube.api.scale import scale_of, with_scale
from k8semu.kube.api.selectors import Test, parse_fields, parse_labels
from k8semu.kube.api.status import ApiError
from k8semu.kube.api.surroundings import Now
from k8semu.kube.api.table import as_table

HEALTH = ("/healthz", "/livez", "/readyz")
RETURNED = ("pods", "serviceaccounts", "services")
"""Kinds whose delete answers with the object that is gone. Kubernetes: ReturnDeletedObject."""
_decode = msgspec.json.Decoder().decode


class Request(msgspec.Struct):
    method: str
    target: str
    body: bytes = b""
    accept: str = ""
    content_type: str = ""


class Answer(msgspec.Struct):
    """`body` is JSON, or text as it is."""

    code: int
    body: Any


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


class Target(msgspec.Struct):
    """Which objects a path names."""

    resource: Resource
    namespace: str | None = None
    name: str = ""
    subresource: str = ""


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
        if not _wants_table(request):
            return obj
        version = int(obj["metadata"]["resourceVersion"])
        return as_table(target.resource.plural, [obj], version, self.clock.now, _include(options))

    def _list(self, request: Request, target: Target, options: dict[str, str]) -> Answer | Watching:
        test = _test(target.resource.plural, options)
        if _flag(options, "watch"):
            return self._watch(request, target, options, test)
        resource, version = target.resource, self.registry.version
        found = sorted((obj for obj in self.registry.list(resource.plural, target.namespace) if test(obj)), key=key_of)
        found, more = _page(found, options)
        meta: JSON = {"resourceVersion": str(version), **more}
        if _wants_table(request):
            body = as_table(resource.plural, found, version, self.clock.now, _include(options))
            return Answer(200, {**body, "metadata": meta})
        items = [{key: value for key, value in obj.items() if key not in ("kind", "apiVersion")} for obj in found]
        return Answer(200, {
            "kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": meta, "items": items,
        })  # fmt: skip

    def _watch(self, request: Request, target: Target, options: dict[str, str], test: Test) -> Watching:
        said, initial = options.get("resourceVersion", ""), options.get("sendInitialEvents")
        since = _version(said) if said not in ("", "0") and initial != "true" else None
        if initial == "false":
            since = self.registry.version
        seconds = options.get("timeoutSeconds", "")
        return Watching(
            target.resource, target.namespace, since, test, _include(options) if _wants_table(request) else "",
            int(seconds) if seconds.isdecimal() and len(seconds) < 10 else None,
            _flag(options, "allowWatchBookmarks"), initial == "true",
        )  # fmt: skip

    # --- writing --------------------------------------------------------------------------------

    def _create(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        obj = _body(request, target)
        made = self.registry.create(target.resource.plural, obj, dry_run=_dry(options))
        self.changed()
        return Answer(201, self._shown(request, target, options, made))

    def _update(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        obj = _body(request, target)
        if obj["metadata"].get("name") != target.name:
            said = obj["metadata"].get("name", "")
            raise status.bad_request(
                f"the name of the object ({said}) does not match the name on the URL ({target.name})"
            )
        kept = self.registry.update(target.resource.plural, obj, target.subresource, dry_run=_dry(options))
        self.changed()
        return Answer(200, self._shown(request, target, options, kept))

    def _patch(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        kind = request.content_type.partition(";")[0].strip()
        if kind == APPLY:
            return self._apply(request, target, options)
        if kind not in ACCEPTED:
            raise status.unsupported_media_type((*ACCEPTED, APPLY))
        patch = _json(request.body)
        kept = self._patched(target, lambda obj: apply_patch(kind, patch, obj), _dry(options))
        self.changed()
        return Answer(200, self._shown(request, target, options, kept))

    def _apply(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        """Server-side apply, without its owners of fields: what is said is merged, and nothing is taken away."""
        if not options.get("fieldManager"):
            raise status.bad_request("PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: "
                                     "is required for apply patch")  # fmt: skip
        patch = _yaml(request.body)
        if not isinstance(patch, dict):
            raise status.bad_request("error decoding YAML: an object is expected")
        plural, namespace = target.resource.plural, target.namespace or ""
        if self.registry.caches[plural].get(namespace, target.name) is None:
            body = msgspec.structs.replace(request, body=msgspec.json.encode(patch), content_type="application/json")
            return self._create(body, target, options)
        kept = self._patched(target, lambda obj: apply_patch(STRATEGIC, patch, obj), _dry(options))
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
        how = _delete_options(request, options)
        plural, namespace = target.resource.plural, target.namespace or ""
        gone = self.registry.delete(plural, namespace, target.name, **how)
        self.changed()
        if not gone.gone or plural in RETURNED:
            return Answer(200, self._shown(request, target, options, gone.object))
        return Answer(200, status.success(target.resource, target.name, gone.object["metadata"]["uid"]))

    def _delete_all(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        test, how = _test(target.resource.plural, options), _delete_options(request, options)
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
            scale = _json(request.body)
        elif request.method == "PATCH":
            kind = request.content_type.partition(";")[0].strip()
            if kind not in ACCEPTED:
                raise status.unsupported_media_type(ACCEPTED)
            scale = apply_patch(kind, _json(request.body), scale_of(old))
        else:
            raise status.method_not_allowed()
        kept = self.registry.update(target.resource.plural, with_scale(old, scale), dry_run=_dry(options))
        self.changed()
        return Answer(200, scale_of(kept))

    def _binding(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        if request.method != "POST":
            raise status.method_not_allowed()
        body = _json(request.body)
        node = body.get("target") if isinstance(body, dict) else None
        if not isinstance(node, dict) or not isinstance(node.get("name"), str) or not node["name"]:
            raise status.bad_request("Binding needs target.name")
        self.registry.bind(target.namespace or "", target.name, node["name"])
        self.changed()
        return Answer(201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})

    def _eviction(self, request: Request, target: Target, options: dict[str, str]) -> Answer:
        if request.method != "POST":
            raise status.method_not_allowed()
        body = _json(request.body) if request.body else {}
        inner = body.get("deleteOptions") if isinstance(body, dict) else None
        how = _delete_how(inner if isinstance(inner, dict) else {}, options)
        self.registry.delete("pods", target.namespace or "", target.name, **how)
        self.changed()
        return Answer(201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})


def find_target(path: str) -> Target | None:
    """``/apis/apps/v1/namespaces/default/deployments/web/scale``; None for what names no objects."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api":
        version, rest = parts[1] if len(parts) > 1 else "", parts[2:]
    elif parts[0] == "apis":
        version, rest = "/".join(parts[1:3]), parts[3:]
    else:
        return None
    namespace: str | None = None
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in RESOURCES["namespaces"].subresources:
        namespace, rest = rest[1], rest[2:]
    if not 1 <= len(rest) <= 3 or not all(rest):
        return None
    resource = RESOURCES.get(rest[0])
    if resource is None or resource.api_version != version or version not in GROUPS:
        return None
    target = Target(resource, namespace, *rest[1:])
    if target.subresource and target.subresource not in resource.subresources:
        return None
    if resource.namespaced != (namespace is not None) and (target.name or namespace is not None):
        return None
    return target


def _json(body: bytes) -> Any:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise status.bad_request(f"couldn't get version/kind; json parse error: {error}") from None


def _yaml(body: bytes) -> Any:
    """YAML as a client writes it, of which JSON is a part."""
    import yaml

    try:
        said = yaml.safe_load(body)                       # libyaml's loader crashes on what is too deep
        return _decode(msgspec.json.encode(said))         # dates and the like as JSON has them
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise status.bad_request(f"error decoding YAML: {error}") from None


def _body(request: Request, target: Target) -> JSON:
    """The object of a request, in the namespace of its path."""
    kind = request.content_type.partition(";")[0].strip()
    if kind not in ("", "application/json"):
        raise status.unsupported_media_type(("application/json",))
    obj = _json(request.body)
    if not isinstance(obj, dict):
        what = f"the object provided is unrecognized (must be of type {target.resource.kind})"
        raise status.bad_request(f"{what}: couldn't get version/kind; it is no object")
    meta = obj.get("metadata")
    if meta is None:
        meta = {}
    if not isinstance(meta, dict):
        raise status.bad_request("json: cannot unmarshal metadata into Go struct of type ObjectMeta")
    said = meta.get("namespace")
    if target.resource.namespaced and target.namespace is not None:
        if said not in (None, "", target.namespace):
            raise status.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        meta = {**meta, "namespace": target.namespace}
    return {"apiVersion": target.resource.api_version, "kind": target.resource.kind, **obj, "metadata": meta}


def _delete_options(request: Request, options: dict[str, str]) -> JSON:
    body = _json(request.body) if request.body else {}
    if not isinstance(body, dict):
        raise status.bad_request("DeleteOptions is an object")
    return _delete_how(body, options)


def _delete_how(body: JSON, options: dict[str, str]) -> JSON:
    """What a delete is told: grace, preconditions, what becomes of dependents."""
    grace = body.get("gracePeriodSeconds", options.get("gracePeriodSeconds"))
    if isinstance(grace, str):
        grace = int(grace) if grace.isdecimal() and len(grace) < 10 else None
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)):
        raise status.bad_request("gracePeriodSeconds is a number")
    conditions = body.get("preconditions")
    conditions = conditions if isinstance(conditions, dict) else {}
    policy = body.get("propagationPolicy") or options.get("propagationPolicy") or ""
    orphan = policy == "Orphan" or body.get("orphanDependents") is True
    return {
        "grace": grace, "uid": str(conditions.get("uid") or ""),
        "version": str(conditions.get("resourceVersion") or ""),
        "dry_run": _dry(options) or bool(body.get("dryRun")), "orphan": orphan,
    }  # fmt: skip


def _test(plural: str, options: dict[str, str]) -> Test:
    tests: list[Test] = []
    if options.get("labelSelector"):
        tests.append(parse_labels(options["labelSelector"]))
    if options.get("fieldSelector"):
        tests.append(parse_fields(plural, options["fieldSelector"]))
    return lambda obj: all(test(obj) for test in tests)


def _flag(options: dict[str, str], name: str) -> bool:
    return options.get(name, "") in ("1", "true", "True")


def _dry(options: dict[str, str]) -> bool:
    return options.get("dryRun", "") == "All"


def _version(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise status.bad_request(f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: invalid syntax')
    return int(text)


def _wants_table(request: Request) -> bool:
    first = request.accept.partition(",")[0].replace(" ", "")
    return "as=Table" in first and "g=meta.k8s.io" in first


def _include(options: dict[str, str]) -> str:
    return options.get("includeObject") or "Metadata"


def _page(found: list[JSON], options: dict[str, str]) -> tuple[list[JSON], JSON]:
    """The part of a list that `limit` and `continue` ask for."""
    after = options.get("continue", "")
    if after:
        try:
            namespace, _, name = base64.urlsafe_b64decode(after.encode()).decode().partition("/")
        except (binascii.Error, ValueError):
            raise status.bad_request("continue key is not valid") from None
        found = [obj for obj in found if key_of(obj) > (namespace, name)]
    limit = options.get("limit", "")
    most = int(limit) if limit.isdecimal() and len(limit) < 10 else 0
    if not most or len(found) <= most:
        return found, {}
    last = "/".join(key_of(found[most - 1]))
    token = base64.urlsafe_b64encode(last.encode()).decode()
    return found[:most], {"continue": token, "remainingItemCount": len(found) - most}


