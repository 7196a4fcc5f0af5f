"""Where an Ingress can be reached: what its controller writes into `status.loadBalancer`.

    --publish-service=NS/NAME     the address of that Service's load balancer (or its external or cluster IPs)
    --publish-status-address=…    these addresses
    otherwise                     the nodes that run the controller's Pods

Shown: `kubectl get ingress`
Kubernetes: ingress-nginx internal/ingress/status/status.go runningAddresses()
Differs: written by the control plane for the controller's program, which is told of changes but tells none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from k8semu.kube.controllers.controller import JSON, Change, Concerns, Controller, Key, Write, with_status
from k8semu.kube.images import ingress_controller_of
from k8semu.kube.ingress.arguments import flags_of
from k8semu.kube.objects import Container


class Running(NamedTuple):
    """A controller's Pod: whose classes it serves, its flags, and the node that it is on."""

    controller: str
    flags: dict[str, str]
    node: str
    namespace: str


class IngressStatusController(Controller):
    name = "ingress-status"
    plural = "ingresses"
    rank = 3

    def watches(self) -> dict[str, Concerns]:
        return {
            "ingresses": self.itself, "pods": self._all_if_controller, "services": self._all_if_balanced,
            "ingressclasses": self._all,
        }  # fmt: skip

    def _all(self, event: Change) -> Iterable[Key]:
        return [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in self.caches["ingresses"].list(None)]

    def _all_if_controller(self, event: Change) -> Iterable[Key]:
        containers = event.object["spec"]["containers"]
        ours = any(ingress_controller_of(one.get("image") or "") is not None for one in containers)
        return self._all(event) if ours else ()

    def _all_if_balanced(self, event: Change) -> Iterable[Key]:
        kind = event.object["spec"].get("type")
        return self._all(event) if kind in ("LoadBalancer", "NodePort", "ExternalName") else ()

    def sync(self, key: Key) -> Iterable[Write]:
        ingress = self.caches["ingresses"].get(*key)
        if ingress is None:
            return []
        name = self._controller_of(ingress)
        if not name:
            return []
        ways: list[JSON] = []
        for running in self._running(name):
            ways += [way for way in self._ways(running) if way not in ways]
        balancer = {"ingress": sorted(ways, key=lambda way: sorted(way.items()))} if ways else {}
        return with_status("ingresses", ingress, {**(ingress.get("status") or {}), "loadBalancer": balancer})

    def _controller_of(self, ingress: JSON) -> str:
        """What its class names as controller, or ''."""
        cls = self.caches["ingressclasses"].get("", ingress["spec"].get("ingressClassName") or "")
        return str((cls.get("spec") or {}).get("controller", "")) if cls is not None else ""

    def _running(self, controller: str) -> list[Running]:
        found = []
        for pod in self.caches["pods"].list(None):
            if (pod.get("status") or {}).get("phase") != "Running" or "deletionTimestamp" in pod["metadata"]:
                continue
            for raw in pod["spec"]["containers"]:
                kind = ingress_controller_of(raw.get("image") or "")
                if kind is None:
                    continue
                meta = pod["metadata"]
                known = {"POD_NAMESPACE": meta["namespace"], "POD_NAME": meta["name"]}
                flags = flags_of(msgspec.convert(raw, Container), known)
                if flags.get("controller-class", kind) == controller:
                    found.append(Running(controller, flags, self._address(pod["spec"]["nodeName"]), meta["namespace"]))
        return found

    def _address(self, node: str) -> str:
        """A node's own address. ingress-nginx: internal/k8s/main.go GetNodeIPOrName()"""
        found = self.caches["nodes"].get("", node) or {}
        said = {one["type"]: one["address"] for one in (found.get("status") or {}).get("addresses") or []}
        return str(said.get("ExternalIP") or said.get("InternalIP") or "")

    def _ways(self, running: Running) -> list[dict[str, Any]]:
        said = running.flags.get("publish-status-address")
        if said:
            return [_way(word) for word in said.split(",") if word]
        name = running.flags.get("publish-service")
        if not name:
            return [{"ip": running.node}] if running.node else []
        namespace, _, plain = name.rpartition("/")
        service = self.caches["services"].get(namespace or running.namespace, plain)
        return _published(service) if service is not None else []


def _way(text: str) -> dict[str, Any]:
    return {"ip": text} if text.replace(".", "").isdigit() else {"hostname": text}


def _published(service: JSON) -> list[dict[str, Any]]:
    """The addresses of a Service that stands before the controller. status.go statusAddressFromService()"""
    spec = service["spec"]
    external = [{"ip": address} for address in spec.get("externalIPs") or []]
    if spec["type"] == "ExternalName":
        return [{"hostname": spec["externalName"]}]
    if spec["type"] == "ClusterIP":
        return [{"ip": spec["clusterIP"]}]
    if spec["type"] == "NodePort":
        return external or [{"ip": spec["clusterIP"]}]
    ways = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return [{key: way[key] for key in ("ip", "hostname") if way.get(key)} for way in ways] + external
