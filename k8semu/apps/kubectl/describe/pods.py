"""Pods, and what makes Pods.

Kubernetes: staging/src/k8s.io/kubectl/pkg/describe/describe.go describePod(), describeDeployment(),
            describeReplicaSet(), describeStatefulSet(), describeDaemonSet(); pkg/util/qos/qos.go GetPodQOS()
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any
from urllib.parse import quote

from k8semu.apps.kubectl.describe import parts
from k8semu.apps.kubectl.describe.containers import containers, spread, template, volumes
from k8semu.apps.kubectl.describe.writer import Writer
from k8semu.apps.kubectl.main import Session
from k8semu.kube.api.client import path_of
from k8semu.kube.api.table import NONE
from k8semu.kube.quantity import parse

JSON = dict[str, Any]
HASH = "pod-template-hash"
WISHES = {"Priority": "priority", "Priority Class Name": "priorityClassName", "Runtime Class Name": "runtimeClassName",
          "Service Account": "serviceAccountName"}  # fmt: skip


async def pod(session: Session, w: Writer, obj: JSON) -> None:
    spec, status = obj["spec"], obj.get("status") or {}
    _who(w, obj, spec, status)
    parts.meta(w, obj)
    _how(w, obj, status)
    _addresses(w, status)
    parts.controller(w, obj)
    if status.get("nominatedNodeName"):
        w.line(0, "NominatedNodeName:", status["nominatedNodeName"])
    if spec.get("initContainers"):
        containers(w, "Init Containers", obj, spec["initContainers"], status.get("initContainerStatuses"))
    containers(w, "Containers", obj, spec["containers"], status.get("containerStatuses"))
    _gates(w, spec.get("readinessGates"), status.get("conditions") or [])
    if status.get("conditions"):
        w.line(0, "Conditions:")
        w.line(1, "Type", "Status")
        for each in status["conditions"]:
            w.line(1, f"{each['type']} ", f"{each['status']} ")
    volumes(w, spec.get("volumes"))
    w.line(0, "QoS Class:", qos(obj))
    parts.labels(w, "Node-Selectors", spec.get("nodeSelector"))
    parts.tolerations(w, "Tolerations", spec.get("tolerations"))
    spread(w, spec.get("topologySpreadConstraints"))
    await parts.events(session, w, obj, kind="")


def _who(w: Writer, obj: JSON, spec: JSON, status: JSON) -> None:
    parts.title(w, obj)
    for name, key in WISHES.items():
        if spec.get(key) not in (None, ""):
            w.line(0, f"{name}:", spec[key])
    node = spec.get("nodeName")
    w.line(0, "Node:", f"{node}/{status.get('hostIP', '')}" if node else NONE)
    if status.get("startTime"):
        w.line(0, "Start Time:", parts.when(status["startTime"]))


def _how(w: Writer, obj: JSON, status: JSON) -> None:
    phase, gone = status.get("phase", ""), obj["metadata"].get("deletionTimestamp")
    if gone and phase not in ("Failed", "Succeeded"):
        w.line(0, "Status:", f"Terminating (lasts {parts.since(gone)})")
        w.line(0, "Termination Grace Period:", f"{obj['metadata'].get('deletionGracePeriodSeconds', 0)}s")
    else:
        w.line(0, "Status:", phase)
    for key in ("reason", "message"):
        if status.get(key):
            w.line(0, f"{key.capitalize()}:", status[key])


def _addresses(w: Writer, status: JSON) -> None:
    w.line(0, "IP:", status.get("podIP", ""))
    if not status.get("podIPs"):
        w.line(0, "IPs:", NONE)
        return
    w.line(0, "IPs:")
    for each in status["podIPs"]:
        w.line(1, "IP:", each["ip"])


def _gates(w: Writer, gates: list[JSON] | None, conditions: list[JSON]) -> None:
    if gates:
        known = {each["type"]: each["status"] for each in reversed(conditions)}
        w.line(0, "Readiness Gates:")
        w.line(1, "Type", "Status")
        for gate in gates:
            w.line(1, f"{gate['conditionType']} ", f"{known.get(gate['conditionType'], NONE)} ")


def qos(obj: JSON) -> str:
    """As the status has it, or as it follows from what the containers ask for."""
    said = (obj.get("status") or {}).get("qosClass")
    if said:
        return str(said)
    asked = [{kind: _amounts(each, kind) for kind in ("requests", "limits")} for each in obj["spec"]["containers"]]
    if not any(each["requests"] or each["limits"] for each in asked):
        return "BestEffort"
    full = all(len(each["limits"]) == 2 and {**each["limits"], **each["requests"]} == each["limits"] for each in asked)
    return "Guaranteed" if full else "Burstable"


def _amounts(container: JSON, kind: str) -> dict[str, Fraction]:
    found = ((container.get("resources") or {}).get(kind) or {}).items()
    return {name: parse(amount).value for name, amount in found if name in ("cpu", "memory")}


# --- what makes Pods --------------------------------------------------------------------------------


async def _owned(session: Session, plural: str, obj: JSON) -> list[JSON]:
    """The objects that its selector finds and that it controls."""
    text = parts.selector(obj["spec"].get("selector"))
    path = f"{path_of(plural, obj['metadata']['namespace'])}?labelSelector={quote(text, safe='')}&limit={parts.PAGE}"
    found = (await session.client.request("GET", path))["items"]
    uid = obj["metadata"].get("uid")
    return [each for each in found
            if any(owner.get("controller") and owner.get("uid") == uid
                   for owner in each["metadata"].get("ownerReferences") or ())]  # fmt: skip


async def _states(session: Session, w: Writer, obj: JSON) -> None:
    phases = [(each.get("status") or {}).get("phase") for each in await _owned(session, "pods", obj)]
    names = {"Running": "Running", "Waiting": "Pending", "Succeeded": "Succeeded", "Failed": "Failed"}
    w.line(0, "Pods Status:", " / ".join(f"{phases.count(phase)} {name}" for name, phase in names.items()))


async def deployment(session: Session, w: Writer, obj: JSON) -> None:
    spec, status = obj["spec"], obj.get("status") or {}
    parts.title(w, obj)
    w.line(0, "CreationTimestamp:", parts.when(obj["metadata"].get("creationTimestamp")))
    parts.meta(w, obj)
    w.line(0, "Selector:", parts.selector(spec.get("selector")))
    counts = {"desired": spec["replicas"], "updated": status.get("updatedReplicas", 0),
              "total": status.get("replicas", 0), "available": status.get("availableReplicas", 0),
              "unavailable": status.get("unavailableReplicas", 0)}  # fmt: skip
    w.line(0, "Replicas:", " | ".join(f"{count} {name}" for name, count in counts.items()))
    strategy = spec.get("strategy") or {}
    w.line(0, "StrategyType:", strategy.get("type", ""))
    w.line(0, "MinReadySeconds:", spec.get("minReadySeconds", 0))
    if rolling := strategy.get("rollingUpdate"):
        said = f"{rolling.get('maxUnavailable', 0)} max unavailable, {rolling.get('maxSurge', 0)} max surge"
        w.line(0, "RollingUpdateStrategy:", said)
    template(w, spec["template"])
    parts.conditions(w, status.get("conditions"))
    sets = await _owned(session, "replicasets", obj)
    new = next((each for each in sorted(sets, key=_age) if _same(each["spec"]["template"], spec["template"])), None)
    if sets:
        w.line(0, "OldReplicaSets:", _sets([each for each in sets if each is not new]))
        w.line(0, "NewReplicaSet:", _sets([new] if new is not None else []))
    await parts.events(session, w, obj)


def _age(obj: JSON) -> tuple[str, str]:
    return str(obj["metadata"].get("creationTimestamp", "")), str(obj["metadata"]["name"])


def _same(one: JSON, other: JSON) -> bool:
    """But for the label that tells templates apart. Kubernetes: EqualIgnoreHash()."""
    def plain(each: JSON) -> JSON:
        about = dict(each.get("metadata") or {})
        about["labels"] = {key: value for key, value in (about.get("labels") or {}).items() if key != HASH}
        return {**each, "metadata": {key: value for key, value in about.items() if value}}

    return plain(one) == plain(other)


def _sets(found: list[JSON]) -> str:
    return ", ".join(
        f"{each['metadata']['name']} ({(each.get('status') or {}).get('replicas', 0)}/{each['spec']['replicas']} "
        "replicas created)" for each in found
    ) or NONE  # fmt: skip


async def replicaset(session: Session, w: Writer, obj: JSON) -> None:
    parts.title(w, obj)
    w.line(0, "Selector:", parts.selector(obj["spec"].get("selector")))
    parts.meta(w, obj)
    parts.controller(w, obj)
    status = obj.get("status") or {}
    w.line(0, "Replicas:", f"{status.get('replicas', 0)} current / {obj['spec']['replicas']} desired")
    await _states(session, w, obj)
    template(w, obj["spec"]["template"])
    parts.conditions(w, status.get("conditions"))
    await parts.events(session, w, obj)


async def statefulset(session: Session, w: Writer, obj: JSON) -> None:
    spec = obj["spec"]
    parts.title(w, obj)
    w.line(0, "CreationTimestamp:", parts.when(obj["metadata"].get("creationTimestamp")))
    w.line(0, "Selector:", parts.selector(spec.get("selector")))
    parts.meta(w, obj)
    w.line(0, "Replicas:", f"{spec['replicas']} desired | {(obj.get('status') or {}).get('replicas', 0)} total")
    strategy = spec.get("updateStrategy") or {}
    w.line(0, "Update Strategy:", strategy.get("type", ""))
    rolling = strategy.get("rollingUpdate") or {}
    if rolling.get("partition") is not None:
        w.line(1, "Partition:", rolling["partition"])
        if rolling.get("maxUnavailable") is not None:
            w.line(1, "MaxUnavailable:", rolling["maxUnavailable"])
    await _states(session, w, obj)
    template(w, spec["template"])
    _claims(w, spec.get("volumeClaimTemplates"))
    await parts.events(session, w, obj)


def _claims(w: Writer, found: list[JSON] | None) -> None:
    w.line(0, "Volume Claims:", *(() if found else (NONE,)))
    for each in found or ():
        about, spec = each["metadata"], each["spec"]
        w.line(1, "Name:", about["name"])
        w.line(1, "StorageClass:", spec.get("storageClassName", ""))
        parts.labels(w, "  Labels", about.get("labels"))
        parts.labels(w, "  Annotations", about.get("annotations"))
        asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
        w.line(1, "Capacity:", parse(asked) if asked else "<default>")
        w.line(1, "Access Modes:", f"[{' '.join(spec.get('accessModes') or ())}]")


async def daemonset(session: Session, w: Writer, obj: JSON) -> None:
    spec, status = obj["spec"], obj.get("status") or {}
    parts.title(w, obj)
    w.line(0, "Selector:", parts.selector(spec.get("selector")))
    w.line(0, "Node-Selector:", parts.plain_labels(spec["template"]["spec"].get("nodeSelector")))
    parts.meta(w, obj)
    for said, key in (
        ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
        ("Number of Nodes Scheduled with Up-to-date Pods", "updatedNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ):
        w.line(0, f"{said}: {status.get(key, 0)}")
    await _states(session, w, obj)
    template(w, spec["template"])
    await parts.events(session, w, obj)
