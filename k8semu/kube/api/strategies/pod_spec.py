"""What a Pod's spec, by itself or in a template, is filled up with, and what is refused of it.

Kubernetes: pkg/apis/core/v1/defaults.go SetDefaults_PodSpec(), SetDefaults_Container(), SetDefaults_Probe(),
            pkg/apis/core/validation/validation.go ValidatePodSpec(), validateContainers()
Not modelled: kinds of volumes, resources, affinity, security contexts: kept as they are, and not checked.
"""

from __future__ import annotations

from collections.abc import Collection

from k8semu.kube.api import names
from k8semu.kube.api.field import Errors, duplicate, forbidden, invalid, not_found, not_supported, required
from k8semu.kube.api.strategies.base import JSON

PROTOCOLS = ("SCTP", "TCP", "UDP")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
RESTART_POLICIES = ("Always", "Never", "OnFailure")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def default_spec(spec: JSON) -> JSON:
    """`spec` with all that it does not say."""
    full = {
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
        "securityContext": {}, "schedulerName": "default-scheduler", **_said(spec),
    }  # fmt: skip
    for key in ("containers", "initContainers"):
        if full.get(key):
            full[key] = [_default_container(part, bool(spec.get("hostNetwork"))) for part in full[key]]
    return full


def _said(part: JSON) -> JSON:
    return {key: value for key, value in part.items() if value is not None}


def _default_container(part: JSON, host_network: bool) -> JSON:
    image = part.get("image") or ""
    latest = image.endswith(":latest") or ":" not in image.rpartition("/")[2]
    full = {
        "resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "imagePullPolicy": "Always" if latest else "IfNotPresent", **_said(part),
    }  # fmt: skip
    if full.get("ports"):
        full["ports"] = [_default_port(port, host_network) for port in full["ports"]]
    for key in PROBES:
        if full.get(key):
            full[key] = _default_probe(full[key])
    return full


def _default_port(port: JSON, host_network: bool) -> JSON:
    full = {**_said(port), "protocol": port.get("protocol") or "TCP"}
    if host_network and not full.get("hostPort"):
        full["hostPort"] = full.get("containerPort", 0)
    return full


def _default_probe(probe: JSON) -> JSON:
    full = {**PROBE, **{key: value for key, value in probe.items() if value is not None and value != 0}}
    if full.get("httpGet"):
        full["httpGet"] = {"path": "/", "scheme": "HTTP", **full["httpGet"]}
    return full


def validate_spec(path: str, spec: JSON, claims: Collection[str] = ()) -> Errors:
    """What is wrong with a Pod's spec, or a template's; `claims` are volumes that a StatefulSet adds to its Pods."""
    errors: Errors = []
    containers = spec.get("containers") or []
    if not containers:
        errors.append(required(f"{path}.containers"))
    errors += _containers(f"{path}.initContainers", spec.get("initContainers") or [], spec)
    errors += _containers(f"{path}.containers", containers, spec)
    errors += _host_ports(path, containers)
    errors += _volumes(path, spec, claims)
    for key, values in (("restartPolicy", RESTART_POLICIES), ("dnsPolicy", DNS_POLICIES)):
        if spec.get(key) not in values:
            errors.append(not_supported(f"{path}.{key}", spec.get(key, ""), values))
    for key in ("hostname", "subdomain"):
        if spec.get(key):
            errors += [invalid(f"{path}.{key}", spec[key], said) for said in names.dns_label(spec[key])]
    if spec.get("hostAliases"):
        from k8semu.kube.api.strategies.container_env import validate_aliases  # late: few have any

        errors += validate_aliases(f"{path}.hostAliases", spec["hostAliases"])
    node = spec.get("nodeName")
    if node:
        errors += [invalid(f"{path}.nodeName", node, said) for said in names.dns_subdomain(node)]
    errors += names.validate_labels(f"{path}.nodeSelector", spec.get("nodeSelector") or {})
    seconds = spec.get("terminationGracePeriodSeconds", 0)
    if seconds < 0:
        errors.append(invalid(f"{path}.terminationGracePeriodSeconds", seconds, "must be greater than or equal to 0"))
    return errors


