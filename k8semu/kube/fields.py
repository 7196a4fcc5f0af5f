"""Field names that a manifest may have, read here or not: so that a wrong one is an error, as `kubectl apply` has it.

An API server knows all fields and refuses others (`kubectl apply` validates strictly). What is below ``status``, and
whatever no packet depends on, is not looked into.

Kubernetes: staging/src/k8s.io/api/core/v1/types.go, apps/v1, discovery/v1, networking/v1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from k8semu.errors import near
from k8semu.kube.objects import WORKLOADS

Known = Mapping[str, Any]
"""Names of fields; below each None (anything), the names of a mapping, or [those of each item of a list]."""


def _names(*words: str, **below: Any) -> dict[str, Any]:
    return {**dict.fromkeys(" ".join(words).split()), **below}


METADATA = _names(
    "name namespace labels annotations generateName uid resourceVersion generation creationTimestamp",
    "deletionTimestamp deletionGracePeriodSeconds finalizers ownerReferences managedFields selfLink",
)
OBJECT = _names("apiVersion kind spec status", metadata=METADATA)
PORT = _names("containerPort hostPort hostIP protocol name")
_KEY, _WHOLE = _names("name key optional"), _names("name optional")
_VALUE_FROM = _names(
    "fileKeyRef", fieldRef=_names("apiVersion fieldPath"), resourceFieldRef=_names("containerName resource divisor"),
    configMapKeyRef=_KEY, secretKeyRef=_KEY,
)  # fmt: skip
CONTAINER = _names(
    "name image command args workingDir resources volumeMounts volumeDevices livenessProbe",
    "readinessProbe startupProbe lifecycle imagePullPolicy stdin stdinOnce tty securityContext",
    "terminationMessagePath terminationMessagePolicy resizePolicy restartPolicy restartPolicyRules",
    ports=[PORT], env=[_names("name value", valueFrom=_VALUE_FROM)],
    envFrom=[_names("prefix", configMapRef=_WHOLE, secretRef=_WHOLE)],
)
POD_SPEC = _names(
    "ephemeralContainers nodeName nodeSelector hostNetwork hostPID hostIPC hostname hostUsers hostAliases subdomain",
    "volumes restartPolicy dnsPolicy dnsConfig serviceAccount serviceAccountName securityContext affinity tolerations",
    "os terminationGracePeriodSeconds topologySpreadConstraints priority priorityClassName schedulerName",
    "imagePullSecrets overhead enableServiceLinks readinessGates runtimeClassName resources",
    "automountServiceAccountToken activeDeadlineSeconds shareProcessNamespace schedulingGates preemptionPolicy",
    "setHostnameAsFQDN resourceClaims hostnameOverride workloadRef",
    containers=[CONTAINER], initContainers=[CONTAINER],
)  # fmt: skip
WORKLOAD_SPEC = _names(
    "replicas selector strategy updateStrategy serviceName volumeClaimTemplates minReadySeconds revisionHistoryLimit",
    "paused progressDeadlineSeconds podManagementPolicy persistentVolumeClaimRetentionPolicy ordinals",
    template=_names("apiVersion kind", metadata=METADATA, spec=POD_SPEC),
)
SERVICE_PORT = _names("name protocol appProtocol port targetPort nodePort")
SERVICE_SPEC = _names(
    "type clusterIP clusterIPs selector externalIPs sessionAffinity loadBalancerIP loadBalancerSourceRanges",
    "externalName externalTrafficPolicy healthCheckNodePort publishNotReadyAddresses ipFamilies ipFamilyPolicy",
    "allocateLoadBalancerNodePorts loadBalancerClass internalTrafficPolicy trafficDistribution",
    ports=[SERVICE_PORT], sessionAffinityConfig=_names(clientIP=_names("timeoutSeconds")),
)  # fmt: skip
ENDPOINT = _names(
    "addresses hostname targetRef deprecatedTopology nodeName zone hints",
    conditions=_names("ready serving terminating"),
)
ENDPOINT_PORT = _names("name protocol port appProtocol")
_ADDRESS = _names("ip hostname nodeName targetRef")
_SUBSET = _names(addresses=[_ADDRESS], notReadyAddresses=[_ADDRESS], ports=[ENDPOINT_PORT])
_BACKEND = _names("resource", service=_names("name", port=_names("name number")))
INGRESS_SPEC = _names(
    "ingressClassName", defaultBackend=_BACKEND, tls=[_names("hosts secretName")],
    rules=[_names("host", http=_names(paths=[_names("path pathType", backend=_BACKEND)]))],
)  # fmt: skip
_SELECTOR = _names("matchLabels", matchExpressions=[_names("key operator values")])
_PEER = _names(podSelector=_SELECTOR, namespaceSelector=_SELECTOR, ipBlock=_names("cidr except"))
_POLICY_PORTS = [_names("protocol port endPort")]
POLICY_SPEC = _names(
    "policyTypes", podSelector=_SELECTOR, ingress=[{"from": [_PEER], "ports": _POLICY_PORTS}],
    egress=[{"to": [_PEER], "ports": _POLICY_PORTS}],
)  # fmt: skip
KINDS: dict[str, Known] = {
    "Pod": {**OBJECT, "spec": POD_SPEC},
    **{kind: {**OBJECT, "spec": WORKLOAD_SPEC} for kind in WORKLOADS},
    "Service": {**OBJECT, "spec": SERVICE_SPEC},
    "EndpointSlice": _names(
        "apiVersion kind addressType", metadata=METADATA, endpoints=[ENDPOINT], ports=[ENDPOINT_PORT]
    ),
    "Endpoints": _names("apiVersion kind", metadata=METADATA, subsets=[_SUBSET]),
    "Ingress": {**OBJECT, "spec": INGRESS_SPEC},
    "IngressClass": {**OBJECT, "spec": _names("controller parameters")},
    "Secret": _names("apiVersion kind type data stringData immutable", metadata=METADATA),
    "ConfigMap": _names("apiVersion kind data binaryData immutable", metadata=METADATA),
    "NetworkPolicy": {**OBJECT, "spec": POLICY_SPEC},
    "Node": {**OBJECT, "spec": _names("podCIDR podCIDRs providerID unschedulable taints configSource externalID")},
    "Namespace": {**OBJECT, "spec": _names("finalizers")},
}
NEAR = 0.75


class Unknown(Struct, frozen=True):
    """A key that nobody knows, and the one that looks like it, or ''."""

    path: str
    key: str
    meant: str


def unknown(manifest: dict[Any, Any]) -> Unknown | None:
    """The first key that its kind does not have: `contianers`. Expects nothing of the manifest's types."""
    kind = manifest.get("kind")
    return _in(manifest, KINDS[kind], "") if isinstance(kind, str) and kind in KINDS else None


