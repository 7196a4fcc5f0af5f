"""The cloud's service controller: Services of type LoadBalancer get one, and their address is written down.

    type LoadBalancer, no class ─▶ finalizer ─▶ the cloud ensures it ─▶ status.loadBalancer
    another type, or deleted    ─▶ the cloud takes it away ─▶ status empty, finalizer gone
    a node comes, goes, changes ─▶ all of them get the nodes that are ready and not excluded

What the cloud cannot do is an event, and tried again, at first after 5 s, at last every 300 s; the Service stays
pending. A Service whose manifest has an address of its own, and one of another loadBalancerClass, is left alone.

Kubernetes: staging/src/k8s.io/cloud-provider/controllers/service/controller.go
Differs: nodes that are not ready are left out for both traffic policies, as before StableLoadBalancerNodeSet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from k8semu.kube.api.conditions import is_true
from k8semu.kube.cloud import CloudError
from k8semu.kube.controllers.controller import (
    JSON,
    After,
    Caches,
    Change,
    Concerns,
    Controller,
    Key,
    Time,
    Update,
    Write,
)
from k8semu.kube.controllers.events import said
from k8semu.sim.clock import NS_PER_S

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
SOON_TO_GO = "ToBeDeletedByClusterAutoscaler"
"""A taint."""
FIRST_RETRY, LAST_RETRY = 5, 300
"""Seconds."""


class Cloud(Protocol):
    """Who has addresses and load balancers."""

    @property
    def load_balancer_class(self) -> str:
        """Which Services are its own; '' those that name no class."""

    def ensure(self, service: JSON, nodes: Sequence[JSON]) -> list[JSON]:
        """Have a load balancer be as asked: its `status.loadBalancer.ingress`. CloudError says why it cannot."""

    def update(self, service: JSON, nodes: Sequence[JSON]) -> None:
        """Other nodes; nothing else has changed."""

    def has(self, key: Key) -> bool: ...
    def delete(self, key: Key) -> None: ...


class ServiceController(Controller):
    """Keys are Services."""

    name = "service-controller"
    plural = "services"
    rank = 1
    """After the nodes have been judged."""

    def __init__(self, caches: Caches, clock: Time, cloud: Cloud) -> None:
        super().__init__(caches, clock)
        self.cloud = cloud
        self._nodes: dict[Key, list[JSON]] = {}     # with which backends a load balancer was made
        self._asked: dict[Key, tuple[JSON, JSON]] = {}   # by which spec and annotations
        self._retry: dict[Key, int] = {}

    def watches(self) -> dict[str, Concerns]:
        return {"services": self._service, "nodes": self._node}

    def _service(self, event: Change) -> Iterable[Key]:
        obj, old = event.object, event.old
        if old is not None and event.type == "MODIFIED":
            meta, before = obj["metadata"], old["metadata"]
            same = obj["spec"] == old["spec"]
            if same and all(meta.get(key) == before.get(key) for key in ("annotations", "deletionTimestamp")):
                return ()
        return self.itself(event)

    def _node(self, event: Change) -> Iterable[Key]:
        return tuple(self._asked)

    def sync(self, key: Key) -> Iterable[Write]:
        service = self.caches["services"].get(*key)
        if service is None:
            self._forget(key)
        elif service["metadata"].get("deletionTimestamp") or not self._wanted(service):
            yield from self._clean_up(key, service)
        elif self._is_somebody_elses(service):
            return
        else:
            yield from self._ensure(key, service)

    def _wanted(self, service: JSON) -> bool:
        spec = service["spec"]
        of_class = spec.get("loadBalancerClass") or ""
        return bool(spec["type"] == "LoadBalancer" and of_class == self.cloud.load_balancer_class)

    def _is_somebody_elses(self, service: JSON) -> bool:
        return bool(_ingress(service)) and FINALIZER not in (service["metadata"].get("finalizers") or [])

    # --- there ----------------------------------------------------------------------------------

    def _ensure(self, key: Key, service: JSON) -> Iterator[Write]:
        nodes = [node for node in self.caches["nodes"].list() if takes_traffic(node)]
        asked = (service["spec"], service["metadata"].get("annotations") or {})
        backends = [_as_backend(node) for node in nodes]
        known = key in self._asked
        if known and self._asked[key] == asked:
            if self._nodes[key] != backends:
                self._nodes[key] = backends
                self.cloud.update(service, nodes)
                yield self._event(service, "Normal", "UpdatedLoadBalancer", "Updated load balancer with new hosts")
            return
        if FINALIZER not in (service["metadata"].get("finalizers") or []):
            yield self._with_finalizers(service, [*(service["metadata"].get("finalizers") or []), FINALIZER])
        yield self._event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        try:
            ingress = self.cloud.ensure(service, nodes)
        except CloudError as error:
            why = f"Error syncing load balancer: failed to ensure load balancer: {error.what}"
            yield self._event(service, "Warning", "SyncLoadBalancerFailed", why)
            seconds = self._retry.get(key, FIRST_RETRY)
            self._retry[key] = min(2 * seconds, LAST_RETRY)
            yield After(seconds * NS_PER_S)
            return
        self._retry.pop(key, None)
        self._asked[key], self._nodes[key] = asked, backends
        yield from self._status(key, ingress)
        yield self._event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

    # --- gone -----------------------------------------------------------------------------------

    def _clean_up(self, key: Key, service: JSON) -> Iterator[Write]:
        ours = FINALIZER in (service["metadata"].get("finalizers") or [])
        if not ours and not self.cloud.has(key):
            return
        yield self._event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        self._forget(key)
        if not service["metadata"].get("deletionTimestamp"):
            yield from self._status(key, [])
        yield self._event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")
        held = self.caches["services"].get(*key)
        if held is not None and ours:
            yield self._with_finalizers(held, [word for word in held["metadata"]["finalizers"] if word != FINALIZER])

    def _forget(self, key: Key) -> None:
        for kept in (self._asked, self._nodes, self._retry):
            kept.pop(key, None)
        if self.cloud.has(key):
            self.cloud.delete(key)

    # --- writes ---------------------------------------------------------------------------------

    def _status(self, key: Key, ingress: list[JSON]) -> Iterator[Write]:
        held = self.caches["services"].get(*key)
        if held is not None and _ingress(held) != ingress:
            status = {**(held.get("status") or {}), "loadBalancer": {"ingress": ingress} if ingress else {}}
            yield Update("services", {**held, "status": status}, "status")

    def _with_finalizers(self, service: JSON, finalizers: list[str]) -> Write:
        return Update("services", {**service, "metadata": {**service["metadata"], "finalizers": finalizers}})

    def _event(self, service: JSON, kind: str, reason: str, message: str) -> Write:
        return said(self.caches, self.clock, self.name, service, kind, reason, message)


def takes_traffic(node: JSON) -> bool:
    """Is a node to be behind load balancers? Kubernetes: nodeIncludedPredicate(), nodeReadyPredicate(), …"""
    meta = node["metadata"]
    taints = [taint["key"] for taint in (node.get("spec") or {}).get("taints") or ()]
    excluded = EXCLUDED in (meta.get("labels") or {}) or meta.get("deletionTimestamp") or SOON_TO_GO in taints
    return not excluded and is_true(node, "Ready")


def _as_backend(node: JSON) -> JSON:
    """What a load balancer has to know of a node."""
    return {"name": node["metadata"]["name"], "addresses": (node.get("status") or {}).get("addresses")}


def _ingress(service: JSON) -> list[JSON]:
    found: list[JSON] = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return found
