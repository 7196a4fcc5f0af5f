"""The templates of `kubectl get -o jsonpath=…`: text, and in braces what is looked up in the answer.

    {.items[*].status.podIP}   {range .items[*]}{.metadata.name}{"\\n"}{end}   {.items[?(@.kind=="Pod")]}

A template is parsed into steps, each of which makes values of values; what is not there makes none.

Kubernetes: staging/src/k8s.io/client-go/util/jsonpath, https://kubernetes.io/docs/reference/kubectl/jsonpath/
Differs: a filter compares with one text, number, true or false, or asks whether something is there; a place that a
         list does not have gives nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

Values = list[Any]
Step = Callable[[Values], Values]

_FIELD = re.compile(r"(?:[^\s.\[\]{}()'\",=!<>|?@$*\\]|\\.)+")
_FILTER = re.compile(r"\?\(\s*(@[^=!<>]*?)\s*(?:(==|!=|<=|>=|<|>)\s*(.+?)\s*)?\)")
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(\d+))?")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class JsonPathError(Exception):
    """A template that says nothing."""


def render(template: str, data: Any) -> str:
    """What the template makes of `data`; JsonPathError if it is none."""
    out: list[str] = []
    _run(list(_parts(template)), [data], out)
    return "".join(out)


def _parts(template: str) -> Iterator[tuple[str, str]]:
    """('text', …) outside of braces, ('do', …) inside."""
    at = 0
    while at < len(template):
        start = template.find("{", at)
        if start < 0:
            yield "text", template[at:]
            return
        if start > at:
            yield "text", template[at:start]
        end = _closing(template, start)
        yield "do", template[start + 1 : end].strip()
        at = end + 1


def _closing(template: str, start: int) -> int:
    quote = ""
    for at in range(start + 1, len(template)):
        char = template[at]
        if quote:
            quote = "" if char == quote and template[at - 1] != "\\" else quote
        elif char in "\"'":
            quote = char
        elif char == "}":
            return at
    raise JsonPathError("unterminated quoted string" if quote else "unclosed action")


def _run(parts: list[tuple[str, str]], here: Values, out: list[str]) -> None:
    at = 0
    while at < len(parts):
        kind, text = parts[at]
        at += 1
        if kind == "text":
            out.append(text)
        elif text.startswith("range"):
            end = _end(parts, at)
            for value in _look_up(text[5:].strip(), here):
                _run(parts[at:end], [value], out)
            at = end + 1
        elif text == "end":
            raise JsonPathError("not in range, nothing to end")
        else:
            out.append(_shown(text, here))


def _end(parts: list[tuple[str, str]], at: int) -> int:
    depth = 1
    for i in range(at, len(parts)):
        kind, text = parts[i]
        if kind == "do":
            depth += text.startswith("range") - (text == "end")
        if not depth:
            return i
    raise JsonPathError("unclosed range")


def _shown(action: str, here: Values) -> str:
    """Quoted text as it is; values, a blank between them."""
    words: list[str] = []
    for piece in _pieces(action):
        if piece[0] in "\"'":
            words.append(re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), piece[1:-1]))
        else:
            words.append(" ".join(_text(value) for value in _look_up(piece, here)))
    return "".join(words) if len(words) == 1 else " ".join(words)


def _pieces(action: str) -> list[str]:
    """Quoted texts and paths, at the blanks and quotes that stand in no brackets."""
    found: list[str] = []
    at = 0
    while at < len(action):
        start = at
        if action[at] in "\"'":
            at = _after_quote(action, at)
        else:
            while at < len(action) and action[at] not in "\"' ":
                at = _after_bracket(action, at) if action[at] == "[" else at + 1
        if at > start:
            found.append(action[start:at])
        at += at < len(action) and action[at] == " "
    if not found:
        raise JsonPathError("an empty action")
    return found


def _after_quote(text: str, at: int) -> int:
    quote, at = text[at], at + 1
    while at < len(text) and text[at] != quote:
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise JsonPathError("unterminated quoted string")
    return at + 1


def _after_bracket(text: str, at: int) -> int:
    at += 1
    while at < len(text) and text[at] != "]":
        at = _after_bracket(text, at) if text[at] == "[" else _after_quote(text, at) if text[at] in "\"'" else at + 1
    if at >= len(text):
        raise JsonPathError("unterminated array")
    return at + 1


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


# --- paths --------------------------------------------------------------------------------------


def _look_up(path: str, here: Values) -> Values:
    return _walk(list(_steps(path)), here)


def _steps(path: str) -> Iterator[Step]:
    at = 1 if path[:1] in ("$", "@") else 0
    while at < len(path):
        if path.startswith("..", at):
            field, at = _field(path, at + 2)
            yield lambda values, field=field: [found for value in values for found in _deep(value, field)]  # type: ignore[misc]
        elif path.startswith(".*", at):
            yield _all
            at += 2
        elif path[at] == ".":
            if at + 1 == len(path):     # {.} is the whole
                return
            if path[at + 1] == "[":
                at += 1
                continue
            field, at = _field(path, at + 1)
            yield lambda values, field=field: _member(values, field)  # type: ignore[misc]
        elif path[at] == "[":
            end = _after_bracket(path, at)
            yield _inside(path[at + 1 : end - 1].strip())
            at = end
        else:
            raise JsonPathError(f"unrecognized character in action: {path[at]!r}")


def _field(path: str, at: int) -> tuple[str, int]:
    match = _FIELD.match(path, at)
    if match is None:
        raise JsonPathError(f"unrecognized character in action: {path[at : at + 1]!r}")
    return re.sub(r"\\(.)", r"\1", match[0]), match.end()


def _member(values: Values, field: str) -> Values:
    return [value[field] for value in values if isinstance(value, dict) and field in value]


def _all(values: Values) -> Values:
    return [
        each for value in values
        for each in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    ]  # fmt: skip


def _deep(value: Any, field: str) -> Iterator[Any]:
    if isinstance(value, dict) and field in value:
        yield value[field]
    for each in _all([value]):
        yield from _deep(each, field)


def _inside(text: str) -> Step:
    """What stands in brackets: all, places, names, a slice, a filter."""
    if text == "*":
        return _all
    if text[:1] == "?":
        return _filter(text)
    if match := _SLICE.fullmatch(text):
        start, stop, step = (int(part) if part else None for part in match.groups())
        return lambda values: [each for value in values if isinstance(value, list) for each in value[start:stop:step]]
    keys = [key.strip() for key in text.split(",")]
    if all(re.fullmatch(r"-?\d+", key) for key in keys):
        places = [int(key) for key in keys]
        return lambda values: [
            value[place] for value in values if isinstance(value, list) for place in places
            if -len(value) <= place < len(value)
        ]  # fmt: skip
    names = [key[1:-1] for key in keys if len(key) > 1 and key[0] == key[-1] and key[0] in "'\""]
    if len(names) != len(keys):
        raise JsonPathError(f"invalid array index {text}")
    paths = [list(_steps(f".{name}")) for name in names]
    return lambda values: [found for value in values for steps in paths for found in _walk(steps, [value])]


def _walk(steps: list[Step], values: Values) -> Values:
    for step in steps:
        values = step(values)
    return values


def _filter(text: str) -> Step:
    match = _FILTER.fullmatch(text)
    if match is None:
        raise JsonPathError(f"unrecognized filter {text}")
    path, op, said = match.groups()
    steps = list(_steps(path))
    wanted = _literal(said) if op else None

    def fits(value: Any) -> bool:
        found = _walk(steps, [value])
        return any(_compare(each, op, wanted) for each in found) if op else bool(found)

    return lambda values: [each for each in _all(values) if fits(each)]


def _literal(text: str) -> Any:
    if text[0] in "\"'" and text[-1] == text[0]:
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        raise JsonPathError(f"unrecognized value in a filter: {text}") from None


def _compare(value: Any, op: str, wanted: Any) -> bool:
    if op in ("==", "!="):
        return (value == wanted and isinstance(value, bool) == isinstance(wanted, bool)) == (op == "==")
    if isinstance(value, str) != isinstance(wanted, str) or isinstance(value, (dict, list, type(None))):
        return False
    return bool({"<": value < wanted, ">": value > wanted, "<=": value <= wanted, ">=": value >= wanted}[op])
