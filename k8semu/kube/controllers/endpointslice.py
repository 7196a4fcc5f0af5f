"""Services get their endpoints: the Pods that they select, with address, port and state, in slices.

    Service ─▶ its Pods ─▶ per address family and set of port numbers: slices of at most 100 endpoints

An endpoint stays in the slice in which it is; new ones fill the slices that have room, then make more.
Slices that somebody made by hand (without the label endpointslice.kubernetes.io/managed-by, or with
another's name in it) are left alone.

Kubernetes: pkg/controller/endpointslice/endpointslice_controller.go, staging/src/k8s.io/endpointslice/reconciler.go,
            staging/src/k8s.io/endpointslice/utils.go, trafficdist/trafficdist.go
Not modelled: the annotation endpoints.kubernetes.io/last-change-trigger-time, topology-mode Auto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from k8semu.kube.api.conditions import is_true
from k8semu.kube.controllers.controller import (
    JSON,
    Caches,
    Change,
    Concerns,
    Controller,
    Create,
    Delete,
    Key,
    Time,
    Update,
    Write,
    owner_reference,
)

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
HEADLESS = "service.kubernetes.io/headless"
ME = "endpointslice-controller.k8s.io"
ZONE = "topology.kubernetes.io/zone"
MOST = 100
"""Endpoints per slice."""
Ports = tuple[tuple[str, str, int, str], ...]
"""(name, protocol, number, appProtocol) each: what the endpoints of one slice have in common."""
Group = tuple[str, Ports]
"""Address family and ports."""


class EndpointSliceController(Controller):
    name = "endpointslice-controller"
    plural = "services"
    rank = 3                     # many Pods that change at once, and a rollout that ends at once, change a slice once

    def __init__(self, caches: Caches, clock: Time) -> None:
        super().__init__(caches, clock)
        self._written: dict[Key, tuple[list[JSON], dict[str, str]]] = {}    # slices as this controller left them
        self._going: set[Key] = set()                                       # those that it deletes itself
        self._selecting: dict[tuple[str, str, str], dict[Key, None]] = {}   # by the first label of each selector

    def watches(self) -> dict[str, Concerns]:
        return {
            "services": self._service, "pods": self._selected, "endpointslices": self._slice, "nodes": self._node,
        }  # fmt: skip

    def _service(self, event: Change) -> Iterable[Key]:
        key = (event.object["metadata"]["namespace"], event.object["metadata"]["name"])
        if event.old is not None:
            self._unindex(key, event.old)
        if event.type != "DELETED":
            selector = event.object["spec"].get("selector")
            if selector:
                self._selecting.setdefault((key[0], *next(iter(selector.items()))), {})[key] = None
        return (key,)

    def _unindex(self, key: Key, service: JSON) -> None:
        selector = service["spec"].get("selector")
        if selector:
            self._selecting.get((key[0], *next(iter(selector.items()))), {}).pop(key, None)

    def _selected(self, event: Change) -> Iterable[Key]:
        """The Services that select a Pod, or did."""
        pod, old = event.object, event.old
        if event.type == "ADDED" and not (pod.get("status") or {}).get("podIP"):
            return ()                                     # nobody can call it yet
        if old is not None and event.type == "MODIFIED" and not _matters(pod, old):
            return ()
        seen: dict[Key, None] = {}
        states = [pod]
        if old is not None and old["metadata"].get("labels") is not pod["metadata"].get("labels"):
            states.append(old)
        for each in states:
            labels = each["metadata"].get("labels") or {}
            namespace = each["metadata"]["namespace"]
            for item in labels.items():
                for key in self._selecting.get((namespace, *item), ()):
                    service = self.caches["services"].get(*key)
                    if service is not None and (service["spec"].get("selector") or {}).items() <= labels.items():
                        seen[key] = None
        return seen

    def _slice(self, event: Change) -> Iterable[Key]:
        """Somebody changed or deleted a slice of ours."""
        meta = event.object["metadata"]
        labels = meta.get("labels") or {}
        if labels.get(MANAGED_BY) != ME or event.type == "ADDED":
            return
        key = (meta["namespace"], meta["name"])
        if event.type == "DELETED":
            self._written.pop(key, None)
            if key in self._going:                        # Kubernetes: endpointSliceTracker.HandleDeletion()
                self._going.discard(key)
                return
        elif self._written.get(key) == (event.object["endpoints"], labels):
            return
        yield meta["namespace"], labels.get(SERVICE_NAME, "")

    def _node(self, event: Change) -> Iterable[Key]:
        """A node's zone changed: the Services that have endpoints there."""
        old = event.old
        if old is None or event.type != "MODIFIED" or _zone(old) == _zone(event.object):
            return
        for pod in self.caches["pods"].on_node(event.object["metadata"]["name"]):
            yield from self._selected(_Again(pod))

    # --- what there should be -----------------------------------------------------------------------

    def sync(self, key: Key) -> Iterable[Write]:
        service = self.caches["services"].get(*key)
        mine = [
            each for each in self.caches["endpointslices"].with_labels(key[0], {SERVICE_NAME: key[1], MANAGED_BY: ME})
            if not each["metadata"].get("deletionTimestamp")
        ]  # fmt: skip
        if service is None or service["metadata"].get("deletionTimestamp"):
            return                                        # the garbage collector takes the slices
        spec = service["spec"]
        if not spec.get("selector") or spec["type"] == "ExternalName":
            if spec["type"] == "ExternalName":
                yield from (self._delete(each) for each in mine)
            return
        wanted = self._wanted(service)
        families = spec.get("ipFamilies") or ["IPv4"]
        if not wanted:
            wanted = {(families[0], ()): {}}              # a slice without endpoints says that there are none
        yield from self._reconcile(service, wanted, mine)

    def _wanted(self, service: JSON) -> dict[Group, dict[str, JSON]]:
        """Endpoints by group and Pod's uid."""
        spec, groups = service["spec"], dict[Group, dict[str, JSON]]()
        numbered = all(isinstance(port["targetPort"], int) for port in spec.get("ports") or ())
        common = _ports(spec, {}) if numbered else ()
        for pod in self.caches["pods"].with_labels(service["metadata"]["namespace"], spec["selector"]):
            status = pod.get("status") or {}
            if status.get("phase") in ("Succeeded", "Failed") or not status.get("podIP"):
                continue
            ports = common if numbered else _ports(spec, _container_ports(pod))
            for family in spec.get("ipFamilies") or ["IPv4"]:
                address = _address(status, family)
                if address:
                    uid = pod["metadata"]["uid"]
                    groups.setdefault((family, ports), {})[uid] = self._endpoint(service, pod, address)
        if spec.get("trafficDistribution"):
            for endpoints in groups.values():
                _hint(spec["trafficDistribution"], endpoints)
        return groups

    def _endpoint(self, service: JSON, pod: JSON, address: str) -> JSON:
        meta, spec = pod["metadata"], pod["spec"]
        serving, terminating = is_true(pod, "Ready"), "deletionTimestamp" in meta
        ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
        endpoint: JSON = {
            "addresses": [address], "conditions": CONDITIONS[ready, serving, terminating],
            "targetRef": {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
        }  # fmt: skip
        if spec.get("nodeName"):
            endpoint["nodeName"] = spec["nodeName"]
            node = self.caches["nodes"].get("", spec["nodeName"])
            labels = node["metadata"].get("labels") if node is not None else None
            if labels and labels.get(ZONE):
                endpoint["zone"] = labels[ZONE]
        if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
            endpoint["hostname"] = spec["hostname"]
        return endpoint

    # --- from what there is to what there should be ---------------------------------------------------

    def _reconcile(self, service: JSON, wanted: dict[Group, dict[str, JSON]], mine: list[JSON]) -> Iterator[Write]:
        by_group: dict[Group, list[JSON]] = {}
        for each in mine:
            by_group.setdefault(_group_of(each), []).append(each)
        labels = _labels(service)
        for group, endpoints in wanted.items():
            yield from self._fill(service, group, endpoints, by_group.pop(group, []), labels)
        for slices in by_group.values():
            yield from (self._delete(each) for each in slices)

    def _delete(self, each: JSON) -> Delete:
        meta = each["metadata"]
        self._going.add((meta["namespace"], meta["name"]))
        return Delete("endpointslices", meta["namespace"], meta["name"])

    def _fill(
        self, service: JSON, group: Group, endpoints: dict[str, JSON], slices: list[JSON], labels: dict[str, str]
    ) -> Iterator[Write]:
        """Kubernetes: reconcileByPortMapping()."""
        left = dict(endpoints)
        contents: list[list[JSON]] = []
        for each in slices:
            kept = [left.pop(uid) for uid in map(_uid, each["endpoints"]) if uid in left]
            contents.append(kept)
        for kept in contents:
            take = min(MOST - len(kept), len(left)) if left else 0
            for uid in list(left)[: max(0, take)]:
                kept.append(left.pop(uid))
        empty = not endpoints and bool(slices)            # one empty slice stays, to say that there is nobody
        for i, (each, kept) in enumerate(zip(slices, contents, strict=True)):
            if not kept and not (empty and i == 0):
                yield self._delete(each)
            elif kept != each["endpoints"] or each["metadata"].get("labels") != labels:
                meta = {**each["metadata"], "labels": labels}
                self._written[meta["namespace"], meta["name"]] = (kept, labels)
                yield Update("endpointslices", {**each, "metadata": meta, "endpoints": kept})
        rest = list(left.values())
        for start in range(0, len(rest), MOST):
            yield Create("endpointslices", _new_slice(service, group, rest[start:start + MOST], labels))
        if not endpoints and not slices:
            yield Create("endpointslices", _new_slice(service, group, [], labels))


class _Again:
    """A Pod that is as it was, told once more."""

    type, old = "ADDED", None

    def __init__(self, pod: JSON) -> None:
        self.object = pod


CONDITIONS = {
    (ready, serving, terminating): {"ready": ready, "serving": serving, "terminating": terminating}
    for ready in (False, True) for serving in (False, True) for terminating in (False, True)
}  # fmt: skip
"""Shared by all endpoints that are in the same state."""


def _matters(pod: JSON, old: JSON) -> bool:
    """Whether a change of a Pod can change an endpoint. Kubernetes: podEndpointsChanged()."""
    meta, before = pod["metadata"], old["metadata"]
    status, was = pod.get("status") or {}, old.get("status") or {}
    if not status.get("podIP") and not was.get("podIP"):
        return False
    if meta.get("labels") != before.get("labels") or ("deletionTimestamp" in meta) != ("deletionTimestamp" in before):
        return True
    if status is was:
        return pod["spec"].get("nodeName") != old["spec"].get("nodeName") and bool(status.get("podIP"))
    return bool(
        status.get("podIP") != was.get("podIP") or status.get("podIPs") != was.get("podIPs")
        or status.get("phase") != was.get("phase") or is_true(pod, "Ready") != is_true(old, "Ready")
    )  # fmt: skip


def _zone(node: JSON) -> str:
    return str((node["metadata"].get("labels") or {}).get(ZONE, ""))


def _uid(endpoint: JSON) -> str:
    return str((endpoint.get("targetRef") or {}).get("uid", ""))


def _address(status: JSON, family: str) -> str:
    for each in status.get("podIPs") or ({"ip": status["podIP"]},):
        address: str = each.get("ip", "")
        if (":" in address) == (family == "IPv6"):
            return address
    return ""


def _container_ports(pod: JSON) -> dict[tuple[str, str], int]:
    """(name, protocol) to number. Init containers that go on running count, too."""
    spec = pod["spec"]
    sidecars = [part for part in spec.get("initContainers") or () if part.get("restartPolicy") == "Always"]
    return {
        (port["name"], port.get("protocol", "TCP")): port["containerPort"]
        for part in [*reversed(sidecars), *reversed(spec["containers"])]
        for port in reversed(part.get("ports") or ()) if port.get("name")
    }  # fmt: skip


def _ports(spec: JSON, named: dict[tuple[str, str], int]) -> Ports:
    """The Service's ports as numbers; one whose name the Pod does not know is left out. Kubernetes: FindPort()."""
    ports: list[tuple[str, str, int, str]] = []
    for port in spec.get("ports") or ():
        target = port["targetPort"]
        number = target if isinstance(target, int) else named.get((target, port["protocol"]))
        if number is not None:
            ports.append((port.get("name") or "", port["protocol"], number, port.get("appProtocol") or ""))
    return tuple(ports)


def _group_of(each: JSON) -> Group:
    ports = tuple(
        (port.get("name") or "", port.get("protocol") or "TCP", port.get("port") or 0, port.get("appProtocol") or "")
        for port in each.get("ports") or ()
    )
    return each["addressType"], ports


def _labels(service: JSON) -> dict[str, str]:
    """The Service's own labels, and whose slice it is."""
    own = {k: v for k, v in (service["metadata"].get("labels") or {}).items() if k not in (HEADLESS, SERVICE_NAME)}
    headless = {HEADLESS: ""} if service["spec"].get("clusterIP") == "None" else {}
    return {**own, **headless, MANAGED_BY: ME, SERVICE_NAME: service["metadata"]["name"]}


def _new_slice(service: JSON, group: Group, endpoints: list[JSON], labels: dict[str, str]) -> JSON:
    meta = service["metadata"]
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": group[0],
        "metadata": {"generateName": f"{meta['name']}-", "namespace": meta["namespace"], "labels": labels,
                     "ownerReferences": [owner_reference(service)]},
        "endpoints": endpoints, "ports": [_port(*port) for port in group[1]],
    }  # fmt: skip


def _port(name: str, protocol: str, number: int, app: str) -> JSON:
    port: dict[str, Any] = {"name": name, "protocol": protocol, "port": number}
    return {**port, "appProtocol": app} if app else port


def _hint(distribution: str, endpoints: dict[str, JSON]) -> None:
    """Who should call an endpoint: its own zone, or its own node. Kubernetes: trafficdist.go"""
    for endpoint in endpoints.values():
        if not endpoint["conditions"]["ready"]:
            continue
        hints: JSON = {}
        if endpoint.get("zone"):
            hints["forZones"] = [{"name": endpoint["zone"]}]
        if distribution == "PreferSameNode" and endpoint.get("nodeName"):
            hints["forNodes"] = [{"name": endpoint["nodeName"]}]
        if hints:
            endpoint["hints"] = hints
