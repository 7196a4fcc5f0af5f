"""What an Ingress controller knows of the cluster, kept up to date by watch events.

Kubernetes: ingress-nginx internal/ingress/controller/store/store.go
"""

from __future__ import annotations

from typing import Any

import msgspec

from k8semu.kube.ingress.objects import ConfigMap, Ingress, IngressClass, Secret
from k8semu.kube.services import EndpointSlice, Service
from k8semu.kube.watched import Watched

Key = tuple[str, str]
"""Namespace and name."""


class State(Watched):
    """The objects by key. `changed` counts changes; `synced` once the first list is complete."""

    def __init__(self) -> None:
        self.ingresses: dict[Key, Ingress] = {}
        self.classes: dict[str, IngressClass] = {}
        self.services: dict[Key, Service] = {}
        self.slices: dict[Key, dict[Key, EndpointSlice]] = {}
        """By the Service that they belong to."""
        self.secrets: dict[Key, Secret] = {}
        self.config_maps: dict[Key, ConfigMap] = {}
        self.changed = 0
        self._service_of: dict[Key, Key] = {}

    def put(self, thing: dict[str, Any], gone: bool = False) -> None:
        """An object as it is, or (`gone`) as it was. Raises ValidationError."""
        kind = thing.get("kind")
        meta = thing.get("metadata") or {}
        key = (meta.get("namespace") or "default", meta.get("name", ""))
        self.changed += 1
        if kind == "EndpointSlice":
            self._endpoint_slice(key, None if gone else msgspec.convert(thing, EndpointSlice))
        elif kind == "IngressClass":
            self._set(self.classes, key[1], thing, IngressClass, gone)
        elif kind in _KEPT:
            name, type_ = _KEPT[kind]
            self._set(getattr(self, name), key, thing, type_, gone)
        else:
            self.changed -= 1

    def _set(self, known: dict[Any, Any], key: Any, thing: dict[str, Any], type_: type, gone: bool) -> None:
        if gone:
            known.pop(key, None)
        else:
            known[key] = msgspec.convert(thing, type_)

    def _endpoint_slice(self, key: Key, slice_: EndpointSlice | None) -> None:
        before = self._service_of.pop(key, None)
        if before is not None:
            self.slices[before].pop(key, None)
        if slice_ is not None:
            service = self._service_of[key] = (key[0], slice_.service_name)
            self.slices.setdefault(service, {})[key] = slice_


_KEPT: dict[str, tuple[str, type]] = {
    "Ingress": ("ingresses", Ingress), "Service": ("services", Service), "Secret": ("secrets", Secret),
    "ConfigMap": ("config_maps", ConfigMap),
}  # fmt: skip
