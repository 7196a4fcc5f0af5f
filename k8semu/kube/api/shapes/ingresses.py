"""Ingresses and their classes."""

from typing import Any

from k8semu.kube.api.shapes import AnyShape, Number, Shape, Strings, Text
from k8semu.kube.api.shapes.services import BalancerStatus


class BackendPort(Shape):
    name: Text = None
    number: Number = None


class BackendService(Shape):
    name: Text = None
    port: BackendPort | None = None


class Backend(Shape):
    service: BackendService | None = None
    resource: dict[str, Any] | None = None


class HttpPath(Shape):
    path: Text = None
    path_type: Text = None
    backend: Backend | None = None


class Http(Shape):
    paths: list[HttpPath] | None = None


class IngressRule(Shape):
    host: Text = None
    http: Http | None = None


class IngressTls(Shape):
    hosts: Strings = None
    secret_name: Text = None


class IngressSpec(Shape):
    ingress_class_name: Text = None
    default_backend: Backend | None = None
    rules: list[IngressRule] | None = None
    tls: list[IngressTls] | None = None


class IngressShape(AnyShape):
    spec: IngressSpec | None = None
    status: BalancerStatus | None = None


class ClassSpec(Shape):
    controller: Text = None


class IngressClassShape(AnyShape):
    spec: ClassSpec | None = None
