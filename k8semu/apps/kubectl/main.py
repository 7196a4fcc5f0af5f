"""kubectl: which command, and what becomes of it.

Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd/cmd.go, pkg/cmd/util/helpers.go CheckErr()
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import msgspec

from k8semu.apps.http_relay import why_not
from k8semu.apps.kubectl.words import CHANGING, Line, Usage, read
from k8semu.apps.terminal import Terminal, terminal
from k8semu.kube.api.client import Client
from k8semu.kube.api.status import ApiError
from k8semu.sim.streams import Stream

NO_SERVER = "http://localhost:8080"
"""Where kubectl looks that was told of no API server."""


class Session(msgspec.Struct):
    """What a command works with."""

    line: Line
    terminal: Terminal
    client: Client
    random: Stream
    """What a WebSocket client draws its keys and masks from."""
    stdin: str = ""
    ahead: int = 0
    """Nanoseconds by which the cluster's clock is ahead of the event loop's."""


class Failed(Exception):
    """The command ends: what it says, and its exit status."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.message, self.code = message, code


Run = Callable[[Session], Coroutine[Any, Any, int]]


def _get(session: Session) -> Coroutine[Any, Any, int]:
    from k8semu.apps.kubectl.get import get

    return get(session)


def _describe(session: Session) -> Coroutine[Any, Any, int]:
    from k8semu.apps.kubectl.describe.command import describe

    return describe(session)


def _logs(session: Session) -> Coroutine[Any, Any, int]:
    from k8semu.apps.kubectl.logs import logs

    return logs(session)


def _version(session: Session) -> Coroutine[Any, Any, int]:
    from k8semu.apps.kubectl.get import version

    return version(session)


def _about(name: str) -> Run:
    def run(session: Session) -> Coroutine[Any, Any, int]:
        from k8semu.apps.kubectl import about

        commands: dict[str, Run] = {"api-versions": about.api_versions, "cluster-info": about.cluster_info,
                                    "config": about.config, "top": about.top}  # fmt: skip
        return commands[name](session)

    return run


def _api_resources(session: Session) -> Coroutine[Any, Any, int]:
    from k8semu.apps.kubectl.get import api_resources

    return api_resources(session)


def _proxy(session: Session) -> Coroutine[Any, Any, int]:
    from k8semu.apps.kubectl.proxy import proxy

    return proxy(session)


def _port_forward(session: Session) -> Coroutine[Any, Any, int]:
    from k8semu.apps.kubectl.port_forward import port_forward

    return port_forward(session)


def _exec(session: Session) -> Coroutine[Any, Any, int]:
    from k8semu.apps.kubectl.exec import execute

    return execute(session)


_GET = {"output": "", "selector": "", "field-selector": "", "all-namespaces": "", "no-headers": "", "show-labels": "",
        "raw": "", "watch": ""}  # fmt: skip
_PROXY = {
    "port": "8001", "address": "127.0.0.1", "api-prefix": "/", "accept-paths": "^.*",
    "accept-hosts": r"^localhost$,^127\.0\.0\.1$,^\[::1\]$", "reject-methods": "^$",
    "reject-paths": "^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach",
}  # fmt: skip
_LOGS = dict.fromkeys(("container", "follow", "previous", "tail", "timestamps", "since", "since-time", "limit-bytes",
                       "all-containers", "selector", "prefix"), "")  # fmt: skip
COMMANDS: dict[str, tuple[dict[str, str], Run]] = {
    "get": (_GET, _get), "describe": ({"selector": "", "all-namespaces": "", "show-events": "true"}, _describe),
    "version": ({"client": "", "output": ""}, _version),
    "api-versions": ({}, _about("api-versions")), "cluster-info": ({}, _about("cluster-info")),
    "config": ({}, _about("config")), "top": ({"all-namespaces": "", "selector": ""}, _about("top")),
    "api-resources": ({"no-headers": ""}, _api_resources), "proxy": (_PROXY, _proxy),
    "port-forward": ({"address": "localhost"}, _port_forward),
    "logs": (_LOGS, _logs), "exec": ({"container": "", "stdin": "", "tty": "", "quiet": ""}, _exec),
}  # fmt: skip
"""Each with its flags and their defaults."""


async def main(
    argv: list[str], server: str = "", stdin: str = "", seed: int = 1, now: int | None = None
) -> dict[str, Any]:
    """`kubectl ARGV…`: `output`, `errors` and `code`, when it ends or is interrupted.

    `now`: what the cluster's clock says at the start (ns), if it is not the event loop's.
    """
    said = terminal()
    ahead = now - round(asyncio.get_running_loop().time() * 1e9) if now is not None else 0
    try:
        return said.result(await _run(argv, server, stdin, said, Stream(seed, "kubectl"), ahead))
    except Usage as error:
        said.error(str(error))
    except Failed as failure:
        if failure.message:
            said.error(failure.message)
        return said.result(failure.code)
    except ApiError as error:
        said.error(refusal(error))
    except asyncio.CancelledError:
        return said.result(130)             # 128 + SIGINT
    return said.result(1)


async def _run(argv: list[str], server: str, stdin: str, said: Terminal, random: Stream, ahead: int) -> int:
    name, *words = argv or [""]
    while name.startswith("-") and words:       # global flags may stand before the command
        value = [] if "=" in name else [words.pop(0)]
        name, words = (words[0] if words else ""), [*words[1:], name, *value]
    if name in CHANGING:
        step = name if name in ("delete", "scale") else "apply"
        raise Usage(f"error: kubectl {name} is not modelled: what changes the cluster is a scenario's step, `{step}`")
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        raise Usage(f'error: unknown command "{name}" for "kubectl"; there are: {known}')
    flags, run = COMMANDS[name]
    line = read(words, flags, name)
    parts = urlsplit(line.flags.get("server") or server or NO_SERVER)
    client = Client(parts.hostname or "localhost", parts.port or 80, "kubectl")
    try:
        return await run(Session(line, said, client, random, stdin, ahead))
    except OSError as error:
        if error.errno is None:
            raise Failed(f"error: {error}") from None
        where = f"{client.host}:{client.port}"
        if isinstance(error, ConnectionRefusedError):
            said_so = f"The connection to the server {where} was refused - did you specify the right host or port?"
            raise Failed(said_so) from None
        raise Failed(f"Unable to connect to the server: dial tcp {where}: connect: {why_not(error)}") from None
    finally:
        client.close()


def refusal(error: ApiError) -> str:
    """``Error from server (NotFound): pods "x" not found``."""
    reason = f" ({error.reason})" if error.reason else ""
    if error.reason == "BadRequest":
        return f"Error from server (BadRequest): {error.message}"
    return f"Error from server{reason}: {error.message}"
