"""Nodes that are silent: first not ready, then their Pods leave.

    last renewal of the Lease ── 50 s ──▶ Ready Unknown, taint unreachable, its Pods not ready
                              ── 300 s more (as each Pod tolerates) ──▶ the Pods are deleted

The Pods of a silent node stay `Terminating`: nobody there says that they have stopped. A node that
is deleted takes its Pods with it.

Only nodes that have a Lease in kube-node-lease are watched: a cluster whose kubelets send no
heartbeats judges none of them.

Kubernetes: pkg/controller/nodelifecycle/node_lifecycle_controller.go, pkg/controller/tainteviction,
            pkg/controller/podgc/gc_controller.go
Differs: a taint's Pods leave at once when their time has come; there is no rate limit per zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8semu.kube.api.conditions import condition, set_condition
from k8semu.kube.api.meta import parse_time, timestamp
from k8semu.kube.controllers.controller import (
    JSON,
    After,
    Change,
    Concerns,
    Controller,
    Delete,
    Key,
    Update,
    Write,
)
from k8semu.kube.controllers.scheduler import tolerates
from k8semu.sim.clock import NS_PER_S

GRACE = 50
"""--node-monitor-grace-period, in seconds; before Kubernetes 1.32 it was 40."""
LEASES = "kube-node-lease"
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
SILENT = "Kubelet stopped posting node status."
CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


class NodeLifecycleController(Controller):
    """Keys are ('', node)."""

    name = "node-lifecycle-controller"
    plural = "nodes"

    def watches(self) -> dict[str, Concerns]:
        return {"nodes": self.itself, "leases": self._lease, "pods": self._pod}

    def _lease(self, event: Change) -> Iterable[Key]:
        meta = event.object["metadata"]
        return (("", meta["name"]),) if meta["namespace"] == LEASES else ()

    def _pod(self, event: Change) -> Iterable[Key]:
        """A Pod came to a node: it may stand on one that others leave."""
        spec, old = event.object["spec"], event.old
        if (old is not None and old["spec"] is spec) or event.type == "DELETED":
            return ()
        node = spec.get("nodeName", "")
        if not node or (old is not None and old["spec"].get("nodeName", "") == node):
            return ()
        found = self.caches["nodes"].get("", node)
        return (("", node),) if found is not None and (found.get("spec") or {}).get("taints") else ()

    def sync(self, key: Key) -> Iterable[Write]:
        node = self.caches["nodes"].get(*key)
        if node is None:
            yield from self._orphans(key[1])
            return
        yield from self._health(node)
        node = self.caches["nodes"].get(*key) or node
        yield from self._taint(node)
        node = self.caches["nodes"].get(*key) or node
        yield from self._mark_pods(node)
        yield from self._evict(node)

    def _orphans(self, name: str) -> Iterator[Write]:
        """Nobody will stop the Pods of a node that is gone."""
        for pod in self.caches["pods"].on_node(name):
            yield Delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"], grace=0)

    def _health(self, node: JSON) -> Iterator[Write]:
        lease = self.caches["leases"].get(LEASES, node["metadata"]["name"])
        renewed = ((lease or {}).get("spec") or {}).get("renewTime")
        if renewed is None:
            return
        left = parse_time(renewed) + GRACE * NS_PER_S - self.clock.now
        if left > 0:
            yield After(left)
            return
        status, now = node.get("status") or {}, timestamp(self.clock.now // NS_PER_S)
        conditions = status.get("conditions") or []
        for kind in CONDITIONS:
            conditions = set_condition(conditions, kind, "Unknown", now, "NodeStatusUnknown", SILENT)
        if conditions != status.get("conditions"):
            yield Update("nodes", {**node, "status": {**status, "conditions": conditions}}, "status")

    def _taint(self, node: JSON) -> Iterator[Write]:
        """What is wrong with a node is written on it. Kubernetes: processNoExecuteTaintBaseEviction()."""
        ready = condition(node, "Ready")
        if ready is None:
            return
        key = {"False": NOT_READY, "Unknown": UNREACHABLE}.get(ready["status"], "")
        spec = node.get("spec") or {}
        taints = spec.get("taints") or []
        kept = [taint for taint in taints if taint["key"] not in (NOT_READY, UNREACHABLE) or taint["key"] == key]
        if key and not any(taint["key"] == key for taint in kept):
            now = timestamp(self.clock.now // NS_PER_S)
            kept += [{"key": key, "effect": effect, "timeAdded": now} for effect in ("NoSchedule", "NoExecute")]
        if kept != taints:
            changed = {name: value for name, value in spec.items() if name != "taints"}
            yield Update("nodes", {**node, "spec": {**changed, "taints": kept} if kept else changed})

    def _mark_pods(self, node: JSON) -> Iterator[Write]:
        """Pods on a silent node count as not ready. Kubernetes: MarkPodsNotReady()."""
        ready = condition(node, "Ready")
        if ready is None or ready["status"] != "Unknown":
            return
        now = timestamp(self.clock.now // NS_PER_S)
        for pod in self.caches["pods"].on_node(node["metadata"]["name"]):
            held = condition(pod, "Ready")
            if held is None or held["status"] != "True":
                continue
            conditions = set_condition(pod["status"]["conditions"], "Ready", "False", now)
            yield Update("pods", {**pod, "status": {**pod["status"], "conditions": conditions}}, "status")

    def _evict(self, node: JSON) -> Iterator[Write]:
        """Pods leave a node whose NoExecute taints they stand no longer. Kubernetes: taint_eviction.go"""
        taints = [taint for taint in (node.get("spec") or {}).get("taints") or () if taint["effect"] == "NoExecute"]
        if not taints:
            return
        waits = []
        for pod in self.caches["pods"].on_node(node["metadata"]["name"]):
            meta = pod["metadata"]
            if meta.get("deletionTimestamp"):
                continue
            left = self._stays(pod, taints)
            if left == 0:
                yield Delete("pods", meta["namespace"], meta["name"], meta["uid"])
            elif left is not None:
                waits.append(left)
        if waits:
            yield After(min(waits))

    def _stays(self, pod: JSON, taints: list[JSON]) -> int | None:
        """Nanoseconds until a Pod has to leave; None if it may stay for ever."""
        leaves: list[int] = []
        for taint in taints:
            fit = [each for each in pod["spec"].get("tolerations") or () if tolerates((each,), taint)]
            if not fit:
                return 0
            limits = [each["tolerationSeconds"] for each in fit if each.get("tolerationSeconds") is not None]
            if limits:
                since = parse_time(taint["timeAdded"]) if taint.get("timeAdded") else self.clock.now
                leaves.append(max(0, since + max(0, min(limits)) * NS_PER_S - self.clock.now))
        return min(leaves) if leaves else None
