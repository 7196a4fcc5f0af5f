"""Containers, volumes and Pod templates.

Kubernetes: staging/src/k8s.io/kubectl/pkg/describe/describe.go describeContainers(), describeVolumes(),
            DescribePodTemplate()
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from k8semu.apps.kubectl.describe import parts
from k8semu.apps.kubectl.describe.writer import Writer
from k8semu.kube.api.table import NONE
from k8semu.kube.quantity import parse

JSON = dict[str, Any]


def containers(w: Writer, label: str, pod: JSON, found: list[JSON], states: list[JSON] | None, space: str = "") -> None:
    """`states`: what runs of them; `pod`: of which its fields are filled in. `space`: before all, in a template."""
    known = {state["name"]: state for state in states or ()}
    w.line(0, f"{space}{label}:" + ("" if found else f" {NONE}"))
    for each in found:
        state = known.get(each["name"])
        w.line(1, f"{' ' if space else ''}{each['name']}:")
        _basics(w, each, state)
        _words(w, "Command", each.get("command"))
        _words(w, "Args", each.get("args"))
        if state is not None:
            _state(w, state)
        resources = each.get("resources") or {}
        for name in ("limits", "requests"):
            if resources.get(name):
                w.line(2, f"{name.capitalize()}:")
                for key, amount in sorted(resources[name].items()):
                    w.line(3, f"{key}:", parse(amount))
        for name in ("liveness", "readiness", "startup"):
            if each.get(f"{name}Probe"):
                w.line(2, f"{name.capitalize()}:", probe(each[f"{name}Probe"]))
        _environment(w, each, pod)
        _mounts(w, each)


def _basics(w: Writer, each: JSON, state: JSON | None) -> None:
    if state is not None:
        w.line(2, "Container ID:", state.get("containerID", ""))
    w.line(2, "Image:", each.get("image", ""))
    if state is not None:
        w.line(2, "Image ID:", state.get("imageID", ""))
    for title, key in (("Port", "containerPort"), ("Host Port", "hostPort")):
        ports = [f"{port.get(key, 0)}/{port.get('protocol', '')}" + (f" ({port['name']})" if port.get("name") else "")
                 for port in each.get("ports") or ()]  # fmt: skip
        w.line(2, f"{title}{'s' if len(ports) > 1 else ''}:", ", ".join(ports) or NONE)
    profile = (each.get("securityContext") or {}).get("seccompProfile")
    if profile:
        w.line(2, "SeccompProfile:", profile.get("type", ""))
        if profile.get("type") == "Localhost":
            w.line(3, "LocalhostProfile:", profile.get("localhostProfile", ""))


def _words(w: Writer, name: str, words: list[str] | None) -> None:
    if words:
        w.line(2, f"{name}:")
        for word in words:
            for line in word.split("\n"):
                w.line(3, line)


def _state(w: Writer, state: JSON) -> None:
    _one_state(w, "State", state.get("state") or {})
    if (state.get("lastState") or {}).get("terminated"):
        _one_state(w, "Last State", state["lastState"])
    w.line(2, "Ready:", bool(state.get("ready")))
    w.line(2, "Restart Count:", state.get("restartCount", 0))


def _one_state(w: Writer, name: str, state: JSON) -> None:
    """Kubernetes: describeStatus()."""
    if "running" in state:
        w.line(2, f"{name}:", "Running")
        w.line(3, "Started:", parts.when((state["running"] or {}).get("startedAt")))
        return
    if "terminated" not in state:
        w.line(2, f"{name}:", "Waiting")
        if (state.get("waiting") or {}).get("reason"):
            w.line(3, "Reason:", state["waiting"]["reason"])
        return
    ended = state["terminated"] or {}
    w.line(2, f"{name}:", "Terminated")
    for key in ("reason", "message"):
        if ended.get(key):
            w.line(3, f"{key.capitalize()}:", ended[key])
    w.line(3, "Exit Code:", ended.get("exitCode", 0))
    if ended.get("signal"):
        w.line(3, "Signal:", ended["signal"])
    w.line(3, "Started:", parts.when(ended.get("startedAt")))
    w.line(3, "Finished:", parts.when(ended.get("finishedAt")))


def probe(found: JSON) -> str:
    """``http-get http://:8080/healthz delay=0s timeout=1s …``. Kubernetes: DescribeProbe()."""
    numbers = {"delay": ("initialDelaySeconds", 0, "s"), "timeout": ("timeoutSeconds", 0, "s"),
               "period": ("periodSeconds", 0, "s"), "#success": ("successThreshold", 0, ""),
               "#failure": ("failureThreshold", 0, "")}  # fmt: skip
    attrs = " ".join(f"{name}={found.get(key, usual)}{unit}" for name, (key, usual, unit) in numbers.items())
    if "exec" in found:
        return f"exec [{' '.join(found['exec'].get('command') or ())}] {attrs}"
    if "httpGet" in found:
        get = found["httpGet"]
        scheme = str(get.get("scheme", "")).lower()
        path = str(get.get("path", ""))
        path = path if not path or path.startswith("/") else f"/{path}"
        where = f"{get.get('host', '')}:{get.get('port', '')}{path}"
        return f"http-get {f'{scheme}:' if scheme else ''}//{where} {attrs}"
    if "tcpSocket" in found:
        return f"tcp-socket {found['tcpSocket'].get('host', '')}:{found['tcpSocket'].get('port', '')} {attrs}"
    if "grpc" in found:
        return f"grpc <pod>:{found['grpc'].get('port', 0)} {found['grpc'].get('service', '')} {attrs}"
    return f"unknown {attrs}"


