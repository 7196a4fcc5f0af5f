"""What a kubelet reports of its Pods.

    bound ─▶ running(…): Running, with addresses ─▶ ready or not ─▶ deletionTimestamp ─▶ stopped, gone

Kubernetes: pkg/kubelet/status/generate.go, pkg/kubelet/kubelet_pods.go
"""

from __future__ import annotations

from typing import Any

from k8semu.kube.api.conditions import set_condition

JSON = dict[str, Any]
KINDS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def running(pod: JSON, addresses: list[str], host: str, now: str, ready: bool = True) -> JSON:
    """The status of a Pod whose containers run. `addresses`: its own; `host`: its node's."""
    state = "True" if ready else "False"
    conditions = (pod.get("status") or {}).get("conditions") or []
    for kind in KINDS:
        wanted = state if kind in ("Ready", "ContainersReady") else "True"
        why = ("", "") if wanted == "True" else ("ContainersNotReady", _unready(pod))
        conditions = set_condition(conditions, kind, wanted, now, *why)
    before = pod.get("status") or {}
    return {
        **before, "phase": "Running", "conditions": conditions, "hostIP": host, "hostIPs": [{"ip": host}],
        "podIP": addresses[0], "podIPs": [{"ip": address} for address in addresses],
        "startTime": before.get("startTime", now),
        "containerStatuses": [_container(part, now, ready) for part in pod["spec"]["containers"]],
        "observedGeneration": pod["metadata"].get("generation", 1),
    }  # fmt: skip


def with_readiness(pod: JSON, ready: bool, now: str) -> JSON:
    """The status of a running Pod that became ready, or is so no longer."""
    status = pod["status"]
    return running(pod, [each["ip"] for each in status["podIPs"]], status["hostIP"], now, ready)


def ended(pod: JSON, now: str, failed: bool = False) -> JSON:
    """The status of a Pod whose containers have ended for good."""
    conditions = pod["status"].get("conditions") or []
    for kind in ("Ready", "ContainersReady"):
        conditions = set_condition(conditions, kind, "False", now, "PodFailed" if failed else "PodCompleted")
    return {**pod["status"], "phase": "Failed" if failed else "Succeeded", "conditions": conditions}


def _unready(pod: JSON) -> str:
    names = " ".join(part["name"] for part in pod["spec"]["containers"])
    return f"containers with unready status: [{names}]"


_containers: dict[tuple[str, str, str, bool], JSON] = {}
KEPT = 256


def _container(part: JSON, now: str, ready: bool) -> JSON:
    """One container's status; the same one for all that started at the same time from the same image."""
    key = (part["name"], part.get("image", ""), now, ready)
    held = _containers.get(key)
    if held is None:
        if len(_containers) >= KEPT:
            _containers.pop(next(iter(_containers)))
        held = _containers[key] = {
            "name": key[0], "image": key[1], "imageID": key[1], "ready": ready, "started": True, "restartCount": 0,
            "state": {"running": {"startedAt": now}}, "lastState": {},
        }  # fmt: skip
    return held
