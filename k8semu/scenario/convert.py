"""Plain values become typed ones, with errors that say what would be right.

The types' own errors name the path; here the word that was meant is looked for.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from k8semu.errors import K8semuError, near

_AT = r"^(.*?)(?: - at (?:`key` in )?`\$(.*)`)?$"
_PART = r"\.([^.\[\]]+)|\[(\d+)\]"
_TYPES = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false",
          "array": "a list", "object": "a mapping", "null": "nothing"}  # fmt: skip
_DURATION = r"^(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)$"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATIONS = ("wait", "timeout", "interval", "delay", "connectTimeout")


class WrongValue(K8semuError):
    """`what` is wrong at `path` (``.spec.nodes[1].address``), and what would be right (`hint`)."""

    def __init__(self, what: str, path: str, hint: str = "") -> None:
        super().__init__(what)
        self.what, self.path, self.hint = what, path, hint


def parts(path: str) -> list[str | int]:
    """``.spec.nodes[1]`` is [spec, nodes, 1]."""
    return [int(index) if index else key for key, index in re.findall(_PART, path)]


def convert(value: Any, kind: Any) -> Any:
    """`value` as a `kind`; WrongValue if it is none."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _explained(str(error), value, kind) from None
    except RecursionError:
        raise WrongValue("nested too deep", "") from None


def _explained(message: str, value: Any, kind: Any) -> WrongValue:
    match = re.match(_AT, message, re.DOTALL)
    what, path = (match[1], match[2] or "") if match else (message, "")
    if unknown := re.search(r"unknown field `([^`]+)`", what):
        names = fields_at(kind, parts(path))
        return WrongValue(f"unknown key {unknown[1]!r}", f"{path}.{unknown[1]}", _meant(unknown[1], names))
    if missing := re.search(r"missing required field `([^`]+)`", what):
        close = near(missing[1], list(_mapping_at(value, path)), 1, 0.75)
        hint = f"did you mean it by {close[0]!r}?" if close else ""
        names = literals_at(kind, [*parts(path), missing[1]]) if not hint else []
        return WrongValue(f"{missing[1]} is missing", path, hint or (f"such as {names[0]}" if names else ""))
    if invalid := re.match(r"Invalid enum value ['\"]?(.*?)['\"]?$", what):
        names = literals_at(kind, parts(path))
        return WrongValue(f"{invalid[1]!r} is not known", path, _meant(invalid[1], names))
    if expected := re.match(r"Expected `([^`]+)`, got `([^`]+)`", what):
        wanted = " or ".join(_TYPES.get(word, word) for word in expected[1].split(" | ") if word != "null")
        hint = "such as 5s or 50ms" if (parts(path) or [""])[-1] in DURATIONS else ""
        return WrongValue(f"{_TYPES.get(expected[2], expected[2])} where {wanted} belongs", path, hint)
    if bound := re.match(r"Expected `(?:int|float)` ([<>]=?) (\S+)$", what):
        words = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
        return WrongValue(f"{_value_at(value, path)} is out of range", path, f"{words[bound[1]]} {float(bound[2]):g}")
    if re.search(r"matching regex", what):
        hint = "small letters, digits and dashes, at most 63"
        return WrongValue(f"{_value_at(value, path)!r:.80} is no name", path, hint)
    if "array` of length" in what:
        return WrongValue("an empty list", path, "at least one")
    return WrongValue(what[:1].lower() + what[1:].replace("`", ""), path)


def _meant(word: str, names: list[str]) -> str:
    close = near(word, names, 1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known are: {', '.join(names)}" if names else ""


def _value_at(value: Any, path: str) -> Any:
    """The value at `path`, or None."""
    for part in parts(path):
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _mapping_at(value: Any, path: str) -> dict[str, Any]:
    found = _value_at(value, path)
    return found if isinstance(found, dict) else {}


# --- what a type knows --------------------------------------------------------------------------


def _plain(info: Any) -> Any:
    """A type without what is wrapped around it: optional, constrained."""
    inspect = msgspec.inspect
    while True:
        if isinstance(info, inspect.UnionType):
            info = next((t for t in info.types if not isinstance(t, inspect.NoneType)), info.types[0])
        elif isinstance(info, inspect.Metadata):
            info = info.type
        else:
            return info


def _type_at(kind: Any, path: list[str | int]) -> Any:
    inspect = msgspec.inspect
    info: Any = _plain(inspect.type_info(kind))
    for part in path:
        if isinstance(info, inspect.ListType):
            info = info.item_type
        elif isinstance(info, inspect.DictType):
            info = info.value_type
        elif isinstance(info, inspect.StructType):
            info = next((field.type for field in info.fields if field.encode_name == part), None)
        info = _plain(info)
    return info


def fields_at(kind: Any, path: list[str | int]) -> list[str]:
    """The keys that a struct at `path` below `kind` knows."""
    info = _type_at(kind, path)
    return [field.encode_name for field in info.fields] if isinstance(info, msgspec.inspect.StructType) else []


def literals_at(kind: Any, path: list[str | int]) -> list[str]:
    """The words that are allowed at `path` below `kind`."""
    info = _type_at(kind, path)
    return [str(value) for value in info.values] if isinstance(info, msgspec.inspect.LiteralType) else []


# --- durations ----------------------------------------------------------------------------------


def in_seconds(value: Any) -> Any:
    """A scenario in which ``5s`` and ``50ms`` stand as numbers of seconds. Changes `value` itself."""
    spec = value.get("spec") if isinstance(value, dict) else None
    if not isinstance(spec, dict):
        return value
    balancer = spec.get("loadBalancer")
    if isinstance(balancer, dict):
        listeners = balancer.get("listeners")
        for checked in [balancer, *(listeners if isinstance(listeners, list) else [])]:
            _durations(checked)
            _durations(checked.get("healthCheck") if isinstance(checked, dict) else None)
    for listed in ("steps", "links"):
        entries = spec.get(listed)
        for entry in entries if isinstance(entries, list) else []:
            _durations(entry)
            for action in entry.values() if isinstance(entry, dict) else []:
                _durations(action)
    return value


def _durations(mapping: Any) -> None:
    if not isinstance(mapping, dict):
        return
    for key in DURATIONS:
        text = mapping.get(key)
        if isinstance(text, str) and (match := re.match(_DURATION, text)):
            mapping[key] = float(match[1]) * _UNITS[match[2]]
