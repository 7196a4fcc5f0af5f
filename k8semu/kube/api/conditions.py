"""`status.conditions`: what is true of an object, since when, and why.

Kubernetes: pkg/api/v1/pod/util.go UpdatePodCondition(), GetPodCondition()
"""

from __future__ import annotations

from typing import Any

JSON = dict[str, Any]


def condition(obj: JSON, kind: str) -> JSON | None:
    """The condition of that type, or None."""
    for held in (obj.get("status") or {}).get("conditions") or ():
        if held.get("type") == kind:
            found: JSON = held
            return found
    return None


def is_true(obj: JSON, kind: str) -> bool:
    held = condition(obj, kind)
    return held is not None and held.get("status") == "True"


def set_condition(
    conditions: list[JSON], kind: str, status: str, now: str, reason: str = "", message: str = ""
) -> list[JSON]:
    """`conditions` with one as said; the time of its last change stays where its status stays."""
    new: JSON = {"type": kind, "status": status, "lastTransitionTime": now}
    if reason:
        new["reason"] = reason
    if message:
        new["message"] = message
    for i, held in enumerate(conditions):
        if held["type"] == kind:
            if held["status"] == status:
                new["lastTransitionTime"] = held.get("lastTransitionTime", now)
            merged = {**{k: v for k, v in held.items() if k not in ("reason", "message")}, **new}
            return conditions if merged == held else [*conditions[:i], merged, *conditions[i + 1 :]]
    return [*conditions, new]
