"""Events: what a component has to say of an object, for people. One that is said again is counted.

Shown: `kubectl get events`, `kubectl describe svc`
Kubernetes: staging/src/k8s.io/client-go/tools/record/event.go
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from k8semu.kube.api.meta import timestamp
from k8semu.kube.controllers.controller import JSON, Caches, Create, Time, Update, Write
from k8semu.sim.clock import NS_PER_S

if TYPE_CHECKING:
    from k8semu.kube.api.registry import Registry


def said(caches: Caches, clock: Time, component: str, obj: JSON, kind: str, reason: str, message: str) -> Write:
    """The write by which `component` says something of `obj`. `kind`: Normal or Warning."""
    meta, now = obj["metadata"], timestamp(clock.now // NS_PER_S)
    digest = hashlib.sha256(f"{meta['uid']}/{component}/{kind}/{reason}/{message}".encode()).hexdigest()[:16]
    name, namespace = f"{meta['name']}.{digest}", meta.get("namespace") or "default"
    held = caches["events"].get(namespace, name)
    if held is not None:
        return Update("events", {**held, "count": held["count"] + 1, "lastTimestamp": now})
    about: dict[str, Any] = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "uid": meta["uid"],
                             "namespace": namespace, "name": meta["name"]}  # fmt: skip
    return Create("events", {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
        "involvedObject": about, "type": kind, "reason": reason, "message": message, "count": 1,
        "firstTimestamp": now, "lastTimestamp": now, "source": {"component": component},
    })  # fmt: skip


def record(registry: Registry, clock: Time, component: str, obj: JSON, kind: str, reason: str, message: str) -> None:
    """The same, written at once by a component that is no controller."""
    write = said(registry.caches, clock, component, obj, kind, reason, message)
    if isinstance(write, Create):
        registry.create(write.plural, write.object)
    elif isinstance(write, Update):
        registry.update(write.plural, write.object)
