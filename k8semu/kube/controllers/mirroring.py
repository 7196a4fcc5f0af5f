"""Endpoints that somebody wrote for a Service without a selector become EndpointSlices.

Kubernetes: pkg/controller/endpointslicemirroring/endpointslicemirroring_controller.go, reconciler.go
"""

from __future__ import annotations

from collections.abc import Iterable

from k8semu.kube.controllers.controller import (
    JSON,
    Concerns,
    Controller,
    Create,
    Delete,
    Key,
    Update,
    Write,
    owner_reference,
)
from k8semu.kube.controllers.endpointslice import CONDITIONS, MANAGED_BY, SERVICE_NAME

ME = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
MOST = 1000
"""Endpoints of a subset that are mirrored."""


class MirroringController(Controller):
    name = "endpointslicemirroring-controller"
    plural = "endpoints"

    def watches(self) -> dict[str, Concerns]:
        return {"endpoints": self.itself, "services": self.itself}

    def sync(self, key: Key) -> Iterable[Write]:
        endpoints = self.caches["endpoints"].get(*key)
        service = self.caches["services"].get(*key)
        mine = self.caches["endpointslices"].with_labels(key[0], {SERVICE_NAME: key[1], MANAGED_BY: ME})
        if endpoints is None or service is None or service["spec"].get("selector") or _skipped(endpoints):
            return [Delete("endpointslices", key[0], each["metadata"]["name"]) for each in mine]
        return _reconcile(endpoints, mine)


def _reconcile(endpoints: JSON, mine: list[JSON]) -> Iterable[Write]:
    wanted = _slices(endpoints)
    unused = list(mine)
    for each in wanted:
        same = next((held for held in unused if held["addressType"] == each["addressType"]
                     and held.get("ports") == each["ports"]), None)  # fmt: skip
        if same is None:
            yield Create("endpointslices", each)
            continue
        unused.remove(same)
        if same["endpoints"] != each["endpoints"] or same["metadata"].get("labels") != each["metadata"]["labels"]:
            meta = {**same["metadata"], "labels": each["metadata"]["labels"]}
            yield Update("endpointslices", {**same, "metadata": meta, "endpoints": each["endpoints"]})
    for each in unused:
        yield Delete("endpointslices", each["metadata"]["namespace"], each["metadata"]["name"])


def _slices(endpoints: JSON) -> list[JSON]:
    """A slice per subset and address family."""
    meta, slices = endpoints["metadata"], []
    labels = {**(meta.get("labels") or {}), MANAGED_BY: ME, SERVICE_NAME: meta["name"]}
    for subset in endpoints.get("subsets") or ():
        ports = [_port(port) for port in subset.get("ports") or ()]
        for family in ("IPv4", "IPv6"):
            found = [
                _endpoint(address, ready)
                for ready, key in ((True, "addresses"), (False, "notReadyAddresses"))
                for address in subset.get(key) or () if (":" in address["ip"]) == (family == "IPv6")
            ]  # fmt: skip
            if found:
                slices.append({
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
                    "metadata": {"generateName": f"{meta['name']}-", "namespace": meta["namespace"], "labels": labels,
                                 "ownerReferences": [owner_reference(endpoints)]},
                    "endpoints": found[:MOST], "ports": ports,
                })  # fmt: skip
    return slices


def _endpoint(address: JSON, ready: bool) -> JSON:
    endpoint: JSON = {"addresses": [address["ip"]], "conditions": CONDITIONS[ready, ready, False]}
    for key in ("hostname", "nodeName", "targetRef"):
        if address.get(key):
            endpoint[key] = address[key]
    return endpoint


def _port(port: JSON) -> JSON:
    made = {"name": port.get("name") or "", "protocol": port["protocol"], "port": port["port"]}
    return {**made, "appProtocol": port["appProtocol"]} if port.get("appProtocol") else made


def _skipped(endpoints: JSON) -> bool:
    meta = endpoints["metadata"]
    return (meta.get("labels") or {}).get(SKIP) == "true" or LEADER in (meta.get("annotations") or {})
