"""Who is behind a Service, and why nobody: what a selector or the name of a port does not find.

Shown: `kubectl get endpointslices`
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from k8semu.kube.services import Service

OWNER = "kubernetes.io/service-name"


def nobody_behind(slices: Iterable[dict[str, Any]], service: Service) -> str:
    """Why a Service has no ready endpoint among all EndpointSlices, as far as it says itself; '' if it has one."""
    if service.spec.type == "ExternalName":
        return ""
    key = (service.metadata.namespace, service.metadata.name)
    own = [one for one in slices if _owner(one) == key]
    ready = [one for one in own if any(map(_is_ready, one.get("endpoints") or ()))]
    if any(one.get("ports") for one in ready) or (ready and not service.spec.ports):
        return ""
    if ready:
        return "no endpoint: no Pod has a port of that name"
    if any(one.get("endpoints") for one in own):
        return "no endpoint yet: its Pods are not ready (readinessProbe: initialDelaySeconds)"
    if service.spec.selector:
        labels = ", ".join(f"{name}={value}" for name, value in service.spec.selector.items())
        return f"no endpoint: no Pod is labelled {labels}"
    return "no endpoint: it has no selector, and no EndpointSlice names it"


def _owner(one: dict[str, Any]) -> tuple[str, str]:
    meta = one["metadata"]
    return meta.get("namespace", "default"), (meta.get("labels") or {}).get(OWNER, "")


def _is_ready(endpoint: dict[str, Any]) -> bool:
    return bool((endpoint.get("conditions") or {}).get("ready", True))
