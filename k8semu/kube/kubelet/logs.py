"""What the kubelet answers to `/containerLogs`: lines of a container's log, from some point on, and as they come.

    tailLines=N      the last N                sinceSeconds=S, sinceTime=T    those that are not older
    timestamps=true  each with its time        limitBytes=B                   cut there, in the middle of a line
    follow=true      and all that come, until the container has ended

Kubernetes: pkg/kubelet/server/server.go getContainerLogs(), pkg/kubelet/kuberuntime/logs/logs.go ReadLogs(),
            pkg/apis/core/validation/validation.go ValidatePodLogOptions()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import parse_qs

import msgspec

from k8semu.apps.container_log import ContainerLog, Line
from k8semu.kube.api.meta import EPOCH, parse_time
from k8semu.sim.clock import NS_PER_S

TRUE = ("true", "1", "True", "TRUE", "t", "T")


class Options(msgspec.Struct):
    """What is asked of a log. Kubernetes: core/v1 PodLogOptions"""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: int | None = None
    """Nanoseconds of simulated time."""
    limit: int | None = None

    @classmethod
    def read(cls, query: str, now: int) -> Options:
        """ValueError says which field is wrong, and why."""
        said = {key: values[-1] for key, values in parse_qs(query, keep_blank_values=True).items()}
        seconds, moment = _number(said, "sinceSeconds", 1), said.get("sinceTime", "")
        if seconds is not None and moment:
            raise ValueError("Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified")
        since = now - seconds * NS_PER_S if seconds is not None else parse_time(moment) if moment else None
        on = {name: said.get(name, "") in TRUE for name in ("follow", "previous", "timestamps")}
        return cls(**on, tail=_number(said, "tailLines", 0), since=since, limit=_number(said, "limitBytes", 1))


def _number(said: dict[str, Any], name: str, least: int) -> int | None:
    text = said.get(name, "")
    if not text:
        return None
    try:
        number = int(text[:20])
    except ValueError:
        raise ValueError(f"{name}: Invalid value: {text[:20]!r}: strconv.ParseInt: invalid syntax") from None
    if number < least:
        than = "greater than 0" if least else "greater than or equal to 0"
        raise ValueError(f"{name}: Invalid value: {number}: must be {than}")
    return number


async def read(log: ContainerLog | None, options: Options) -> AsyncIterator[bytes]:
    """Pieces of text, each with all lines that there are by then."""
    if log is None:                    # a container that has nothing to say
        if options.follow:
            await asyncio.get_running_loop().create_future()
        return
    left = options.limit
    lines: Iterable[Line] = log.lines
    if options.tail is not None:
        lines = list(log.lines)[len(log.lines) - min(options.tail, len(log.lines)):]
    while True:
        told = log.count
        data = "".join(_printed(line, options) for line in lines if line.time >= (options.since or 0)).encode()
        if left is not None:
            data = data[:left]
            left -= len(data)
        if data:
            yield data
        if not options.follow or left == 0 or (log.ended and log.count == told):
            return
        if log.count == told:
            await log.news()
        fresh = log.count - told
        lines = list(log.lines)[-fresh:] if fresh else ()


def _printed(line: Line, options: Options) -> str:
    return f"{nano_time(line.time)} {line.text}\n" if options.timestamps else f"{line.text}\n"


def nano_time(ns: int) -> str:
    """``2026-01-01T00:00:07.250000000Z``. Kubernetes: RFC3339NanoFixed"""
    seconds, rest = divmod(ns + int(EPOCH.timestamp()) * NS_PER_S, NS_PER_S)
    return f"{EPOCH.fromtimestamp(seconds, EPOCH.tzinfo):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"
