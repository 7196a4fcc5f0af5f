"""YAML as a scenario needs it: a stream of documents as plain values, and where each value stands.

libyaml splits the text into events; the values are made of them here, because PyYAML's own
construction recurses (deep nesting ends the process), follows aliases without bound, and reads words
as YAML 1.1 did (`on` as true, 10:30 as a number, 2026-01-01 as a date).

Differs: no tags; a key is always a text; a key without a value is not there; aliases are copies, and stand for
         so many values at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from k8semu.errors import ScenarioError

MAX_BYTES = 32 << 20
MAX_DEPTH = 64
MAX_COPIED = 100_000
"""Values that all aliases of a file may stand for together: a few lines of them could be billions."""
_TOO_DEEP = ("nested too deep", f"at most {MAX_DEPTH} levels")
_MERGE: Any = object()
"""In place of the key << whose value's keys are to be taken over."""
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_OCTAL, _HEX = re.compile(r"0o?[0-7]{1,20}"), re.compile(r"0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18}|[0-9]{1,18}(?=[eE]))(?:[eE][-+]?[0-9]{1,2})?")


def plain(word: str) -> Any:
    """What a word without quotes means."""
    if word in _WORDS:
        return _WORDS[word]
    if word[0] not in "-+.0123456789":
        return word
    if _INT.fullmatch(word):
        return int(word, 8) if word[0] == "0" and _OCTAL.fullmatch(word) else int(word)
    if _HEX.fullmatch(word):
        return int(word, 16)
    if word.startswith("0o") and _OCTAL.fullmatch(word):
        return int(word[2:], 8)
    return float(word) if _FLOAT.fullmatch(word) else word


class _Reader:
    """Makes the values of a stream of events. `_open` are the lists and mappings begun, each with its key.

    `_merges` and `_nulls` are what mappings, by their depth, take over and what they say is not there.
    """

    def __init__(self, file: str, nulls: list[tuple[dict[str, Any], str]]) -> None:
        self.file = file
        self.nulls = nulls
        self.documents: list[Any] = []
        self._open: list[Any] = []
        self._keys: list[str | None] = []
        self._anchors: dict[str, Any] = {}
        self._copied = 0
        self._merges: dict[int, list[Any]] = {}
        self._nulls: dict[int, set[str]] = {}

    def error(self, what: str, event: Any, hint: str = "") -> ScenarioError:
        return ScenarioError(what, file=self.file, line=event.start_mark.line + 1, hint=hint)

    def read(self, event: Any) -> None:
        """Take one event."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind is yaml.MappingStartEvent:
            self._begin({}, event)
        elif kind is yaml.SequenceStartEvent:
            self._begin([], event)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            if self._merges or self._nulls:
                self._merge(event)
            self._open.pop()
            self._keys.pop()
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            self._anchors.clear()

    def _scalar(self, event: Any) -> None:
        is_plain = event.implicit[0]
        if event.tag is not None and event.tag not in ("!", "tag:yaml.org,2002:str"):
            raise self.error(f"tag {event.tag!r:.60}", event, "tags are not supported")
        if self._open and self._keys[-1] is None and type(self._open[-1]) is dict:
            self._key(event)
            return
        value = plain(event.value) if is_plain and event.tag is None else event.value
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        self._value(value)

    def _alias(self, event: Any) -> None:
        """A copy of what the anchor stands at."""
        name = event.anchor
        if self._open and self._keys[-1] is None and type(self._open[-1]) is dict:
            raise self.error("a key must be a plain word", event)
        if name not in self._anchors:
            raise self.error(f"alias *{name}", event, f"nothing before it is named &{name}")
        value = self._anchors[name]
        if any(value is begun for begun in self._open):
            raise self.error(f"alias *{name}", event, "it stands in what it is an alias of")
        self._value(self._copy(value, event, len(self._open)))

    def _copy(self, value: Any, event: Any, depth: int) -> Any:
        self._copied += 1
        if self._copied > MAX_COPIED:
            raise self.error(f"alias *{event.anchor}", event, f"aliases stand for more than {MAX_COPIED} values")
        if depth >= MAX_DEPTH and isinstance(value, (dict, list)):
            raise self.error(_TOO_DEEP[0], event, _TOO_DEEP[1])
        if isinstance(value, dict):
            return {key: self._copy(inner, event, depth + 1) for key, inner in value.items()}
        return [self._copy(inner, event, depth + 1) for inner in value] if isinstance(value, list) else value

    def _merge(self, event: Any) -> None:
        """A mapping ends: it takes over what it does not say itself; of several mappings, the first one's."""
        depth = len(self._open)
        nulls = self._nulls.pop(depth, ())
        for said in self._merges.pop(depth, ()):
            for each in said if isinstance(said, list) else [said]:
                if not isinstance(each, dict):
                    raise self.error("merge key <<", event, "it takes over a mapping, or a list of them")
                for key, value in each.items():
                    if key not in nulls:
                        self._open[-1].setdefault(key, value)

    def _key(self, event: Any) -> None:
        key: str = event.value
        if key == "<<" and event.implicit[0]:
            if len(self._open) in self._merges:
                raise self.error("duplicate key '<<'", event, "once, with a list: <<: [*a, *b]")
            self._merges[len(self._open)] = []
            self._keys[-1] = _MERGE
            return
        if key in self._open[-1]:
            raise self.error(f"duplicate key {key!r}", event, "each key once")
        self._keys[-1] = key

    def _value(self, value: Any) -> None:
        if not self._open:
            self.documents.append(value)
            return
        parent = self._open[-1]
        if type(parent) is list:
            parent.append(value)
            return
        key = self._keys[-1]
        self._keys[-1] = None
        if key is _MERGE:
            self._merges[len(self._open)].append(value)
        elif value is not None:     # as the API server takes it: null is not there
            parent[key] = value
        else:
            self._nulls.setdefault(len(self._open), set()).add(str(key))
            self.nulls.append((parent, str(key)))

    def _begin(self, value: Any, event: Any) -> None:
        if self._open and self._keys[-1] is None and type(self._open[-1]) is dict:
            raise self.error("a key must be a plain word", event)
        if event.tag not in (None, "!"):
            raise self.error(f"tag {event.tag!r:.60}", event, "tags are not supported")
        if len(self._open) >= MAX_DEPTH:
            raise self.error(_TOO_DEEP[0], event, _TOO_DEEP[1])
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        self._value(value)
        self._open.append(value)
        self._keys.append(None)


