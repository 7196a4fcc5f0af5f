"""`kubectl api-versions`, `cluster-info`, `config`, `top`: what there is to ask, and what there is not.

Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd/{apiresources,clusterinfo,config,top}
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from k8semu.apps.kubectl.main import Failed, Session
from k8semu.kube.api.client import path_of

JSON = dict[str, Any]
NO_CONFIG = """apiVersion: v1
clusters: null
contexts: null
current-context: ""
kind: Config
preferences: {}
users: null
"""
METRICS = "metrics.k8s.io"


async def api_versions(session: Session) -> int:
    """The groups with their versions, sorted."""
    groups = (await session.client.request("GET", "/apis"))["groups"]
    core = (await session.client.request("GET", "/api"))["versions"]
    found = [version["groupVersion"] for group in groups for version in group["versions"]]
    session.terminal.write("".join(f"{version}\n" for version in sorted([*found, *core])))
    return 0


async def cluster_info(session: Session) -> int:
    """Where the control plane is, and the cluster's own Services, by way of the API server."""
    if session.line.rest:
        raise Failed(f'error: unknown command "{session.line.rest[0]}" for "kubectl cluster-info"; it has none')
    server = f"http://{session.client.host}:{session.client.port}"
    query = quote("kubernetes.io/cluster-service=true", safe="")
    path = f"{path_of('services', 'kube-system')}?labelSelector={query}"
    lines = [f"Kubernetes control plane is running at {server}"]
    for service in (await session.client.request("GET", path))["items"]:
        about = service["metadata"]
        name = (about.get("labels") or {}).get("kubernetes.io/name") or about["name"]
        where = f"{path_of('services', about['namespace'])}/{_named_port(service)}/proxy"
        lines.append(f"{name} is running at {server}{where}")
    said = "\n".join(lines)
    session.terminal.print(
        f"{said}\n\nTo further debug and diagnose cluster problems, use 'kubectl cluster-info dump'."
    )
    return 0


def _named_port(service: JSON) -> str:
    """``https:web:https``. Kubernetes: apimachinery JoinSchemeNamePort()"""
    name, ports = service["metadata"]["name"], service["spec"].get("ports") or ()
    if not ports:
        return str(name)
    port = ports[0].get("name") or ""
    if port == "https" or ports[0]["port"] == 443:
        return f"https:{name}:{port}"
    return f"{name}:{port}" if port else str(name)


async def config(session: Session) -> int:
    """There is no kubeconfig: that is what it says."""
    word = session.line.rest[0] if session.line.rest else ""
    if word == "view":
        session.terminal.write(NO_CONFIG)
        return 0
    if word == "current-context":
        raise Failed("error: current-context is not set")
    raise Failed("error: kubectl config has view and current-context here: the API server is the scenario's")


async def top(session: Session) -> int:
    """Nobody measures Pods or nodes: as where no metrics-server is."""
    if not session.line.rest:
        raise Failed("error: kubectl top has node and pod")
    groups = (await session.client.request("GET", "/apis"))["groups"]
    assert METRICS not in [group["name"] for group in groups]
    raise Failed("error: Metrics API not available")
