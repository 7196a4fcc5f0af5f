"""The environment that a container starts with.

    runtime      PATH, HOSTNAME
    envFrom      all keys of a ConfigMap or Secret
    env          value, with $(NAME) filled in; valueFrom a field, a resource, a key of a ConfigMap or Secret
    Services     those of its namespace, and `kubernetes`: see `envvars`
    runtime      HOME

Who comes earlier in `env` can be named by who comes later; a Service's variable yields to one of the same name.

Kubernetes: pkg/kubelet/kubelet_pods.go makeEnvironmentVariables(), pkg/api/v1/resource/helpers.go;
            containerd internal/cri/server/container_create.go, runc libcontainer/init_linux.go
Differs: variables stand in the order in which they are declared, and Services in that of their making; with the
         kubelet's it is another one each time.
Not modelled: what an image itself sets, other users' HOME, fileKeyRef.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

from k8semu.errors import ContainerConfigError
from k8semu.kube.images import expand
from k8semu.kube.kubelet.envvars import from_services
from k8semu.kube.quantity import read

JSON = dict[str, Any]
Find = Callable[[str, str], JSON | None]
"""(plural, name) of an object in the Pod's namespace; None if it is not there."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME = "/root"
REFERENCES = {
    "configMapKeyRef": ("configmaps", "ConfigMap"), "secretKeyRef": ("secrets", "Secret"),
    "configMapRef": ("configmaps", "ConfigMap"), "secretRef": ("secrets", "Secret"),
}  # fmt: skip


class Place(NamedTuple):
    """What a Pod's status will say once it runs, and its host name."""

    pod_ip: str
    host_ip: str
    nodename: str


def environment(pod: JSON, container: JSON, services: Iterable[JSON], find: Find, place: Place) -> dict[str, str]:
    """All variables of a container; ContainerConfigError, in the kubelet's words.

    `pod` is the object of the API server, `container` one of its spec. `services`: those that it is told of.
    """
    links = from_services(services)
    declared = declared_variables(pod, container, links, find, place)
    found = {"PATH": PATH, "HOSTNAME": place.nodename} | declared
    for name, value in links.items():
        found.setdefault(name, value)
    found.setdefault("HOME", HOME)
    return found


def look_up(pod: JSON, find: Find, named: dict[tuple[str, str], JSON | None]) -> None:
    """Note in `named` what the environments of a Pod's containers name; ContainerConfigError if it is not there."""

    def found(plural: str, name: str) -> JSON | None:
        named[plural, name] = find(plural, name)
        return named[plural, name]

    for container in pod["spec"]["containers"]:
        declared_variables(pod, container, {}, found, Place("", "", ""))


def declared_variables(
    pod: JSON, container: JSON, links: Mapping[str, str], find: Find, place: Place
) -> dict[str, str]:
    """What `envFrom` and `env` of a container say."""
    namespace = pod["metadata"]["namespace"]
    found: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        kind = next(kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None)
        data = _data(kind, source[kind], namespace, find)
        found |= {f"{source.get('prefix') or ''}{key}": data[key] for key in sorted(data or ())} if data else {}
    for variable in container.get("env") or ():
        if variable.get("value"):
            found[variable["name"]] = expand(variable["value"], {**links, **found})
            continue
        source = variable.get("valueFrom")
        value = "" if source is None else _value_from(source, pod, container, find, place)
        if value is not None:
            found[variable["name"]] = value
    return found


def _value_from(source: JSON, pod: JSON, container: JSON, find: Find, place: Place) -> str | None:
    """None where it is optional, and is not there."""
    if source.get("fieldRef") is not None:
        return field_value(source["fieldRef"]["fieldPath"], pod, place)
    if source.get("resourceFieldRef") is not None:
        return _resource_value(source["resourceFieldRef"], pod, container)
    kind = next(kind for kind in ("configMapKeyRef", "secretKeyRef") if source.get(kind) is not None)
    chosen, namespace = source[kind], pod["metadata"]["namespace"]
    data = _data(kind, chosen, namespace, find)
    if data is None or (chosen["key"] not in data and chosen.get("optional")):
        return None
    if chosen["key"] not in data:
        kept = f"{REFERENCES[kind][1]} {namespace}/{chosen['name']}"
        raise ContainerConfigError(f"couldn't find key {chosen['key']} in {kept}")
    return data[chosen["key"]]


def _data(kind: str, chosen: JSON, namespace: str, find: Find) -> dict[str, str] | None:
    """What a ConfigMap or Secret holds; None if it may be missing, and is."""
    plural, name = REFERENCES[kind][0], chosen.get("name") or ""
    held = find(plural, name)
    if held is None:
        if chosen.get("optional"):
            return None
        raise ContainerConfigError(f'{plural[:-1]} "{name}" not found', hint=f"namespace {namespace}")
    data: dict[str, str] = held.get("data") or {}
    if plural == "configmaps":
        return data
    return {key: base64.b64decode(text).decode("utf-8", "replace") for key, text in data.items()}


def field_value(path: str, pod: JSON, place: Place) -> str:
    """``metadata.name``, ``metadata.labels['app']``, ``status.podIP``. Kubernetes: pkg/fieldpath/fieldpath.go"""
    meta, spec = pod["metadata"], pod["spec"]
    key, bracket, rest = path.partition("['")
    if bracket:
        return str((meta.get(key.removeprefix("metadata.")) or {}).get(rest.removesuffix("']"), ""))
    return str({
        "metadata.name": meta["name"], "metadata.namespace": meta["namespace"], "metadata.uid": meta.get("uid", ""),
        "spec.nodeName": spec.get("nodeName", ""), "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": place.host_ip, "status.hostIPs": place.host_ip,
        "status.podIP": place.pod_ip, "status.podIPs": place.pod_ip,
    }[path])  # fmt: skip


def _resource_value(source: JSON, pod: JSON, container: JSON) -> str:
    """A limit or request in units of `divisor`, rounded up."""
    name = source.get("containerName") or container["name"]
    chosen = next((part for part in pod["spec"]["containers"] if part["name"] == name), None)
    if chosen is None:
        raise ContainerConfigError(f"container {name} not found")
    sort, _, resource = source["resource"].partition(".")
    resources = chosen.get("resources") or {}
    said = (resources.get(sort) or {}).get(resource)
    if said is None and sort == "requests":     # the API server's default
        said = (resources.get("limits") or {}).get(resource, "0")
    if said is None:
        what = f"{source['resource']} of container {name} would be what its node has, which is not modelled"
        raise ContainerConfigError(what, hint=f"resources: {{limits: {{{resource}: …}}}}")
    return str(ceil(quantity(str(said)) / (quantity(str(source.get("divisor") or "1")) or 1)))


def quantity(text: str) -> Fraction:
    """An amount; ContainerConfigError if it is none."""
    found = read(text)
    if found is None:
        raise ContainerConfigError(f"{text!r} is no quantity", hint="such as 500m or 64Mi")
    return found.value
