"""Nodes, namespaces, and what is kept for programs: ConfigMaps, Secrets, ServiceAccounts.

Kubernetes: staging/src/k8s.io/kubectl/pkg/describe/describe.go describeNode(), describeNodeResource(),
            describeNamespace(), describeSecret(), ConfigMapDescriber
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

from k8semu.apps.kubectl.describe import parts
from k8semu.apps.kubectl.describe.parts import UNSET
from k8semu.apps.kubectl.describe.writer import Writer
from k8semu.apps.kubectl.main import Session
from k8semu.kube.api.client import path_of
from k8semu.kube.api.status import ApiError
from k8semu.kube.api.table import NONE
from k8semu.kube.quantity import Quantity, parse, share

JSON = dict[str, Any]
ROLE = "node-role.kubernetes.io/"
INFO = {
    "Machine ID": "machineID", "System UUID": "systemUUID", "Boot ID": "bootID", "Kernel Version": "kernelVersion",
    "OS Image": "osImage", "Operating System": "operatingSystem", "Architecture": "architecture",
    "Container Runtime Version": "containerRuntimeVersion", "Kubelet Version": "kubeletVersion",
}  # fmt: skip
SUMMED = ("cpu", "memory", "ephemeral-storage")
Amounts = dict[str, Quantity]


async def node(session: Session, w: Writer, obj: JSON) -> None:
    about, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    w.line(0, "Name:", about["name"])
    labels = about.get("labels") or {}
    roles = {key.removeprefix(ROLE) for key in labels if key.startswith(ROLE)} | {labels.get("kubernetes.io/role", "")}
    w.line(0, "Roles:", ",".join(sorted(roles - {""})) or NONE)
    parts.meta(w, obj)
    w.line(0, "CreationTimestamp:", parts.when(about.get("creationTimestamp")))
    parts.taints(w, spec.get("taints"))
    w.line(0, "Unschedulable:", str(bool(spec.get("unschedulable"))).lower())
    await _lease(session, w, about["name"])
    _conditions(w, status.get("conditions"))
    w.line(0, "Addresses:")
    for address in status.get("addresses") or ():
        w.line(1, f"{address['type']}:", address["address"])
    for name in ("capacity", "allocatable"):
        if status.get(name):
            w.line(0, f"{name.capitalize()}:")
            for key, amount in sorted(status[name].items()):
                w.line(1, f"{key}:", parse(amount))
    w.line(0, "System Info:")
    for name, key in INFO.items():
        w.line(1, f"{name}:", (status.get("nodeInfo") or {}).get(key, ""))
    for name, value in (("PodCIDR", spec.get("podCIDR")), ("PodCIDRs", ",".join(spec.get("podCIDRs") or ())),
                        ("ProviderID", spec.get("providerID"))):  # fmt: skip
        if value:
            w.line(0, f"{name}:", value)
    await _pods(session, w, about["name"], status.get("allocatable") or status.get("capacity") or {})
    if not session.line.on("show-events"):
        return
    found = await parts.about(session, obj, obj["kind"], about.get("uid", ""))
    parts.write_events(w, found + await parts.about(session, obj, obj["kind"], about["name"]))


async def _lease(session: Session, w: Writer, name: str) -> None:
    try:
        found = (await session.client.get("leases", "kube-node-lease", name)).get("spec") or {}
    except ApiError as error:
        w.line(0, "Lease:", f"Failed to get lease: {error.message}")
        return
    w.line(0, "Lease:")
    w.line(1, "HolderIdentity:", found.get("holderIdentity") or UNSET)
    for title, key in (("AcquireTime", "acquireTime"), ("RenewTime", "renewTime")):
        w.line(1, f"{title}:", parts.when(found[key]) if found.get(key) else UNSET)


def _conditions(w: Writer, found: list[JSON] | None) -> None:
    if not found:
        return
    w.line(0, "Conditions:")
    w.line(1, "Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message")
    w.line(1, "----", "------", "-----------------", "------------------", "------", "-------")
    for each in found:
        times = [parts.when(each.get(key)) for key in ("lastHeartbeatTime", "lastTransitionTime")]
        said = [each["type"], each["status"], *times, each.get("reason", "")]
        w.line(1, *(f"{cell} " for cell in said), each.get("message", ""))


async def _pods(session: Session, w: Writer, name: str, whole: JSON) -> None:
    """The Pods that run here, and what they ask for. Kubernetes: describeNodeResource()."""
    query = quote(f"spec.nodeName={name},status.phase!=Failed,status.phase!=Succeeded", safe="")
    path = f"{path_of('pods', None)}?fieldSelector={query}&limit={parts.PAGE}"
    found = (await session.client.request("GET", path))["items"]
    w.line(0, "Non-terminated Pods:", f"({len(found)} in total)")
    w.line(1, "Namespace", "Name", "", "CPU Requests", "CPU Limits", "Memory Requests", "Memory Limits", "Age")
    w.line(1, "---------", "----", "", "------------", "----------", "---------------", "-------------", "---")
    sums: dict[str, Amounts] = {"requests": {}, "limits": {}}
    of = {key: parse(whole.get(key, 0)) for key in SUMMED}
    for pod in found:
        asked = {kind: _asked(pod, kind) for kind in sums}
        cells = [_share(asked[kind], key, of) for key in ("cpu", "memory") for kind in sums]
        about = pod["metadata"]
        w.line(1, about["namespace"], about["name"], "", *cells, parts.since(about.get("creationTimestamp")))
        for kind, amounts in asked.items():
            for key, amount in amounts.items():
                sums[kind][key] = sums[kind].get(key, Quantity()).plus(amount)
    w.line(0, "Allocated resources:")
    w.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)")
    w.line(1, "Resource", "Requests", "Limits")
    w.line(1, "--------", "--------", "------")
    for key in SUMMED:
        w.line(1, key, *(_share(amounts, key, of) for amounts in sums.values()))
    pages = sorted(key for key in whole if key.startswith("hugepages-"))
    for key in pages:
        w.line(1, key, *(_share(amounts, key, {key: parse(whole[key])}) for amounts in sums.values()))
    for key in sorted(key for key in whole if key not in (*SUMMED, *pages, "pods")):
        w.line(1, key, *(amounts.get(key, Quantity()) for amounts in sums.values()))


def _share(amounts: Amounts, key: str, of: Amounts) -> str:
    amount = amounts.get(key, Quantity())
    return f"{amount} ({share(amount, of[key])}%)"


def _asked(pod: JSON, kind: str) -> Amounts:
    """What a Pod's containers ask for together; an init container's wish counts if it is more."""
    def of(container: JSON) -> Amounts:
        found = (container.get("resources") or {}).get(kind) or {}
        return {key: parse(amount) for key, amount in found.items()}

    total: Amounts = {}
    for container in pod["spec"]["containers"]:
        for key, amount in of(container).items():
            total[key] = total.get(key, Quantity()).plus(amount)
    for container in pod["spec"].get("initContainers") or ():
        for key, amount in of(container).items():
            total[key] = max(total.get(key, Quantity()), amount, key=lambda each: each.value)
    return total


async def namespace(session: Session, w: Writer, obj: JSON) -> None:
    w.line(0, "Name:", obj["metadata"]["name"])
    parts.meta(w, obj)
    w.line(0, "Status:", (obj.get("status") or {}).get("phase", ""))


async def configmap(session: Session, w: Writer, obj: JSON) -> None:
    parts.title(w, obj)
    parts.meta(w, obj)
    w.line(0, "\nData\n====")
    for key, value in sorted((obj.get("data") or {}).items()):
        w.line(0, f"{key}:\n----")
        w.line(0, value)
        w.line(0, "")
    w.line(0, "\nBinaryData\n====")
    for key, value in sorted((obj.get("binaryData") or {}).items()):
        w.line(0, f"{key}: {_size(value)} bytes")
    w.line(0, "")
    await parts.events(session, w, obj)


async def secret(session: Session, w: Writer, obj: JSON) -> None:
    kind = obj.get("type", "")
    parts.title(w, obj)
    parts.meta(w, obj)
    w.line(0, "\nType:", kind)
    w.line(0, "\nData\n====")
    for key, value in sorted((obj.get("data") or {}).items()):
        token = key == "token" and kind == "kubernetes.io/service-account-token"
        w.line(0, f"{key}:", base64.b64decode(value).decode("utf-8", "replace") if token else f"{_size(value)} bytes")


def _size(text: str) -> int:
    return len(base64.b64decode(text))


async def serviceaccount(session: Session, w: Writer, obj: JSON) -> None:
    parts.title(w, obj)
    parts.meta(w, obj)
    names = [each.get("name", "") for each in obj.get("imagePullSecrets") or ()] or [NONE]
    head = "Image pull secrets:"
    for at, name in enumerate(names):
        w.line(0, " " * len(head) if at else head, name)
    await parts.events(session, w, obj)
