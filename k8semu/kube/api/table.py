"""Columns, as `kubectl get` prints them: the server decides what they are.

Shown: `kubectl get pods -o wide`
Kubernetes: pkg/printers/internalversion/printers.go, staging/src/k8s.io/apimachinery/pkg/util/duration
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from k8semu.kube.api.conditions import is_true
from k8semu.kube.api.meta import parse_time
from k8semu.sim.clock import NS_PER_S

JSON = dict[str, Any]
Cells = Callable[[JSON, int], list[Any]]
"""The cells of an object at a time (ns), without its name."""
NONE = "<none>"


def age(obj: JSON, now: int) -> str:
    made = obj["metadata"].get("creationTimestamp")
    return human_duration((now - parse_time(made)) // NS_PER_S) if made else "<unknown>"


def human_duration(seconds: int) -> str:
    """``45s``, ``3m20s``, ``5h``: two units while the first is small. Kubernetes: HumanDuration()."""
    if seconds < 0:
        return "0s" if seconds >= -1 else "<invalid>"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y"


def _containers(spec: JSON) -> list[str]:
    parts = spec.get("containers") or []
    return [",".join(part.get("name", "") for part in parts), ",".join(part.get("image", "") for part in parts)]


def selector_text(selector: JSON | None) -> str:
    """``app=web,tier in (a,b)``."""
    words = [f"{key}={value}" for key, value in sorted(((selector or {}).get("matchLabels") or {}).items())]
    for part in (selector or {}).get("matchExpressions") or []:
        key, operator, values = part["key"], part["operator"], ",".join(part.get("values") or [])
        words.append({"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
                     .get(operator, f"!{key}"))  # fmt: skip
    return ",".join(words) or NONE


def labels_text(labels: dict[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _pod(pod: JSON, now: int) -> list[Any]:
    spec, status = pod["spec"], pod.get("status") or {}
    states = status.get("containerStatuses") or []
    reason = status.get("reason") or status.get("phase", "")
    if status.get("phase") == "Succeeded":
        reason = "Completed"
    elif status.get("phase") == "Failed" and not status.get("reason"):
        reason = "Error"
    elif status.get("phase") == "Pending" and spec.get("nodeName") and not states:
        reason = "ContainerCreating" if is_true(pod, "PodScheduled") else "Pending"
    for state in reversed(states):
        reason = ((state.get("state") or {}).get("waiting") or {}).get("reason") or reason
    if "deletionTimestamp" in pod["metadata"]:
        reason = "Terminating"
    ready = sum(bool(state.get("ready")) for state in states)
    return [
        f"{ready}/{len(spec['containers'])}", reason, str(sum(state.get("restartCount", 0) for state in states)),
        age(pod, now), status.get("podIP") or NONE, spec.get("nodeName") or NONE, NONE, NONE,
    ]  # fmt: skip


def _service(service: JSON, now: int) -> list[Any]:
    spec = service["spec"]
    ways = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    outside = [way.get("ip") or way.get("hostname") or "" for way in ways]
    external = ",".join([*outside, *(spec.get("externalIPs") or [])])
    if spec["type"] == "ExternalName":
        external = spec.get("externalName", "")
    elif not external:
        external = "<pending>" if spec["type"] == "LoadBalancer" else NONE
    ports = ",".join(
        f"{port['port']}:{port['nodePort']}/{port['protocol']}" if port.get("nodePort") else
        f"{port['port']}/{port['protocol']}" for port in spec.get("ports") or []
    ) or NONE  # fmt: skip
    return [spec["type"], spec.get("clusterIP") or NONE, external, ports, age(service, now),
            labels_text(spec.get("selector"))]  # fmt: skip


def _deployment(obj: JSON, now: int) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    return [
        f"{status.get('readyReplicas', 0)}/{spec['replicas']}", status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0), age(obj, now), *_containers(spec["template"]["spec"]),
        selector_text(spec["selector"]),
    ]  # fmt: skip


def _replicaset(obj: JSON, now: int) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    return [spec["replicas"], status.get("replicas", 0), status.get("readyReplicas", 0), age(obj, now),
            *_containers(spec["template"]["spec"]), selector_text(spec["selector"])]  # fmt: skip


def _statefulset(obj: JSON, now: int) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec['replicas']}"
    return [ready, age(obj, now), *_containers(spec["template"]["spec"])]


def _daemonset(obj: JSON, now: int) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    keys = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled",
            "numberAvailable")  # fmt: skip
    pod = spec["template"]["spec"]
    return [*(status.get(key, 0) for key in keys), labels_text(pod.get("nodeSelector")), age(obj, now),
            *_containers(pod), selector_text(spec["selector"])]  # fmt: skip


def _node(node: JSON, now: int) -> list[Any]:
    status = "Ready" if is_true(node, "Ready") else "NotReady"
    if (node.get("spec") or {}).get("unschedulable"):
        status += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    roles = ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or NONE
    about = node.get("status") or {}
    addresses = {each.get("type"): each.get("address") for each in about.get("addresses") or []}
    info = about.get("nodeInfo") or {}
    return [status, roles, age(node, now), info.get("kubeletVersion", ""), addresses.get("InternalIP", NONE),
            addresses.get("ExternalIP", NONE), *(info.get(key) or "<unknown>" for key in INFO)]  # fmt: skip


INFO = ("osImage", "kernelVersion", "containerRuntimeVersion")


def _endpoints(obj: JSON, now: int) -> list[Any]:
    found = [f"{address['ip']}:{port['port']}" for subset in obj.get("subsets") or []
             for port in subset.get("ports") or [] for address in subset.get("addresses") or []]  # fmt: skip
    return [_few(found, 3) if found else NONE, age(obj, now)]


def _few(words: list[str], most: int) -> str:
    shown = ",".join(words[:most])
    return shown if len(words) <= most else f"{shown} + {len(words) - most} more..."


def _slice(obj: JSON, now: int) -> list[Any]:
    ports = [str(port.get("port", "*")) for port in obj.get("ports") or []]
    addresses = [address for each in obj.get("endpoints") or [] for address in each["addresses"]]
    return [obj["addressType"], _few(ports, 3) if ports else "<unset>", _few(addresses, 3) if addresses else "<unset>",
            age(obj, now)]  # fmt: skip


def _ingress(obj: JSON, now: int) -> list[Any]:
    spec = obj.get("spec") or {}
    hosts = [rule.get("host") or "*" for rule in spec.get("rules") or []] or ["*"]
    ways = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    address = ",".join(way.get("ip") or way.get("hostname") or "" for way in ways)
    return [spec.get("ingressClassName") or NONE, _few(hosts, 3), address, "80, 443" if spec.get("tls") else "80",
            age(obj, now)]  # fmt: skip


def _plain(obj: JSON, now: int) -> list[Any]:
    return [age(obj, now)]


def _event(event: JSON, now: int) -> list[Any]:
    """Kubernetes: pkg/printers/internalversion/printers.go printEvent()."""
    about = event.get("involvedObject") or {}
    first, last = (
        human_duration((now - parse_time(event[name])) // NS_PER_S) if event.get(name) else "<unknown>"
        for name in ("firstTimestamp", "lastTimestamp")
    )
    return [
        last, event.get("type", ""), event.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}", about.get("fieldPath", ""),
        (event.get("source") or {}).get("component", ""), event.get("message", "").strip(), first,
        event.get("count", 0), event["metadata"]["name"],
    ]  # fmt: skip


COLUMNS: dict[str, tuple[str, Cells]] = {
    "pods": ("Ready Status Restarts Age IP- Node- Nominated_Node- Readiness_Gates-", _pod),
    "services": ("Type Cluster-IP External-IP Port(s) Age Selector-", _service),
    "deployments": ("Ready Up-to-date Available Age Containers- Images- Selector-", _deployment),
    "replicasets": ("Desired Current Ready Age Containers- Images- Selector-", _replicaset),
    "statefulsets": ("Ready Age Containers- Images-", _statefulset),
    "daemonsets": (
        "Desired Current Ready Up-to-date Available Node_Selector Age Containers- Images- Selector-", _daemonset
    ),
    "nodes": (
        "Status Roles Age Version Internal-IP- External-IP- OS-Image- Kernel-Version- Container-Runtime-", _node
    ),
    "namespaces": ("Status Age", lambda o, now: [(o.get("status") or {}).get("phase", ""), age(o, now)]),
    "endpoints": ("Endpoints Age", _endpoints),
    "endpointslices": ("AddressType Ports Endpoints Age", _slice),
    "ingresses": ("Class Hosts Address Ports Age", _ingress),
    "ingressclasses": (
        "Controller Parameters Age", lambda o, now: [(o.get("spec") or {}).get("controller", ""), NONE, age(o, now)]
    ),
    "networkpolicies": (
        "Pod-Selector Age", lambda o, now: [selector_text((o.get("spec") or {}).get("podSelector")), age(o, now)]
    ),
    "configmaps": ("Data Age", lambda o, now: [len(o.get("data") or {}), age(o, now)]),
    "secrets": ("Type Data Age", lambda o, now: [o.get("type", "Opaque"), len(o.get("data") or {}), age(o, now)]),
    "serviceaccounts": ("Age", _plain),
    "leases": ("Holder Age", lambda o, now: [(o.get("spec") or {}).get("holderIdentity", ""), age(o, now)]),
    "events": (
        "Last_Seen Type Reason Object Subobject- Source- Message First_Seen- Count- Name-", _event
    ),
}
"""Per kind: the columns after the name (those with a dash at the end only in `-o wide`), and their cells."""
NAMELESS = ("events",)
"""Kinds whose first column is not the name."""


def _definitions(plural: str) -> list[JSON]:
    named = {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}
    columns: list[JSON] = [] if plural in NAMELESS else [named]
    for word in COLUMNS[plural][0].split():
        wide = word.endswith("-")
        name = word.removesuffix("-").replace("_", " ")
        columns.append({"name": name, "type": "string", "format": "", "description": "", "priority": int(wide)})
    return columns


def as_table(plural: str, objects: list[JSON], version: int, now: int, include: str, header: bool = True) -> JSON:
    """Objects as a `Table`. `include` says what stands behind a row: Metadata, Object or None."""
    cells = COLUMNS[plural][1]
    rows = []
    for obj in objects:
        name = [] if plural in NAMELESS else [obj["metadata"]["name"]]
        row: JSON = {"cells": [*name, *cells(obj, now)]}
        if include == "Object":
            row["object"] = obj
        elif include != "None":
            row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                             "metadata": obj["metadata"]}  # fmt: skip
        rows.append(row)
    return {
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": str(version)},
        "columnDefinitions": _definitions(plural) if header else [], "rows": rows,
    }  # fmt: skip