def _in(value: Any, known: Any, path: str) -> Unknown | None:
    if isinstance(known, list) and isinstance(value, list):
        return next((wrong for i, item in enumerate(value) if (wrong := _in(item, known[0], f"{path}[{i}]"))), None)
    if not isinstance(known, Mapping) or not isinstance(value, dict):
        return None
    for key in value:
        if isinstance(key, str) and key not in known:
            close = [name for name in known if name.lower() == key.lower()]
            close = close or near(key[:80], sorted(known), 1, NEAR)
            return Unknown(f"{path}.{key}", key, close[0] if close else "")
    return next((wrong for key, inner in value.items() if (wrong := _in(inner, known.get(key), f"{path}.{key}"))), None)


def without_effect(manifest: dict[str, Any]) -> list[str]:
    """Fields of a Pod or workload that decide what runs where in a real cluster, and not here."""
    spec = manifest.get("spec") or {}
    if manifest["kind"] in WORKLOADS:
        spec = (spec.get("template") or {}).get("spec") or {}
    elif manifest["kind"] != "Pod":
        return []
    found = ["initContainers"] if spec.get("initContainers") else []
    for key, rules in (spec.get("affinity") or {}).items():
        if isinstance(rules, dict) and rules.get("requiredDuringSchedulingIgnoredDuringExecution"):
            found.append(f"affinity.{key}")
    rules = spec.get("topologySpreadConstraints") or []
    if any(isinstance(rule, dict) and rule.get("whenUnsatisfiable") != "ScheduleAnyway" for rule in rules):
        found.append("topologySpreadConstraints")
    return found
