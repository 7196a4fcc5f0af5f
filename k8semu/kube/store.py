"""What the cluster is asked to be, and which Pods come and go for it.

    apply, scale, delete ─▶ store ─▶ Change: Pods to stop, Pods to start (each with its node), Pods pending

The store decides and starts nothing: the kubelets carry a Change out.

Kubernetes: the API server, kube-controller-manager and kube-scheduler in one
Differs: all is decided at once; a changed template replaces all Pods together (strategy Recreate).
"""

from __future__ import annotations

from typing import Any

import msgspec

from k8semu.errors import InputError, ScenarioError
from k8semu.kube.kinds import TYPES, KubeKind
from k8semu.kube.objects import AnyObject, Pod, Workload, full_name
from k8semu.kube.scheduler import Scheduler, Unschedulable
from k8semu.kube.workloads import HASH_LABEL, daemon_nodes, missing_pods, template_hash
from k8semu.sim.streams import Stream


class Placed(msgspec.Struct):
    """A Pod on its node. `owner` is the workload that made it (``Deployment default/account``), or ''."""

    pod: Pod
    node: str
    owner: str


class Pending(msgspec.Struct):
    """A Pod that no node can take, and why; `path` is what is at fault in its manifest."""

    pod: Pod
    owner: str
    reason: str
    path: str


class Change(msgspec.Struct):
    """What the kubelets have to do: stop first, then start."""

    stop: list[Placed] = []
    start: list[Placed] = []
    pending: list[Pending] = []


class ManifestError(ScenarioError):
    """Something is wrong with a manifest. `key` names it (``Pod default/web``, ``Deployment default/account``)."""

    def __init__(self, key: str, what: str, path: str, hint: str = "") -> None:
        super().__init__(what, path=path, hint=hint)
        self.key = key


class PodError(ManifestError):
    """A Pod cannot run. `owner` is the workload that made it, or ''."""

    def __init__(self, what: str, pod: Pod, owner: str, path: str, hint: str) -> None:
        super().__init__(owner or f"Pod {full_name(pod.metadata)}", f"Pod {pod.metadata.name}: {what}", path, hint)


def read(manifest: dict[str, Any]) -> KubeKind:
    """A manifest that is known to be right, as the type of its kind."""
    thing: KubeKind = msgspec.convert(manifest, TYPES.get(manifest["kind"], AnyObject))
    return thing


def key_of(workload: Workload) -> str:
    """``Deployment default/account``."""
    return f"{workload.kind} {full_name(workload.metadata)}"