def _events(text: str) -> Iterator[Any]:
    events: Iterator[Any] = yaml.parse(text, Loader=_Base)
    return events


def documents(text: str, file: str, nulls: list[tuple[dict[str, Any], str]] | None = None) -> list[Any]:
    """The documents of a stream, empty ones left out; ScenarioError if it is no YAML.

    `nulls` takes the keys that had no value, each with the mapping in which it is not.
    """
    if len(text) > MAX_BYTES:
        raise ScenarioError(f"{len(text)} characters are too many", file=file, hint=f"at most {MAX_BYTES}")
    reader = _Reader(file, [] if nulls is None else nulls)
    try:
        for event in _events(text):
            reader.read(event)
    except yaml.YAMLError as error:
        raise _yaml_error(error, file) from None
    except UnicodeError as error:
        raise ScenarioError(f"not YAML: {error}", file=file) from None
    return [document for document in reader.documents if document is not None]


def _yaml_error(error: yaml.YAMLError, file: str) -> ScenarioError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else None
    problem = getattr(error, "problem", None) or str(error)
    if problem == "exceeded maximum nesting depth":     # libyaml's own limit, since 0.2.6: it looks ahead of the events
        return ScenarioError(_TOO_DEEP[0], file=file, line=line, hint=_TOO_DEEP[1])
    if isinstance(error, yaml.reader.ReaderError):
        problem = "a character that does not belong in YAML"
    return ScenarioError(f"not YAML: {problem}", file=file, line=line, hint=_HINTS.get(problem, ""))


_HINTS = {
    "did not find expected key": "keys of one mapping begin in one column",
    "did not find expected '-' indicator": "the items of a list begin in one column",
    "mapping values are not allowed in this context": "quotes around a text with ': ' in it, and keys in one column",
    "found a tab character that violates indentation": "spaces, no tabs",
    "found character that cannot start any token": "spaces, no tabs, and quotes around what begins with @ ` or %",
    "found unexpected end of stream": "a quote is open",
}
"""What is mostly meant by libyaml's words."""


# --- where a value stands -----------------------------------------------------------------------


def line_of(text: str, document: int, path: list[str | int]) -> int | None:
    """The line (1-based) where the value at `path` stands, or the deepest part of the path that exists."""
    search = _Search(path)
    try:
        for event in _events(text):
            if isinstance(event, yaml.DocumentStartEvent):
                search.begin()
            elif isinstance(event, yaml.DocumentEndEvent):
                document -= not search.empty
                if document < 0:
                    return search.line
                search.begin()
            else:
                search.read(event)
    except (yaml.YAMLError, UnicodeError):
        pass
    return search.line if document == 0 else None


class _Search:
    """Follows a path through one document. Each open list or mapping knows how much of the path leads to it."""

    def __init__(self, path: list[str | int]) -> None:
        self.path = path
        self.begin()

    def begin(self) -> None:
        """Another document starts."""
        self.line: int | None = None
        self.empty = True
        self._best = -1
        self._open: list[list[Any]] = []     # [matched, key (with its line) or index, whether a mapping]

    def read(self, event: Any) -> None:
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._open.pop()
        elif isinstance(event, (yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent, yaml.AliasEvent)):
            self._node(event)

    def _node(self, event: Any) -> None:
        line = event.start_mark.line + 1
        matched = 0
        if self._open:
            parent = self._open[-1]
            if parent[2] and parent[1] is None:
                parent[1] = (getattr(event, "value", None), line)
                return
            key, line = parent[1] if parent[2] else (parent[1], line)
            parent[1] = None if parent[2] else parent[1] + 1
            leads = 0 <= parent[0] < len(self.path) and self.path[parent[0]] == key
            matched = parent[0] + 1 if leads else -1
        if matched > self._best:
            self._best, self.line = matched, line
        if isinstance(event, yaml.ScalarEvent):
            self.empty = self.empty and not self._open and event.implicit[0] and plain(event.value) is None
        elif isinstance(event, yaml.AliasEvent):
            self.empty = False
        else:
            self.empty = False
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            self._open.append([matched, None if is_mapping else 0, is_mapping])
