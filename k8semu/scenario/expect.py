"""What a step was expected to give, against what it gave."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from k8semu.scenario.model import Expect

Makers = Callable[[str], Collection[str]]
"""The names of the workloads that made a Pod."""


def _list(value: list[str] | str) -> list[str]:
    return [value] if isinstance(value, str) else value


CHANGES = {"apply", "scale", "kill", "delete", "link", "node", "cni"}
"""Steps that change something: what comes after them means nothing where they failed."""
ASKS = ("error", "code", "pending")
"""Who expects one of these, asks how a change ended."""


def check(expect: Expect | None, result: Any, kind: str = "", makers: Makers = lambda pod: ()) -> list[str]:
    """What is otherwise than expected, a line each; [] if all is well. Of several calls, every one has to be so.

    Nothing is expected of a call that says nothing of it; but a change (`kind` is one of CHANGES) has to be made.
    """
    if kind in CHANGES and result["error"] and all(getattr(expect, key, None) is None for key in ASKS):
        return [f"error: expected '', got {result['error']!r}", *check(expect, result, "", makers)]
    if expect is None:
        return []
    calls: list[dict[str, Any]] = result.get("calls") or [result]
    failures = []
    for name, key in _PLAIN:
        wanted = getattr(expect, name)
        if wanted is None:
            continue
        got = [call.get(key) for call in calls]
        if any(value != wanted for value in got):
            failures.append(f"{key}: expected {wanted!r}, got {_short(got)}")
    if expect.served_by is not None:
        wanted_names, got_names = _list(expect.served_by), sorted({str(call.get("servedBy", "")) for call in calls})
        if {_called(name, wanted_names, makers) for name in got_names} != set(wanted_names):
            failures.append(f"servedBy: expected {wanted_names}, got {got_names}")
    if expect.answers is not None:
        wanted_answers = sorted(expect.answers)  # a server gives them in any order
        if any(sorted(call.get("answers", [])) != wanted_answers for call in calls):
            got_answers = [call.get("answers") for call in calls]
            failures.append(f"answers: expected {wanted_answers}, got {_short(got_answers)}")
    for key in ("started", "stopped", "pending"):
        wanted = getattr(expect, key)
        got_pods = calls[0].get(key, [])
        if wanted is not None and (len(got_pods) if isinstance(wanted, int) else sorted(got_pods)) != (
            wanted if isinstance(wanted, int) else sorted(wanted)
        ):
            failures.append(f"{key}: expected {wanted}, got {got_pods}")
    for key, value in (expect.outside or {}).items():
        reached = result.get("outside", {}).get(key, "nothing")
        if reached.partition(" (")[0] != value:
            failures.append(f"outside: expected {key} at {value}, got {reached}")
    for key, value in (expect.returns or {}).items():
        if key not in result or result[key] != value:
            failures.append(f"{key}: expected {value!r}, got {result.get(key)!r}")
    failures += _headers(expect.headers or {}, calls)
    text = "\n".join(map(_text, calls)) if expect.contains or expect.excludes else ""
    for part in _list(expect.contains or []):
        if part not in text:
            failures.append(f"the output does not contain {part!r}")
    for part in _list(expect.excludes or []):
        if part in text:
            failures.append(f"the output contains {part!r}")
    return failures


def _called(pod: str, wanted: list[str], makers: Makers) -> str:
    """By which of the expected names a Pod goes: its own, else that of the workload which made it."""
    return pod if pod in wanted else next((name for name in wanted if name in makers(pod)), pod)


def _text(call: dict[str, Any]) -> str:
    """What `contains` looks in."""
    if "output" in call:
        return str(call["output"])
    import json

    return f"{json.dumps(call)}\n{call['body']}" if "body" in call else json.dumps(call)


def _headers(wanted: dict[str, str | None], calls: list[dict[str, Any]]) -> list[str]:
    failures = []
    for name, value in wanted.items():
        got = [(call.get("headers") or {}).get(name.lower()) for call in calls]
        if any(one != value for one in got):
            failures.append(f"headers: expected {name} {value!r}, got {_short(got)}")
    return failures


_PLAIN = (
    ("status", "status"), ("client_address", "clientAddress"), ("error", "error"), ("received", "received"),
    ("sent", "sent"), ("reply", "reply"), ("bytes", "bytes"), ("code", "code"), ("address", "address"),
    ("rcode", "rcode"),
)  # fmt: skip


def _short(got: list[Any]) -> str:
    return repr(got[0]) if len({repr(value) for value in got}) == 1 else repr(got)