# --- environment ----------------------------------------------------------------------------------


def _environment(w: Writer, each: JSON, pod: JSON) -> None:
    if each.get("envFrom"):
        w.line(2, "Environment Variables from:")
        for source in each["envFrom"]:
            kind = "ConfigMap" if "configMapRef" in source else "Secret" if "secretRef" in source else ""
            named = source.get("configMapRef") or source.get("secretRef") or {}
            prefix = f" with prefix '{source['prefix']}'" if source.get("prefix") else ""
            w.line(3, named.get("name", ""), f"{kind}{prefix}", f"Optional: {_optional(named)}")
    if not each.get("env"):
        w.line(2, "Environment:", NONE)
        return
    w.line(2, "Environment:")
    for variable in each["env"]:
        _variable(w, variable, each, pod)


def _variable(w: Writer, variable: JSON, container: JSON, pod: JSON) -> None:
    name, source = f"{variable['name']}:", variable.get("valueFrom")
    if not source:
        for at, line in enumerate(str(variable.get("value") or "").split("\n")):
            w.line(3, "" if at else name, line)
    elif "fieldRef" in source:
        path, version = source["fieldRef"].get("fieldPath", ""), source["fieldRef"].get("apiVersion", "v1")
        w.line(3, name, f"{field(pod, path)} ({version}:{path})")
    elif "resourceFieldRef" in source:
        resource = source["resourceFieldRef"].get("resource", "")
        w.line(3, name, f"{_resource(container, resource)} ({resource})")
    elif "secretKeyRef" in source:
        ref = source["secretKeyRef"]
        said = f"<set to the key '{ref.get('key', '')}' in secret '{ref.get('name', '')}'>"
        w.line(3, name, said, f"Optional: {_optional(ref)}")
    elif "configMapKeyRef" in source:
        ref = source["configMapKeyRef"]
        said = f"<set to the key '{ref.get('key', '')}' of config map '{ref.get('name', '')}'>"
        w.line(3, name, said, f"Optional: {_optional(ref)}")


def _optional(ref: JSON) -> str:
    return "true" if ref.get("optional") else "false"


def field(pod: JSON, path: str) -> str:
    """Name and namespace are filled in; of no other field kubectl knows how it is called inside.

    Kubernetes: EnvValueRetriever()
    """
    about = pod.get("metadata") or {}
    return str(about.get(path.removeprefix("metadata."), "")) if path in ("metadata.name", "metadata.namespace") else ""


