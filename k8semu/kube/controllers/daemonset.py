"""DaemonSets: a Pod on each node that they select.

Kubernetes: pkg/controller/daemon/daemon_controller.go, update.go, util/daemonset_util.go
Differs: no surge in rolling updates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8semu.kube.api.conditions import is_true
from k8semu.kube.controllers.controller import (
    JSON,
    Change,
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
from k8semu.kube.controllers.deployment import resolve
from k8semu.kube.controllers.scheduler import pinned_node, tolerates
from k8semu.kube.controllers.template_hash import template_hash

REVISION, GENERATION = "controller-revision-hash", "pod-template-generation"
TOLERATED = (
    ("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"), ("pid-pressure", "NoSchedule"), ("unschedulable", "NoSchedule"),
)  # fmt: skip
"""What a daemon's Pod stands that others do not."""


class DaemonSetController(Controller):
    name = "daemonset-controller"
    plural = "daemonsets"

    def watches(self) -> dict[str, Concerns]:
        return {"daemonsets": self.what_it_asks, "pods": self.its_controller, "nodes": self._all}

    def _all(self, event: Change) -> Iterable[Key]:
        """A node came, went, or changed its labels or taints."""
        old = event.old
        if event.type == "MODIFIED" and old is not None and old.get("spec") == event.object.get("spec") \
                and old["metadata"].get("labels") == event.object["metadata"].get("labels"):  # fmt: skip
            return ()
        return [(sets["metadata"]["namespace"], sets["metadata"]["name"]) for sets in self.caches["daemonsets"]]

    def sync(self, key: Key) -> Iterable[Write]:
        sets = self.caches["daemonsets"].get(*key)
        if sets is None or sets["metadata"].get("deletionTimestamp"):
            return
        by_node: dict[str, list[JSON]] = {}
        for pod in owned(self.caches, "pods", sets):
            by_node.setdefault(pinned_node(pod), []).append(pod)
        wanted = [node["metadata"]["name"] for node in self.caches["nodes"] if _should_run(sets, node)]
        for name in wanted:
            alive = [pod for pod in by_node.get(name, []) if pod["status"].get("phase") not in ("Failed", "Succeeded")]
            if not alive:
                yield Create("pods", self._pod(sets, name))
        for name, pods in by_node.items():
            surplus = pods[1:] if name in wanted else pods
            for pod in surplus:
                if not pod["metadata"].get("deletionTimestamp"):
                    yield Delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
        yield from self._update(sets, wanted)
        yield from self._status(key, wanted)

    def _pod(self, sets: JSON, node: str) -> JSON:
        template = sets["spec"]["template"]
        labels = {REVISION: template_hash(template), GENERATION: str(sets["metadata"]["generation"])}
        pod = pod_from_template(template, sets, labels=labels)
        field = {"key": "metadata.name", "operator": "In", "values": [node]}
        terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
        tolerations = _tolerations(template["spec"])
        pod["spec"] = {**template["spec"], "affinity": affinity, "tolerations": tolerations}
        return pod

    def _update(self, sets: JSON, wanted: list[str]) -> Iterator[Write]:
        """Pods of an old template go, no more at once than may be unavailable."""
        strategy = sets["spec"]["updateStrategy"]
        if strategy["type"] == "OnDelete":
            return
        most = max(1, resolve(strategy["rollingUpdate"]["maxUnavailable"], len(wanted), up=True))
        pods, digest = owned(self.caches, "pods", sets), template_hash(sets["spec"]["template"])
        serving = [pod for pod in pods if is_true(pod, "Ready") and not pod["metadata"].get("deletionTimestamp")]
        room = most - (len(wanted) - len(serving))
        for pod in pods:
            meta = pod["metadata"]
            if meta["labels"].get(REVISION) == digest or meta.get("deletionTimestamp"):
                continue
            if not is_true(pod, "Ready"):
                yield Delete("pods", meta["namespace"], meta["name"])
            elif room > 0:
                room -= 1
                yield Delete("pods", meta["namespace"], meta["name"])

    def _status(self, key: Key, wanted: list[str]) -> Iterator[Write]:
        sets = self.caches["daemonsets"].get(*key)
        if sets is None:
            return
        pods, digest = owned(self.caches, "pods", sets), template_hash(sets["spec"]["template"])
        on = {pinned_node(pod): pod for pod in pods}
        right = [on[name] for name in wanted if name in on]
        ready = sum(is_true(pod, "Ready") for pod in right)
        status = {
            "currentNumberScheduled": len(right), "numberMisscheduled": len(on) - len(right),
            "desiredNumberScheduled": len(wanted), "numberReady": ready,
            "observedGeneration": sets["metadata"]["generation"],
        }  # fmt: skip
        more = {
            "updatedNumberScheduled": sum(pod["metadata"]["labels"].get(REVISION) == digest for pod in right),
            "numberAvailable": ready, "numberUnavailable": len(wanted) - ready,
        }  # fmt: skip
        yield from with_status("daemonsets", sets, status | {name: count for name, count in more.items() if count})


def _should_run(sets: JSON, node: JSON) -> bool:
    spec = sets["spec"]["template"]["spec"]
    if spec.get("nodeName") not in (None, "", node["metadata"]["name"]):
        return False
    labels = node["metadata"].get("labels") or {}
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    tolerations = _tolerations(spec)
    return all(tolerates(tolerations, taint) for taint in (node.get("spec") or {}).get("taints") or ()
               if taint.get("effect") in ("NoSchedule", "NoExecute"))  # fmt: skip


def _tolerations(spec: JSON) -> list[JSON]:
    extra = [{"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect} for key, effect in TOLERATED]
    return [*(spec.get("tolerations") or []), *extra]
