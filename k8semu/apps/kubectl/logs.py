"""`kubectl logs`: what the containers of Pods have written.

    GET …/pods/NAME/log?container=…&follow=true ─▶ API server ─▶ the kubelet's /containerLogs

Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd/logs/logs.go, pkg/polymorphichelpers/logsforobject.go
"""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import urlencode

from k8semu.apps.kubectl.main import Failed, Session, refusal
from k8semu.apps.kubectl.pods import JSON, containers, default_container, first_of, get_one, pods_of
from k8semu.kube.api.client import path_of
from k8semu.kube.api.resources import find
from k8semu.kube.api.status import ApiError

SEE = "See 'kubectl logs -h' for help and examples"
USAGE = ("error: expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\n"
         f"POD or TYPE/NAME is a required argument for the logs command\n{SEE}")  # fmt: skip
SELECTED_TAIL = "10"
"""Lines of each container where Pods are chosen by a selector."""
PASSED_ON = {"follow": "follow", "previous": "previous", "timestamps": "timestamps"}
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


async def logs(session: Session) -> int:
    """Print logs; the exit status."""
    options = _options(session)
    asked = [(pod, name) for pod in await _pods(session) for name in _containers(session, pod)]
    several = session.line.on("prefix")
    ways = [_print(session, pod, name, options, f"[pod/{pod['metadata']['name']}/{name}] " if several else "")
            for pod, name in asked]  # fmt: skip
    if session.line.on("follow"):
        await asyncio.gather(*ways)
    else:
        for way in ways:
            await way
    return 0


def _options(session: Session) -> dict[str, str]:
    """The query, but for the container. Kubernetes: ToLogOptions(), Validate()"""
    line = session.line
    rest, selector = line.rest, line.flags.get("selector")
    if selector and rest:
        raise Failed(f"error: only a selector (-l) or a POD name is allowed\n{SEE}")
    if not selector and not 1 <= len(rest) <= 2:
        raise Failed(USAGE)
    if len(rest) == 2 and line.flags.get("container"):
        raise Failed("error: only one of -c or an inline [CONTAINER] arg is allowed")
    found = {key: "true" for flag, key in PASSED_ON.items() if line.on(flag)}
    tail = _integer(session, "tail", "-1")
    if tail < -1:
        raise Failed("error: --tail must be greater than or equal to -1")
    if tail >= 0:
        found["tailLines"] = str(tail)
    elif selector and "tail" not in line.flags:
        found["tailLines"] = SELECTED_TAIL
    limit = _integer(session, "limit-bytes", "0")
    if limit < 0:
        raise Failed("error: --limit-bytes must be greater than 0")
    if limit:
        found["limitBytes"] = str(limit)
    if line.flags.get("since") and line.flags.get("since-time"):
        raise Failed("error: at most one of `sinceTime` or `sinceSeconds` may be specified")
    if line.flags.get("since-time"):
        found["sinceTime"] = line.flags["since-time"]
    if line.flags.get("since"):
        found["sinceSeconds"] = str(_seconds(line.flags["since"]))
    return found


def _integer(session: Session, flag: str, usual: str) -> int:
    text = session.line.flags.get(flag, usual)
    if re.fullmatch(r"[+-]?\d{1,18}", text) is None:
        raise Failed(f'error: invalid argument "{text}" for "--{flag}" flag: strconv.ParseInt: parsing "{text}": '
                     "invalid syntax\nSee 'kubectl logs --help' for usage.")  # fmt: skip
    return int(text)


def _seconds(text: str) -> int:
    """``1m30s``, up to whole seconds. Go: time.ParseDuration()"""
    parts = re.findall(r"(\d+\.?\d*)([^\d.]*)", text.removeprefix("+"))
    wrong = next((unit for _, unit in parts if unit not in UNITS), None)
    if not parts or "".join(map("".join, parts)) != text.removeprefix("+"):
        why = f'invalid duration "{text}"'
    elif wrong is not None:
        why = f'unknown unit "{wrong}" in duration "{text}"' if wrong else f'missing unit in duration "{text}"'
    else:
        why = ""
    if why:
        raise Failed(f'error: invalid argument "{text}" for "--since" flag: time: {why}\n'
                     "See 'kubectl logs --help' for usage.")  # fmt: skip
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise Failed("error: --since must be greater than 0")
    return -int(-seconds // 1)


async def _pods(session: Session) -> list[JSON]:
    line = session.line
    if line.flags.get("selector"):
        query = urlencode({"labelSelector": line.flags["selector"], "limit": "500"})
        found: list[JSON] = (await session.client.request("GET", f"{path_of('pods', line.namespace)}?{query}"))["items"]
        if not found:
            session.terminal.error(f"No resources found in {line.namespace} namespace.")
        return found
    kind, _, name = line.rest[0].rpartition("/")
    resource = find(kind or "pods")
    if resource is None:
        raise Failed(f'error: the server doesn\'t have a resource type "{kind}"')
    try:
        obj = await get_one(session, resource, name)
    except ApiError as error:
        said = refusal(error)
        raise Failed(f'error: {said[:1].lower()}{said[1:]} in namespace "{line.namespace}"') from None
    if resource.plural == "pods":
        return [obj]
    pods = await pods_of(session, resource, obj, "cannot get the logs from")
    chosen = first_of(pods)
    if len(pods) > 1:
        session.terminal.error(f"Found {len(pods)} pods, using pod/{chosen['metadata']['name']}")
    return [chosen]


def _containers(session: Session, pod: JSON) -> list[str]:
    line = session.line
    names = [str(each["name"]) for each in containers(pod)]
    first = [str(each["name"]) for each in pod["spec"].get("initContainers") or ()]
    if line.on("all-containers"):
        return [*first, *names]
    said = line.rest[1] if len(line.rest) == 2 else line.flags.get("container", "")
    if not said:
        return [default_container(session, pod)]
    if said not in (*first, *names):
        raise Failed(f"error: container {said} is not valid for pod {pod['metadata']['name']}")
    return [said]


async def _print(session: Session, pod: JSON, container: str, options: dict[str, str], prefix: str) -> None:
    about: dict[str, Any] = pod["metadata"]
    query = urlencode(sorted({"container": container, **options}.items()))
    begun = True
    try:
        async for data in session.client.stream(f"{path_of('pods', about['namespace'], about['name'], 'log')}?{query}"):
            text = data.decode("utf-8", "replace")
            for line in text.splitlines(keepends=True) if prefix else [text]:
                session.terminal.write(f"{prefix if begun else ''}{line}")
                begun = line.endswith("\n")
    except ApiError as error:
        raise Failed(refusal(error)) from None