def _resource(container: JSON, resource: str) -> str:
    """Kubernetes: ExtractContainerResourceValue(): whole cores and bytes."""
    kind, _, name = resource.partition(".")
    amount = parse(((container.get("resources") or {}).get(kind) or {}).get(name, "0")).value
    whole = -(-amount // 1)
    return "node allocatable" if not whole and resource in ("limits.cpu", "limits.memory") else str(whole)


# --- volumes --------------------------------------------------------------------------------------


def _mounts(w: Writer, each: JSON) -> None:
    mounts = sorted(each.get("volumeMounts") or (), key=lambda mount: str(mount["mountPath"]))
    w.line(2, "Mounts:", *(() if mounts else (NONE,)))
    for mount in mounts:
        flags = ["ro" if mount.get("readOnly") else "rw"]
        if mount.get("subPath"):
            flags.append(f"path={json.dumps(mount['subPath'])}")
        w.line(3, f"{mount['mountPath']} from {mount['name']} ({','.join(flags)})")


VOLUMES: dict[str, tuple[str, Callable[[JSON], list[tuple[str, object]]]]] = {
    "hostPath": ("HostPath (bare host directory volume)", lambda v: [
        ("Path", v.get("path", "")), ("HostPathType", v.get("type") if v.get("type") is not None else NONE)]),
    "emptyDir": ("EmptyDir (a temporary directory that shares a pod's lifetime)", lambda v: [
        ("Medium", v.get("medium", "")),
        ("SizeLimit", parse(v["sizeLimit"]) if parse(v.get("sizeLimit", 0)).value else parts.UNSET)]),
    "secret": ("Secret (a volume populated by a Secret)", lambda v: [
        ("SecretName", v.get("secretName", "")), ("Optional", _optional(v))]),
    "configMap": ("ConfigMap (a volume populated by a ConfigMap)", lambda v: [
        ("Name", v.get("name", "")), ("Optional", _optional(v))]),
    "nfs": ("NFS (an NFS mount that lasts the lifetime of a pod)", lambda v: [
        ("Server", v.get("server", "")), ("Path", v.get("path", "")),
        ("ReadOnly", str(bool(v.get("readOnly"))).lower())]),
    "persistentVolumeClaim": (
        "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)", lambda v: [
            ("ClaimName", v.get("claimName", "")), ("ReadOnly", str(bool(v.get("readOnly"))).lower())]),
    "projected": ("Projected (a volume that contains injected data from multiple sources)", lambda v: [
        line for source in v.get("sources") or () for line in _projected(source)]),
}  # fmt: skip
"""The kinds of volumes that the network's programs mount, each with its words and fields."""


def _projected(source: JSON) -> list[tuple[str, object]]:
    for kind, name in (("secret", "SecretName"), ("configMap", "ConfigMapName")):
        if kind in source:
            return [(name, source[kind].get("name", "")), ("Optional", _optional(source[kind]))]
    if "downwardAPI" in source:
        return [("DownwardAPI", "true")]
    if "serviceAccountToken" in source:
        return [("TokenExpirationSeconds", source["serviceAccountToken"].get("expirationSeconds", 3600))]
    return []


def volumes(w: Writer, found: list[JSON] | None, space: str = "") -> None:
    if not found:
        w.line(0, f"{space}Volumes:", NONE)
        return
    w.line(0, f"{space}Volumes:")
    for volume in found:
        w.line(1, f"{' ' if space else ''}{volume['name']}:")
        kind = next((kind for kind in VOLUMES if kind in volume), "")
        if kind:
            said, lines = VOLUMES[kind]
            w.line(2, "Type:", said)
            for name, value in lines(volume[kind] or {}):
                w.line(2, f"{name}:", value)
        elif "downwardAPI" in volume:
            w.line(2, "Type:", "DownwardAPI (a volume populated by information about the pod)")
            w.line(2, "Items:")
            for item in (volume["downwardAPI"] or {}).get("items") or ():
                ref = item.get("fieldRef") or item.get("resourceFieldRef") or {}
                w.line(3, f"{ref.get('fieldPath') or ref.get('resource', '')} -> {item['path']}")
        else:
            w.line(1, "<unknown>")


def spread(w: Writer, found: list[JSON] | None, space: str = "") -> None:
    """Kubernetes: describeTopologySpreadConstraints()."""
    for at, each in enumerate(sorted(found or (), key=lambda each: str(each["topologyKey"]))):
        said = f"{each['topologyKey']}:{each['whenUnsatisfiable']} when max skew {each['maxSkew']} is exceeded"
        if "labelSelector" in each:
            said += f" for selector {parts.selector(each['labelSelector'])}"
        w.line(0, space if at else f"{space}Topology Spread Constraints:", said)


def template(w: Writer, found: JSON) -> None:
    """Of what makes Pods."""
    about, spec = found.get("metadata") or {}, found["spec"]
    w.line(0, "Pod Template:")
    parts.labels(w, "  Labels", about.get("labels"))
    if about.get("annotations"):
        parts.annotated(w, about["annotations"], "  Annotations")
    if spec.get("serviceAccountName"):
        w.line(1, "Service Account:", spec["serviceAccountName"])
    if spec.get("initContainers"):
        containers(w, "Init Containers", {}, spec["initContainers"], None, "  ")
    containers(w, "Containers", {}, spec.get("containers") or [], None, "  ")
    volumes(w, spec.get("volumes"), "  ")
    spread(w, spec.get("topologySpreadConstraints"), "  ")
    if spec.get("priorityClassName"):
        w.line(1, "Priority Class Name:", spec["priorityClassName"])
    parts.labels(w, "  Node-Selectors", spec.get("nodeSelector"))
    parts.tolerations(w, "  Tolerations", spec.get("tolerations"))
