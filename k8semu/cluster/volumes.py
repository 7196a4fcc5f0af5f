"""The files that a Pod gets from Secrets and ConfigMaps, mounted as volumes.

    volumes: [{name: cert, secret: {secretName: web-tls}}]
    volumeMounts: [{name: cert, mountPath: /etc/tls}]            ─▶  /etc/tls/tls.crt, /etc/tls/tls.key

Kubernetes: pkg/volume/secret/secret.go, pkg/volume/configmap/configmap.go MakePayload()
Differs: a Pod has one set of files, those of all its containers; what changes later does not reach it.
Not modelled: other kinds of volumes, modes and owners of files.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from k8semu.errors import MountError
from k8semu.kube.objects import Container, KeyToPath, Pod, Volume

JSON = dict[str, Any]
Find = Callable[[str, str], JSON | None]
"""(plural, name) of an object in the Pod's namespace; None if it is not there."""


def mounted(pod: Pod, find: Find) -> dict[str, str]:
    """The files by their paths. MountError, in the kubelet's words."""
    contents = {volume.name: _content(volume, pod.metadata.namespace, find) for volume in pod.spec.volumes}
    files: dict[str, str] = {}
    for container in pod.spec.containers:
        files.update(_files(container, contents))
    return files


def _content(volume: Volume, namespace: str, find: Find) -> dict[str, str]:
    """What a volume holds, by relative path."""
    source = volume.secret or volume.config_map
    if source is None:
        return {}
    kind, plural = ("secret", "secrets") if volume.secret is not None else ("configmap", "configmaps")
    name = volume.secret.secret_name if volume.secret is not None else getattr(source, "name", "")
    found = find(plural, name)
    if found is None:
        if source.optional:
            return {}
        why = f'{kind} "{name}" not found'
        hint = f"one in namespace {namespace}, with any data, or optional: true"
        raise MountError(f'{MountError.WORDS} "{volume.name}" : {why}', hint=hint)
    data = _data(found, encoded=kind == "secret")
    return data if not source.items else _chosen(volume, data, source.items, source.optional)


def _data(obj: JSON, encoded: bool) -> dict[str, str]:
    plain = {} if encoded else dict(obj.get("data") or {})
    binary = obj.get("data" if encoded else "binaryData") or {}
    return plain | {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in binary.items()}


def _chosen(volume: Volume, data: dict[str, str], items: list[KeyToPath], optional: bool) -> dict[str, str]:
    missing = [item.key for item in items if item.key not in data]
    if missing and not optional:
        why = f"references non-existent {'secret' if volume.secret is not None else 'config'} key: {missing[0]}"
        raise MountError(f'{MountError.WORDS} "{volume.name}" : {why}')
    return {item.path: data[item.key] for item in items if item.key in data}


def _files(container: Container, contents: dict[str, dict[str, str]]) -> dict[str, str]:
    files = {}
    for mount in container.volume_mounts:
        content, place = contents.get(mount.name, {}), mount.mount_path.rstrip("/")
        if mount.sub_path:
            if mount.sub_path in content:
                files[place] = content[mount.sub_path]
        else:
            files.update({f"{place}/{path}": text for path, text in content.items()})
    return files
