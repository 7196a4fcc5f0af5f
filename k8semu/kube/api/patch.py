"""Patches: what a client wants changed, in three ways of saying it.

    merge-patch+json              what is named is replaced, null removes                      RFC 7386
    json-patch+json               a list of operations with paths                              RFC 6902
    strategic-merge-patch+json    as merge, but lists of things with a key are merged by it

RFC: 6901, 6902, 7386
Kubernetes: staging/src/k8s.io/apimachinery/pkg/util/strategicpatch/patch.go
Not modelled: who owns which field (managedFields), by which server-side apply takes fields away.
"""

from __future__ import annotations

from typing import Any

from k8semu.kube.api.status import ApiError, bad_request

JSON = dict[str, Any]
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
ACCEPTED = (JSON_PATCH, MERGE, STRATEGIC)

KEYS = {
    "containers": "name", "initContainers": "name", "ephemeralContainers": "name", "env": "name", "volumes": "name",
    "volumeMounts": "mountPath", "conditions": "type", "ownerReferences": "uid", "imagePullSecrets": "name",
    "hostAliases": "ip", "taints": "key", "podIPs": "ip", "hostIPs": "ip", "topologySpreadConstraints": "topologyKey",
}  # fmt: skip
"""Lists that are merged, and by which key; `ports` depends on whose they are."""
SETS = ("finalizers", "podCIDRs")
"""Lists of words that are merged."""


def apply_patch(kind: str, patch: Any, obj: JSON) -> JSON:
    """The object with a patch of that media type applied; ApiError for one that does not fit."""
    if kind == JSON_PATCH:
        return json_patch(obj, patch)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}")
    if kind == MERGE:
        merged: JSON = merge_patch(obj, patch)
        return merged
    return strategic_merge(obj, patch)


def merge_patch(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for key, part in patch.items():
        if part is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), part)
    return merged


# --- JSON patch -------------------------------------------------------------------------------------


def json_patch(obj: JSON, patch: Any) -> JSON:
    if not isinstance(patch, list):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    value: Any = obj
    for operation in patch:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise bad_request("error decoding patch: an operation is an object with `op` and `path`")
        value = _operate(value, operation)
    if not isinstance(value, dict):
        raise _unfit("the document is no longer an object")
    return value


def _operate(value: Any, operation: JSON) -> Any:
    kind, path = operation.get("op"), _pointer(operation["path"])
    if kind in ("add", "replace", "test") and "value" not in operation:
        raise _unfit(f"{kind} operation without value")
    if kind == "add":
        return _set(value, path, operation["value"], insert=True)
    if kind == "replace":
        _at(value, path)
        return _set(value, path, operation["value"], insert=False)
    if kind == "remove":
        return _remove(value, path)
    if kind == "test":
        if _at(value, path, None) != operation["value"]:
            raise _unfit(f"testing value {operation['path']} failed: test failed")
        return value
    if kind in ("copy", "move") and isinstance(operation.get("from"), str):
        source = _pointer(operation["from"])
        part = _at(value, source)
        if kind == "move":
            if path[: len(source)] == source and path != source:
                raise _unfit("a value cannot be moved into itself")
            value = _remove(value, source)
        return _set(value, path, part, insert=True)
    raise _unfit(f"Unexpected kind: {kind}")


