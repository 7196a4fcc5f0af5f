"""What an Ingress controller is started with follows from its container."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from k8semu.kube.images import ingress_controller_of, launch
from k8semu.kube.ingress.arguments import flags_of, options_of
from k8semu.kube.objects import Container

NGINX = "registry.k8s.io/ingress-nginx/controller:v1.15.0@sha256:0"


def container(*args: str, image: str = NGINX, **more: Any) -> Container:
    return msgspec.convert({"name": "c", "image": image, "args": list(args), **more}, Container)


@pytest.mark.parametrize(
    ("image", "controller"),
    [
        (NGINX, "k8s.io/ingress-nginx"), ("ingress-nginx", "k8s.io/ingress-nginx"), ("x.io/ingress-nginx/controller",
                                                                                   "k8s.io/ingress-nginx"),
        ("quay.io/kubernetes-ingress-controller/nginx-ingress-controller:0.33", "k8s.io/ingress-nginx"),
        ("nginx/nginx-ingress:3.4", "nginx.org/ingress-controller"), ("traefik:v3", "traefik.io/ingress-controller"),
        ("kong:3", "ingress-controllers.konghq.com/kong"), ("nginx", None), ("controller", None), ("", None),
        ("ingress-nginx/controller-chroot-of-mine/web", None),
    ],
)  # fmt: skip
def test_a_controller_is_known_by_its_image(image: str, controller: str | None) -> None:
    assert ingress_controller_of(image) == controller


def test_it_runs_the_proxy_and_hears_of_what_it_needs() -> None:
    start = launch(container(), "one", {}, {"POD_NAMESPACE": "shop"})
    other = launch(container(), "two", {}, {"POD_NAMESPACE": "shop"})
    assert start is not None
    assert other is not None
    assert start.function == "k8semu.apps.ingress.program:ingress_controller"
    assert {"Ingress", "Service", "EndpointSlice", "Secret"} <= set(start.watches)
    assert start.args["labels"]["controller_namespace"] == "shop"
    assert start.args["seed"] != other.args["seed"], "two Pods give requests different ids"


@pytest.mark.parametrize(
    ("ports", "http", "https"),
    [
        ([], 80, 443),
        ([{"containerPort": 8000, "hostPort": 80}, {"containerPort": 8443, "hostPort": 443}], 8000, 8443),
        ([{"containerPort": 8000, "name": "web"}, {"containerPort": 8443, "name": "websecure"}], 8000, 8443),
        ([{"containerPort": 8080, "name": "http", "protocol": "UDP"}], 80, 443),
    ],
)  # fmt: skip
def test_it_listens_where_its_container_says(ports: list[dict[str, Any]], http: int, https: int) -> None:
    start = launch(container(ports=ports), "one", {})
    assert start is not None
    assert (start.args["http_port"], start.args["https_port"]) == (http, https)


def test_flags_are_read_in_each_form_and_filled_in() -> None:
    said = container("--a=1", "--b", "2", "-c", "--d=$(POD_NAMESPACE)/x$(NOBODY)", "word", "--e", env=[
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}])  # fmt: skip
    known = {"POD_NAMESPACE": "shop"}
    assert flags_of(said, known) == {"a": "1", "b": "2", "c": "true", "d": "shop/x$(NOBODY)", "e": "true"}


def test_flags_become_options() -> None:
    flags = ("--configmap=shop/settings", "--watch-ingress-without-class", "--controller-class=a.b/c", "--http-port=x",
             "--exclude-socket-metrics=a,b", "--default-backend-service=web", "--healthz-port=10255")  # fmt: skip
    start = launch(container(*flags), "one", {})
    assert start is not None
    options = options_of(start.args)
    assert (options.config_map, options.default_backend) == (("shop", "settings"), ("default", "web"))
    assert (options.without_class, options.controller, options.ingress_class) == (True, "a.b/c", "nginx")
    assert (start.args["http_port"], start.args["metrics_port"], start.args["excluded"]) == (80, 10255, ["a", "b"])