def _containers(path: str, containers: list[JSON], spec: JSON) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for i, part in enumerate(containers):
        here, name, image = f"{path}[{i}]", part.get("name") or "", part.get("image") or ""
        if not name:
            errors.append(required(f"{here}.name"))
        errors += [invalid(f"{here}.name", name, said) for said in names.dns_label(name) if name]
        if name in seen:
            errors.append(duplicate(f"{here}.name", name))
        seen.add(name)
        if not image:
            errors.append(required(f"{here}.image"))
        elif image != image.strip():
            errors.append(invalid(f"{here}.image", image, "must not have leading or trailing whitespace"))
        errors += _ports(f"{here}.ports", part.get("ports") or [], bool(spec.get("hostNetwork")))
        for key in PROBES:
            errors += _probe(f"{here}.{key}", part.get(key))
        if part.get("env") or part.get("envFrom"):
            from k8semu.kube.api.strategies.container_env import validate_env  # late: few have one

            errors += validate_env(here, part)
    return errors


def _ports(path: str, ports: list[JSON], host_network: bool) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for i, port in enumerate(ports):
        here, name, number = f"{path}[{i}]", port.get("name") or "", port.get("containerPort", 0)
        if name:
            wrong = names.port_name(name)
            errors += [invalid(f"{here}.name", name, said) for said in wrong]
            if not wrong and name in seen:
                errors.append(duplicate(f"{here}.name", name))
            seen.add(name)
        if not number:
            errors.append(required(f"{here}.containerPort"))
        else:
            errors += names.port_number(f"{here}.containerPort", number)
        if port.get("hostPort"):
            errors += names.port_number(f"{here}.hostPort", port["hostPort"])
        if host_network and port.get("hostPort") != number:
            said = "must match `containerPort` when `hostNetwork` is true"
            errors.append(invalid(f"{here}.hostPort", port.get("hostPort", 0), said))
        if port.get("protocol") not in PROTOCOLS:
            errors.append(not_supported(f"{here}.protocol", port.get("protocol", ""), PROTOCOLS))
    return errors


def _host_ports(path: str, containers: list[JSON]) -> Errors:
    errors: Errors = []
    seen = set()
    for i, part in enumerate(containers):
        for j, port in enumerate(part.get("ports") or []):
            if not port.get("hostPort"):
                continue
            key = (port.get("protocol"), port.get("hostIP") or "", port["hostPort"])
            if key in seen:
                shown = f"{key[0]}/{key[1]}/{key[2]}"
                errors.append(duplicate(f"{path}.containers[{i}].ports[{j}].hostPort", shown))
            seen.add(key)
    return errors


def _volumes(path: str, spec: JSON, claims: Collection[str]) -> Errors:
    """Volumes have names of their own, and what a container mounts is one of them, each at a place of its own."""
    errors: Errors = []
    known: set[str] = set()
    for i, volume in enumerate(spec.get("volumes") or []):
        here, name = f"{path}.volumes[{i}]", volume.get("name") or ""
        errors += [invalid(f"{here}.name", name, said) for said in names.dns_label(name)]
        if name in known:
            errors.append(duplicate(f"{here}.name", name))
        known.add(name)
        if (volume.get("secret") is not None) and not volume["secret"].get("secretName"):
            errors.append(required(f"{here}.secret.secretName"))
        if (volume.get("configMap") is not None) and not volume["configMap"].get("name"):
            errors.append(required(f"{here}.configMap.name"))
    for key in ("initContainers", "containers"):
        for i, part in enumerate(spec.get(key) or []):
            errors += _mounts(f"{path}.{key}[{i}].volumeMounts", part.get("volumeMounts") or [], known.union(claims))
    return errors


def _mounts(path: str, mounts: list[JSON], known: set[str]) -> Errors:
    errors: Errors = []
    places: set[str] = set()
    for i, mount in enumerate(mounts):
        name, place = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(required(f"{path}[{i}].name"))
        elif name not in known:
            errors.append(not_found(f"{path}[{i}].name", name))
        if not place:
            errors.append(required(f"{path}[{i}].mountPath"))
        elif place in places:
            errors.append(invalid(f"{path}[{i}].mountPath", place, "must be unique"))
        places.add(place)
    return errors


def _probe(path: str, probe: JSON | None) -> Errors:
    if not probe:
        return []
    errors: Errors = []
    ways = [key for key in ("exec", "httpGet", "tcpSocket", "grpc") if probe.get(key) is not None]
    if not ways:
        errors.append(required(path, "must specify a handler type"))
    errors += [forbidden(f"{path}.{key}", "may not specify more than 1 handler type") for key in ways[1:]]
    for key in ("httpGet", "tcpSocket"):
        if probe.get(key) is not None:
            errors += names.port_number_or_name(f"{path}.{key}.port", probe[key].get("port", 0))
    return errors
