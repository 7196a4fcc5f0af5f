"""`docker ps`: the containers of a node, the pause containers among them.

Shown: docker ps [-a] [-q] [--no-trunc] [--format '{{.Names}} …']
Not modelled: --filter, other templates, and every other command
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from k8semu.apps.shell.output import Output, UsageError, lines
from k8semu.sim.clock import NS_PER_S

if TYPE_CHECKING:
    import re


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


_FIELDS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
_OTHERS = (
    "attach", "build", "builder", "buildx", "commit", "compose", "container", "cp", "create", "diff", "events", "exec",
    "export", "history", "image", "images", "import", "info", "inspect", "kill", "load", "login", "logs", "network",
    "pause", "port", "pull", "push", "rename", "restart", "rm", "rmi", "run", "save", "start", "stats", "stop",
    "system", "tag", "top", "unpause", "update", "version", "volume", "wait",
)
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


def answer(containers: list[Container] | None, argv: list[str], now: int) -> Output:
    """`docker ARGV…` on a machine that has these containers."""
    words = list(argv)
    if words[:1] == ["container"]:
        words.pop(0)
        words[:1] = ["ps"] if words[:1] in (["ls"], ["list"], ["ps"]) else words[:1]
    if words and words[0] in _OTHERS:
        raise UsageError(f"docker: `docker {words[0]}` is not modelled", 1)
    if not words or words.pop(0) != "ps":
        raise UsageError(f"docker: '{' '.join(argv)}' is not a docker command.\nSee 'docker --help'", 1)
    flags = set()
    form = None
    while words:
        word = words.pop(0)
        if word.partition("=")[0] == "--format":
            form = word.partition("=")[2] if "=" in word else words.pop(0) if words else ""
        elif word.partition("=")[0] in ("--filter", "-f", "--last", "-n", "--latest", "-l", "--size", "-s"):
            raise UsageError(f"docker: {word.partition('=')[0]} is not modelled", 1)
        elif word.startswith("--"):
            flag = _LONG.get(word[2:])
            if flag is None:
                raise UsageError(f"unknown flag: {word}\nSee 'docker ps --help'.", 125)
            flags.add(flag)
        elif word.startswith("-"):
            unknown = [flag for flag in word[1:] if flag not in "aq"]
            if unknown:
                raise UsageError(
                    f"unknown shorthand flag: '{unknown[0]}' in {word}\nSee 'docker ps --help'.", 125
                )  # fmt: skip
            flags.update(word[1:])
        else:
            raise UsageError('"docker ps" accepts no arguments.\nSee \'docker ps --help\'.', 1)
    rows = ps(containers or [], now, everything="a" in flags, whole="w" in flags)
    if form is not None:
        _formatted(form, _HEADER)
        return lines([_formatted(form, row) for row in rows])
    return lines([row[0] for row in rows]) if "q" in flags else _table(rows)


def _formatted(form: str, row: tuple[str, ...]) -> str:
    """A Go template of plain fields: ``{{.ID}}: {{.Names}}``."""
    import re

    values = dict(zip(_FIELDS, row, strict=True))

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise UsageError(f"docker: the template {found[0]} is not modelled", 1)
        return values[found[1]]

    if form.startswith(("table", "json")):
        raise UsageError(f"docker: --format {form.split()[0]} is not modelled", 1)
    return re.sub(r"{{\s*\.?(.*?)\s*}}", value, form.replace("\\t", "\t").replace("\\n", "\n"))


_LEAST = 10
"""The width of a narrow column. Docker: cli/command/formatter, a tabwriter of 10 with a padding of 3."""
_LONG = {"all": "a", "no-trunc": "w", "quiet": "q"}


def ps(containers: list[Container], now: int, everything: bool, whole: bool) -> list[tuple[str, ...]]:
    """The rows of `docker ps [-a] [--no-trunc]`: newest first."""
    rows: list[tuple[str, ...]] = []
    for c in sorted(containers, key=lambda c: c.created, reverse=True):
        if c.exited and not everything:
            continue
        age = human_duration(now - c.created)
        up = human_duration(now - c.started)
        rows.append((
            c.id if whole else c.id[:12], c.image, f'"{c.command}"' if whole else _command(c.command), f"{age} ago",
            f"{c.exited} {age} ago" if c.exited else f"Up {up}", c.ports, c.name,
        ))  # fmt: skip
    return rows


def _table(found: list[tuple[str, ...]]) -> Output:
    rows = [_HEADER, *found]
    widths = [max(_LEAST, max(len(row[i]) for row in rows) + 3) for i in range(len(_HEADER) - 1)]
    padded = [[cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)] for row in rows]
    return lines(["".join(cells) + row[-1] for cells, row in zip(padded, rows, strict=True)])
