"""`kubectl describe`: which objects are meant, and who describes them.

    describe svc                    all of the namespace
    describe svc web db             two
    describe pod web                the Pod of that name; else all whose names begin so
    describe deploy/web svc/web     of several kinds
    describe pods -l app=web -A

Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd/describe/describe.go
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from k8semu.apps.kubectl.describe import cluster, network, parts, plain, pods
from k8semu.apps.kubectl.describe.writer import Writer
from k8semu.apps.kubectl.get import resources_of
from k8semu.apps.kubectl.main import Failed, Session, refusal
from k8semu.apps.kubectl.pods import get_one
from k8semu.kube.api.client import path_of
from k8semu.kube.api.resources import Resource
from k8semu.kube.api.status import ApiError

JSON = dict[str, Any]
DESCRIBERS: dict[str, Callable[[Session, Writer, JSON], Awaitable[None]]] = {
    "pods": pods.pod, "deployments": pods.deployment, "replicasets": pods.replicaset,
    "statefulsets": pods.statefulset, "daemonsets": pods.daemonset, "services": network.service,
    "endpoints": network.endpoints, "endpointslices": network.endpointslice, "ingresses": network.ingress,
    "ingressclasses": network.ingressclass, "networkpolicies": network.networkpolicy, "nodes": cluster.node,
    "namespaces": cluster.namespace, "configmaps": cluster.configmap, "secrets": cluster.secret,
    "serviceaccounts": cluster.serviceaccount,
}  # fmt: skip
"""By kind; all others are described by their fields."""
NOTHING_SAID = ('error: You must specify the type of resource to describe. Use "kubectl api-resources" for a complete '
                "list of supported resources.")  # fmt: skip
MIXED = ("error: there is no need to specify a resource type as a separate argument when passing arguments in "
         "resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource "
         "resource/<resource_name>'")  # fmt: skip


async def describe(session: Session) -> int:
    """Describe objects; the exit status."""
    asked = _asked(session)
    parts.clock_ahead.set(session.ahead)
    texts: list[str] = []
    errors: list[ApiError] = []
    for resource, name in asked:
        try:
            texts += [await _text(session, resource, obj) for obj in await _find(session, resource, name)]
        except ApiError as refused:
            errors.append(refused)
    if errors and len(asked) == 1 and errors[0].code == 404 and asked[0][1] and len(session.line.rest) == 2:
        return await _beginning_with(session, *asked[0], errors[0])
    session.terminal.write("\n\n".join(texts))
    for error in errors:
        session.terminal.error(refusal(error))
    if not texts and not errors:
        where = "" if session.line.on("all-namespaces") else f" in {session.line.namespace} namespace."
        session.terminal.error(f"No resources found{where}")
    return 1 if errors else 0


def _asked(session: Session) -> list[tuple[Resource, str]]:
    """Kinds and names; a name that is '' stands for all."""
    line = session.line
    if not line.rest:
        raise Failed(NOTHING_SAID)
    if "/" not in line.rest[0]:
        if any("/" in word for word in line.rest[1:]):
            raise Failed(MIXED)
        found = [(kind, name) for kind in resources_of(line.rest[0]) for name in line.rest[1:] or [""]]
    else:
        found = []
        for word in line.rest:
            kind, slash, name = word.partition("/")
            if not slash:
                raise Failed(MIXED)
            if not kind or not name or "/" in name:
                raise Failed("error: arguments in resource/name form must have a single resource and name")
            found += [(resource, name) for resource in resources_of(kind)]
    if any(name for _, name in found):
        if line.flags.get("selector"):
            raise Failed("error: name cannot be provided when a selector is specified")
        if line.on("all-namespaces"):
            raise Failed("error: a resource cannot be retrieved by name across all namespaces")
    return found


async def _find(session: Session, resource: Resource, name: str) -> list[JSON]:
    line = session.line
    namespace = None if line.on("all-namespaces") or not resource.namespaced else line.namespace
    if name:
        return [await get_one(session, resource, name)]
    selector = line.flags.get("selector")
    query = urlencode({**({"labelSelector": selector} if selector else {}), "limit": "500"})
    found = await session.client.request("GET", f"{path_of(resource.plural, namespace)}?{query}")
    return [{"apiVersion": resource.api_version, "kind": resource.kind, **each} for each in found["items"]]


async def _text(session: Session, resource: Resource, obj: JSON) -> str:
    w = Writer()
    await DESCRIBERS.get(resource.plural, plain.plain)(session, w, obj)
    return w.text


async def _beginning_with(session: Session, resource: Resource, prefix: str, error: ApiError) -> int:
    """There is no such object: those whose names begin so. Kubernetes: DescribeMatchingResources()."""
    found = [each for each in await _find(session, resource, "") if each["metadata"]["name"].startswith(prefix)]
    for each in found:
        session.terminal.write(f"{await _text(session, resource, each)}\n")
    if not found:
        session.terminal.error(refusal(error))
    return 0 if found else 1