def _unfit(why: str) -> ApiError:
    return ApiError(422, "Invalid", f"the server rejected our request due to an error in our request: {why}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise _unfit(f"invalid path {text!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


_MISSING = object()


def _at(value: Any, path: list[str], default: Any = _MISSING) -> Any:
    for i, part in enumerate(path):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        elif default is _MISSING:
            raise _unfit(f"doc is missing path: /{'/'.join(path[: i + 1])}: missing value")
        else:
            return default
    return value


def _set(value: Any, path: list[str], new: Any, insert: bool) -> Any:
    """A copy of `value` with `new` at `path`; what is beside the path is shared."""
    if not path:
        return new
    head, rest = path[0], path[1:]
    if isinstance(value, dict):
        if rest and head not in value:
            raise _unfit(f"doc is missing path: {head}: missing value")
        return {**value, head: _set(value.get(head), rest, new, insert)}
    if isinstance(value, list):
        if not rest and insert and (head == "-" or (head.isdecimal() and int(head) <= len(value))):
            at = len(value) if head == "-" else int(head)
            return [*value[:at], new, *value[at:]]
        if head.isdecimal() and int(head) < len(value):
            at = int(head)
            return [*value[:at], _set(value[at], rest, new, insert), *value[at + 1 :]]
        raise _unfit(f"Unable to access invalid index: {head}: invalid index referenced")
    raise _unfit(f"doc is missing path: {head}: missing value")


def _remove(value: Any, path: list[str]) -> Any:
    _at(value, path)
    if not path:
        raise _unfit("the whole document cannot be removed")
    *parents, last = path
    holder = _at(value, parents)
    if isinstance(holder, list):
        at = int(last)
        return _set(value, parents, [*holder[:at], *holder[at + 1 :]], insert=False)
    return _set(value, parents, {key: part for key, part in holder.items() if key != last}, insert=False)


# --- strategic merge --------------------------------------------------------------------------------


def strategic_merge(obj: JSON, patch: JSON) -> JSON:
    """Merge by the keys of the kind's lists. Directives: $patch, $retainKeys, $deleteFromPrimitiveList, order."""
    return _merge(obj, patch, (str(obj.get("kind", "")),))


def _merge(value: Any, patch: JSON, path: tuple[str, ...]) -> JSON:
    if patch.get("$patch") == "replace":
        return {key: part for key, part in patch.items() if key != "$patch"}
    merged = dict(value) if isinstance(value, dict) else {}
    if patch.get("$patch") == "delete":
        return {}
    if isinstance(patch.get("$retainKeys"), list):
        merged = {key: part for key, part in merged.items() if key in patch["$retainKeys"]}
    for key, part in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            gone = part if isinstance(part, list) else []
            merged[name] = [word for word in _items(merged.get(name)) if word not in gone]
        elif key.startswith("$"):
            continue
        elif part is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_value(merged.get(key), part, (*path, key), patch.get(f"$setElementOrder/{key}"))
    for key, order in patch.items():
        name = key.partition("/")[2]
        if key.startswith("$setElementOrder/") and name not in patch and isinstance(merged.get(name), list):
            merged[name] = _in_order(merged[name], order, merge_key((*path, name)))
    return merged


def _merge_value(value: Any, patch: Any, path: tuple[str, ...], order: Any) -> Any:
    if isinstance(patch, dict):
        return _merge(value, patch, path)
    key = merge_key(path)
    if isinstance(patch, list) and key and all(isinstance(item, dict) for item in patch):
        return _in_order(_merge_list(_items(value), patch, key, path), order, key)
    if isinstance(patch, list) and path[-1] in SETS:
        merged = [*_items(value), *(word for word in patch if word not in _items(value))]
        return _in_order(merged, order, "")
    return patch


def merge_key(path: tuple[str, ...]) -> str:
    """By which key the list at a path is merged, or ''."""
    name = path[-1]
    if name == "ports":
        return "containerPort" if "containers" in path or "initContainers" in path else \
            "port" if path[0] == "Service" else ""  # fmt: skip
    if name == "addresses":
        return "type" if path[0] == "Node" else ""
    return KEYS.get(name, "")


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _merge_list(items: list[Any], patch: list[JSON], key: str, path: tuple[str, ...]) -> list[Any]:
    if any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if "$patch" not in item]
    merged = list(items)
    for item in patch:
        if key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        at = next((i for i, held in enumerate(merged) if isinstance(held, dict) and held.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            merged = [held for held in merged if not (isinstance(held, dict) and held.get(key) == item[key])]
        elif at is None:
            merged.append(_merge({}, item, path))
        else:
            merged[at] = _merge(merged[at], item, path)
    return merged


def _in_order(items: list[Any], order: Any, key: str) -> list[Any]:
    """`items` in the order that the client wants; those that it does not know come last."""
    if not isinstance(order, list):
        return items
    wanted = [part.get(key) if isinstance(part, dict) else part for part in order]

    def place(item: Any) -> int:
        name = item.get(key) if isinstance(item, dict) else item
        return wanted.index(name) if name in wanted else len(wanted)

    return sorted(items, key=place)
