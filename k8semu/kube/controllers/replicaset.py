"""ReplicaSets: as many Pods of a template as are asked for.

Kubernetes: pkg/controller/replicaset/replica_set.go, pkg/controller/controller_utils.go ActivePodsWithRanks
Not modelled: Pods that match and that nobody owns are not adopted, and relabelled ones are not released.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8semu.kube.api.conditions import condition, is_true
from k8semu.kube.api.meta import parse_time
from k8semu.kube.controllers.controller import (
    JSON,
    After,
    Concerns,
    Controller,
    Create,
    Delete,
    Key,
    Write,
    owned,
    pod_from_template,
    with_status,
)
from k8semu.sim.clock import NS_PER_S

PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
BURST = 500
"""Pods made or deleted at once at most."""


def is_active(pod: JSON) -> bool:
    """Neither at its end nor on its way there."""
    phase = (pod.get("status") or {}).get("phase")
    return not pod["metadata"].get("deletionTimestamp") and phase not in ("Succeeded", "Failed")


def available_in(pod: JSON, min_ready: int, now: int) -> int | None:
    """Nanoseconds until a Pod has been ready for `min_ready` seconds; None if it is not ready."""
    ready = condition(pod, "Ready")
    if ready is None or ready["status"] != "True":
        return None
    if not min_ready:
        return 0
    return max(0, parse_time(ready.get("lastTransitionTime")) + min_ready * NS_PER_S - now)


class ReplicaSetController(Controller):
    name = "replicaset-controller"
    plural = "replicasets"
    rank = 1                     # all its Pods are on their nodes before it counts them

    def watches(self) -> dict[str, Concerns]:
        return {"replicasets": self.what_it_asks, "pods": self.its_controller}

    def sync(self, key: Key) -> Iterable[Write]:
        sets = self.caches["replicasets"].get(*key)
        if sets is None or sets["metadata"].get("deletionTimestamp"):
            return
        pods = [pod for pod in owned(self.caches, "pods", sets) if is_active(pod)]
        surplus = len(pods) - sets["spec"]["replicas"]
        if surplus < 0:
            pod = pod_from_template(sets["spec"]["template"], sets)     # all share its labels, owner and spec
            for _ in range(min(-surplus, BURST)):
                yield Create("pods", pod)
        for pod in self._victims(pods, min(surplus, BURST)):
            meta = pod["metadata"]
            yield Delete("pods", meta["namespace"], meta["name"], meta["uid"])
        yield from self._status(key)

    def _victims(self, pods: list[JSON], count: int) -> list[JSON]:
        """Which Pods a smaller ReplicaSet gives up: those that do least, then from the fullest nodes the newest."""
        if count <= 0:
            return []
        beside: dict[str, int] = {}
        for pod in pods:
            node = pod["spec"].get("nodeName", "")
            beside[node] = beside.get(node, 0) + 1
        places = {id(pod): place for place, pod in enumerate(pods)}

        def rank(pod: JSON) -> tuple[bool, int, bool, int, int, int]:
            node, phase = pod["spec"].get("nodeName", ""), pod["status"].get("phase", "Pending")
            cost = (pod["metadata"].get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", "0")
            return (bool(node), PHASES.get(phase, 1), is_true(pod, "Ready"), _number(cost), -beside[node],
                    -places[id(pod)])  # fmt: skip

        return sorted(pods, key=rank)[:count]

    def _status(self, key: Key) -> Iterator[Write]:
        sets = self.caches["replicasets"].get(*key)
        if sets is None:
            return
        spec = sets["spec"]
        pods = [pod for pod in owned(self.caches, "pods", sets) if is_active(pod)]
        minimum = spec.get("minReadySeconds", 0)
        waits = [available_in(pod, minimum, self.clock.now) for pod in pods]
        labels = ((spec["template"].get("metadata") or {}).get("labels") or {}).items()
        status = {
            "replicas": len(pods),
            "fullyLabeledReplicas": sum(labels <= (pod["metadata"].get("labels") or {}).items() for pod in pods),
            "readyReplicas": sum(wait is not None for wait in waits),
            "availableReplicas": sum(wait == 0 for wait in waits),
            "observedGeneration": sets["metadata"].get("generation", 1),
        }
        counts = {name: count for name, count in status.items() if count or name == "replicas"}
        yield from with_status("replicasets", sets, counts)
        later = [wait for wait in waits if wait]
        if later:
            yield After(min(later))


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0
