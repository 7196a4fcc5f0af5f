"""The controller's access log, a line for each request that was read.

    203.0.113.10 - - [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 171 "-" "curl/8.5.0" 80 0.001
    [default-web-80] [] 172.17.0.3:80 171 0.001 200 5ffe2a…                   (all in one line)

Shown: `kubectl logs -n ingress-nginx ingress-nginx-controller-…`
Kubernetes: ingress-nginx internal/ingress/controller/config/config.go, log_format upstreaminfo
Not modelled: a line for a head that cannot be read (400); log-format-upstream, skip-access-log-urls
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from k8semu.apps.ingress.access import credentials
from k8semu.apps.terminal import current_terminal
from k8semu.kube.ingress.headers import Client, first, real_client

if TYPE_CHECKING:
    from k8semu.apps.ingress.request import Request
    from k8semu.kube.ingress.settings import Globals

DEFAULT_BACKEND = "upstream-default-backend"


class Try(NamedTuple):
    """A backend that was asked: what it answered, how much, and after how many seconds."""

    address: str
    status: int
    length: int
    seconds: float


def write(request: Request, peer: str, config: Globals) -> None:
    """Write the line of a request that has been answered, if somebody reads it."""
    said = current_terminal.get()
    if said is None or said.access is None:
        return
    from k8semu.apps.container_log import ContainerLog, clf_time

    if not isinstance(said, ContainerLog):
        return
    lines = request.head.lines
    known = real_client(lines, Client(peer, request.head.host), config)
    user = (credentials(request) or ("",))[0]
    seconds = asyncio.get_running_loop().time() - request.began
    major, minor = request.head.version
    said.line(" ".join((
        known.address, "-", user or "-", f"[{clf_time(said.now())}]",
        f'"{request.method} {request.target} HTTP/{major}.{minor}"', str(request.status),
        str(max(0, request.sent - request.head_sent)),
        *(f'"{first(lines, name) or "-"}"' for name in ("referer", "user-agent")),
        str(request.received), f"{seconds:.3f}", f"[{_upstream(request)}]", f"[{request.canary}]",
        *_tries(request.tries), request.id or f"{Random(f'{seconds} {lines}').getrandbits(128):032x}",
    )))  # fmt: skip


def _upstream(request: Request) -> str:
    location = request.location
    return location.backend.name if location is not None and location.backend.service[1] else DEFAULT_BACKEND


def _tries(tries: list[Try]) -> tuple[str, ...]:
    """Address, length, time and status: of each try, or ``-``."""
    columns = ([one.address for one in tries], [str(one.length) for one in tries],
               [f"{one.seconds:.3f}" for one in tries], [str(one.status) for one in tries])  # fmt: skip
    return tuple(", ".join(column) or "-" for column in columns)
