"""StatefulSets: Pods with numbers, one after the other.

    account-0 ready ─▶ account-1 ready ─▶ account-2      down, and to a new template: from the last

Kubernetes: pkg/controller/statefulset/stateful_set_control.go, stateful_set_utils.go
Differs: no PersistentVolumeClaim objects, and no ControllerRevisions: a revision is the hash of the template.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8semu.kube.api.conditions import is_true
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
from k8semu.kube.controllers.replicaset import available_in
from k8semu.kube.controllers.template_hash import template_hash

REVISION = "controller-revision-hash"
POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"


class StatefulSetController(Controller):
    name = "statefulset-controller"
    plural = "statefulsets"

    def watches(self) -> dict[str, Concerns]:
        return {"statefulsets": self.what_it_asks, "pods": self.its_controller}

    def sync(self, key: Key) -> Iterable[Write]:
        sets = self.caches["statefulsets"].get(*key)
        if sets is None or sets["metadata"].get("deletionTimestamp"):
            return
        yield from self._pods(sets)
        yield from self._status(key)

    def _held(self, sets: JSON) -> dict[int, JSON]:
        """Its Pods by number."""
        return {_ordinal(pod): pod for pod in owned(self.caches, "pods", sets)}

    def _pods(self, sets: JSON) -> Iterator[Write]:
        spec, held = sets["spec"], self._held(sets)
        first = (spec.get("ordinals") or {}).get("start", 0)
        wanted = range(first, first + spec["replicas"])
        in_order = spec["podManagementPolicy"] == "OrderedReady"
        ready = True
        for ordinal in wanted:
            pod = held.get(ordinal)
            if pod is None:
                yield Create("pods", self._pod(sets, ordinal))
                ready = False
            elif pod["status"].get("phase") in ("Failed", "Succeeded"):
                yield Delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
                ready = False
            else:
                wait = self._wait(sets, pod)
                ready = ready and wait == 0
                if wait:
                    yield After(wait)
            if in_order and not ready:
                return
        condemned = sorted((ordinal for ordinal in held if ordinal not in wanted), reverse=True)
        for ordinal in condemned:
            pod = held[ordinal]
            if not pod["metadata"].get("deletionTimestamp"):
                yield Delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
            if in_order:
                return
        if not condemned and ready:
            yield from self._update(sets, held, wanted)

    def _wait(self, sets: JSON, pod: JSON) -> int | None:
        """Nanoseconds until a Pod counts as available; None if it does not run, or ends."""
        if pod["metadata"].get("deletionTimestamp") or pod["status"].get("phase") != "Running":
            return None
        return available_in(pod, sets["spec"].get("minReadySeconds", 0), self.clock.now)

    def _update(self, sets: JSON, held: dict[int, JSON], wanted: range) -> Iterator[Write]:
        """One Pod of an old template goes, the last first; the next once the new one is ready."""
        strategy = sets["spec"]["updateStrategy"]
        if strategy["type"] == "OnDelete":
            return
        partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
        revision = _revision(sets)
        for ordinal in reversed(wanted):
            pod = held[ordinal]
            if ordinal >= partition and pod["metadata"]["labels"].get(REVISION) != revision:
                yield Delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
                return

    def _pod(self, sets: JSON, ordinal: int) -> JSON:
        spec, name = sets["spec"], f"{sets['metadata']['name']}-{ordinal}"
        labels = {REVISION: _revision(sets), POD_INDEX: str(ordinal), POD_NAME: name}
        pod = pod_from_template(spec["template"], sets, name, labels)
        pod["spec"] = {**spec["template"]["spec"], "hostname": name}
        if spec.get("serviceName"):
            pod["spec"]["subdomain"] = spec["serviceName"]
        if claims := [_claimed(claim, name) for claim in spec.get("volumeClaimTemplates") or []]:
            own = {volume["name"] for volume in claims}
            others = [volume for volume in pod["spec"].get("volumes") or [] if volume["name"] not in own]
            pod["spec"]["volumes"] = [*claims, *others]
        return pod

    def _status(self, key: Key) -> Iterator[Write]:
        sets = self.caches["statefulsets"].get(*key)
        if sets is None:
            return
        pods, revision = list(self._held(sets).values()), _revision(sets)
        updated = sum(pod["metadata"]["labels"].get(REVISION) == revision for pod in pods)
        before = (sets.get("status") or {}).get("currentRevision")
        done = updated == len(pods) == sets["spec"]["replicas"]
        current = revision if done or not before else before
        status = {
            "observedGeneration": sets["metadata"]["generation"], "replicas": len(pods),
            "readyReplicas": sum(is_true(pod, "Ready") for pod in pods),
            "availableReplicas": sum(self._wait(sets, pod) == 0 for pod in pods),
            "currentReplicas": sum(pod["metadata"]["labels"].get(REVISION) == current for pod in pods),
            "updatedReplicas": updated, "currentRevision": current, "updateRevision": revision, "collisionCount": 0,
        }  # fmt: skip
        yield from with_status("statefulsets", sets, status)


def _revision(sets: JSON) -> str:
    return f"{sets['metadata']['name']}-{template_hash(sets['spec']['template'])}"


def _claimed(claim: JSON, pod: str) -> JSON:
    """The volume that a Pod has for a claim's template.

    Kubernetes:   pkg/controller/statefulset/stateful_set_utils.go updateStorage()
    Not modelled: the claim itself; nothing in it ever reaches the network.
    """
    name = claim["metadata"]["name"]
    return {"name": name, "persistentVolumeClaim": {"claimName": f"{name}-{pod}"}}


def _ordinal(pod: JSON) -> int:
    """The number at the end of a Pod's name, -1 if there is none."""
    text = pod["metadata"]["name"].rpartition("-")[2]
    return int(text) if text.isdecimal() else -1