class Store:
    """The objects of a cluster. `nodes` is their names with their labels, `stream` draws Pod names."""

    def __init__(self, nodes: dict[str, dict[str, str]], stream: Stream) -> None:
        self.nodes = nodes
        self.scheduler = Scheduler(nodes)
        self.pods: dict[str, Placed] = {}         # in the order in which they were made
        self.pending: dict[str, Pending] = {}
        self.workloads: dict[str, Workload] = {}
        self.others: dict[str, KubeKind] = {}     # Services and the like: kept for who asks
        self._owned_by: dict[str, dict[str, None]] = {}
        self._stream = stream

    # --- what a user does ---------------------------------------------------------------------

    def apply(self, thing: KubeKind) -> Change:
        """`kubectl apply`: make an object, or change it."""
        change = Change()
        if isinstance(thing, Pod):
            self._apply_pod(thing, change)
        elif isinstance(thing, Workload):
            self.workloads[key_of(thing)] = thing
            self._reconcile(thing, change)
        else:
            self.others[f"{thing.kind} {full_name(thing.metadata)}"] = thing
        return change

    def scale(self, kind: str, name: str, replicas: int) -> Change:
        """`kubectl scale`. `kind` may be '' where the name (``default/account``) says enough."""
        workload = self.workload(kind, name)
        if workload.kind == "DaemonSet":
            raise InputError(f"DaemonSet {name} has one Pod per node", hint="a DaemonSet cannot be scaled")
        spec = msgspec.structs.replace(workload.spec, replicas=replicas)
        return self.apply(msgspec.structs.replace(workload, spec=spec))

    def delete(self, kind: str, name: str) -> Change:
        """`kubectl delete`: an object, and the Pods that it owns. What made a deleted Pod makes another."""
        change = Change()
        if kind.lower() in ("pod", "pods", "po"):
            self._delete_pod(name, change)
            return change
        workload = self.workload(kind, name)
        del self.workloads[key_of(workload)]
        self._drop([*self._owned(workload)], change)
        return change

    def workload(self, kind: str, name: str) -> Workload:
        """The workload of that name; InputError if there is none, or several of different kinds."""
        found = [
            work for work in self.workloads.values()
            if full_name(work.metadata) == name and _is_kind(work.kind, kind)
        ]  # fmt: skip
        if len(found) == 1:
            return found[0]
        if found:
            kinds = " and ".join(work.kind for work in found)
            raise InputError(f"{name} is a {kinds}", hint=f"write {found[0].kind.lower()}/{found[0].metadata.name}")
        known = ", ".join(self.workloads) or "none"
        raise InputError(f"no {kind or 'workload'} {name!r}", hint=f"there are: {known}")

    # --- Pods -----------------------------------------------------------------------------------

    def _apply_pod(self, pod: Pod, change: Change) -> None:
        name = full_name(pod.metadata)
        if name in self.pods and self.pods[name].pod == pod:
            return
        self._drop([name], change)
        self._place(pod, "", change)

    def _delete_pod(self, name: str, change: Change) -> None:
        known = self.pods.get(name) or self.pending.get(name)
        if known is None:
            raise InputError(f"no Pod {name!r}", hint=f"there are: {', '.join(self.pods) or 'none'}")
        self._drop([name], change)
        if known.owner in self.workloads:
            self._reconcile(self.workloads[known.owner], change)

    def _place(self, pod: Pod, owner: str, change: Change) -> None:
        name = full_name(pod.metadata)
        self._owned_by.setdefault(owner, {})[name] = None
        try:
            node = self.scheduler.place(pod)
        except Unschedulable as error:
            self.pending[name] = Pending(pod, owner, error.reason, error.path)
            change.pending.append(self.pending[name])
            return
        self.pods[name] = Placed(pod, node, owner)
        change.start.append(self.pods[name])

    def _drop(self, names: list[str], change: Change) -> None:
        for name in names:
            held = self.pending.pop(name, None) or self.pods.get(name)
            if held is not None:
                self._owned_by[held.owner].pop(name, None)
            placed = self.pods.pop(name, None)
            if placed is not None:
                self.scheduler.remove(name, placed.node)
                change.stop.append(placed)

    # --- controllers ----------------------------------------------------------------------------

    def _owned(self, workload: Workload) -> dict[str, Placed | Pending]:
        names = self._owned_by.get(key_of(workload), {})
        return {name: self.pods.get(name) or self.pending[name] for name in names}

    def _reconcile(self, workload: Workload, change: Change) -> None:
        """Too many or outdated Pods go, missing ones come."""
        self._drop(self._surplus(workload), change)
        have = [held.pod for held in self._owned(workload).values()]
        for pod in missing_pods(workload, have, self.nodes, self._stream):
            self._place(pod, key_of(workload), change)

    def _surplus(self, workload: Workload) -> list[str]:
        owned, kind = self._owned(workload), workload.kind
        old = [name for name, held in owned.items() if self._outdated(workload, held.pod)]
        kept = [name for name in owned if name not in old]
        if kind == "DaemonSet":
            wanted = daemon_nodes(workload, self.nodes)
            return old + [name for name in kept if owned[name].pod.spec.node_name not in wanted]
        if kind == "StatefulSet":
            return old + [name for name in kept if int(name.rpartition("-")[2]) >= workload.spec.replicas]
        return old + self._victims(kept, len(kept) - workload.spec.replicas)

    def _outdated(self, workload: Workload, pod: Pod) -> bool:
        template = workload.spec.template
        if workload.kind == "Deployment":
            return pod.metadata.labels.get(HASH_LABEL) != template_hash(template)
        if workload.kind == "ReplicaSet":
            return False  # a ReplicaSet leaves the Pods it has as they are
        node = pod.spec.node_name if workload.kind == "DaemonSet" else template.spec.node_name
        return pod.spec != msgspec.structs.replace(template.spec, node_name=node)

    def _victims(self, names: list[str], count: int) -> list[str]:
        """Which Pods a smaller ReplicaSet gives up: pending ones, then from the fullest nodes the newest.

        Kubernetes: pkg/controller/controller_utils.go ActivePodsWithRanks
        """
        left, victims = list(names), []
        for _ in range(count):
            def rank(name: str) -> tuple[bool, int, int]:
                if name in self.pending:
                    return True, 0, 0
                node = self.pods[name].node
                beside = sum(1 for other in left if other in self.pods and self.pods[other].node == node)
                return False, beside, names.index(name)

            victim = max(left, key=rank)
            left.remove(victim)
            victims.append(victim)
        return victims


def _is_kind(kind: str, said: str) -> bool:
    """``deployment``, ``deployments``, ``deploy``: as kubectl takes them."""
    short = {"deploy": "deployment", "rs": "replicaset", "sts": "statefulset", "ds": "daemonset"}
    plain = said.lower()
    plain = short.get(plain, plain.removesuffix("s"))
    return not plain or kind.lower() == plain
