"""Deployments: a ReplicaSet per version of the template, and a way from the old one to the new.

    RollingUpdate    new up while (all < replicas + maxSurge), old down while (available > replicas - maxUnavailable)
    Recreate         old down to 0, wait until its Pods are gone, new up

Kubernetes: pkg/controller/deployment/{sync,rolling,recreate}.go, util/deployment_util.go
Differs: who scales a Deployment while it rolls scales the newest ReplicaSet, not all of them in proportion.
Differs: a rollout that makes no progress is not marked as failed after progressDeadlineSeconds; `paused` holds
         a rollout, and no rollback is made.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any

from k8semu.kube.api.cache import controller_of
from k8semu.kube.api.conditions import set_condition
from k8semu.kube.api.meta import timestamp
from k8semu.kube.controllers.controller import (
    JSON,
    Change,
    Concerns,
    Controller,
    Create,
    Delete,
    Key,
    Update,
    Write,
    owned,
    owner_reference,
    with_status,
)
from k8semu.kube.controllers.template_hash import template_hash
from k8semu.sim.clock import NS_PER_S

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"


Writes = Generator[Write, None, bool]
"""Writes, and whether what was read before is old now."""


class DeploymentController(Controller):
    name = "deployment-controller"
    plural = "deployments"
    rank = 2                     # one step of a rollout after the other: its ReplicaSets act first

    def watches(self) -> dict[str, Concerns]:
        return {"deployments": self.what_it_asks, "replicasets": self.its_controller}

    def deletions(self) -> dict[str, Concerns]:
        return {"pods": self._pod_gone}

    def _pod_gone(self, event: Change) -> Iterable[Key]:
        """Recreate waits for the last old Pod."""
        owner = controller_of(event.object)
        if owner is None or owner["kind"] != "ReplicaSet":
            return
        sets = self.caches["replicasets"].get(event.object["metadata"]["namespace"], owner["name"])
        parent = controller_of(sets) if sets is not None else None
        if parent is not None:
            yield event.object["metadata"]["namespace"], parent["name"]

    def sync(self, key: Key) -> Iterable[Write]:
        deployment = self.caches["deployments"].get(*key)
        if deployment is None or deployment["metadata"].get("deletionTimestamp"):
            return
        if deployment["spec"].get("paused"):
            yield from self._scale_active(deployment)
        elif deployment["spec"]["strategy"]["type"] == "Recreate":
            yield from self._recreate(deployment)
        else:
            yield from self._rolling(deployment)
        yield from self._status(deployment)
        yield from self._clean_up(deployment)

    # --- ReplicaSets ------------------------------------------------------------------------------

    def _sets(self, deployment: JSON) -> tuple[JSON | None, list[JSON]]:
        """The ReplicaSet of the template as it is, and the others, the oldest first."""
        new, old = None, []
        for sets in owned(self.caches, "replicasets", deployment):
            if new is None and same_template(sets["spec"]["template"], deployment["spec"]["template"]):
                new = sets
            else:
                old.append(sets)
        return new, old

    def _scale_active(self, deployment: JSON) -> Iterator[Write]:
        """A paused rollout: the one active ReplicaSet still follows `replicas`."""
        new, old = self._sets(deployment)
        active = [sets for sets in [*old, *([new] if new else [])] if sets["spec"]["replicas"]]
        if len(active) == 1:
            yield from _scale(active[0], deployment["spec"]["replicas"], deployment)

    def _make_new(self, deployment: JSON, new: JSON | None, old: list[JSON], replicas: int) -> Writes:
        """The ReplicaSet of the template: made, or numbered as the newest. Whether it is another one now."""
        newest = max((_revision(sets) for sets in old), default=0) + 1
        if new is not None:
            if _revision(new) < newest:
                yield Update("replicasets", _annotated(new, {REVISION: str(newest)}))
            yield from _number_deployment(deployment, max(newest, _revision(new)))
            return _revision(new) < newest
        spec, meta = deployment["spec"], deployment["metadata"]
        digest = self._free_hash(deployment)
        labels = {**((spec["template"].get("metadata") or {}).get("labels") or {}), HASH: digest}
        template = {**spec["template"], "metadata": {**(spec["template"].get("metadata") or {}), "labels": labels}}
        selector = {**spec["selector"], "matchLabels": {**(spec["selector"].get("matchLabels") or {}), HASH: digest}}
        made: JSON = {"replicas": replicas, "selector": selector, "template": template}
        if spec.get("minReadySeconds"):
            made["minReadySeconds"] = spec["minReadySeconds"]
        annotations = {REVISION: str(newest), **_sizes(spec)}
        yield Create("replicasets", {
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": f"{meta['name']}-{digest}", "namespace": meta["namespace"], "labels": labels,
                         "annotations": annotations, "ownerReferences": [owner_reference(deployment)]},
            "spec": made,
        })  # fmt: skip
        yield from _number_deployment(deployment, newest)
        return True

    def _free_hash(self, deployment: JSON) -> str:
        """The template's hash; another where that name has been given to another template."""
        meta, template = deployment["metadata"], deployment["spec"]["template"]
        collisions = 0
        while True:
            digest = template_hash(template, collisions)
            if self.caches["replicasets"].get(meta["namespace"], f"{meta['name']}-{digest}") is None:
                return digest
            collisions += 1

    # --- from old to new --------------------------------------------------------------------------

    def _rolling(self, deployment: JSON) -> Iterator[Write]:
        new, old = self._sets(deployment)
        if (yield from self._make_new(deployment, new, old, _room(deployment, new, old))):
            new, old = self._sets(deployment)
        if new is None:
            return
        have, wanted = new["spec"]["replicas"], deployment["spec"]["replicas"]
        size = wanted if have > wanted else have + _room(deployment, new, old)
        if (yield from _scale(new, size, deployment)):
            new, old = self._sets(deployment)
        assert new is not None
        if old:
            yield from self._scale_down_old(deployment, new, old)

    def _scale_down_old(self, deployment: JSON, new: JSON, old: list[JSON]) -> Iterator[Write]:
        """Old Pods go: first those that are not ready, then as many as the new ones' readiness allows.

        Kubernetes: rolling.go reconcileOldReplicaSets()
        """
        spec = deployment["spec"]
        sizes = {sets["metadata"]["name"]: sets["spec"]["replicas"] for sets in old}
        total = sum(sizes.values()) + new["spec"]["replicas"]
        minimum = spec["replicas"] - _unavailable(spec)
        new_unavailable = new["spec"]["replicas"] - _count(new, "availableReplicas")
        most = total - minimum - new_unavailable
        if most <= 0 or not sum(sizes.values()):
            return
        left = dict(sizes)
        for sets in old:                                   # Pods that serve nobody go first
            name = sets["metadata"]["name"]
            unhealthy = min(most, left[name], max(0, sizes[name] - _count(sets, "availableReplicas")))
            left[name] -= unhealthy
            most -= unhealthy
        available = sum(_count(sets, "availableReplicas") for sets in [*old, new])
        spare = max(0, available - minimum)
        for sets in old:
            name = sets["metadata"]["name"]
            fewer = min(spare, left[name])
            left[name] -= fewer
            spare -= fewer
        for sets in old:
            yield from _scale(sets, left[sets["metadata"]["name"]], deployment)

    def _recreate(self, deployment: JSON) -> Iterator[Write]:
        new, old = self._sets(deployment)
        scaled = [write for sets in old for write in _scale(sets, 0, deployment)]
        yield from scaled
        if scaled or any(self._has_pods(sets) for sets in old):
            return
        yield from self._make_new(deployment, new, old, deployment["spec"]["replicas"])
        new, _ = self._sets(deployment)
        if new is not None:
            yield from _scale(new, deployment["spec"]["replicas"], deployment)

    def _has_pods(self, sets: JSON) -> bool:
        """Whether Pods of an old ReplicaSet still run, also such that are about to end."""
        pods = owned(self.caches, "pods", sets)
        return any((pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed") for pod in pods)

    # --- status -----------------------------------------------------------------------------------

    def _status(self, deployment: JSON) -> Iterator[Write]:
        meta = deployment["metadata"]
        current = self.caches["deployments"].get(meta["namespace"], meta["name"])
        if current is None:
            return
        new, old = self._sets(current)
        every = [*old, *([new] if new else [])]
        total, available = (sum(_count(sets, key) for sets in every) for key in ("replicas", "availableReplicas"))
        wanted, spec = current["spec"]["replicas"], current["spec"]
        counts = {
            "replicas": total, "updatedReplicas": _count(new, "replicas") if new else 0,
            "readyReplicas": sum(_count(sets, "readyReplicas") for sets in every), "availableReplicas": available,
            "unavailableReplicas": max(0, sum(sets["spec"]["replicas"] for sets in every) - available),
        }  # fmt: skip
        status: JSON = {"observedGeneration": current["metadata"]["generation"]}
        status |= {key: count for key, count in counts.items() if count}
        now = timestamp(self.clock.now // NS_PER_S)
        conditions = (current.get("status") or {}).get("conditions") or []
        if available >= wanted - _unavailable(spec):
            said = ("True", now, "MinimumReplicasAvailable", "Deployment has minimum availability.")
        else:
            said = ("False", now, "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        conditions = set_condition(conditions, "Available", *said)
        if new is not None:
            name, done = new["metadata"]["name"], counts["updatedReplicas"] == total == available == wanted
            reason = "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"
            message = f'ReplicaSet "{name}" ' + ("has successfully progressed." if done else "is progressing.")
            conditions = set_condition(conditions, "Progressing", "True", now, reason, message)
        status["conditions"] = conditions
        yield from with_status("deployments", current, status)

    def _clean_up(self, deployment: JSON) -> Iterator[Write]:
        """Old ReplicaSets without Pods go, but for the newest `revisionHistoryLimit`."""
        _, old = self._sets(deployment)
        idle = [sets for sets in old if not sets["spec"]["replicas"] and not _count(sets, "replicas")]
        idle.sort(key=_revision)
        surplus = len(idle) - deployment["spec"].get("revisionHistoryLimit", 10)
        for sets in idle[: max(0, surplus)]:
            yield Delete("replicasets", sets["metadata"]["namespace"], sets["metadata"]["name"])


def same_template(a: JSON, b: JSON) -> bool:
    """Whether two templates are the same but for the hash. Kubernetes: EqualIgnoreHash()."""
    if a["spec"] is not b["spec"] and a["spec"] != b["spec"]:
        return False
    return _without_hash(a) == _without_hash(b)


def _without_hash(template: JSON) -> JSON:
    meta = template.get("metadata") or {}
    labels = dict(meta.get("labels") or {})
    labels.pop(HASH, None)
    return {**meta, "labels": labels}


def resolve(value: Any, total: int, up: bool) -> int:
    """A count, or a share of `total`. Kubernetes: intstr.GetScaledValueFromIntOrPercent()."""
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * total
    return -(-share // 100) if up else share // 100


def _fenceposts(spec: JSON) -> tuple[int, int]:
    """(surge, unavailable), never both 0. Kubernetes: ResolveFenceposts()."""
    rolling = spec["strategy"].get("rollingUpdate")
    if not rolling:
        return 0, 0
    surge = resolve(rolling["maxSurge"], spec["replicas"], up=True)
    unavailable = resolve(rolling["maxUnavailable"], spec["replicas"], up=False)
    return surge, unavailable if surge or unavailable else 1


def _sizes(spec: JSON) -> dict[str, str]:
    """What a ReplicaSet remembers of its Deployment's size."""
    return {DESIRED: str(spec["replicas"]), MOST: str(spec["replicas"] + _surge(spec))}


def _surge(spec: JSON) -> int:
    return _fenceposts(spec)[0]


def _unavailable(spec: JSON) -> int:
    replicas: int = spec["replicas"]
    return min(_fenceposts(spec)[1], replicas)


def _room(deployment: JSON, new: JSON | None, old: list[JSON]) -> int:
    """How many more Pods the new ReplicaSet may have now. Kubernetes: NewRSNewReplicas()."""
    spec = deployment["spec"]
    have: int = new["spec"]["replicas"] if new is not None else 0
    total: int = have + sum(sets["spec"]["replicas"] for sets in old)
    replicas: int = spec["replicas"]
    return max(0, min(replicas + _surge(spec) - total, replicas - have))


def _scale(sets: JSON, replicas: int, deployment: JSON) -> Writes:
    """Whether there was anything to scale."""
    if sets["spec"]["replicas"] == replicas:
        return False
    scaled = {**_annotated(sets, _sizes(deployment["spec"])), "spec": {**sets["spec"], "replicas": replicas}}
    yield Update("replicasets", scaled)
    return True


def _annotated(obj: JSON, annotations: dict[str, str]) -> JSON:
    meta = obj["metadata"]
    return {**obj, "metadata": {**meta, "annotations": {**(meta.get("annotations") or {}), **annotations}}}


def _number_deployment(deployment: JSON, revision: int) -> Iterator[Write]:
    if _revision(deployment) != revision:
        yield Update("deployments", _annotated(deployment, {REVISION: str(revision)}))


def _revision(obj: JSON) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdecimal() else 0


def _count(sets: JSON, key: str) -> int:
    return int((sets.get("status") or {}).get(key, 0))
