"""YAML with line numbers: a stream of documents as plain values, and where each value stands.

Values are read by libyaml; the lines of a document are only looked up when there is an error to
report. Aliases are refused: a scenario has no use for them, and nested ones grow without bound.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from k8semu.errors import ScenarioError

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_BYTES = 16 << 20


class _Loader(_Base):  # type: ignore[misc]
    """Safe YAML in which a key may stand once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key.value!r}", key.start_mark)
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


# Plain words are what they are in YAML 1.2, not in 1.1: `on:` is a key of ours, "off" a word, 10:30 no number,
# 2026-01-01 no date; and an integer has so many digits that it is one.
_TAG = "tag:yaml.org,2002:"
_OURS = ("bool", "int", "float", "timestamp", "value")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.removeprefix(_TAG) not in _OURS]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
_DIGITS = list("-+0123456789")
for _name, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?(?:0|[1-9][0-9]{0,18})|0x[0-9a-fA-F]{1,16}|0[0-7]{1,20})$", _DIGITS),
    ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]{1,20})(?:[eE][-+]?[0-9]{1,3})?$", [*_DIGITS, "."]),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _first)


def documents(text: str, file: str) -> list[Any]:
    """The documents of a stream, empty ones left out; ScenarioError if it is no YAML."""
    if len(text) > MAX_BYTES:
        raise ScenarioError(f"{len(text)} bytes are too many", file=file, hint=f"at most {MAX_BYTES}")
    try:
        if "*" in text:
            _refuse_aliases(text, file)
        return [doc for doc in yaml.load_all(text, Loader=_Loader) if doc is not None]
    except yaml.YAMLError as error:
        raise _yaml_error(error, file) from None
    except RecursionError:
        raise ScenarioError("nested too deep", file=file) from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        # what PyYAML's constructors raise of a tag whose value is none of its kind: `!!int x`, `!!timestamp x`
        raise ScenarioError(f"not YAML: {error}", file=file, hint="a tag (!!int) with another value?") from None


def _refuse_aliases(text: str, file: str) -> None:
    for event in yaml.parse(text, Loader=_Base):
        if isinstance(event, yaml.AliasEvent):
            mark = event.start_mark
            raise ScenarioError(
                f"alias *{event.anchor}", file=file, line=mark.line + 1 if mark else None,
                hint="aliases are not supported: write the value out",
            )  # fmt: skip


def _yaml_error(error: yaml.YAMLError, file: str) -> ScenarioError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    if isinstance(error, yaml.reader.ReaderError):
        problem = f"character {error.character!r} does not belong in YAML"
    what = problem if problem.startswith(("duplicate", "a key")) else f"not YAML: {problem}"
    return ScenarioError(what, file=file, line=mark.line + 1 if mark is not None else None)


def line_of(text: str, document: int, path: list[str | int]) -> int | None:
    """The line (1-based) where the value at `path` stands, or the deepest part of the path that exists."""
    nodes = [node for node in yaml.compose_all(text, Loader=_Base) if not _empty(node)]
    if document >= len(nodes):
        return None
    node, line = nodes[document], nodes[document].start_mark.line + 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    node, line = value, key.start_mark.line + 1
                    break
            else:
                return int(line)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return int(line)
    return int(line)


def _empty(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"
