"""Ingresses and what they need, as the network needs them.

Kubernetes: staging/src/k8s.io/api/networking/v1/types.go, core/v1/types.go Secret, ConfigMap
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

from msgspec import field

from k8semu.kube.objects import KubeObject, ObjectMeta
from k8semu.kube.services import ServiceStatus


class BackendPort(KubeObject, kw_only=True):
    """A name or a number."""

    name: str = ""
    number: int = 0

    def __str__(self) -> str:
        return self.name or str(self.number)


class BackendService(KubeObject, kw_only=True):
    name: str
    port: BackendPort = field(default_factory=BackendPort)


class IngressBackend(KubeObject, kw_only=True):
    service: BackendService | None = None
    resource: dict[str, Any] | None = None


class IngressPath(KubeObject, kw_only=True):
    backend: IngressBackend
    path_type: Literal["Exact", "Prefix", "ImplementationSpecific"] = "ImplementationSpecific"
    path: str = ""


class IngressHttp(KubeObject, kw_only=True):
    paths: list[IngressPath] = field(default_factory=list)


class IngressRule(KubeObject, kw_only=True):
    host: str = ""
    http: IngressHttp | None = None


class IngressTls(KubeObject, kw_only=True):
    hosts: list[str] = field(default_factory=list)
    secret_name: str = ""


class IngressSpec(KubeObject, kw_only=True):
    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    rules: list[IngressRule] = field(default_factory=list)
    tls: list[IngressTls] = field(default_factory=list)


class IngressMeta(ObjectMeta, kw_only=True):
    creation_timestamp: str = ""


class Ingress(KubeObject, kw_only=True):
    """Hosts and paths, and the Services that they lead to."""

    api_version: Literal["networking.k8s.io/v1"]
    kind: Literal["Ingress"]
    metadata: IngressMeta
    spec: IngressSpec = field(default_factory=IngressSpec)
    status: ServiceStatus = field(default_factory=ServiceStatus)


class IngressClassSpec(KubeObject, kw_only=True):
    controller: str = ""


class IngressClass(KubeObject, kw_only=True):
    """Which controller serves the Ingresses that name this class."""

    api_version: Literal["networking.k8s.io/v1"]
    kind: Literal["IngressClass"]
    metadata: ObjectMeta
    spec: IngressClassSpec = field(default_factory=IngressClassSpec)


class Secret(KubeObject, kw_only=True):
    """Small secrets; `data` in base64, as the API server gives it."""

    api_version: Literal["v1"]
    kind: Literal["Secret"]
    metadata: ObjectMeta
    type: str = "Opaque"
    data: dict[str, str] | None = None
    string_data: dict[str, str] | None = None

    def value(self, key: str) -> bytes | None:
        """What `key` holds; None if it is not there, or no base64."""
        text = (self.data or {}).get(key)
        if text is None:
            return None
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return None


class ConfigMap(KubeObject, kw_only=True):
    """Settings by name."""

    api_version: Literal["v1"]
    kind: Literal["ConfigMap"]
    metadata: ObjectMeta
    data: dict[str, str] | None = None
