"""What a kubelet reports of its Pods.

    bound ─▶ running(…): Running, with addresses ─▶ ready or not ─▶ deletionTimestamp ─▶ stopped, gone

Kubernetes: pkg/kubelet/status/generate.go, pkg/kubelet/kubelet_pods.go
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from k8semu.kube.api.conditions import set_condition

JSON = dict[str, Any]
KINDS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def running(pod: JSON, addresses: list[str], host: str, now: str, ready: bool = True) -> JSON:
    """The status of a Pod whose containers run. `addresses`: its own; `host`: its node's."""
    before = pod.get("status") or {}
    conditions = before.get("conditions") or []
    if ready and len(conditions) < len(KINDS):            # a Pod that starts: most do so together
        conditions = _all_true(now)
    else:
        for kind in KINDS:
            wanted = ready or kind not in ("Ready", "ContainersReady")
            why = ("", "") if wanted else ("ContainersNotReady", _unready(pod))
            conditions = set_condition(conditions, kind, "True" if wanted else "False", now, *why)
    return {
        **before, "phase": "Running", "conditions": conditions, "hostIP": host, "hostIPs": _host_ips(host),
        "podIP": addresses[0], "podIPs": [{"ip": address} for address in addresses],
        "startTime": before.get("startTime", now),
        "containerStatuses": [
            _container(part["name"], part.get("image", ""), now, ready) for part in pod["spec"]["containers"]
        ],
        "observedGeneration": pod["metadata"].get("generation", 1),
    }  # fmt: skip


def waiting(pod: JSON, host: str, reason: str, message: str, now: str) -> JSON:
    """The status of a Pod whose containers cannot be made: ``CreateContainerConfigError``."""
    before = pod.get("status") or {}
    conditions = before.get("conditions") or []
    for kind in KINDS:
        ready = kind in ("Initialized", "PodScheduled")
        why = ("", "") if ready else ("ContainersNotReady", _unready(pod))
        conditions = set_condition(conditions, kind, "True" if ready else "False", now, *why)
    states = [
        {"name": part["name"], "image": part.get("image", ""), "imageID": "", "ready": False, "started": False,
         "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}, "lastState": {}}
        for part in pod["spec"]["containers"]
    ]  # fmt: skip
    return {**before, "phase": "Pending", "conditions": conditions, "hostIP": host, "hostIPs": _host_ips(host),
            "startTime": before.get("startTime", now), "containerStatuses": states}  # fmt: skip


@lru_cache(maxsize=256)
def _all_true(now: str) -> list[JSON]:
    """All conditions hold since now: one list for all Pods of which that is so."""
    return [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in KINDS]


@lru_cache(maxsize=1024)
def _host_ips(host: str) -> list[JSON]:
    """One for all Pods of a node."""
    return [{"ip": host}]


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


@lru_cache(maxsize=256)
def _container(name: str, image: str, now: str, ready: bool) -> JSON:
    """One container's status; the same one for all that started at the same time from the same image."""
    return {
        "name": name, "image": image, "imageID": image, "ready": ready, "started": True, "restartCount": 0,
        "state": {"running": {"startedAt": now}}, "lastState": {},
    }  # fmt: skip
