"""The Master of a cluster whose control plane is instant: no packet goes to it, and all is done at once.

    kubectl ─▶ registry ─▶ controllers ─▶ kubelets ─▶ kube-proxy, cluster DNS
               (checked,   (Pods made,    (up and     (told of Services, endpoints)
                allocated)  bound, …)      down)

Kubernetes: cmd/kube-apiserver, cmd/kube-controller-manager, cmd/kube-scheduler
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8semu.cluster.kubelets import Kubelets
from k8semu.cluster.watchers import Watchers
from k8semu.kube.api.apply import apply
from k8semu.kube.api.conditions import set_condition
from k8semu.kube.api.meta import micro_time
from k8semu.kube.api.registry import Event, Registry
from k8semu.kube.api.resources import BY_KIND, GIT_VERSION, find
from k8semu.kube.api.status import no_such_path
from k8semu.kube.api.strategies.table import Ranges
from k8semu.kube.controllers.plane import ControlPlane

if TYPE_CHECKING:
    from k8semu.cluster.cluster import Cluster
    from k8semu.cluster.node import Node
    from k8semu.cluster.policy_network import PolicyNetwork
    from k8semu.cluster.service_network import ServiceNetwork

JSON = dict[str, Any]
LEASES = "kube-node-lease"
NODE_INFO = {
    "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "containerd://2.1.4", "kernelVersion": "6.1.0",
    "kubeProxyVersion": "", "kubeletVersion": GIT_VERSION, "machineID": "", "operatingSystem": "linux",
    "osImage": "k8semu", "systemUUID": "",
}  # fmt: skip
"""What runs on every node: a kernel that behaves as Linux 6.x."""
PROXIED = ("services", "endpointslices")
"""What kube-proxy watches."""


class Master:
    """The objects of a cluster and all that follows from them. Call `settle` after writing."""

    def __init__(self, cluster: Cluster, nodes: dict[str, Node], service_cidr: str, *, instant: bool = True) -> None:
        self.clock = cluster.clock
        self._nodes = nodes
        cluster.service_cidr = service_cidr
        ranges = Ranges(service_cidrs=(service_cidr,))
        self.registry = Registry(cluster.clock, cluster.world.random, ranges, provision=True)
        self.plane = ControlPlane(self.registry, cluster.clock)
        self.services: ServiceNetwork | None = None
        self.policies: PolicyNetwork | None = None
        self._news = False
        for plural in PROXIED:
            self.registry.subscribe(plural, self._heard)
        self.registry.subscribe("nodes", self._heard_node)
        self.kubelets: Kubelets | None = None
        if instant:
            for node in nodes.values():
                kept = self.registry.create("nodes", self.node_object(node))
                self.registry.update("nodes", {**kept, "status": self.node_status(node)}, "status")
            self.kubelets = Kubelets(cluster, self.registry, nodes, self.settle, objects=self.registry)
            self.plane.agents.append(self.kubelets.work)
        self.watchers = Watchers(cluster, self.registry)
        self.plane.on_settled.append(self._publish if instant else self.watchers.tell)

    def node_object(self, node: Node) -> JSON:
        """As a kubelet registers its node. Kubernetes: pkg/kubelet/kubelet_node_status.go"""
        spec: JSON = {"podCIDR": node.pod_cidr, "podCIDRs": [node.pod_cidr]}
        if node.taints:
            spec["taints"] = node.taints
        return {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "labels": node.labels}, "spec": spec,
        }  # fmt: skip

    def node_status(self, node: Node) -> JSON:
        """What a kubelet says of a node that is well."""
        addresses = [{"type": "InternalIP", "address": node.address}, {"type": "Hostname", "address": node.name}]
        return {"addresses": addresses, "conditions": self._well([]), "nodeInfo": NODE_INFO}

    def _well(self, conditions: list[JSON]) -> list[JSON]:
        said = "kubelet is posting ready status"
        return set_condition(conditions, "Ready", "True", self.registry.stamps.now(), "KubeletReady", said)

    def attach(self, services: ServiceNetwork) -> None:
        """`services` knows of Services and endpoints from now on; if all is instant, kube-proxy starts."""
        self.services = services
        for plural in PROXIED:
            for obj in self.registry.list(plural):
                services.take(Event("ADDED", obj, None, 0))
        if self.kubelets is not None:
            for obj in self.registry.list("nodes"):
                services.heard(obj)
            services.start()

    def enforce(self, policies: PolicyNetwork) -> None:
        """`policies` knows of NetworkPolicies, and of the Pods and Namespaces that they select; it starts."""
        from k8semu.cluster.policy_network import WATCHED

        self.policies = policies
        for plural in WATCHED:
            for obj in self.registry.list(plural):
                policies.take(Event("ADDED", obj, None, 0))
            self.registry.subscribe(plural, policies.take)
        policies.start()

    # --- kubectl --------------------------------------------------------------------------------

    def apply(self, manifest: JSON) -> None:
        """`kubectl apply`; ApiError says what is wrong. A load balancer's address in `status` is taken over."""
        resource = BY_KIND.get((manifest["apiVersion"], manifest["kind"]))
        if resource is None:
            return      # without effect
        if resource.plural == "nodes" and self.registry.caches["nodes"].get("", manifest["metadata"]["name"]) is None:
            self._register_with(manifest)
            return
        held = apply(self.registry, manifest)
        if resource.plural in ("services", "ingresses") and manifest.get("status"):
            self.registry.update(resource.plural, {**held, "status": manifest["status"]}, "status")

    def _register_with(self, manifest: JSON) -> None:
        """On the wire a kubelet registers its Node itself; until then, what it is started with.

        Kubernetes: kubelet --register-with-taints, --node-labels
        """
        node = self._nodes.get(manifest["metadata"]["name"])
        if node is not None:
            node.labels = {**node.labels, **(manifest["metadata"].get("labels") or {})}
            node.taints = [*node.taints, *((manifest.get("spec") or {}).get("taints") or ())]

    def create(self, obj: JSON) -> None:
        """What a component of the cluster makes by itself."""
        self.registry.create(BY_KIND[obj["apiVersion"], obj["kind"]].plural, obj)

    def delete(self, kind: str, namespace: str, name: str, grace: int | None = None) -> None:
        """`kubectl delete`; ApiError if there is no such object."""
        resource = find(kind)
        if resource is None:
            raise no_such_path()
        self.registry.delete(resource.plural, namespace if resource.namespaced else "", name, grace=grace)

    def scale(self, kind: str, namespace: str, name: str, replicas: int) -> None:
        """`kubectl scale`; ApiError if there is no such object."""
        resource = find(kind)
        if resource is None or "scale" not in resource.subresources:
            raise no_such_path()
        held = self.registry.get(resource.plural, namespace, name)
        self.registry.update(resource.plural, {**held, "spec": {**held["spec"], "replicas": replicas}})

    def last_warning(self, namespace: str, name: str) -> str:
        """What a component last complained of about an object, as `kubectl describe` shows; '' if nothing."""
        found = ""
        for event in self.registry.list("events", namespace):
            if event["type"] == "Warning" and event["involvedObject"]["name"] == name:
                found = event["message"]
        return found

    # --- nodes ----------------------------------------------------------------------------------

    def node_heard(self, name: str, up: bool) -> None:
        """Whether a node's kubelet is heard of from now on. While it is, it says so every ten seconds, which
        nobody need be shown; when it falls silent, its Lease was renewed now for the last time."""
        held = self.registry.caches["leases"].get(LEASES, name)
        if held is None and not up:
            self.registry.create("leases", {
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": name, "namespace": LEASES},
                "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": micro_time(self.clock.now)},
            })  # fmt: skip
        elif held is not None and up:
            self.registry.delete("leases", LEASES, name)
            node = self.registry.get("nodes", "", name)
            status = {**node["status"], "conditions": self._well(node["status"].get("conditions") or [])}
            self.registry.update("nodes", {**node, "status": status}, "status")
            if self.kubelets is not None:
                self.kubelets.report_again(name)

    # --- what follows ---------------------------------------------------------------------------

    def settle(self) -> None:
        """Let everything happen that follows from what was written."""
        self.plane.settle()

    def _heard(self, event: Event) -> None:
        """Services and slices as kube-proxy takes them."""
        self._news = True
        if self.services is not None:
            self.services.take(event)

    def _heard_node(self, event: Event) -> None:
        if self.services is not None and self.services.heard(event.object):
            self._news = True

    def _publish(self) -> None:
        if self._news:
            self._news = False
            if self.services is not None:
                self.services.sync()
        if self.policies is not None:
            self.policies.sync()
        self.watchers.tell()
