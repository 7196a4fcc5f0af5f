"""What a request says: the objects that its path names, its options, its body.

Kubernetes: staging/src/k8s.io/apiserver/pkg/endpoints/request/requestinfo.go
"""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import unquote

import msgspec

from k8semu.kube.api import status
from k8semu.kube.api.cache import JSON, key_of
from k8semu.kube.api.resources import GROUPS, RESOURCES, Resource
from k8semu.kube.api.selectors import Test, parse_fields, parse_labels

_decode = msgspec.json.Decoder().decode


class Request(msgspec.Struct):
    method: str
    target: str
    body: bytes = b""
    accept: str = ""
    content_type: str = ""


class Target(msgspec.Struct):
    """Which objects a path names."""

    resource: Resource
    namespace: str | None = None
    name: str = ""
    subresource: str = ""


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


def read_json(body: bytes) -> Any:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise status.bad_request(f"couldn't get version/kind; json parse error: {error}") from None


def read_yaml(body: bytes) -> Any:
    """YAML as a client writes it, of which JSON is a part."""
    import yaml

    try:
        said = yaml.safe_load(body)                       # libyaml's loader crashes on what is too deep
        return _decode(msgspec.json.encode(said))         # dates and the like as JSON has them
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise status.bad_request(f"error decoding YAML: {error}") from None


def read_object(request: Request, target: Target) -> JSON:
    """The object of a request, in the namespace of its path."""
    kind = request.content_type.partition(";")[0].strip()
    if kind not in ("", "application/json"):
        raise status.unsupported_media_type(("application/json",))
    obj = read_json(request.body)
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


def delete_options(request: Request, options: dict[str, str]) -> JSON:
    body = read_json(request.body) if request.body else {}
    if not isinstance(body, dict):
        raise status.bad_request("DeleteOptions is an object")
    return delete_how(body, options)


def delete_how(body: JSON, options: dict[str, str]) -> JSON:
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
        "dry_run": dry_run(options) or bool(body.get("dryRun")), "orphan": orphan,
    }  # fmt: skip


def selection(plural: str, options: dict[str, str]) -> Test:
    tests: list[Test] = []
    if options.get("labelSelector"):
        tests.append(parse_labels(options["labelSelector"]))
    if options.get("fieldSelector"):
        tests.append(parse_fields(plural, options["fieldSelector"]))
    return lambda obj: all(test(obj) for test in tests)


def flag(options: dict[str, str], name: str) -> bool:
    return options.get(name, "") in ("1", "true", "True")


def dry_run(options: dict[str, str]) -> bool:
    return options.get("dryRun", "") == "All"


def version(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise status.bad_request(f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: invalid syntax')
    return int(text)


def wants_table(request: Request) -> bool:
    first = request.accept.partition(",")[0].replace(" ", "")
    return "as=Table" in first and "g=meta.k8s.io" in first


AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def wants_aggregated(request: Request) -> bool:
    """Of discovery, all in one answer, in the form that stands first."""
    return request.accept.partition(",")[0].replace(" ", "") == AGGREGATED


def readable(options: dict[str, str], current: int) -> None:
    """A list at the version that is asked for; ApiError if that is none, lies ahead, or is no longer known.

    Kubernetes: staging/src/k8s.io/apiserver/pkg/storage/{cacher/cacher,errors}.go
    """
    said, exact = options.get("resourceVersion", ""), options.get("resourceVersionMatch") == "Exact"
    if said in ("", "0"):
        return
    asked = version(said)
    if asked > current:
        raise status.too_large_version(asked, current)
    if exact and asked < current:
        raise status.outdated()


def included(options: dict[str, str]) -> str:
    return options.get("includeObject") or "Metadata"


def page(found: list[JSON], options: dict[str, str]) -> tuple[list[JSON], JSON]:
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
