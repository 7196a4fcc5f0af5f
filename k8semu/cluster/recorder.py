"""What scheduler and kubelets say of Pods, for people: the events that `kubectl describe pod` ends with.

    bound                 Scheduled          nowhere to go         FailedScheduling
    containers run        Pulled, Created, Started, of each
    asked to go           Killing, of each

What keeps a container from starting the kubelet itself says, in `kubelets`.
It hears of the Pods of a control plane that is instant, and only where an API server could be asked.

Kubernetes: pkg/scheduler/schedule_one.go, pkg/kubelet/kuberuntime/kuberuntime_container.go, pkg/kubelet/images
Differs: events have no versions of their own, as where they are kept in an etcd of their own
         (--etcd-servers-overrides); they never expire. Every image is there already.
Not modelled: on the wire, where each would be a request to the API server; probes, mounts, back-off
"""

from __future__ import annotations

from typing import Any

from k8semu.kube.api.meta import EPOCH, timestamp
from k8semu.kube.api.registry import Event, Registry
from k8semu.kube.api.surroundings import Now
from k8semu.sim.clock import NS_PER_S
from k8semu.sim.digest import sha256

JSON = dict[str, Any]
SCHEDULER, KUBELET = "default-scheduler", "kubelet"


class Recorder:
    """Hears of Pods; `write` keeps what there is to say of them."""

    def __init__(self, registry: Registry, clock: Now) -> None:
        self.registry, self.clock = registry, clock
        self._said: list[JSON] = []
        self._last = 0
        registry.subscribe("pods", self._pod)

    def write(self) -> None:
        said, self._said = self._said, []
        for event in said:
            self.registry.record(event)

    def _pod(self, event: Event) -> None:
        pod, old = event.object, event.old or {}
        if event.type == "DELETED":
            return
        node, about = pod["spec"].get("nodeName"), pod["metadata"]
        if node and old and not old["spec"].get("nodeName"):
            assigned = f"Successfully assigned {about['namespace']}/{about['name']} to {node}"
            self._say(pod, SCHEDULER, "Normal", "Scheduled", assigned)
        if (why := _unschedulable(pod)) and why != _unschedulable(old):
            self._say(pod, SCHEDULER, "Warning", "FailedScheduling", why)
        images = {each["name"]: each.get("image", "") for each in pod["spec"]["containers"]}
        for name in [name for name in _running(pod) if name not in _running(old)]:
            self._started(pod, name, images.get(name, ""))
        if "deletionTimestamp" in about and "deletionTimestamp" not in old.get("metadata", {}):
            for name in _running(pod):
                self._say(pod, KUBELET, "Normal", "Killing", f"Stopping container {name}", name)

    def _started(self, pod: JSON, name: str, image: str) -> None:
        pulled = f'Container image "{image}" already present on machine'
        for reason, message in (("Pulled", pulled), ("Created", f"Created container: {name}"),
                                ("Started", f"Started container {name}")):  # fmt: skip
            self._say(pod, KUBELET, "Normal", reason, message, name)

    def _say(self, pod: JSON, component: str, kind: str, reason: str, message: str, container: str = "") -> None:
        about, now = pod["metadata"], timestamp(self.clock.now // NS_PER_S)
        self._last = max(self._last + 1, self.clock.now)      # two are never named alike
        name = f"{about['name']}.{self._last + int(EPOCH.timestamp()) * NS_PER_S:x}"
        path = {"fieldPath": f"spec.containers{{{container}}}"} if container else {}
        host = {"host": pod["spec"]["nodeName"]} if component == KUBELET else {}
        self._said.append({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": about["namespace"], "creationTimestamp": now, "uid": _uid(name)},
            "involvedObject": {"kind": "Pod", "namespace": about["namespace"], "name": about["name"],
                               "uid": about["uid"], "apiVersion": "v1", **path},
            "reason": reason, "message": message, "source": {"component": component, **host},
            "firstTimestamp": now, "lastTimestamp": now, "count": 1, "type": kind,
            "reportingComponent": component, "reportingInstance": host.get("host", ""),
        })  # fmt: skip


def _uid(name: str) -> str:
    digits = sha256(name.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"


def _unschedulable(pod: JSON) -> str:
    for each in (pod.get("status") or {}).get("conditions") or ():
        if each["type"] == "PodScheduled" and each["status"] == "False":
            return str(each.get("message") or "")
    return ""


def _running(pod: JSON) -> list[str]:
    """The containers that run, in their order."""
    states = (pod.get("status") or {}).get("containerStatuses") or ()
    return [each["name"] for each in states if "running" in (each.get("state") or {})]
