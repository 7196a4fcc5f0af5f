"""What a step returned, without what Linux chooses freely, so that both worlds' results can be compared.

    "64 bytes from 172.17.0.3: icmp_seq=1 ttl=64 time=0.045 ms"  ─▶  "… time=# ms"
    "172.17.0.2:48730"                                           ─▶  "172.17.0.2:#"
    "2: eth0@if5: <BROADCAST,…"                                  ─▶  "#: eth0@if#: <BROADCAST,…"
"""

from __future__ import annotations

import re
from typing import Any

_FREE = [
    # a bridge listens for snoopers (224.0.0.106) only while it snoops, and the twin's bridges do not
    (re.compile(r"^(?:33:33:00:00:00|01:00:5e:00:00):6a dev \S+ self permanent\n", re.MULTILINE), ""),
    (re.compile(r"\d+(?:\.\d+)? ?ms\b"), "# ms"),
    (re.compile(r"\b(time[= ])\d+(?:\.\d+)?\b"), r"\1#"),
    (re.compile(r"(\d+\.\d+\.\d+\.\d+[:.])(?:3[2-9]|[45]\d|6[0-5])\d{3}\b"), r"\1#"),
    (re.compile(r"^\d+: (?=\S)", re.MULTILINE), "#: "),
    (re.compile(r"@if\d+"), "@if#"),
    (re.compile(r" link-netns(?:id)? \S+"), ""),
    (re.compile(r" (?:expires|ageing|used|age) \S+"), ""),
    (re.compile(r"\bqlen \d+"), "qlen #"),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
]  # fmt: skip


def normal_result(value: Any) -> Any:
    """A result (JSON values) without times, ephemeral ports, and device numbers."""
    if isinstance(value, str):
        for pattern, text in _FREE:
            value = pattern.sub(text, value)
        return _sockets_in_order(value)
    if isinstance(value, dict):
        return {key: normal_result(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [normal_result(item) for item in value]
    return value


def _sockets_in_order(text: str) -> str:
    """The kernel lists sockets in the order of its hash table: here by their text."""
    lines = text.split("\n")
    if not text.startswith(("State ", "Netid ")):
        return text
    return "\n".join([lines[0], *sorted(lines[1:-1]), lines[-1]])


def result_differences(emulated: Any, real: Any, path: str = "result") -> list[str]:
    """Where two results differ: ``result.status: 200, Linux 503``."""
    return _differences(normal_result(emulated), normal_result(real), path)


def _differences(one: Any, other: Any, path: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in dict.fromkeys([*one, *other]):
            found += _differences(one.get(key), other.get(key), f"{path}.{key}")
        return found
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [line for i, pair in enumerate(zip(one, other, strict=True)) for line in
                _differences(*pair, f"{path}[{i}]")]  # fmt: skip
    if isinstance(one, str) and isinstance(other, str) and one.count("\n") > 1:
        return _differences(one.splitlines(), other.splitlines(), path) if one != other else []
    return [] if one == other else [f"{path}: {one!r}, Linux {other!r}"]
