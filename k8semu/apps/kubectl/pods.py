"""Which Pod a command is about: one that is named, or one that a Service or workload stands for.

    web   pod/web   deployment/web   svc/web

Kubernetes: staging/src/k8s.io/kubectl/pkg/polymorphichelpers/{attachablepodforobject,helpers}.go GetFirstPod(),
            pkg/util/podutils ActivePods
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from k8semu.apps.kubectl.main import Failed, Session
from k8semu.kube.api.client import path_of
from k8semu.kube.api.conditions import condition, is_true
from k8semu.kube.api.resources import Resource, find
from k8semu.kube.api.status import ApiError

JSON = dict[str, Any]
PHASES = ("Pending", "Unknown", "Running")
"""From the least to the most alive."""


async def resolve(session: Session, word: str) -> tuple[JSON, JSON]:
    """(the object that is named, the Pod): ApiError, Failed."""
    kind, _, name = word.rpartition("/")
    resource = find(kind or "pods")
    if resource is None:
        raise Failed(f'error: the server doesn\'t have a resource type "{kind}"')
    obj = await get_one(session, resource, name)
    if resource.plural == "pods":
        return obj, obj
    return obj, first_of(await pods_of(session, resource, obj))


async def pods_of(session: Session, resource: Resource, obj: JSON, cannot: str = "") -> list[JSON]:
    """The Pods that a Service or workload stands for, one at the least. `cannot`: what is done to it."""
    selector = _selector(resource, obj)
    if not selector:
        said = f"{cannot} *v1.Service: " if cannot else ""
        said += "invalid service" if resource.plural == "services" else "cannot attach to"
        raise Failed(f"error: {said} '{obj['metadata']['name']}': Service is defined without a selector")
    query = quote(",".join(f"{key}={value}" for key, value in sorted(selector.items())))
    path = f"{path_of('pods', session.line.namespace)}?labelSelector={query}"
    pods: list[JSON] = (await session.client.request("GET", path))["items"]
    if not pods:
        raise Failed("error: timed out waiting for the condition")
    return pods


def first_of(pods: list[JSON]) -> JSON:
    """The one that is most alive."""
    return max(pods, key=_liveliness)


async def get_one(session: Session, resource: Resource, name: str) -> JSON:
    """The object. Where it is not there, its namespace is asked for, too: that may be the reason.

    Kubernetes: staging/src/k8s.io/cli-runtime/pkg/resource/visitor.go Info.Get()
    """
    namespace = session.line.namespace if resource.namespaced else None
    try:
        found: JSON = await session.client.request("GET", path_of(resource.plural, namespace, name))
    except ApiError as error:
        if error.code == 404 and namespace not in (None, "", "default"):
            await session.client.request("GET", path_of("namespaces", None, str(namespace)))
        raise
    return found


def _selector(resource: Resource, obj: JSON) -> dict[str, str]:
    selector = obj.get("spec", {}).get("selector") or {}
    found: dict[str, str] = selector if resource.plural == "services" else selector.get("matchLabels") or {}
    return found


def _liveliness(pod: JSON) -> tuple[bool, int, bool]:
    """The most alive comes first: bound, running, ready; among equals the first of the list."""
    phase = pod.get("status", {}).get("phase", "Unknown")
    ready = is_true(pod, "Ready") if condition(pod, "Ready") else False
    return bool(pod["spec"].get("nodeName")), PHASES.index(phase) if phase in PHASES else -1, ready


def containers(pod: JSON) -> list[JSON]:
    found: list[JSON] = pod["spec"]["containers"]
    return found


def default_container(session: Session, pod: JSON) -> str:
    """The first; the user is told where there are more. Kubernetes: podcmd.FindOrDefaultContainerByName()"""
    names = [str(container["name"]) for container in containers(pod)]
    if len(names) > 1 and not session.line.on("quiet"):
        session.terminal.error(f'Defaulted container "{names[0]}" out of: {", ".join(names)}')
    return names[0]
