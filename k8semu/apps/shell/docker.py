"""`docker ps`: the containers of a node, the pause containers among them.

Shown: docker ps, docker ps -a, --format is not modelled
"""

from __future__ import annotations

import msgspec

from k8semu.apps.shell.output import Output, UsageError, lines
from k8semu.sim.clock import NS_PER_S


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """A container as the runtime lists it. `created` and `started` in ns of simulated time."""

    id: str
    image: str
    command: str
    name: str
    created: int
    started: int
    ports: str = ""
    exited: str = ""
    """'' while it runs, else such as ``Exited (1)``."""


_HEADER = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")


def human_duration(ns: int) -> str:
    """As docker says it: ``Less than a second``, ``5 seconds``, ``About a minute``, ``3 hours``."""
    seconds = ns // NS_PER_S
    minutes, hours = seconds // 60, (seconds + 1800) // 3600
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    return f"{hours // 24} days"


def _command(text: str) -> str:
    quoted = f'"{text}"'
    return quoted if len(quoted) <= 22 else quoted[:20] + '…"'


def run(containers: list[Container], argv: list[str], now: int) -> Output:
    """`docker ps`: newest first."""
    if not argv or argv[0] not in ("ps", "container"):
        raise UsageError(f"docker: '{argv[0] if argv else ''}' is not a docker command.\nSee 'docker --help'", 1)
    everything = any(word in ("-a", "--all") for word in argv)
    rows: list[tuple[str, ...]] = [_HEADER]
    for c in sorted(containers, key=lambda c: c.created, reverse=True):
        if c.exited and not everything:
            continue
        age = human_duration(now - c.created)
        up = human_duration(now - c.started)
        rows.append((
            c.id[:12], c.image, _command(c.command), f"{age} ago", f"{c.exited} {age} ago" if c.exited else f"Up {up}",
            c.ports, c.name,
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) + 3 for i in range(len(_HEADER) - 1)]
    padded = [[cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)] for row in rows]
    return lines(["".join(cells) + row[-1] for cells, row in zip(padded, rows, strict=True)])
