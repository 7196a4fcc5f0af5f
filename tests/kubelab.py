"""A Master for tests: a registry, its controllers, and kubelets that do at once what they are told."""

from __future__ import annotations

from typing import Any

from k8semu.kube.api.meta import micro_time
from k8semu.kube.api.registry import Event, Registry
from k8semu.kube.controllers.plane import ControlPlane
from k8semu.kube.pod_status import running, with_readiness
from k8semu.sim.clock import NS_PER_S, Clock
from k8semu.sim.streams import Streams

JSON = dict[str, Any]


class Master:
    """`nodes`: name to zone. `slow`: Pods whose containers do not become ready by themselves."""

    def __init__(self, nodes: dict[str, str] | None = None, seed: int = 1) -> None:
        self.clock = Clock()
        self.registry = Registry(self.clock, Streams(seed))
        self.plane = ControlPlane(self.registry, self.clock)
        self.dead: set[str] = set()
        self.slow = False
        self.lingering = False                   # Pods that are told to stop go on until `stop_all`
        self.history: list[str] = []
        self._todo: list[tuple[str, str]] = []
        self._address = 1
        self.registry.subscribe("pods", self._pod_changed)
        self.plane.on_settled.append(self._kubelets)
        for place, (name, zone) in enumerate((nodes or {"host1": "a", "host2": "b"}).items()):
            self.add_node(name, zone, f"10.100.0.{place + 2}")

    def add_node(self, name: str, zone: str = "", address: str = "10.100.0.99") -> None:
        labels = {"kubernetes.io/hostname": name} | ({"topology.kubernetes.io/zone": zone} if zone else {})
        self.registry.create("nodes", {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {},
            "status": {"addresses": [{"type": "InternalIP", "address": address}],
                       "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]},
        })  # fmt: skip
        self.plane.settle()

    # --- kubelets -------------------------------------------------------------------------------

    def _pod_changed(self, event: Event) -> None:
        meta = event.object["metadata"]
        self.history.append(f"{event.type} {meta['name']}")
        self._todo.append((meta["namespace"], meta["name"]))

    def _kubelets(self) -> None:
        todo, self._todo = self._todo, []
        for key in todo:
            pod = self.registry.caches["pods"].get(*key)
            if pod is None or not pod["spec"].get("nodeName") or pod["spec"]["nodeName"] in self.dead:
                continue
            if "deletionTimestamp" in pod["metadata"]:
                if not self.lingering:
                    self.registry.delete("pods", *key, grace=0)
            elif pod["status"]["phase"] == "Pending":
                self.start(pod)

    def start(self, pod: JSON) -> None:
        address = f"172.17.{self._address >> 8}.{self._address & 255}"
        self._address += 1
        status = running(pod, [address], "10.100.0.2", self.registry.stamps.now(), ready=not self.slow)
        self.registry.update("pods", {**pod, "status": status}, "status", trusted=True)

    def ready(self, name: str, state: bool = True) -> None:
        pod = self.registry.get("pods", "default", name)
        status = with_readiness(pod, state, self.registry.stamps.now())
        self.registry.update("pods", {**pod, "status": status}, "status")
        self.plane.settle()

    def stop_all(self) -> None:
        """The Pods that linger end."""
        for pod in self.registry.list("pods"):
            if "deletionTimestamp" in pod["metadata"]:
                self.registry.delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"], grace=0)
        self.plane.settle()

    def heartbeat(self, node: str) -> None:
        """A node's Lease is renewed now."""
        spec = {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": micro_time(self.clock.now)}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                 "metadata": {"name": node, "namespace": "kube-node-lease"}, "spec": spec}  # fmt: skip
        held = self.registry.caches["leases"].get("kube-node-lease", node)
        if held is None:
            self.registry.create("leases", lease)
        else:
            self.registry.update("leases", lease)
        self.plane.settle()

    def run(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now + int(seconds * NS_PER_S))

    # --- a person --------------------------------------------------------------------------------

    def create(self, plural: str, obj: JSON) -> JSON:
        made = self.registry.create(plural, obj)
        self.plane.settle()
        return made

    def change(self, plural: str, name: str, **spec: Any) -> JSON:
        obj = self.registry.get(plural, "default", name)
        made = self.registry.update(plural, {**obj, "spec": {**obj["spec"], **spec}})
        self.plane.settle()
        return made

    def delete(self, plural: str, name: str, **options: Any) -> None:
        self.registry.delete(plural, "default", name, **options)
        self.plane.settle()

    def names(self, plural: str = "pods") -> list[str]:
        return [obj["metadata"]["name"] for obj in self.registry.list(plural, "default")]

    def pods(self) -> list[JSON]:
        return self.registry.list("pods", "default")


def template(image: str = "nginx:1", ports: list[JSON] | None = None, **spec: Any) -> JSON:
    part: JSON = {"name": "c", "image": image, "ports": ports or []}
    return {"metadata": {"labels": {"app": "account"}}, "spec": {"containers": [part], **spec}}


def workload(kind: str, name: str = "account", image: str = "nginx:1", **spec: Any) -> JSON:
    selector = {"matchLabels": {"app": "account"}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
            "spec": {"selector": selector, "template": template(image), **spec}}  # fmt: skip


def pod(name: str, labels: dict[str, str] | None = None, ports: list[JSON] | None = None, **spec: Any) -> JSON:
    part: JSON = {"name": "c", "image": "nginx:1", "ports": ports or []}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {"app": "account"}},
            "spec": {"containers": [part], **spec}}  # fmt: skip


def service(name: str = "account", **spec: Any) -> JSON:
    spec = {"ports": [{"port": 80}], "selector": {"app": "account"}, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
