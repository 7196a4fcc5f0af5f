"""Endpoints, as they were before there were EndpointSlices: one object for each Service with a selector.

    EndpointSlices of a Service ─▶ subsets: addresses that share ports, the ready ones and the others

Nothing here reads them; who types `kubectl get endpoints` does. So the controller runs where an API server is asked.

Kubernetes: pkg/controller/endpoint/endpoints_controller.go, pkg/api/v1/endpoints/util.go RepackSubsets()
Shown:      `kubectl get endpoints`
Differs:    it follows the slices, not the Pods, and writes no last-change-trigger-time.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from k8semu.kube.controllers.controller import JSON, Change, Concerns, Controller, Create, Delete, Key, Update, Write
from k8semu.kube.controllers.endpointslice import MANAGED_BY, SERVICE_NAME
from k8semu.kube.controllers.endpointslice import ME as SLICES

ME = "endpoint-controller"
MANAGED = "endpoints.kubernetes.io/managed-by"
HEADLESS = "service.kubernetes.io/headless"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MOST = 1000
"""Addresses that an object holds; then it says that it is cut."""


class EndpointsController(Controller):
    name = ME
    plural = "endpoints"

    def watches(self) -> dict[str, Concerns]:
        return {"services": self.itself, "endpointslices": self._slice, "endpoints": self._ours}

    def _slice(self, event: Change) -> Iterable[Key]:
        labels = event.object["metadata"].get("labels") or {}
        if labels.get(MANAGED_BY) == SLICES:
            yield event.object["metadata"]["namespace"], labels.get(SERVICE_NAME, "")

    def _ours(self, event: Change) -> Iterable[Key]:
        """Somebody wrote or deleted what is ours to write."""
        if (event.object["metadata"].get("labels") or {}).get(MANAGED) == ME:
            yield event.object["metadata"]["namespace"], event.object["metadata"]["name"]

    def sync(self, key: Key) -> Iterable[Write]:
        service, held = self.caches["services"].get(*key), self.caches["endpoints"].get(*key)
        if service is None:
            if held is not None and (held["metadata"].get("labels") or {}).get(MANAGED) == ME:
                return [Delete("endpoints", *key)]
            return []
        if not service["spec"].get("selector") or service["spec"]["type"] == "ExternalName":
            return []
        labels = {SERVICE_NAME: key[1], MANAGED_BY: SLICES}
        slices = self.caches["endpointslices"].with_labels(key[0], labels)
        subsets, cut = _subsets(slices)
        said: JSON = {"labels": _labels(service)}
        if cut:
            said["annotations"] = {OVER_CAPACITY: "truncated"}
        if held is None:
            made = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": key[1], "namespace": key[0], **said}}
            return [Create("endpoints", {**made, "subsets": subsets})]
        meta = {name: value for name, value in held["metadata"].items() if name != "annotations"} | said
        if (held.get("subsets") or []) == subsets and held["metadata"] == meta:
            return []
        return [Update("endpoints", {**held, "metadata": meta, "subsets": subsets})]


def _labels(service: JSON) -> JSON:
    labels = {**(service["metadata"].get("labels") or {}), MANAGED: ME}
    return {**labels, HEADLESS: ""} if service["spec"].get("clusterIP") == "None" else labels


def _subsets(slices: Iterable[JSON]) -> tuple[list[JSON], bool]:
    """Subsets by their ports, and whether some addresses were left out."""
    ready: dict[str, dict[str, JSON]] = {}
    other: dict[str, dict[str, JSON]] = {}
    ports: dict[str, list[JSON]] = {}
    for each in slices:
        mine = sorted((_port(port) for port in each.get("ports") or ()), key=str)
        for endpoint in each["endpoints"] if each["addressType"] == "IPv4" else ():
            if endpoint["conditions"].get("terminating") and not endpoint["conditions"].get("ready"):
                continue
            kept = ready if endpoint["conditions"].get("ready") else other
            for known in (ready, other):
                known.setdefault(str(mine), {})
            kept[str(mine)][endpoint["addresses"][0]] = _address(endpoint)
            ports[str(mine)] = mine
    left, subsets = MOST, []
    for group in sorted(ports):
        subset: JSON = {}
        for name, found in (("addresses", ready[group]), ("notReadyAddresses", other[group])):
            addresses = [found[ip] for ip in sorted(found, key=ip_address)][:left]
            left -= len(addresses)
            if addresses:
                subset[name] = addresses
        if subset:
            subsets.append({**subset, "ports": ports[group]} if ports[group] else subset)
    return subsets, sum(len(found) for kept in (ready, other) for found in kept.values()) > MOST


def _address(endpoint: JSON) -> JSON:
    found: JSON = {"ip": endpoint["addresses"][0]}
    return found | {key: endpoint[key] for key in ("hostname", "nodeName", "targetRef") if endpoint.get(key)}


def _port(port: JSON) -> JSON:
    keys = ("name", "port", "protocol", "appProtocol")
    return {key: port[key] for key in keys if port.get(key)}
