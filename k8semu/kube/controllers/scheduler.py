"""The scheduler: which node does a Pod go to?

A Pod that names its node goes there by itself. Others go to the node with the fewest Pods, the first
in the order of the nodes' making among equals: what the real scheduler's spreading comes to on equal
nodes. A node whose host port is taken cannot have a second Pod that wants it.

Kubernetes: pkg/scheduler/schedule_one.go,
            pkg/scheduler/framework/plugins/{nodename,nodeaffinity,nodeports,tainttoleration,podtopologyspread}
Differs: no resources, no priorities; of affinity only that to a node's name, which DaemonSets use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush

from k8semu.kube.api.conditions import set_condition
from k8semu.kube.api.meta import timestamp
from k8semu.kube.controllers.controller import (
    JSON,
    Bind,
    Caches,
    Change,
    Concerns,
    Controller,
    Key,
    Time,
    Update,
    Write,
)
from k8semu.sim.clock import NS_PER_S

HostPort = tuple[str, str, int]
"""(protocol, hostIP, hostPort)."""
NOT_SELECTED = "node(s) didn't match Pod's node affinity/selector"
PORTS_TAKEN = "node(s) didn't have free ports for the requested pod ports"
UNSCHEDULABLE = "node(s) were unschedulable"


class SchedulerController(Controller):
    name = "default-scheduler"
    plural = "pods"

    def __init__(self, caches: Caches, clock: Time) -> None:
        super().__init__(caches, clock)
        self._waiting: dict[Key, None] = {}
        self._stale = True                                # the heap is to be made anew
        self._names: list[str] = []
        self._counts: dict[str, int] = {}
        self._ports: dict[str, dict[Key, list[HostPort]]] = {}
        self._heap: list[tuple[int, int]] = []            # (Pods, place); entries that are no longer true are passed
        self._places: dict[str, int] = {}

    def watches(self) -> dict[str, Concerns]:
        return {"pods": self._pod, "nodes": self._node}

    def _pod(self, event: Change) -> Iterable[Key]:
        pod, old = event.object, event.old
        node = pod["spec"].get("nodeName", "")
        if node and old is not None and old["spec"] is pod["spec"] and event.type == "MODIFIED":
            return ()                                     # it is where it was
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        was = old["spec"].get("nodeName", "") if old is not None else ""
        if event.type == "DELETED":
            self._waiting.pop(key, None)
            self._left(key, node)
            return list(self._waiting)
        if node and node != was:
            self._came(key, node, pod)
        if node:
            self._waiting.pop(key, None)
            return ()
        return (key,)

    def _node(self, event: Change) -> Iterable[Key]:
        old = event.old
        if event.type == "MODIFIED" and old is not None and old.get("spec") == event.object.get("spec") \
                and old["metadata"].get("labels") == event.object["metadata"].get("labels"):  # fmt: skip
            return ()
        self._stale = self._stale or event.type != "MODIFIED"
        return list(self._waiting)

    # --- what is where ----------------------------------------------------------------------------

    def _came(self, key: Key, node: str, pod: JSON) -> None:
        self._counts[node] = self._counts.get(node, 0) + 1
        ports = host_ports(pod["spec"])
        if ports:
            self._ports.setdefault(node, {})[key] = ports
        self._counted(node)

    def _left(self, key: Key, node: str) -> None:
        if node:
            self._counts[node] = self._counts.get(node, 1) - 1
            self._ports.get(node, {}).pop(key, None)
            self._counted(node)

    def _counted(self, node: str) -> None:
        if node in self._places:
            heappush(self._heap, (self._counts[node], self._places[node]))

    def _refresh(self) -> None:
        if self._stale:
            self._stale = False
            self._names = [node["metadata"]["name"] for node in self.caches["nodes"]]
            self._places = {name: place for place, name in enumerate(self._names)}
            self._heap = [(self._counts.get(name, 0), place) for place, name in enumerate(self._names)]
            heapify(self._heap)

    # --- where to -----------------------------------------------------------------------------------

    def sync(self, key: Key) -> Iterable[Write]:
        pod = self.caches["pods"].get(*key)
        if pod is None or pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp"):
            return ()
        if pod["spec"].get("schedulerName", self.name) != self.name:
            return ()
        self._refresh()
        node, why = self._choose(pod["spec"])
        if node:
            return (Bind(*key, node),)
        self._waiting[key] = None
        return self._say(pod, why)

    def _choose(self, spec: JSON) -> tuple[str, str]:
        """The emptiest node that fits; or '' and why none does."""
        pinned = _pinned(spec)
        ports, why = host_ports(spec), dict[str, int]()
        passed: list[tuple[int, int]] = []
        found = ""
        while self._heap and not found:
            entry = heappop(self._heap)
            name = self._names[entry[1]]
            if entry[0] != self._counts.get(name, 0) or (passed and entry == passed[-1]):
                continue
            passed.append(entry)
            wrong = self._unfit(name, spec, ports, pinned)
            if wrong:
                why[wrong] = why.get(wrong, 0) + 1
            else:
                found = name
        for entry in passed:
            heappush(self._heap, entry)
        return found, "" if found else self._words(why)

    def _words(self, why: dict[str, int]) -> str:
        total = len(self._names)
        if not total:
            return "no nodes available to schedule pods"
        reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in why.items()))
        helpless = f"preemption: 0/{total} nodes are available: {total} Preemption is not helpful for scheduling."
        return f"0/{total} nodes are available: {reasons}. {helpless}"

    def _unfit(self, name: str, spec: JSON, ports: list[HostPort], pinned: str) -> str:
        """Why a node cannot take a Pod, or ''."""
        if pinned and name != pinned:
            return NOT_SELECTED
        node = self.caches["nodes"].get("", name)
        if node is None:
            return NOT_SELECTED
        tolerations = spec.get("tolerations") or ()
        about = node.get("spec") or {}
        if about.get("unschedulable") and not tolerates(
            tolerations, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
        ):
            return UNSCHEDULABLE
        for taint in about.get("taints") or ():
            if taint.get("effect") in ("NoSchedule", "NoExecute") and not tolerates(tolerations, taint):
                return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
        selector = spec.get("nodeSelector")
        if selector and not selector.items() <= (node["metadata"].get("labels") or {}).items():
            return NOT_SELECTED
        if ports and any(_clash(a, b) for held in self._ports.get(name, {}).values() for a in held for b in ports):
            return PORTS_TAKEN
        return ""

    def _say(self, pod: JSON, why: str) -> Iterator[Write]:
        now = timestamp(self.clock.now // NS_PER_S)
        status = pod.get("status") or {}
        conditions = set_condition(status.get("conditions") or [], "PodScheduled", "False", now, "Unschedulable", why)
        if conditions is not status.get("conditions"):
            yield Update("pods", {**pod, "status": {**status, "conditions": conditions}}, "status")


def _pinned(spec: JSON) -> str:
    """The one node that a Pod's affinity allows, or ''."""
    if "affinity" not in spec:
        return ""
    part = (spec["affinity"] or {}).get("nodeAffinity") or {}
    terms = (part.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or []
    for term in terms:
        for field in term.get("matchFields") or []:
            values = field.get("values") or []
            if field.get("key") == "metadata.name" and field.get("operator") == "In" and len(values) == 1:
                return str(values[0])
    return ""


def pinned_node(pod: JSON) -> str:
    """The node that a Pod is on, or that a DaemonSet made it for."""
    return pod["spec"].get("nodeName") or _pinned(pod["spec"])


def tolerates(tolerations: Iterable[JSON], taint: JSON) -> bool:
    """Kubernetes: staging/src/k8s.io/api/core/v1/toleration.go ToleratesTaint()."""
    for toleration in tolerations:
        if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
            continue
        if toleration.get("key") and toleration["key"] != taint.get("key"):
            continue
        operator = toleration.get("operator") or "Equal"
        if operator == "Exists" or (toleration.get("value") or "") == (taint.get("value") or ""):
            return True
    return False


def host_ports(spec: JSON) -> list[HostPort]:
    """The ports of its node that a Pod takes."""
    return [
        (port.get("protocol", "TCP"), port.get("hostIP") or "0.0.0.0", port["hostPort"])
        for part in spec["containers"] for port in part.get("ports") or () if port.get("hostPort")
    ]  # fmt: skip


def _clash(a: HostPort, b: HostPort) -> bool:
    """Kubernetes: pkg/scheduler/framework/types.go HostPortInfo.CheckConflict()."""
    same_address = a[1] == b[1] or "0.0.0.0" in (a[1], b[1])
    return same_address and (a[0], a[2]) == (b[0], b[2])
